//! Global average pooling.

use rayon::prelude::*;

/// Mean over the pixels of each image: `[batch, pixels, channels]` to `[batch, channels]`. Pixels are added in order.
///
/// # Panics
/// If `x` does not have `batch * pixels * channels` elements or `pixels` or `channels` is 0.
pub(crate) fn global_average_pool(
    x: &[f32],
    batch: usize,
    pixels: usize,
    channels: usize,
) -> Vec<f32> {
    assert!(
        pixels > 0 && channels > 0 && x.len() == batch * pixels * channels,
        "length of x"
    );
    let mut output = vec![0.0_f32; batch * channels];
    output
        .par_chunks_mut(channels)
        .zip(x.par_chunks(pixels * channels))
        .for_each(|(output, image)| {
            for pixel in image.chunks_exact(channels) {
                for (sum, value) in output.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
            for sum in output {
                *sum /= pixels as f32;
            }
        });
    output
}

/// Gradient of the input of [`global_average_pool`], `[batch, pixels, channels]`.
///
/// # Panics
/// If `grad_out` does not have `batch * channels` elements or `pixels` or `channels` is 0.
pub(crate) fn global_average_pool_backward(
    grad_out: &[f32],
    batch: usize,
    pixels: usize,
    channels: usize,
) -> Vec<f32> {
    assert!(
        pixels > 0 && channels > 0 && grad_out.len() == batch * channels,
        "length of grad_out"
    );
    let mut gradient = Vec::with_capacity(batch * pixels * channels);
    for of_image in grad_out.chunks_exact(channels) {
        let first = gradient.len();
        gradient.extend(of_image.iter().map(|gradient| gradient / pixels as f32));
        for _ in 1..pixels {
            gradient.extend_from_within(first..first + channels);
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::super::super::reference::{in_pool, noise, same_bits};
    use super::*;

    #[test]
    fn an_average_and_its_gradient() {
        let x = [1.0, 10.0, 3.0, 30.0, 5.0, 50.0, 7.0, 70.0];
        assert_eq!(global_average_pool(&x, 2, 2, 2), [2.0, 20.0, 6.0, 60.0]);
        let gradient = global_average_pool_backward(&[2.0, 4.0, 6.0, 8.0], 2, 2, 2);
        assert_eq!(gradient, [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
    }

    #[test]
    fn neither_batch_nor_threads_change_bits() {
        let x = noise(5 * 49 * 19, 1);
        let whole = in_pool(1, || global_average_pool(&x, 5, 49, 19));
        assert!(same_bits(
            &whole,
            &in_pool(2, || global_average_pool(&x, 5, 49, 19))
        ));
        for (image, output) in x.chunks_exact(49 * 19).zip(whole.chunks_exact(19)) {
            assert!(same_bits(output, &global_average_pool(image, 1, 49, 19)));
        }
    }
}

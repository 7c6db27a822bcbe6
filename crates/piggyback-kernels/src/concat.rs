//! Concatenates the channels of two activations, and splits them again. It only copies, so there is
//! one implementation for all instruction sets.

use rayon::prelude::*;

use super::buffer;

/// Values of the joined side that one task copies, about.
const TASK_LEN: usize = 1 << 15;

/// Pixels that one task copies.
fn task_pixels([first, second]: [usize; 2]) -> usize {
    (TASK_LEN / (first + second)).max(1)
}

/// The channels of two activations one after the other: `[pixels, channels[0]]` and `[pixels, channels[1]]` to
/// `[pixels, channels[0] + channels[1]]`.
///
/// # Panics
///
/// If either has no channels, or they are not whole pixels, as many in each.
pub fn concat(first: &[f32], second: &[f32], channels: [usize; 2]) -> Vec<f32> {
    let [left, right] = channels;
    assert!(left > 0 && right > 0, "channels of both");
    let pixels = first.len() / left;
    assert_eq!(first.len(), pixels * left, "length of first");
    assert_eq!(second.len(), pixels * right, "length of second");
    let each = task_pixels(channels);
    // SAFETY: the tasks cover the output, and each writes both parts of all of its pixels.
    unsafe {
        buffer::filled(first.len() + second.len(), |joined| {
            joined
                .par_chunks_mut(each * (left + right))
                .zip(first.par_chunks(each * left))
                .zip(second.par_chunks(each * right))
                .for_each(|((joined, first), second)| {
                    let parts = first.chunks_exact(left).zip(second.chunks_exact(right));
                    for (pixel, (first, second)) in joined.chunks_exact_mut(left + right).zip(parts)
                    {
                        let (start, end) = pixel.split_at_mut(left);
                        start.write_copy_of_slice(first);
                        end.write_copy_of_slice(second);
                    }
                });
        })
    }
}

/// Activations of some images, then those of the next, and so on.
pub fn join(parts: &[&[f32]]) -> Vec<f32> {
    let len = parts.iter().map(|part| part.len()).sum();
    // SAFETY: the parts are as long as the output together, and each is copied whole.
    unsafe {
        buffer::filled(len, |joined| {
            let mut places = Vec::new();
            let mut rest = joined;
            for part in parts {
                let place;
                (place, rest) = rest.split_at_mut(part.len());
                places.push((place, *part));
            }
            places.into_par_iter().for_each(|(place, part)| {
                place.write_copy_of_slice(part);
            });
        })
    }
}

/// The two that [`concat()`] gives `joined` for; its gradients from that of its output.
///
/// # Panics
///
/// If either has no channels, or `joined` is not whole pixels.
pub fn split(joined: &[f32], channels: [usize; 2]) -> (Vec<f32>, Vec<f32>) {
    let [left, right] = channels;
    assert!(left > 0 && right > 0, "channels of both");
    let pixels = joined.len() / (left + right);
    assert_eq!(joined.len(), pixels * (left + right), "length of joined");
    let each = task_pixels(channels);
    let mut first = Vec::new();
    // SAFETY: the tasks cover both outputs, and each writes both parts of all of its pixels.
    let second = unsafe {
        buffer::filled(pixels * right, |second| {
            first = buffer::filled(pixels * left, |first| {
                joined
                    .par_chunks(each * (left + right))
                    .zip(first.par_chunks_mut(each * left))
                    .zip(second.par_chunks_mut(each * right))
                    .for_each(|((joined, first), second)| {
                        let parts =
                            (first.chunks_exact_mut(left)).zip(second.chunks_exact_mut(right));
                        for (pixel, (first, second)) in joined.chunks_exact(left + right).zip(parts)
                        {
                            let (start, end) = pixel.split_at(left);
                            first.write_copy_of_slice(start);
                            second.write_copy_of_slice(end);
                        }
                    });
            });
        })
    };
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::super::reference::{in_pool, noise, same_bits};
    use super::*;

    #[test]
    fn channels_stand_side_by_side_and_come_apart_again() {
        // The last two are more than one task, the first of them with a shorter one at the end.
        for (pixels, channels) in [
            (0, [3, 2]),
            (1, [1, 1]),
            (35, [3, 2]),
            (1000, [64, 32]),
            (3, [TASK_LEN, 5]),
        ] {
            let [left, right] = channels;
            let first = noise(pixels * left, 1);
            let second = noise(pixels * right, 2);
            let expected: Vec<f32> = (0..pixels)
                .flat_map(|pixel| {
                    let of_first = (0..left).map(move |c| pixel * left + c);
                    let of_second = (0..right).map(move |c| pixel * right + c);
                    (of_first.map(|i| first[i]))
                        .chain(of_second.map(|i| second[i]))
                        .collect::<Vec<f32>>()
                })
                .collect();
            for threads in [1, 3] {
                let joined = in_pool(threads, || concat(&first, &second, channels));
                assert!(same_bits(&joined, &expected), "{pixels} of {channels:?}");
                let (again, second_again) = in_pool(threads, || split(&joined, channels));
                assert!(same_bits(&again, &first), "{pixels} of {channels:?}");
                assert!(
                    same_bits(&second_again, &second),
                    "{pixels} of {channels:?}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "length of second")]
    fn pixels_must_be_as_many_in_each() {
        concat(&[0.0; 6], &[0.0; 3], [2, 3]);
    }
}

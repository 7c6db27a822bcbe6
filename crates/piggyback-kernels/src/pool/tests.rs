//! Compares pooling with its definition.

use proptest::prelude::*;

use super::super::reference::{in_pool, noise, same_bits};
use super::super::simd::Isa;
use super::average::{average_pool2d, average_pool2d_backward_on, average_pool2d_on};
use super::max::{
    PoolShape, max_pool2d_backward_on, max_pool2d_on, max_pool2d_with_positions,
    max_pool2d_with_positions_on,
};

prop_compose! {
    fn shapes()(
        batch in 1_usize..3,
        size in [1_usize..12, 1_usize..12],
        channels in 1_usize..70,
        kernel in [1_usize..5, 1_usize..5],
        stride in [1_usize..4, 1_usize..4],
        pads in [any::<bool>(), any::<bool>()],
    ) -> PoolShape {
        let axis = |a: usize| if pads[a] { kernel[a] / 2 } else { 0 };
        let padding = [axis(0), axis(1)];
        let [height, width] = [0, 1].map(|a| size[a].max(kernel[a]));
        PoolShape { batch, height, width, channels, kernel, stride, padding }
    }
}

/// For every output element its maximum, the position and the index of the maximum in `x`.
fn plain(x: &[f32], shape: &PoolShape) -> Vec<(f32, u8, usize)> {
    let mut maxima = Vec::new();
    for b in 0..shape.batch {
        for (oy, ox) in
            (0..shape.out_height()).flat_map(|y| (0..shape.out_width()).map(move |x| (y, x)))
        {
            for c in 0..shape.channels {
                let mut best = (f32::NEG_INFINITY, 0, usize::MAX);
                for position in 0..shape.kernel[0] * shape.kernel[1] {
                    let y = (oy * shape.stride[0] + position / shape.kernel[1])
                        .wrapping_sub(shape.padding[0]);
                    let px = (ox * shape.stride[1] + position % shape.kernel[1])
                        .wrapping_sub(shape.padding[1]);
                    if y < shape.height && px < shape.width {
                        let i = ((b * shape.height + y) * shape.width + px) * shape.channels + c;
                        if best.2 == usize::MAX || x[i] > best.0 {
                            best = (x[i], position as u8, i);
                        }
                    }
                }
                maxima.push(best);
            }
        }
    }
    maxima
}

/// The means of all windows, and the gradient of `x`.
fn plain_averages(x: &[f32], grad_out: &[f32], shape: &PoolShape) -> (Vec<f32>, Vec<f32>) {
    let mut gradient = vec![0.0; x.len()];
    let mut means = Vec::new();
    let count = (shape.kernel[0] * shape.kernel[1]) as f32;
    for b in 0..shape.batch {
        for (oy, ox) in
            (0..shape.out_height()).flat_map(|y| (0..shape.out_width()).map(move |x| (y, x)))
        {
            for c in 0..shape.channels {
                let grad_out = grad_out[means.len()];
                let mut sum = 0.0;
                for (ky, kx) in
                    (0..shape.kernel[0]).flat_map(|y| (0..shape.kernel[1]).map(move |x| (y, x)))
                {
                    let y = oy * shape.stride[0] + ky;
                    let px = ox * shape.stride[1] + kx;
                    let i = ((b * shape.height + y) * shape.width + px) * shape.channels + c;
                    sum += x[i];
                    gradient[i] += grad_out;
                }
                means.push(sum / count);
            }
        }
    }
    for gradient in &mut gradient {
        *gradient /= count;
    }
    (means, gradient)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn maxima_and_their_gradients_follow_the_definition(shape in shapes(), seed in any::<u64>()) {
        prop_assert!(shape.is_valid());
        // Few different values, so that there are ties.
        let x: Vec<f32> = noise(shape.input_len(), seed).iter().map(|v| (v * 4.0).round()).collect();
        let grad_out: Vec<f32> = noise(shape.output_len(), seed ^ 1).iter().map(|v| (v * 8.0).round()).collect();
        let expected = plain(&x, &shape);
        let mut expected_gradient = vec![0.0; x.len()];
        for (maximum, gradient) in expected.iter().zip(&grad_out) {
            expected_gradient[maximum.2] += gradient;
        }
        for isa in Isa::all() {
            let (output, positions) = max_pool2d_with_positions_on(isa, &x, &shape);
            prop_assert!(same_bits(&max_pool2d_on(isa, &x, &shape), &output));
            prop_assert!(expected.iter().zip(&output).all(|(e, v)| e.0 == *v), "{isa:?}");
            prop_assert!(expected.iter().zip(&positions).all(|(e, p)| e.1 == *p), "{isa:?}");
            prop_assert_eq!(&max_pool2d_backward_on(isa, &grad_out, &positions, &shape), &expected_gradient);
        }
    }

    #[test]
    fn averages_and_their_gradients_follow_the_definition(shape in shapes(), seed in any::<u64>()) {
        let shape = PoolShape { padding: [0, 0], ..shape };
        let x = noise(shape.input_len(), seed);
        let grad_out = noise(shape.output_len(), seed ^ 1);
        let (expected, expected_gradient) = plain_averages(&x, &grad_out, &shape);
        for isa in Isa::all() {
            prop_assert!(same_bits(&average_pool2d_on(isa, &x, &shape), &expected), "{isa:?}");
            let gradient = average_pool2d_backward_on(isa, &grad_out, &shape);
            prop_assert!(same_bits(&gradient, &expected_gradient), "{isa:?}");
        }
    }
}

#[test]
fn threads_and_instruction_sets_give_equal_bits() {
    let shape = PoolShape {
        batch: 3,
        height: 17,
        width: 9,
        channels: 40,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    let x = noise(shape.input_len(), 1);
    let grad_out = noise(shape.output_len(), 2);
    let run = |isa, threads| {
        in_pool(threads, || {
            let (output, positions) = max_pool2d_with_positions_on(isa, &x, &shape);
            (
                output,
                max_pool2d_backward_on(isa, &grad_out, &positions, &shape),
            )
        })
    };
    let (output, gradient) = run(Isa::best(), 1);
    for isa in Isa::all() {
        let (again, gradient_again) = run(isa, 2);
        assert!(same_bits(&again, &output) && same_bits(&gradient_again, &gradient));
    }
}

#[test]
fn neither_threads_nor_instruction_sets_nor_the_batch_change_bits_of_averages() {
    let shape = PoolShape {
        batch: 3,
        height: 17,
        width: 9,
        channels: 40,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [0, 0],
    };
    let x = noise(shape.input_len(), 1);
    let grad_out = noise(shape.output_len(), 2);
    let run = |isa, threads| {
        in_pool(threads, || {
            (
                average_pool2d_on(isa, &x, &shape),
                average_pool2d_backward_on(isa, &grad_out, &shape),
            )
        })
    };
    let (output, gradient) = run(Isa::best(), 1);
    for isa in Isa::all() {
        let (again, gradient_again) = run(isa, 2);
        assert!(same_bits(&again, &output) && same_bits(&gradient_again, &gradient));
    }
    let alone = PoolShape { batch: 1, ..shape };
    let images = x.chunks_exact(alone.input_len());
    for (image, output) in images.zip(output.chunks_exact(alone.output_len())) {
        assert!(same_bits(&average_pool2d(image, &alone), output));
    }
}

#[test]
fn nan_wins() {
    let shape = PoolShape {
        batch: 1,
        height: 1,
        width: 3,
        channels: 1,
        kernel: [1, 3],
        stride: [1, 1],
        padding: [0, 0],
    };
    let (output, positions) = max_pool2d_with_positions(&[5.0, f32::NAN, 7.0], &shape);
    assert!(output[0].is_nan());
    assert_eq!(positions, [1]);
}

#[test]
fn impossible_shapes_are_not_valid() {
    let shape = PoolShape {
        batch: 1,
        height: 4,
        width: 4,
        channels: 1,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    };
    assert!(shape.is_valid());
    for bad in [
        PoolShape {
            kernel: [5, 2],
            ..shape
        },
        PoolShape {
            kernel: [0, 2],
            ..shape
        },
        PoolShape {
            stride: [2, 0],
            ..shape
        },
        PoolShape {
            padding: [2, 0],
            ..shape
        },
        PoolShape {
            channels: 0,
            ..shape
        },
        PoolShape {
            kernel: [usize::MAX, 2],
            ..shape
        },
    ] {
        assert!(!bad.is_valid(), "{bad:?}");
    }
}

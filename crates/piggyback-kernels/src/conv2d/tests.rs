//! Compares convolutions with their definition.

use proptest::prelude::*;

use super::super::batch_norm::Activation;
use super::super::epilogue::Epilogue;
use super::super::reference::{in_pool, noise, same_bits};
use super::super::simd::Isa;
use super::{Conv2dShape, Filters, Pass, input_gradient_on, plain, weight_gradient_on, winograd};

fn forward_on(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    // What follows is what inference has.
    let pass = match epilogue {
        Some(_) => Pass::Inference,
        None => Pass::Training,
    };
    let filters = Filters::new(isa, weight, shape, pass);
    super::forward_on(isa, x, &filters, epilogue, shape)
}

prop_compose! {
    /// Odd shapes: dense, grouped and depthwise.
    fn shapes()(
        batch in 1_usize..4,
        size in [1_usize..13, 1_usize..13],
        kernel in [1_usize..6, 1_usize..6],
        stride in [1_usize..4, 1_usize..4],
        padding in [[0_usize..4, 0_usize..4], [0_usize..4, 0_usize..4]],
        dilation in [1_usize..3, 1_usize..3],
        groups in 1_usize..4,
        channels in [1_usize..40, 1_usize..40],
        pointwise in any::<bool>(),
        depthwise in any::<bool>(),
    ) -> Conv2dShape {
        let kernel = if pointwise { [1, 1] } else { kernel };
        let [in_channels, out_channels] = channels.map(|c| c * groups);
        let fits = |axis: usize| dilation[axis] * (kernel[axis] - 1) < size[axis] + padding[axis][0] + padding[axis][1];
        Conv2dShape {
            batch,
            height: if fits(0) { size[0] } else { 11 },
            width: if fits(1) { size[1] } else { 11 },
            in_channels,
            out_channels: if depthwise { in_channels } else { out_channels },
            kernel,
            stride,
            padding,
            dilation,
            groups: if depthwise { in_channels } else { groups },
        }
    }
}

prop_compose! {
    /// Shapes that are computed by tiles, whole and cut ones.
    fn tiled_shapes()(
        batch in 1_usize..3,
        size in [26_usize..34, 28_usize..32],
        padding in [[0_usize..3, 0_usize..3], [0_usize..3, 0_usize..3]],
        channels in [16_usize..40, 16_usize..50],
    ) -> Conv2dShape {
        Conv2dShape {
            batch,
            height: size[0] + 4,
            width: size[1] + 2,
            in_channels: channels[0],
            out_channels: channels[1],
            kernel: [3, 3],
            stride: [1, 1],
            padding,
            dilation: [1, 1],
            groups: 1,
        }
    }
}

/// Nothing, or what may follow a convolution.
fn epilogue<'a>(affine: &'a [f32], shortcut: &'a [f32], seed: u64) -> Option<Epilogue<'a>> {
    let (scale, shift) = affine.split_at(affine.len() / 2);
    let activation = match seed % 3 {
        0 => return None,
        1 => Activation::None,
        _ => Activation::Relu6,
    };
    let shortcut = seed.is_multiple_of(2).then_some(shortcut);
    Some(Epilogue {
        scale,
        shift,
        shortcut,
        activation,
    })
}

/// Whether rounding errors of sums of so many products explain all differences.
fn close(a: &[f32], b: &[f32], products: usize) -> bool {
    within(4e-6, a, b, products)
}

/// As [`close`] for sums of thousands of products of transformed tiles: single ones may be twice as far off, yet all of
/// them together, by their root mean square, stay within a quarter of what [`close`] allows any.
fn close_sums_of_tiles(a: &[f32], b: &[f32], products: usize) -> bool {
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let rms = (squares / a.len() as f32).sqrt();
    within(8e-6, a, b, products) && rms <= 1e-6 * (products as f32).sqrt()
}

fn within(tolerance: f32, a: &[f32], b: &[f32], products: usize) -> bool {
    let tolerance = tolerance * (products as f32).sqrt().max(1.0);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions_follow_their_definition_on_every_instruction_set(shape in shapes(), seed in any::<u64>()) {
        prop_assert_eq!(shape.validate(), Ok(()));
        let x = noise(shape.input_len(), seed);
        let weight = noise(shape.weight_len(), seed ^ 1);
        let grad_out = noise(shape.output_len(), seed ^ 2);
        let affine = noise(2 * shape.out_channels, seed ^ 3);
        let shortcut = noise(shape.output_len(), seed ^ 4);
        let epilogue = epilogue(&affine, &shortcut, seed);
        let epilogue = epilogue.as_ref();
        let products = shape.taps() * shape.in_channels.max(shape.out_channels) / shape.groups;
        let pixels = shape.batch * shape.out_height() * shape.out_width();

        let output = forward_on(Isa::best(), &x, &weight, epilogue, &shape);
        prop_assert!(close(&output, &plain::forward(&x, &weight, epilogue, &shape), products));
        let input = input_gradient_on(Isa::best(), &grad_out, &weight, &shape);
        prop_assert!(close(&input, &plain::input_gradient(&grad_out, &weight, &shape), products));
        let filters = weight_gradient_on(Isa::best(), &x, &grad_out, &shape);
        prop_assert!(close(&filters, &plain::weight_gradient(&x, &grad_out, &shape), pixels));

        for isa in Isa::all() {
            prop_assert!(same_bits(&output, &forward_on(isa, &x, &weight, epilogue, &shape)), "{isa:?}");
            prop_assert!(same_bits(&input, &input_gradient_on(isa, &grad_out, &weight, &shape)), "{isa:?}");
            prop_assert!(same_bits(&filters, &weight_gradient_on(isa, &x, &grad_out, &shape)), "{isa:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn tiles_give_the_sums_of_the_definition_on_every_instruction_set(shape in tiled_shapes(), seed in any::<u64>()) {
        prop_assert_eq!(shape.validate(), Ok(()));
        prop_assert!(winograd::suits(&shape, Pass::Training));
        let x = noise(shape.input_len(), seed);
        let weight = noise(shape.weight_len(), seed ^ 1);
        let grad_out = noise(shape.output_len(), seed ^ 2);
        let affine = noise(2 * shape.out_channels, seed ^ 3);
        let shortcut = noise(shape.output_len(), seed ^ 4);
        let epilogue = epilogue(&affine, &shortcut, seed);
        let epilogue = epilogue.as_ref();
        let products = 9 * shape.in_channels.max(shape.out_channels);
        let pixels = shape.batch * shape.out_height() * shape.out_width();

        let output = forward_on(Isa::best(), &x, &weight, epilogue, &shape);
        prop_assert!(close(&output, &plain::forward(&x, &weight, epilogue, &shape), products));
        let input = input_gradient_on(Isa::best(), &grad_out, &weight, &shape);
        prop_assert!(close(&input, &plain::input_gradient(&grad_out, &weight, &shape), products));
        let filters = weight_gradient_on(Isa::best(), &x, &grad_out, &shape);
        prop_assert!(close_sums_of_tiles(&filters, &plain::weight_gradient(&x, &grad_out, &shape), pixels));

        for isa in Isa::all() {
            prop_assert!(same_bits(&output, &forward_on(isa, &x, &weight, epilogue, &shape)), "{isa:?}");
            prop_assert!(same_bits(&input, &input_gradient_on(isa, &grad_out, &weight, &shape)), "{isa:?}");
            prop_assert!(same_bits(&filters, &weight_gradient_on(isa, &x, &grad_out, &shape)), "{isa:?}");
        }
    }
}

const BASE: Conv2dShape = Conv2dShape {
    batch: 13,
    height: 13,
    width: 11,
    in_channels: 24,
    out_channels: 40,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [[1; 2]; 2],
    dilation: [1, 1],
    groups: 1,
};

/// The routes, with enough pixels for several tasks and partial sums.
fn routes() -> Vec<Conv2dShape> {
    vec![
        BASE,
        // Tiles, also of the weight gradient.
        Conv2dShape {
            batch: 3,
            height: 29,
            width: 31,
            ..BASE
        },
        Conv2dShape {
            stride: [2, 2],
            ..BASE
        },
        Conv2dShape {
            kernel: [1, 1],
            padding: [[0; 2]; 2],
            ..BASE
        },
        Conv2dShape {
            kernel: [1, 1],
            padding: [[0; 2]; 2],
            stride: [2, 2],
            ..BASE
        },
        Conv2dShape {
            out_channels: 24,
            groups: 24,
            ..BASE
        },
        Conv2dShape {
            out_channels: 24,
            groups: 24,
            stride: [2, 2],
            kernel: [5, 5],
            padding: [[2; 2]; 2],
            ..BASE
        },
        Conv2dShape { groups: 4, ..BASE },
        Conv2dShape {
            in_channels: 512,
            out_channels: 8,
            height: 4,
            width: 3,
            ..BASE
        },
        Conv2dShape {
            in_channels: 8,
            out_channels: 512,
            height: 4,
            width: 3,
            kernel: [1, 1],
            padding: [[0; 2]; 2],
            ..BASE
        },
    ]
}

#[test]
fn packed_filters_are_for_one_instruction_set_and_form() {
    let small = Conv2dShape { batch: 1, ..BASE };
    let large = Conv2dShape {
        height: 14,
        width: 14,
        ..small
    };
    let weight = noise(small.weight_len(), 1);
    for isa in Isa::all() {
        let filters = Filters::new(isa, &weight, &small, Pass::Inference);
        for other in Isa::all() {
            assert_eq!(filters.are_for(other, &small), other == isa);
        }
        assert!(!filters.are_for(isa, &large), "tiles");
        let training = Filters::new(isa, &weight, &small, Pass::Training);
        assert!(training.are_for(isa, &large), "no tiles in training");
    }
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    for shape in routes() {
        let x = noise(shape.input_len(), 1);
        let weight = noise(shape.weight_len(), 2);
        let grad_out = noise(shape.output_len(), 3);
        let output = forward_on(Isa::best(), &x, &weight, None, &shape);
        let input = input_gradient_on(Isa::best(), &grad_out, &weight, &shape);
        let one = Conv2dShape { batch: 1, ..shape };
        for b in 0..shape.batch {
            let image = b * one.input_len()..(b + 1) * one.input_len();
            let result = b * one.output_len()..(b + 1) * one.output_len();
            let alone = forward_on(Isa::best(), &x[image.clone()], &weight, None, &one);
            assert!(same_bits(&alone, &output[result.clone()]), "{shape:?}");
            let alone = input_gradient_on(Isa::best(), &grad_out[result], &weight, &one);
            assert!(same_bits(&alone, &input[image]), "{shape:?}");
        }
    }
}

#[test]
fn threads_do_not_change_bits() {
    for shape in routes() {
        let x = noise(shape.input_len(), 1);
        let weight = noise(shape.weight_len(), 2);
        let grad_out = noise(shape.output_len(), 3);
        let run = |threads| {
            in_pool(threads, || {
                [
                    forward_on(Isa::best(), &x, &weight, None, &shape),
                    input_gradient_on(Isa::best(), &grad_out, &weight, &shape),
                    weight_gradient_on(Isa::best(), &x, &grad_out, &shape),
                ]
            })
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(
                one.iter().zip(&run(threads)).all(|(a, b)| same_bits(a, b)),
                "{shape:?}"
            );
        }
    }
}

/// Outputs of the convolution, and of both gradients, are linear: `<grad_out, conv(x, w)>` equals
/// `<input gradient, x>` and `<weight gradient, w>`.
#[test]
fn gradients_are_the_transposes_of_the_convolution() {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum::<f64>()
    };
    for shape in routes() {
        let x = noise(shape.input_len(), 4);
        let weight = noise(shape.weight_len(), 5);
        let grad_out = noise(shape.output_len(), 6);
        let expected = dot(
            &grad_out,
            &forward_on(Isa::best(), &x, &weight, None, &shape),
        );
        let by_input = dot(
            &x,
            &input_gradient_on(Isa::best(), &grad_out, &weight, &shape),
        );
        let by_weight = dot(
            &weight,
            &weight_gradient_on(Isa::best(), &x, &grad_out, &shape),
        );
        assert!(
            (expected - by_input).abs() < 1e-2,
            "{shape:?}: {expected} {by_input}"
        );
        assert!(
            (expected - by_weight).abs() < 1e-2,
            "{shape:?}: {expected} {by_weight}"
        );
    }
}

#[test]
fn an_empty_batch_gives_empty_images_and_zero_weights() {
    let shape = Conv2dShape { batch: 0, ..BASE };
    let weight = noise(shape.weight_len(), 1);
    assert!(forward_on(Isa::best(), &[], &weight, None, &shape).is_empty());
    assert!(input_gradient_on(Isa::best(), &[], &weight, &shape).is_empty());
    assert!(
        weight_gradient_on(Isa::best(), &[], &[], &shape)
            .iter()
            .all(|&v| v == 0.0)
    );
}

//! Fully connected layers. Their weights can be most of a network: VGG's fc6 has 411 MB. They are
//! read in place, one panel at a time, once for all rows of the batch.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::buffer;
use super::gemm::{Block, PANEL_VECTORS, Target, pack_taps, scratch_stride};
use super::simd::Isa;

/// Sizes of a layer over `[batch, inputs]` with weights `[outputs, inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of the input.
    pub batch: usize,
    /// Features of a row of the input.
    pub inputs: usize,
    /// Features of a row of the output.
    pub outputs: usize,
}

/// Depth of a panel's part: with some rows of the left side it stays in the second-level cache.
const BLOCK_DEPTH: usize = 512;

/// Rows of the weight's gradient in a task.
const TASK_ROWS: usize = 16;

/// `x * weight^T + bias`, `[batch, outputs]`. A row's output does not depend on the others in the batch.
///
/// # Panics
///
/// If a slice does not have the length that `shape` asks for.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], shape: LinearShape) -> Vec<f32> {
    forward_on(Isa::best(), x, weight, bias, shape)
}

fn forward_on(isa: Isa, x: &[f32], weight: &[f32], bias: &[f32], shape: LinearShape) -> Vec<f32> {
    let LinearShape {
        batch,
        inputs,
        outputs,
    } = shape;
    assert_eq!(x.len(), batch * inputs, "length of x");
    assert_eq!(weight.len(), outputs * inputs, "length of weight");
    assert_eq!(bias.len(), outputs, "length of bias");
    let pack = |depth: Range<usize>, columns: Range<usize>, panel: &mut [f32], width: usize| {
        let source = &weight[columns.start * inputs + depth.start..];
        let size = [depth.len(), columns.len()];
        pack_taps(panel, width, source, &[0], size, [1, inputs]);
    };
    let mut y = product(isa, x, [batch, inputs, outputs], pack);
    for row in y.chunks_exact_mut(outputs.max(1)) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
    y
}

/// Gradient of the input, `[batch, inputs]`, from that of the output, `[batch, outputs]`.
///
/// # Panics
///
/// If a slice does not have the length that `shape` asks for.
pub fn input_gradient(grad_out: &[f32], weight: &[f32], shape: LinearShape) -> Vec<f32> {
    input_gradient_on(Isa::best(), grad_out, weight, shape)
}

fn input_gradient_on(isa: Isa, grad_out: &[f32], weight: &[f32], shape: LinearShape) -> Vec<f32> {
    let LinearShape {
        batch,
        inputs,
        outputs,
    } = shape;
    assert_eq!(grad_out.len(), batch * outputs, "length of grad_out");
    assert_eq!(weight.len(), outputs * inputs, "length of weight");
    let pack = |depth: Range<usize>, columns: Range<usize>, panel: &mut [f32], width: usize| {
        for (output, to) in depth.zip(panel.chunks_exact_mut(width)) {
            to[..columns.len()].copy_from_slice(&weight[output * inputs..][columns.clone()]);
        }
    };
    product(isa, grad_out, [batch, outputs, inputs], pack)
}

/// Gradient of the weights, `[outputs, inputs]`: each a sum over the batch in order.
///
/// # Panics
///
/// If a slice does not have the length that `shape` asks for.
pub fn weight_gradient(x: &[f32], grad_out: &[f32], shape: LinearShape) -> Vec<f32> {
    weight_gradient_on(Isa::best(), x, grad_out, shape)
}

fn weight_gradient_on(isa: Isa, x: &[f32], grad_out: &[f32], shape: LinearShape) -> Vec<f32> {
    let LinearShape {
        batch,
        inputs,
        outputs,
    } = shape;
    assert_eq!(x.len(), batch * inputs, "length of x");
    assert_eq!(grad_out.len(), batch * outputs, "length of grad_out");
    let width = PANEL_VECTORS * isa.lanes();
    // Rows of whole panels: the last panel may read beyond the inputs.
    let stride = scratch_stride(inputs.next_multiple_of(width));
    let mut rows = vec![0.0; batch * stride];
    for (to, from) in rows
        .chunks_exact_mut(stride)
        .zip(x.chunks_exact(inputs.max(1)))
    {
        to[..inputs].copy_from_slice(from);
    }
    let fill = |gradient: &mut [MaybeUninit<f32>]| {
        (gradient
            .par_chunks_mut(TASK_ROWS * inputs.max(1))
            .enumerate())
        .for_each(|(i, gradient)| {
            isa.run(Block::<true> {
                rows: gradient.len() / inputs,
                columns: inputs,
                depth: batch,
                a: &grad_out[(i * TASK_ROWS).min(grad_out.len())..],
                a_stride: outputs,
                b: &rows,
                b_stride: stride,
                panel_stride: width,
                c: Target::new(gradient, inputs),
                resume: false,
                epilogue: None,
            });
        });
    };
    // SAFETY: the tasks cover every row, and a block writes all of its rows, at a depth of 0 as well.
    unsafe { buffer::filled(outputs * inputs, fill) }
}

/// `left`, `[rows, depth]`, times a matrix of `columns` columns, of which `pack` writes a part of the depth of a
/// panel: `pack(depth, columns, panel, width)`, rows of `width` values.
fn product(
    isa: Isa,
    left: &[f32],
    [rows, depth, columns]: [usize; 3],
    pack: impl Fn(Range<usize>, Range<usize>, &mut [f32], usize) + Sync,
) -> Vec<f32> {
    let width = PANEL_VECTORS * isa.lanes();
    let panel_columns = |panel: usize| panel * width..columns.min((panel + 1) * width);
    let products: Vec<Vec<f32>> = (0..columns.div_ceil(width))
        .into_par_iter()
        .map_init(Scratch::default, |scratch, panel| {
            let columns = panel_columns(panel);
            let mut out = vec![0.0; rows * columns.len()];
            scratch.panel.clear();
            scratch.panel.resize(BLOCK_DEPTH * width, 0.0);
            for first in (0..depth).step_by(BLOCK_DEPTH) {
                let part = first..depth.min(first + BLOCK_DEPTH);
                let stride = scratch_stride(part.len());
                scratch.left.resize(rows * scratch_stride(BLOCK_DEPTH), 0.0);
                let copies = scratch.left.chunks_exact_mut(stride);
                for (to, from) in copies.zip(left.chunks_exact(depth)) {
                    to[..part.len()].copy_from_slice(&from[part.clone()]);
                }
                pack(part.clone(), columns.clone(), &mut scratch.panel, width);
                isa.run(Block::<false> {
                    rows,
                    columns: columns.len(),
                    depth: part.len(),
                    a: &scratch.left,
                    a_stride: stride,
                    b: &scratch.panel,
                    b_stride: width,
                    panel_stride: BLOCK_DEPTH * width,
                    c: Target::new(buffer::overwrite(&mut out), columns.len()),
                    resume: first > 0,
                    epilogue: None,
                });
            }
            out
        })
        .collect();
    let mut output = vec![0.0; rows * columns];
    for (panel, product) in products.iter().enumerate() {
        let columns_of_panel = panel_columns(panel);
        let lines = product.chunks_exact(columns_of_panel.len());
        for (to, from) in output.chunks_exact_mut(columns).zip(lines) {
            to[columns_of_panel.clone()].copy_from_slice(from);
        }
    }
    output
}

#[derive(Default)]
struct Scratch {
    left: Vec<f32>,
    panel: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{in_pool, noise, same_bits};
    use super::*;

    /// The defining sums, one fused chain each in ascending order.
    fn plain(x: &[f32], weight: &[f32], bias: &[f32], shape: LinearShape) -> Vec<f32> {
        let mut y = Vec::new();
        for row in x.chunks_exact(shape.inputs) {
            for (filter, bias) in weight.chunks_exact(shape.inputs).zip(bias) {
                let sum = (row.iter().zip(filter))
                    .fold(0.0, |sum, (x, w): (&f32, &f32)| x.mul_add(*w, sum));
                y.push(sum + bias);
            }
        }
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_instruction_set_gives_the_defining_sums(
            batch in 0_usize..20,
            inputs in prop_oneof![1_usize..70, 500_usize..1100],
            outputs in 1_usize..70,
        ) {
            let shape = LinearShape { batch, inputs, outputs };
            let x = noise(batch * inputs, 1);
            let weight = noise(outputs * inputs, 2);
            let bias = noise(outputs, 3);
            let grad = noise(batch * outputs, 4);
            let expected = plain(&x, &weight, &bias, shape);
            let transposed: Vec<f32> = (0..inputs)
                .flat_map(|i| (0..outputs).map(move |o| o * inputs + i))
                .map(|i| weight[i])
                .collect();
            let back = LinearShape { batch, inputs: outputs, outputs: inputs };
            let zeros = vec![0.0; inputs];
            let expected_input = plain(&grad, &transposed, &zeros, back);
            let mut expected_weight = vec![0.0_f32; outputs * inputs];
            for (x, grad) in x.chunks_exact(inputs).zip(grad.chunks_exact(outputs)) {
                for (sums, grad) in expected_weight.chunks_exact_mut(inputs).zip(grad) {
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = grad.mul_add(*x, *sum);
                    }
                }
            }
            for isa in Isa::all() {
                prop_assert!(same_bits(&forward_on(isa, &x, &weight, &bias, shape), &expected));
                let gradient = input_gradient_on(isa, &grad, &weight, shape);
                prop_assert_eq!(gradient, expected_input.clone());
                prop_assert!(same_bits(&weight_gradient_on(isa, &x, &grad, shape), &expected_weight));
            }
        }
    }

    #[test]
    fn neither_batch_nor_threads_change_bits() {
        let shape = LinearShape {
            batch: 5,
            inputs: 700,
            outputs: 130,
        };
        let (x, weight, bias) = (noise(5 * 700, 1), noise(130 * 700, 2), noise(130, 3));
        let whole = in_pool(1, || forward(&x, &weight, &bias, shape));
        assert!(same_bits(
            &whole,
            &in_pool(2, || forward(&x, &weight, &bias, shape))
        ));
        let one = LinearShape { batch: 1, ..shape };
        for (row, output) in x.chunks_exact(700).zip(whole.chunks_exact(130)) {
            assert!(same_bits(output, &forward(row, &weight, &bias, one)));
        }
    }
}

//! The definition of convolution, as loops.

use super::super::batch_norm;
use super::super::epilogue::Epilogue;
use super::Conv2dShape;

/// Calls `visit(x index, weight index, output index)` for every product of the convolution.
fn products(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = (shape.out_height(), shape.out_width());
    let [in_group, out_group] = [shape.in_channels, shape.out_channels].map(|c| c / shape.groups);
    let [kh, kw] = shape.kernel;
    for b in 0..shape.batch {
        for oy in 0..oh {
            for ox in 0..ow {
                for o in 0..shape.out_channels {
                    let out = ((b * oh + oy) * ow + ox) * shape.out_channels + o;
                    for ky in 0..kh {
                        let y = (oy * shape.stride[0] + ky * shape.dilation[0])
                            .wrapping_sub(shape.padding[0][0]);
                        if y >= shape.height {
                            continue;
                        }
                        for kx in 0..kw {
                            let x = (ox * shape.stride[1] + kx * shape.dilation[1])
                                .wrapping_sub(shape.padding[1][0]);
                            if x >= shape.width {
                                continue;
                            }
                            for i in 0..in_group {
                                let channel = o / out_group * in_group + i;
                                let input = ((b * shape.height + y) * shape.width + x)
                                    * shape.in_channels
                                    + channel;
                                visit(input, ((o * in_group + i) * kh + ky) * kw + kx, out);
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    let mut output = vec![0.0_f32; shape.output_len()];
    products(shape, |i, w, o| {
        output[o] = x[i].mul_add(weight[w], output[o])
    });
    let Some(epilogue) = epilogue else {
        return output;
    };
    let Epilogue {
        scale,
        shift,
        shortcut,
        activation,
    } = *epilogue;
    batch_norm::apply(&output, scale, shift, shortcut, activation)
}

pub(super) fn input_gradient(grad_out: &[f32], weight: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    let mut gradient = vec![0.0_f32; shape.input_len()];
    products(shape, |i, w, o| {
        gradient[i] = grad_out[o].mul_add(weight[w], gradient[i])
    });
    gradient
}

pub(super) fn weight_gradient(x: &[f32], grad_out: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    let mut gradient = vec![0.0_f32; shape.weight_len()];
    products(shape, |i, w, o| {
        gradient[w] = x[i].mul_add(grad_out[o], gradient[w])
    });
    gradient
}

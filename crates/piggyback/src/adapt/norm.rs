//! Batch norms as inference needs them: a gain and a shift for each channel.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{Matrix, Norm, Precision};

use crate::error::{Error, Result};
use crate::nn::{Replace, TensorKind, TensorValues, map_tensors, owner, tensor_values, values};

/// The batch norms of `module` whose name `select` picks, with running statistics folded into
/// gains and shifts. `epsilon` is the layers'.
pub(crate) fn fold<M: Module>(
    module: &M,
    epsilon: f64,
    precision: Precision,
    select: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Norm>> {
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    for TensorValues {
        name,
        kind,
        values: tensor,
        ..
    } in tensor_values(module)
    {
        let layer = owner(&name);
        if kind.is_of_norm() && select(layer) {
            let layer = layers.entry(layer.to_owned()).or_default();
            layer.fields.push((kind, values(tensor)));
        }
    }
    (layers.into_iter())
        .map(|(name, layer)| {
            let norm = layer.fold(epsilon, precision);
            Ok((name.clone(), norm.ok_or_else(|| unfit(&name))??))
        })
        .collect()
}

fn unfit(name: &str) -> Error {
    Error::Unfit {
        what: "batch norms".to_owned(),
        names: vec![name.to_owned()],
    }
}

/// The tensors of a batch norm.
#[derive(Default)]
struct Layer {
    fields: Vec<(TensorKind, Vec<f32>)>,
}

impl Layer {
    fn field(&self, kind: TensorKind) -> Option<&[f32]> {
        let (_, values) = self.fields.iter().find(|(field, _)| *field == kind)?;
        Some(values)
    }

    fn fold(&self, epsilon: f64, precision: Precision) -> Option<Result<Norm>> {
        let weight = self.field(TensorKind::NormScale)?;
        let bias = self.field(TensorKind::NormShift)?;
        let mean = self.field(TensorKind::RunningMean)?;
        let variance = self.field(TensorKind::RunningVariance)?;
        Some(folded(weight, bias, mean, variance, epsilon, precision))
    }
}

/// `gain = weight / sqrt(variance + epsilon)`, `shift = bias - mean * gain`, of lists of the same
/// length.
///
/// The shift is that of the rounded gain, so that rounding the gain does not move the mean of the
/// layer's output (as in Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias
/// Correction*, ICCV 2019).
pub(crate) fn folded(
    weight: &[f32],
    bias: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f64,
    precision: Precision,
) -> Result<Norm> {
    let gains: Vec<f32> = (weight.iter().zip(variance))
        .map(|(weight, variance)| {
            (f64::from(*weight) / (f64::from(*variance) + epsilon).sqrt()) as f32
        })
        .collect();
    let rounded = Matrix::new(1, gains.len(), &gains, precision)?.to_f32();
    let shifts: Vec<f32> = (bias.iter().zip(mean).zip(&rounded))
        .map(|((bias, mean), gain)| (f64::from(*bias) - f64::from(*mean) * f64::from(*gain)) as f32)
        .collect();
    Ok(Norm::new(&gains, &shifts, precision)?)
}

/// Gives the batch norms of `module` these gains and shifts: as weights and biases, with running
/// statistics that change nothing.
///
/// # Errors
///
/// [`Error::Unfit`] with the names of norms that fit no layer.
pub(crate) fn apply<M: Module>(
    module: M,
    norms: &BTreeMap<String, Norm>,
    epsilon: f64,
    device: &Device,
) -> Result<M> {
    let shapes: BTreeMap<String, Vec<usize>> = (tensor_values(&module).into_iter())
        .filter(|tensor| tensor.kind == TensorKind::NormScale)
        .map(|tensor| (owner(&tensor.name).to_owned(), tensor.shape))
        .collect();
    let names: Vec<String> = (norms.iter())
        .filter(|(name, norm)| shapes.get(*name).map(Vec::as_slice) != Some(&[norm.channels()][..]))
        .map(|(name, _)| name.clone())
        .collect();
    if !names.is_empty() {
        return Err(Error::Unfit {
            what: "batch norms".to_owned(),
            names,
        });
    }
    let mut values = BTreeMap::new();
    for (name, norm) in norms {
        let (gain, shift) = norm.gain_and_shift();
        let channels = norm.channels();
        values.insert(format!("{name}.weight"), gain);
        values.insert(format!("{name}.bias"), shift);
        values.insert(format!("{name}.running_mean"), vec![0.0; channels]);
        // The layer adds epsilon in 32 bits and gets exactly 1.
        let variance = 1.0 - epsilon as f32;
        values.insert(format!("{name}.running_var"), vec![variance; channels]);
    }
    Ok(map_tensors(module, &mut Applying { values, device }))
}

struct Applying<'a> {
    values: BTreeMap<String, Vec<f32>>,
    device: &'a Device,
}

impl Replace for Applying<'_> {
    fn replace(&mut self, name: &str, _current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let values = self.values.get(name)?;
        Some(Tensor::from_data(values.as_slice(), self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Backbone, LoadOptions};
    use crate::networks::Architecture;
    use crate::test_support::filled;

    /// Folded norms compute what the four tensors compute, whatever a family's epsilon.
    #[test]
    fn folding_changes_no_output() {
        for architecture in [
            Architecture::MobileNetV2,
            Architecture::MobileNetV3Small,
            Architecture::EfficientNetLite0,
            Architecture::EfficientNetB0,
            Architecture::ResNet18,
            Architecture::DenseNet121,
            Architecture::RegNetY400Mf,
            Architecture::Vgg16Bn,
        ] {
            let device = Device::flex();
            let state = filled(architecture, 2);
            let backbone =
                Backbone::from_state_dict(state, LoadOptions::default(), &device).unwrap();
            let network = backbone.independent_network();
            let epsilon = architecture.norm_epsilon();
            let norms = fold(&network, epsilon, Precision::F32, |_| true).unwrap();
            assert_eq!(norms.len(), architecture.norms().len(), "{architecture}");
            let images = Tensor::from_data(
                burn::tensor::TensorData::new(
                    (0..2 * 3 * 32 * 32)
                        .map(|i| (i % 17) as f32 * 0.1 - 0.8)
                        .collect::<Vec<_>>(),
                    [2, 3, 32, 32],
                ),
                &device,
            );
            let before = values(network.forward(images.clone()));
            let folded = apply(network, &norms, epsilon, &device).unwrap();
            let after = values(folded.forward(images));
            let largest = before
                .iter()
                .fold(0f32, |most, value| most.max(value.abs()));
            for (before, after) in before.iter().zip(&after) {
                assert!(
                    (before - after).abs() <= 2e-4 * largest,
                    "{architecture}: {before} {after}"
                );
            }
        }
    }

    /// With the mean as input, a layer answers its bias, however coarse the gain is.
    #[test]
    fn rounding_a_gain_does_not_move_the_mean() {
        let (weight, bias) = ([1.0, 0.013], [0.5, -0.25]);
        let (mean, variance) = ([8.0, -40.0], [1.0, 1.0]);
        let norm = folded(&weight, &bias, &mean, &variance, 0.0, Precision::Int8).unwrap();
        let (gain, shift) = norm.gain_and_shift();
        assert!((gain[1] - weight[1]).abs() > 1e-3, "{}", gain[1]);
        // Within the rounding of the shifts, whose largest is 7.5.
        for i in 0..2 {
            let output = gain[i] * mean[i] + shift[i];
            assert!((output - bias[i]).abs() <= 0.031, "{output}");
        }
    }
}

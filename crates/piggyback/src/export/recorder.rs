//! Records a network's computation as ONNX nodes.

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};

use crate::export::NamedValues;
use crate::nn::{
    Activation, BatchNorm2d, Conv2d, Graph, Linear, PoolOptions, TensorKind, named_tensors,
};
use crate::protobuf::Message;

/// Nodes in execution order, and the constants they use.
pub(super) struct Recorder {
    /// Names of the network's parameters.
    names: BTreeMap<ParamId, String>,
    /// `NodeProto`s.
    pub(super) nodes: Vec<Message>,
    /// Constants besides the network's tensors.
    pub(super) constants: Vec<NamedValues>,
    /// Whether a layer used an unknown parameter, which makes the nodes unusable.
    pub(super) met_unknown: bool,
}

/// Activations `[batch, channels, height, width]` that a node gives.
#[derive(Clone)]
pub(super) struct Maps {
    pub(super) name: String,
    pub(super) channels: usize,
    pub(super) size: [usize; 2],
}

/// An attribute of a node.
enum Attribute<'a> {
    Int(i64),
    Ints(&'a [usize]),
    Float(f32),
}

impl Recorder {
    pub(super) fn new(names: BTreeMap<ParamId, String>) -> Self {
        Self {
            names,
            nodes: Vec::new(),
            constants: Vec::new(),
            met_unknown: false,
        }
    }

    /// Adds a node with one output, and returns the output's name.
    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> String {
        let name = format!("{operator}_{}", self.nodes.len());
        self.named_node(&name, operator, inputs, attributes);
        name
    }

    fn named_node(
        &mut self,
        output: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) {
        // NodeProto: input 1, output 2, name 3, op_type 4, attribute 5.
        let mut node = Message::default();
        for input in inputs {
            node = node.bytes(1, input);
        }
        node = node.bytes(2, output).bytes(3, output).bytes(4, operator);
        for (name, value) in attributes {
            // AttributeProto: name 1, f 2, i 3, ints 8, type 20 (FLOAT 1, INT 2, INTS 7).
            let attribute = Message::default().bytes(1, name);
            let attribute = match value {
                Attribute::Float(value) => attribute.float(2, *value).int(20, 1),
                Attribute::Int(value) => attribute.int(3, *value).int(20, 2),
                Attribute::Ints(values) => (values.iter())
                    .fold(attribute, |attribute, value| {
                        attribute.int(8, *value as i64)
                    })
                    .int(20, 7),
            };
            node = node.message(5, attribute);
        }
        self.nodes.push(node);
    }

    /// A node that gives the network's output `output`.
    pub(super) fn output(&mut self, output: &str, operator: &str, input: &str) {
        let attributes = match operator {
            "Softmax" => &[("axis", Attribute::Int(1))][..],
            _ => &[],
        };
        self.named_node(output, operator, &[input], attributes);
    }

    fn name_of(&mut self, id: ParamId) -> String {
        let name = self.names.get(&id).cloned();
        self.met_unknown |= name.is_none();
        name.unwrap_or_default()
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> String {
        if !self.constants.iter().any(|constant| constant.name == name) {
            let data = TensorData::new(values, [shape.iter().product::<usize>()]);
            self.constants.push(NamedValues {
                name: name.to_owned(),
                shape: shape.to_vec(),
                values: Tensor::from_data(data, &burn::tensor::Device::flex()),
            });
        }
        name.to_owned()
    }

    fn activate(&mut self, name: String, activation: Activation) -> String {
        match activation {
            Activation::None => name,
            Activation::Relu => self.node("Relu", &[&name], &[]),
            Activation::Relu6 => {
                let zero = self.constant("zero", &[], vec![0.0]);
                let six = self.constant("six", &[], vec![6.0]);
                self.node("Clip", &[&name, &zero, &six], &[])
            }
            Activation::Sigmoid => self.node("Sigmoid", &[&name], &[]),
            // ONNX has no operator for it in this version.
            Activation::Silu => {
                let sigmoid = self.node("Sigmoid", &[&name], &[]);
                self.node("Mul", &[&name, &sigmoid], &[])
            }
            Activation::HardSigmoid => {
                let slope = [
                    ("alpha", Attribute::Float(1.0 / 6.0)),
                    ("beta", Attribute::Float(0.5)),
                ];
                self.node("HardSigmoid", &[&name], &slope)
            }
            Activation::HardSwish => self.node("HardSwish", &[&name], &[]),
        }
    }

    fn pool(&mut self, operator: &str, input: Maps, options: PoolOptions) -> Maps {
        let [top, left] = options.padding;
        let pads = [top, left, top, left];
        let attributes = [
            ("kernel_shape", Attribute::Ints(&options.kernel)),
            ("strides", Attribute::Ints(&options.stride)),
            ("pads", Attribute::Ints(&pads)),
        ];
        Maps {
            name: self.node(operator, &[&input.name], &attributes),
            channels: input.channels,
            size: options.output_size(input.size),
        }
    }

    fn flatten(&mut self, name: &str) -> String {
        self.node("Flatten", &[name], &[("axis", Attribute::Int(1))])
    }
}

impl Graph for Recorder {
    type Maps = Maps;
    type Features = String;

    fn conv(&mut self, layer: &Conv2d, input: Maps, activation: Activation) -> Maps {
        let [channels, _, height, width] = layer.weight.lazy_shape().dims();
        let options = layer.options(input.size);
        let weight = self.name_of(layer.weight.id);
        let bias = layer.bias.as_ref().map(|bias| self.name_of(bias.id));
        let mut inputs = vec![input.name.as_str(), &weight];
        inputs.extend(bias.as_deref());
        let [[top, bottom], [left, right]] = options.padding;
        let pads = [top, left, bottom, right];
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[height, width])),
            ("strides", Attribute::Ints(&options.stride)),
            ("pads", Attribute::Ints(&pads)),
            ("dilations", Attribute::Ints(&options.dilation)),
            ("group", Attribute::Int(options.groups as i64)),
        ];
        let name = self.node("Conv", &inputs, &attributes);
        Maps {
            name: self.activate(name, activation),
            channels,
            size: options.output_size(input.size, [height, width]),
        }
    }

    fn norm(&mut self, layer: &BatchNorm2d, input: Maps, activation: Activation) -> Maps {
        let tensors = named_tensors(layer);
        let [weight, bias, mean, variance] = [
            TensorKind::NormScale,
            TensorKind::NormShift,
            TensorKind::RunningMean,
            TensorKind::RunningVariance,
        ]
        .map(|kind| {
            let found = tensors.iter().find(|tensor| tensor.kind == kind);
            found.map_or_else(String::new, |tensor| self.name_of(tensor.id))
        });
        let inputs = [&*input.name, &weight, &bias, &mean, &variance];
        let epsilon = Attribute::Float(layer.epsilon() as f32);
        let name = self.node("BatchNormalization", &inputs, &[("epsilon", epsilon)]);
        Maps {
            name: self.activate(name, activation),
            ..input
        }
    }

    fn norm_add(
        &mut self,
        layer: &BatchNorm2d,
        input: Maps,
        shortcut: Maps,
        activation: Activation,
    ) -> Maps {
        let maps = self.norm(layer, input, Activation::None);
        let name = self.node("Add", &[&maps.name, &shortcut.name], &[]);
        Maps {
            name: self.activate(name, activation),
            ..maps
        }
    }

    fn concat(&mut self, first: Maps, second: Maps) -> Maps {
        let names = [first.name.as_str(), &second.name];
        Maps {
            name: self.node("Concat", &names, &[("axis", Attribute::Int(1))]),
            channels: first.channels + second.channels,
            size: first.size,
        }
    }

    fn max_pool(&mut self, input: Maps, options: PoolOptions) -> Maps {
        self.pool("MaxPool", input, options)
    }

    fn average_pool(&mut self, input: Maps, options: PoolOptions) -> Maps {
        self.pool("AveragePool", input, options)
    }

    fn global_average_pool(&mut self, input: Maps) -> String {
        let pooled = self.squeeze(input);
        self.flatten(&pooled.name)
    }

    fn squeeze(&mut self, input: Maps) -> Maps {
        Maps {
            name: self.node("GlobalAveragePool", &[&input.name], &[]),
            size: [1; 2],
            ..input
        }
    }

    fn gate(&mut self, input: Maps, gates: Maps) -> Maps {
        Maps {
            name: self.node("Mul", &[&input.name, &gates.name], &[]),
            ..input
        }
    }

    /// ONNX has no adaptive pooling, so the means of rows and then columns are matrix products.
    fn adaptive_average_pool(&mut self, input: Maps, side: usize) -> String {
        let [height, width] = input.size;
        if input.size == [side; 2] {
            return self.flatten(&input.name);
        }
        let rows = means(height, side);
        let rows = self.constant("pool.rows", &[side, height], rows);
        let columns = means(width, side);
        let columns = (0..width)
            .flat_map(|column| (0..side).map(move |output| output * width + column))
            .map(|index| columns[index])
            .collect();
        let columns = self.constant("pool.columns", &[width, side], columns);
        let pooled = self.node("MatMul", &[&rows, &input.name], &[]);
        let pooled = self.node("MatMul", &[&pooled, &columns], &[]);
        self.flatten(&pooled)
    }

    fn linear(&mut self, layer: &Linear, input: String, activation: Activation) -> String {
        let (weight, bias) = (self.name_of(layer.weight.id), self.name_of(layer.bias.id));
        let attributes = [("transB", Attribute::Int(1))];
        let name = self.node("Gemm", &[&input, &weight, &bias], &attributes);
        self.activate(name, activation)
    }

    fn dropout(&mut self, input: String, _: f64) -> String {
        input
    }
}

/// `[side, size]`: the weight of each input in each of `side` means. PyTorch's windows go from
/// `floor(i * size / side)` to `ceil((i + 1) * size / side)`.
fn means(size: usize, side: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; side * size];
    for output in 0..side {
        let (start, end) = (output * size / side, ((output + 1) * size).div_ceil(side));
        matrix[output * size + start..output * size + end].fill(1.0 / (end - start) as f32);
    }
    matrix
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::networks::{Architecture, Network};

    /// How many nodes of an operator a network becomes.
    fn count(architecture: Architecture, operator: &str) -> usize {
        let network = Network::new(architecture, &Device::flex());
        let names = named_tensors(&network).into_iter();
        let mut recorder = Recorder::new(names.map(|tensor| (tensor.id, tensor.name)).collect());
        let images = Maps {
            name: "images".into(),
            channels: 3,
            size: [64; 2],
        };
        network.run(&mut recorder, images);
        let field = Message::default().bytes(4, operator);
        let field = field.as_bytes();
        let is = |node: &&Message| {
            node.as_bytes()
                .windows(field.len())
                .any(|part| part == field)
        };
        recorder.nodes.iter().filter(is).count()
    }

    #[test]
    fn squeeze_and_excitation_and_its_activations_have_operators() {
        let counts = |architecture: Architecture, operators: [&str; 5]| {
            operators.map(|operator| count(architecture, operator))
        };
        // 16 blocks, each with three SiLU, of which the first lacks one, a gate and its pooling.
        let operators = ["Conv", "Sigmoid", "Mul", "GlobalAveragePool", "Add"];
        let silu = 1 + 16 * 3 - 1 + 1;
        assert_eq!(
            counts(Architecture::EfficientNetB0, operators),
            [2 + 16 * 5 - 1, silu + 16, silu + 16, 16 + 1, 9]
        );
        // Nine of the eleven blocks have squeeze-and-excitation.
        let operators = ["HardSwish", "HardSigmoid", "Mul", "Gemm", "Add"];
        assert_eq!(
            counts(Architecture::MobileNetV3Small, operators),
            [2 + 8 * 2 + 1, 9, 9, 1, 6]
        );
        let operators = ["Sigmoid", "HardSwish", "Mul", "GlobalAveragePool", "Add"];
        assert_eq!(
            counts(Architecture::RegNetY400Mf, operators),
            [16, 0, 16, 17, 16]
        );
    }

    #[test]
    fn means_are_over_pytorchs_windows() {
        assert_eq!(means(4, 2), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        // Windows 0..2 and 1..3 overlap.
        assert_eq!(means(3, 2), [0.5, 0.5, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(means(1, 3), [1.0, 1.0, 1.0]);
    }
}

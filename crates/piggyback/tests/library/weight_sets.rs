//! Weights wherever training scripts put them, heads that were replaced, half precision of any part, and networks that
//! only look like ours.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use piggyback::checkpoint::{
    LoadOptions, Lookalike, StateDict, StoredTensor, WeightsChoice, convert,
};
use piggyback::task::{Dtype, Head, Matrix, Precision, TaskFile, TrainingRecord};
use piggyback::{Architecture, Backbone, KnownNetworks};
use safetensors::tensor::TensorView;

use crate::support::filled;

type Tensors = BTreeMap<String, StoredTensor>;

/// Writes tensors of 32-bit floats, and metadata.
fn write(path: &Path, tensors: &Tensors, metadata: &[(&str, &str)]) {
    let bytes: Vec<_> = (tensors.iter())
        .map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                Dtype::F16 => safetensors::Dtype::F16,
                Dtype::Bf16 => safetensors::Dtype::BF16,
                Dtype::F32 => safetensors::Dtype::F32,
                Dtype::F64 => safetensors::Dtype::F64,
            };
            (name, dtype, tensor.shape().to_vec(), tensor.bytes())
        })
        .collect();
    let views = bytes.iter().map(|(name, dtype, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    let metadata: HashMap<String, String> = (metadata.iter())
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let _ = fs::remove_file(path);
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

fn prefixed(tensors: &Tensors, prefix: &str) -> Tensors {
    (tensors.iter())
        .map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()))
        .collect()
}

struct Files {
    folder: tempfile::TempDir,
    /// Two networks of the same kind with other weights.
    raw: Tensors,
    ema: Tensors,
}

impl Files {
    fn new() -> Self {
        let raw = filled(Architecture::MobileNetV2, 4).tensors;
        let mut ema = raw.clone();
        let bias = ema["features.0.1.weight"].clone();
        ema.insert("features.0.1.bias".into(), bias);
        Self {
            folder: tempfile::tempdir().unwrap(),
            raw,
            ema,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("w.safetensors")
    }

    fn open(&self, groups: &[Tensors], choice: &str) -> Result<StateDict, String> {
        let all = groups.iter().flat_map(|group| group.clone()).collect();
        write(&self.path(), &all, &[]);
        let choice = match choice {
            "" => WeightsChoice::Usual,
            choice => choice.parse().unwrap(),
        };
        StateDict::open_weights(self.path(), &choice).map_err(|error| error.to_string())
    }
}

fn load(state: StateDict) -> piggyback::Result<Backbone> {
    Backbone::from_state_dict(state, LoadOptions::default(), &Device::flex())
}

#[test]
fn any_wrapper_is_taken_off() {
    let files = Files::new();
    for prefix in [
        "",
        "_orig_mod.",
        "module._orig_mod.",
        "net.",
        "backbone.",
        "encoder.",
        "timm_model.",
        "state_dict.module.encoder.",
        "a.b.c.d.e.f.",
        "model_ema.module.",
        "fc.",
        "features.",
    ] {
        let state = files.open(&[prefixed(&files.raw, prefix)], "").unwrap();
        assert_eq!(state.tensors, files.raw, "{prefix}");
        assert_eq!(state.sets.taken, prefix.trim_end_matches('.'));
        assert!(state.sets.others.is_empty() && state.sets.left_out.is_empty());
    }
    for architecture in [Architecture::ResNet18, Architecture::DenseNet121] {
        let tensors = filled(architecture, 2).tensors;
        let state = files
            .open(&[prefixed(&tensors, "student.net.")], "")
            .unwrap();
        assert_eq!(load(state).unwrap().architecture(), architecture);
    }
}

#[test]
fn of_several_sets_the_usual_one_is_taken_or_another_chosen() {
    let files = Files::new();
    let (raw, ema) = (&files.raw, &files.ema);
    for (first, second) in [
        ("state_dict.", "state_dict_ema."),
        ("model.", "model_ema.module."),
        ("", "ema."),
        ("state_dict.model.", "state_dict.ema_model.module."),
        ("net.", "averaged_model.module."),
    ] {
        let groups = [prefixed(raw, first), prefixed(ema, second)];
        let open = |choice: &str| files.open(&groups, choice).unwrap();
        assert_eq!(open("").tensors, *ema, "{first}");
        assert_eq!(open("ema").tensors, *ema, "{first}");
        assert_eq!(open("raw").tensors, *raw, "{first}");
        let named = open(second.trim_end_matches('.'));
        assert_eq!(named.tensors, *ema, "{first}");
        assert_eq!(named.sets.others.len(), 1);
    }
    // One that lacks the running statistics is no network.
    let mut partly = prefixed(ema, "ema.");
    partly.retain(|name, _| !name.contains("running"));
    let state = files.open(&[prefixed(raw, "model."), partly], "").unwrap();
    assert_eq!(state.tensors, *raw);
    assert!(state.sets.others[0].contains("ema (incomplete)"));

    let two = [prefixed(raw, "encoder_q."), prefixed(ema, "encoder_k.")];
    let error = files.open(&two, "").unwrap_err();
    assert!(
        error.contains("encoder_q (mobilenet_v2)") && error.contains("--weights"),
        "{error}"
    );
    assert_eq!(files.open(&two, "encoder_k").unwrap().tensors, *ema);
    assert!(
        files
            .open(&two, "teacher")
            .unwrap_err()
            .contains("encoder_k")
    );
    assert!(
        files
            .open(&two, "ema")
            .unwrap_err()
            .contains("no moving average")
    );
    // The same module under two names is one.
    let same = [prefixed(raw, "net."), prefixed(raw, "model.net.")];
    assert_eq!(files.open(&same, "").unwrap().tensors, *raw);
    // Of the usual dictionaries, timm's first.
    let order = [prefixed(raw, "model."), prefixed(ema, "state_dict.")];
    assert_eq!(files.open(&order, "").unwrap().tensors, *ema);
}

#[test]
fn a_part_of_a_larger_network_is_taken_only_by_its_name() {
    let files = Files::new();
    let convolution = files.raw["features.1.conv.0.0.weight"].clone();
    let vector = files.raw["features.0.1.bias"].clone();
    let with = |name: &str, tensor: &StoredTensor| {
        [
            prefixed(&files.raw, "backbone."),
            [(name.to_owned(), tensor.clone())].into(),
        ]
    };
    let larger = with("classifier.0.weight", &convolution);
    let error = files.open(&larger, "").unwrap_err();
    assert!(
        error.contains("larger network") && error.contains("--weights backbone"),
        "{error}"
    );
    assert_eq!(files.open(&larger, "backbone").unwrap().tensors, files.raw);
    let state = files.open(&with("criterion.weight", &vector), "").unwrap();
    assert_eq!(
        (&state.tensors, &state.sets.left_out[..]),
        (&files.raw, &["criterion.weight".to_owned()][..])
    );
}

#[test]
fn heads_of_one_layer_are_heads_whatever_they_are_called() {
    let files = Files::new();
    for (architecture, names) in [
        (
            Architecture::MobileNetV2,
            ["classifier", "classifier.0", "classifier.1.1"],
        ),
        (Architecture::ResNet18, ["fc.0", "fc.1", "fc.head"]),
        (
            Architecture::DenseNet121,
            ["classifier.0", "classifier.1", "classifier.out"],
        ),
    ] {
        let plain = filled(architecture, 3).tensors;
        let head = format!("{}.", architecture.head_name());
        for name in names {
            let renamed: Tensors = (plain.iter())
                .map(|(own, tensor)| match own.strip_prefix(&head) {
                    Some(field) => (format!("{name}.{field}"), tensor.clone()),
                    None => (own.clone(), tensor.clone()),
                })
                .collect();
            assert_eq!(
                files
                    .open(std::slice::from_ref(&renamed), "")
                    .unwrap()
                    .tensors,
                plain,
                "{name}"
            );
            // Without a bias it has one of zeros.
            let mut biasless = renamed;
            biasless.remove(&format!("{name}.bias"));
            let state = files.open(&[biasless], "").unwrap();
            assert_eq!(
                state.tensors[&format!("{head}bias")].to_f32(),
                [0.0; 3],
                "{name}"
            );
        }
    }
    // What stands between two layers is not in the file: the network has no head that can be used.
    let mut two = files.raw.clone();
    let bias = two["classifier.1.bias"].clone();
    let weight = StoredTensor::from_f32(vec![4, 4], &[0.5; 16]).unwrap();
    two.insert("classifier.3.weight".into(), weight);
    two.insert("classifier.3.bias".into(), bias);
    let backbone = load(files.open(&[two], "").unwrap()).unwrap();
    assert!(backbone.head().is_none());
    let error = backbone.own_head().unwrap_err().to_string();
    assert!(
        error.contains("classifier.3.weight") && error.contains("w.safetensors"),
        "{error}"
    );
}

#[test]
fn a_damaged_head_is_refused_where_it_is_needed() {
    let files = Files::new();
    let mut tensors = files.raw.clone();
    let mut values = tensors["classifier.1.weight"].to_f32();
    values[7] = f32::NAN;
    let weight = StoredTensor::from_f32(vec![4, 1280], &values).unwrap();
    tensors.insert("classifier.1.weight".into(), weight);
    let state = files.open(&[tensors], "").unwrap();
    let backbone = load(state.clone()).unwrap();
    let whole = load(files.open(std::slice::from_ref(&files.raw), "").unwrap()).unwrap();
    assert_eq!(backbone.id(), whole.id());
    let error = backbone.own_head().unwrap_err().to_string();
    assert!(
        error.contains("classifier.1.weight") && error.contains("NaN"),
        "{error}"
    );
    let out = files.folder.path().join("out.safetensors");
    let refused = convert(&state, LoadOptions::default(), &out)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("classifier.1.weight"), "{refused}");
}

/// Narrows the tensors that `which` says.
fn narrowed(
    tensors: &Tensors,
    dtype: Dtype,
    which: impl Fn(&str, &StoredTensor) -> bool,
) -> Tensors {
    (tensors.iter())
        .map(|(name, tensor)| match which(name, tensor) {
            true => (name.clone(), tensor.to_dtype(dtype)),
            false => (name.clone(), tensor.clone()),
        })
        .collect()
}

/// A task of nothing but a head.
fn task(backbone: &Backbone) -> TaskFile {
    let mut training = TrainingRecord::default();
    let precisions: serde_json::Map<String, serde_json::Value> =
        (backbone.related_fingerprints().into_iter())
            .map(|(name, fingerprint)| (name, fingerprint.to_string().into()))
            .collect();
    training.insert("backbone-precisions", precisions);
    let head = Head {
        weight: Matrix::new(1, 1280, &[0.0; 1280], Precision::F32).unwrap(),
        bias: vec![0.0],
    };
    TaskFile {
        training,
        ..TaskFile::classifier(
            backbone.id(),
            backbone.architecture().tensor_list(),
            vec!["a".into()],
            backbone.preprocessing().clone(),
            head,
        )
    }
}

#[test]
fn allowing_a_precision_covers_whichever_tensors_are_half() {
    let files = Files::new();
    let open =
        |tensors: &Tensors| load(files.open(std::slice::from_ref(tensors), "").unwrap()).unwrap();
    let whole = open(&files.raw);
    let of_whole = task(&whole);
    let is_weight = |_: &str, tensor: &StoredTensor| tensor.shape().len() > 1;
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let cases = [
            narrowed(&files.raw, dtype, |_, _| true),
            narrowed(&files.raw, dtype, is_weight),
            narrowed(&files.raw, dtype, |name, _| name.ends_with("bias")),
            narrowed(&files.raw, dtype, |name, _| name.starts_with("features.1")),
            narrowed(&files.raw, dtype, |name, tensor| {
                is_weight(name, tensor) || name.ends_with("bias")
            }),
        ];
        for tensors in cases {
            let half = open(&tensors);
            let of_half = task(&half);
            for (backbone, task) in [(&half, &of_whole), (&whole, &of_half)] {
                let error = backbone.check_origin(task).unwrap_err();
                assert!(error.contains("--allow-precision"), "{error}");
                backbone
                    .clone()
                    .with_other_precisions(true)
                    .check_origin(task)
                    .unwrap();
            }
        }
    }
    let other = open(&files.ema).with_other_precisions(true);
    assert!(
        other
            .check_origin(&of_whole)
            .unwrap_err()
            .contains("different mobilenet_v2 weights")
    );
    let half = open(&narrowed(&files.raw, Dtype::F16, |_, _| true));
    assert!(
        half.with_other_precisions(true)
            .check_origin(&task(&other))
            .is_err()
    );
}

#[test]
fn networks_that_only_look_like_ours_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = filled(Architecture::ResNet18, 2).tensors;
    let open =
        |path: &Path| load(StateDict::open(path).unwrap()).map_err(|error| error.to_string());
    let refused = |path: &Path, source: &str| {
        let error = open(path).unwrap_err();
        assert!(
            error.contains("resnetblur18") && error.contains("--arch resnet18"),
            "{error}"
        );
        assert!(error.contains(source), "{error}");
        // Who knows better says so.
        let options = LoadOptions {
            architecture: Some(Architecture::ResNet18),
            ..LoadOptions::default()
        };
        let state = StateDict::open(path).unwrap();
        assert!(state.lookalike(Architecture::ResNet18).is_some());
        Backbone::from_state_dict(state, options, &Device::flex()).unwrap();
    };
    let plain = folder.path().join("model.safetensors");
    write(&plain, &tensors, &[("format", "pt")]);
    open(&plain).unwrap();
    for key in ["architecture", "arch", "model_name"] {
        write(&plain, &tensors, &[(key, "resnetblur18.some_tag")]);
        refused(&plain, key);
    }
    let named = folder.path().join("resnetblur18-84f4748f.safetensors");
    write(&named, &tensors, &[]);
    refused(&named, "its name");
    let cached = folder
        .path()
        .join("models--timm--resnetblur18.a1_in1k/snapshots/0123");
    fs::create_dir_all(&cached).unwrap();
    let cached = cached.join("model.safetensors");
    write(&cached, &tensors, &[]);
    refused(&cached, "its folder");
    write(&plain, &tensors, &[]);
    fs::write(
        folder.path().join("config.json"),
        r#"{"architecture": "resnetblur18"}"#,
    )
    .unwrap();
    refused(&plain, "config.json");
    fs::write(
        folder.path().join("config.json"),
        r#"{"architecture": "resnet18"}"#,
    )
    .unwrap();
    open(&plain).unwrap();
    assert_eq!(
        Lookalike::called("timm/resnetblur18.a1_in1k").unwrap().name,
        "resnetblur18"
    );
}

#[test]
fn files_of_other_kinds_are_told_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = vec![0; 1024];
    tar[..5].copy_from_slice(b"a.pth");
    tar[257..262].copy_from_slice(b"ustar");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let cases: [(&[u8], &str); 10] = [
        (pointer, "git lfs pull"),
        (
            b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
            "HTML page",
        ),
        (b"{\"error\": \"Repository not found\"}", "JSON document"),
        (b"Access to this resource is restricted", "text file"),
        (b"\x89HDF\r\n\x1A\n\0\0\0\0\0\0\0\0", "HDF5"),
        (b"\x08\x07\x12\x07pytorch\x1A\x051.9.0:\x80\0\0\0", "ONNX"),
        (b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0", "GGUF"),
        (&tar, "tar archive"),
        (b"\x1F\x8B\x08\0\0\0\0\0\0\x03\0\0", "gzip"),
        (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", "PNG image"),
    ];
    for (bytes, what) in cases {
        for name in ["w.pth", "w.safetensors", "w.bin", "w.task.safetensors"] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = match name {
                "w.task.safetensors" => TaskFile::open(&path, &KnownNetworks)
                    .unwrap_err()
                    .to_string(),
                _ => StateDict::open(&path).unwrap_err().to_string(),
            };
            assert!(error.contains(what) && error.contains(name), "{error}");
            let error = piggyback::files::LearnedFile::open(&path)
                .unwrap_err()
                .to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

//! Every method does what it says, on a network and images small enough for a second.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use piggyback::checkpoint::{LoadOptions, StateDict};
use piggyback::data::DataSet;
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::files::{LearnedFileKind, MethodName, SharedNetwork};
use piggyback::image::Image;
use piggyback::learn::{Event, Learned, Run, Test};
use piggyback::methods::MethodSettings;
use piggyback::task::TaskFile;
use piggyback::{Architecture, Backbone, Engine, Error, LearnedFile};
use safetensors::SafeTensors;

use crate::support::filled;
use crate::tasks::{SIDE, folder, image};

pub(crate) fn backbone() -> Backbone {
    of(Architecture::MobileNetV2)
}

fn of(architecture: Architecture) -> Backbone {
    let state = filled(architecture, 10);
    Backbone::from_state_dict(state, LoadOptions::default(), &Device::flex()).unwrap()
}

fn small(method: MethodName) -> String {
    let common = format!(
        "epochs = 2\nbatch-size = 4\nimage-size = {SIDE}\nresize = 'fit'\naugment = 'none'\n\
         val-share = 0.25\n"
    );
    let own = match method {
        MethodName::Bitdelta | MethodName::SignDelta => "lr = 0.001\nscale-epochs = 1\n",
        MethodName::LowRank => "rank = 2\n",
        MethodName::Individual | MethodName::Joint => "lr = 0.01\n",
        MethodName::Packnet => "lr = 0.01\nretrain-lr = 0.01\nretrain-epochs = 1\n",
        _ => "lr-head = 0.01\nlr-norm = 0.01\n",
    };
    common + own
}

pub(crate) fn settings(method: MethodName, more: &str) -> MethodSettings {
    let mut table: toml::Table = small(method).parse().unwrap();
    table.extend(more.parse::<toml::Table>().unwrap());
    MethodSettings::from_table(Some(method), &table).unwrap()
}

pub(crate) fn set(name: &str, dir: &Path) -> DataSet {
    DataSet {
        name: name.into(),
        ..DataSet::open(dir).unwrap()
    }
}

fn images() -> Vec<Image> {
    (0..4).map(|index| image(index % 2, index)).collect()
}

fn bits(engine: &Engine, task: &str) -> Vec<u32> {
    let predictions = engine.predict(task, &images()).unwrap();
    let logits = predictions.iter().flat_map(|p| &p.logits);
    logits.map(|logit| logit.to_bits()).collect()
}

/// The numbers of a checkpoint, to the bit.
fn numbers(state: &StateDict) -> BTreeMap<String, Vec<u32>> {
    (state.tensors.iter())
        .map(|(name, tensor)| {
            let values = tensor.to_f32();
            (name.clone(), values.iter().map(|v| v.to_bits()).collect())
        })
        .collect()
}

fn learn(method: MethodName, more: &str, data: &[DataSet]) -> Learned<LearnedFile> {
    Run::new()
        .learn(&settings(method, more), &backbone(), data)
        .unwrap()
}

fn shared(learned_file: LearnedFile) -> SharedNetwork {
    match learned_file {
        LearnedFile::Shared(shared) => shared,
        other => panic!("{other:?}"),
    }
}

/// The bytes of an learned_file's file.
pub(crate) fn file(learned_file: &LearnedFile) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned_file.safetensors");
    learned_file.save(&path).unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn an_individual_network_learns_all_over_and_leaves_the_backbone() {
    let data = folder(&[("train", 8), ("test", 2)]);
    let backbone = backbone();
    let before = bits(&engine_of_backbone(&backbone, data.path()), "stripes");
    let sets = [set("stripes", data.path())];
    let individual = settings(MethodName::Individual, "");
    let outcome = Run::new().learn(&individual, &backbone, &sets[..]).unwrap();
    let LearnedFile::Network(network) = &outcome.product else {
        panic!("{:?}", outcome.product)
    };
    let (began, learned) = (
        numbers(&filled(Architecture::MobileNetV2, 10)),
        numbers(network.state()),
    );
    for tensor in Architecture::MobileNetV2.tensors() {
        assert_ne!(
            began[&tensor.name], learned[&tensor.name],
            "{}",
            tensor.name
        );
    }
    assert_eq!(
        bits(&engine_of_backbone(&backbone, data.path()), "stripes"),
        before
    );

    // As a file it answers the same, without the backbone.
    let path = data.path().join("stripes.safetensors");
    outcome.product.save(&path).unwrap();
    let opened = LearnedFile::open(&path).unwrap();
    assert_eq!(opened.kind(), LearnedFileKind::Network);
    assert_eq!(opened.method(), Some(MethodName::Individual));
    assert!(!opened.needs_backbone());
    assert_eq!(opened.tasks()[0].classes, ["across", "down"]);
    assert_eq!(opened.tasks()[0].preprocessing.image_size, SIDE);
    let record = opened.tasks()[0].training.unwrap().clone();
    assert_eq!(
        record.get("backbone-fingerprint").unwrap(),
        &backbone.fingerprint().to_string()
    );
    let device = Device::flex();
    let fresh = outcome.product.engine("stripes", None, &device).unwrap();
    let engine = opened.engine("stripes", None, &device).unwrap();
    assert_eq!(bits(&engine, "stripes"), bits(&fresh, "stripes"));

    // A bit of a number or of the name of a class, and a file written anew by another program.
    let whole = std::fs::read(&path).unwrap();
    let class = whole.windows(6).position(|text| text == b"across");
    for at in [class.unwrap(), whole.len() / 2, whole.len() - 4] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        let path = data.path().join("flipped.safetensors");
        std::fs::write(&path, flipped).unwrap();
        let error = LearnedFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("digest does not match"), "{at}: {error}");
    }
    let (_, header) = SafeTensors::read_metadata(&whole).unwrap();
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let anew = |metadata| safetensors::serialize(tensors.tensors(), metadata).unwrap();
    let path = data.path().join("anew.safetensors");
    std::fs::write(&path, anew(header.metadata().clone())).unwrap();
    LearnedFile::open(&path).unwrap();
    assert_eq!(outcome.tests[0].evaluation().unwrap().images, 4);
}

/// The backbone with a classifier that has not learned.
fn engine_of_backbone(backbone: &Backbone, data: &Path) -> Engine {
    let more = "lr-head = 0.0\nepochs = 1";
    let settings = settings(MethodName::ClassifierOnly, more);
    let sets = [set("stripes", data)];
    let outcome = Run::new().learn(&settings, backbone, &sets[..]).unwrap();
    outcome
        .product
        .engine("stripes", Some(backbone), backbone.device())
        .unwrap()
}

#[test]
fn methods_without_masks_keep_what_they_train() {
    let data = folder(&[("train", 6)]);
    let sets = [set("stripes", data.path())];
    let learned = |method| task(learn(method, "epochs = 1", &sets).product);
    let classifier = learned(MethodName::ClassifierOnly);
    assert!(classifier.masks.is_empty() && classifier.norms.is_empty());
    let norm_only = learned(MethodName::NormOnly);
    assert!(norm_only.masks.is_empty());
    assert_eq!(norm_only.norms.len(), 52);
    assert_eq!(norm_only.training.get("method").unwrap(), "norm-only");
    assert_eq!(
        LearnedFile::Task(norm_only).method(),
        Some(MethodName::NormOnly)
    );
}

fn task(learned_file: LearnedFile) -> TaskFile {
    match learned_file {
        LearnedFile::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bitdelta_keeps_a_bit_of_each_weights_change_and_is_judged_by_it() {
    let data = folder(&[("train", 6), ("val", 3)]);
    let sets = [set("stripes", data.path())];
    let backbone = backbone();
    let outcome = learn(MethodName::Bitdelta, "", &sets);
    let judged = outcome.epochs[outcome.best_epoch - 1].validation_error;
    let bitdelta = task(outcome.product);
    let still = task(learn(MethodName::Bitdelta, "lr = 0.0", &sets).product);
    assert!(still.deltas.values().all(|delta| delta.scale() == 0.0));
    assert_eq!((bitdelta.deltas.len(), bitdelta.norms.len()), (52, 52));
    assert!(bitdelta.masks.is_empty());
    assert!(bitdelta.deltas.values().all(|delta| delta.scale() > 0.0));
    // In the last epoch signs stay as the epochs before left them, and scales learn, unless they have no rate.
    assert_eq!((outcome.epochs.len(), outcome.best_epoch), (3, 3));
    let first = task(learn(MethodName::Bitdelta, "scale-epochs = 0", &sets).product);
    let kept = task(learn(MethodName::Bitdelta, "lr-scale = 0.0", &sets).product);
    for (weight, delta) in &first.deltas {
        assert_eq!(bitdelta.deltas[weight].up(), delta.up(), "{weight}");
        assert_ne!(bitdelta.deltas[weight].scale(), delta.scale(), "{weight}");
        let scale = kept.deltas[weight].scale();
        assert!((scale / delta.scale() - 1.0).abs() < 1e-3, "{weight}");
    }
    assert_ne!(bitdelta.head, first.head);
    assert_ne!(bitdelta.norms, first.norms);
    let weights = Architecture::MobileNetV2.maskable_weights() as u64;
    let norms: usize = (bitdelta.norms.values())
        .map(|norm| 2 * norm.channels())
        .sum();
    assert_eq!(
        LearnedFile::Task(bitdelta.clone()).paper_bits(),
        weights + 32 * (52 + norms as u64)
    );

    let path = data.path().join("stripes.task.safetensors");
    bitdelta.save(&path).unwrap();
    let opened = LearnedFile::open(&path).unwrap();
    assert_eq!(opened.method(), Some(MethodName::Bitdelta));
    assert_eq!(task(opened), bitdelta);
    let engine = Engine::new(backbone)
        .with_task("stripes", bitdelta)
        .unwrap();
    let samples = sets[0].images.val().unwrap().clone();
    let config = EvaluateConfig::default();
    let again = evaluate(&engine, "stripes", samples, &config, |_, _| true).unwrap();
    assert_eq!(again.top1_error, judged);
}

#[test]
fn affine_masks_learn_their_factors_and_drift_leaves_fewer_zeros() {
    let data = folder(&[("train", 8)]);
    let sets = [set("stripes", data.path())];
    let learned = |more: &str| {
        let more = format!("epochs = 3\nlr-mask = 3e-3\n{more}");
        task(learn(MethodName::Piggyback, &more, &sets).product)
    };
    let (plain, affine) = (learned(""), learned("affine = true"));
    assert!(plain.masks.values().all(|mask| mask.affine().is_none()));
    let factors = affine.masks.values().map(|mask| mask.affine().unwrap());
    assert!(factors.into_iter().all(|k| *k != [0.0, 0.0, 1.0, 0.0]));
    let added =
        LearnedFile::Task(affine).paper_bits() - LearnedFile::Task(plain.clone()).paper_bits();
    assert_eq!(added, 4 * 32 * plain.masks.len() as u64);

    let decayed = learned("score-decay = 100.0");
    let zeros = |task: &TaskFile| task.zeros().count;
    assert!(
        zeros(&decayed) < zeros(&plain),
        "{} of {}",
        zeros(&decayed),
        zeros(&plain)
    );
}

#[test]
fn a_network_without_batch_norms_has_none_to_train() {
    let data = folder(&[("train", 2)]);
    let settings = settings(MethodName::NormOnly, "");
    let vgg = of(Architecture::Vgg11);
    let error = Run::new()
        .learn(&settings, &vgg, &[set("stripes", data.path())][..])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("vgg11") && error.contains("classifier-only"),
        "{error}"
    );
}

#[test]
fn joint_training_uses_every_data_set() {
    let (a, b) = (
        folder(&[("train", 8), ("test", 2)]),
        folder(&[("train", 4)]),
    );
    let sets = [set("a", a.path()), set("b", b.path())];
    let mut seen = Vec::new();
    let outcome = Run::new()
        .observe(|event| {
            if let Event::Start { train_images, .. } = event {
                seen.push(*train_images);
            }
        })
        .learn(
            &settings(MethodName::Joint, "epochs = 1"),
            &backbone(),
            &sets,
        )
        .unwrap();
    assert_eq!(seen, [12 + 6]);
    assert!(outcome.tests[0].evaluation().is_some() && matches!(outcome.tests[1], Test::None));
    let device = Device::flex();
    let learned_file = outcome.product;
    assert_eq!(learned_file.names("both"), ["both/a", "both/b"]);
    let joint = learned_file.engine("both", None, &device).unwrap();

    // Both heads moved from where they began, and the network differs from one of either set alone.
    let still = learn(MethodName::Joint, "epochs = 1\nlr = 0.0", &sets).product;
    let still = still.engine("both", None, &device).unwrap();
    for name in ["both/a", "both/b"] {
        assert_ne!(
            joint.task(name).unwrap().head,
            still.task(name).unwrap().head
        );
    }
    let swapped = [set("a", a.path()), set("b", a.path())];
    let other = learn(MethodName::Joint, "epochs = 1", &swapped).product;
    let other = other.engine("both", None, &device).unwrap();
    assert_ne!(bits(&joint, "both/a"), bits(&other, "both/a"));

    let path = a.path().join("both.safetensors");
    learned_file.save(&path).unwrap();
    let opened = LearnedFile::open(&path).unwrap();
    assert_eq!(opened.kind(), LearnedFileKind::Joint);
    assert_eq!(file(&opened), std::fs::read(&path).unwrap());
    let opened = opened.engine("both", None, &device).unwrap();
    assert_eq!(bits(&opened, "both/b"), bits(&joint, "both/b"));
}

#[test]
fn data_sets_that_a_method_cannot_learn_from() {
    let data = folder(&[("train", 2)]);
    let sets = [set("a", data.path()), set("b", data.path())];
    let refusal = |method, sets: &[DataSet]| {
        let learned = Run::new().learn(&settings(method, ""), &backbone(), sets);
        learned.unwrap_err().to_string()
    };
    assert!(refusal(MethodName::Individual, &sets).contains("one data set, but 2"));
    assert!(refusal(MethodName::Joint, &sets[..1]).contains("several"));
    let same = [sets[0].clone(), sets[0].clone()];
    assert!(refusal(MethodName::Joint, &same).contains("'a'"));
}

#[test]
fn packnet_adds_tasks_without_changing_those_before() {
    let (a, b) = (folder(&[("train", 8)]), folder(&[("train", 6)]));
    let device = Device::flex();
    let backbone = backbone();
    let first = learn(MethodName::Packnet, "", &[set("a", a.path())]);
    // Two epochs, and one after pruning, of which the product must come.
    assert_eq!((first.epochs.len(), first.best_epoch), (3, 3));
    let first = shared(first.product);
    let total = Architecture::MobileNetV2.maskable_weights();
    assert_eq!(first.free().unwrap().total, total as u64);

    // The shares of each layer are exact: half of all, then three quarters of that half.
    let state = numbers(&filled(Architecture::MobileNetV2, 10));
    for (weight, owners) in first.owners() {
        let count = |owner| owners.iter().filter(|of| **of == owner).count();
        let half = (0.5 * owners.len() as f64).round() as usize;
        let back = (0.75 * half as f64).round() as usize;
        let expected = [back, owners.len() - half, half - back];
        assert_eq!([0, 1, 2].map(count), expected, "{weight}");
        // What the backbone owns is what it was; what is free is zero.
        let now = first.weight(weight).unwrap();
        for (i, owner) in owners.iter().enumerate() {
            match owner {
                0 => assert_eq!(now[i], 0.0),
                1 => assert_eq!(now[i].to_bits(), state[weight][i]),
                _ => {}
            }
        }
    }

    let engine = |file: &SharedNetwork| {
        LearnedFile::Shared(file.clone())
            .engine("file", None, &device)
            .unwrap()
    };
    let before = bits(&engine(&first), "file/a");
    let second = Run::new()
        .learn(
            &settings(MethodName::Packnet, "last = true").adding_to(first.clone()),
            &backbone,
            &[set("b", b.path())],
        )
        .unwrap();
    assert_eq!(second.epochs.len(), 2);
    let second = shared(second.product);
    let engine = engine(&second);
    assert_eq!(bits(&engine, "file/a"), before);
    assert_ne!(bits(&engine, "file/b"), before);
    assert_eq!(second.free().unwrap().count, 0);
    let of_first = |file: &SharedNetwork| file.owned()[&2];
    assert_eq!(of_first(&second), of_first(&first));

    // As a file it is the same, and it takes no further task.
    let path = a.path().join("shared.packnet.safetensors");
    LearnedFile::Shared(second).save(&path).unwrap();
    let opened = LearnedFile::open(&path).unwrap();
    assert_eq!(opened.kind(), LearnedFileKind::Packnet);
    assert_eq!(opened.names("file"), ["file/a", "file/b"]);
    assert_eq!(file(&opened), std::fs::read(&path).unwrap());
    let loaded = opened.engine("file", None, &device).unwrap();
    assert_eq!(bits(&loaded, "file/a"), before);
    let refusal = |file: SharedNetwork, backbone: &Backbone, name: &str| {
        let settings = settings(MethodName::Packnet, "");
        let sets = [set(name, a.path())];
        let learned = Run::new().learn(&settings.adding_to(file), backbone, &sets[..]);
        learned.unwrap_err().to_string()
    };
    let full = shared(opened);
    assert!(refusal(full, &backbone, "c").contains("no free weights left"));
    assert!(refusal(first.clone(), &backbone, "a").contains("already holds a task 'a'"));
    let other = of(Architecture::ResNet18);
    assert!(refusal(first, &other, "c").contains("resnet18"));
}

/// Every method, stopped within an epoch and resumed, gives the same file as one that was not.
#[test]
fn a_run_stopped_and_resumed_gives_the_same_learned_file() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    for method in MethodName::ALL {
        let sets = [set("a", data.path()), set("b", data.path())];
        let sets = match method {
            MethodName::Joint => &sets[..],
            _ => &sets[..1],
        };
        let run = data.path().join(format!("{method}.run"));
        let more = match method {
            // Within this budget weights that are masked out are kept when masks are fixed.
            MethodName::Piggyback => "settle-epochs = 1\nbudget = '50kB'\nlr-mask = 0.01\n",
            _ => "",
        };
        let settings = settings(method, more);
        let mut steps = 0;
        let whole = Run::new()
            .observe(|event| {
                if let Event::Step { steps: all, .. } = event {
                    steps = *all;
                }
            })
            .learn(&settings, &backbone, sets)
            .unwrap();
        // In the first epoch, and in the last, which is of another phase for methods that have two.
        for at in [1, steps - 1] {
            let stop = Arc::new(AtomicBool::new(false));
            let signal = stop.clone();
            let stopped = Run::new()
                .folder(&run)
                .stop_when(stop)
                .observe(move |event| {
                    if matches!(event, Event::Step { step, .. } if *step == at) {
                        signal.store(true, Ordering::Relaxed);
                    }
                })
                .learn(&settings, &backbone, sets);
            assert!(
                matches!(stopped, Err(Error::Interrupted { steps, .. }) if steps == at),
                "{method}"
            );
            let resumed = Run::new()
                .folder(&run)
                .resume(true)
                .learn(&settings, &backbone, sets)
                .unwrap();
            assert_eq!(resumed.best_epoch, whole.best_epoch, "{method}");
            assert!(file(&resumed.product) == file(&whole.product), "{method}");
        }
        let other = match method {
            MethodName::Packnet => MethodName::Individual,
            _ => MethodName::Packnet,
        };
        let refused = Run::new().folder(&run).resume(true).learn(
            &self::settings(other, ""),
            &backbone,
            &sets[..1],
        );
        assert!(
            refused.unwrap_err().to_string().contains("belongs to"),
            "{method}"
        );
    }
}

#[test]
fn files_that_are_no_learned_file_are_refused() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path())];
    let whole = file(&learn(MethodName::Packnet, "epochs = 1", &sets).product);
    let path = data.path().join("bad.safetensors");
    let refusal = |bytes: &[u8]| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        LearnedFile::open(&path).unwrap_err().to_string()
    };
    assert!(refusal(&whole[..whole.len() - 1]).contains("bad.safetensors"));
    let mut flipped = whole.clone();
    let end = flipped.len();
    flipped[end - 1] ^= 1;
    assert!(refusal(&flipped).contains("damaged"));
    let at = whole.len() / 2;
    flipped[end - 1] ^= 1;
    flipped[at] ^= 0x10;
    assert!(refusal(&flipped).contains("damaged"));
    assert!(refusal(b"").contains("bad.safetensors"));
    // JSON in a text in JSON in a text of the header.
    let version = b"version\\\\\\\":1";
    let position = (whole.windows(version.len()))
        .position(|at| at == version)
        .unwrap();
    let mut newer = whole.clone();
    newer[position + version.len() - 1] = b'2';
    assert!(refusal(&newer).contains("version 2"));

    // A backbone's checkpoint whose classes nothing names, and a task file without its backbone.
    let state = filled(Architecture::MobileNetV2, 10);
    piggyback::checkpoint::convert(&state, LoadOptions::default(), &path).unwrap();
    assert!(
        LearnedFile::open(&path)
            .unwrap_err()
            .to_string()
            .contains("10 classes")
    );
    let task = learn(MethodName::ClassifierOnly, "epochs = 1", &sets).product;
    let error = task.engine("a", None, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("mobilenet_v2"), "{error}");
}

#[test]
fn sizes_are_counted_as_the_paper_counts() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path()), set("b", data.path())];
    let bits = |method, sets| learn(method, "epochs = 1", sets).product.paper_bits();
    let architecture = Architecture::MobileNetV2;
    let network = piggyback::files::paper_bits_of_network(architecture);
    let weights = architecture.maskable_weights() as u64;
    assert_eq!(bits(MethodName::ClassifierOnly, &sets[..1]), 0);
    assert_eq!(bits(MethodName::Individual, &sets[..1]), network);
    assert_eq!(bits(MethodName::Joint, &sets), network);
    // Free, the backbone's, the task's: two bits tell them apart.
    assert_eq!(bits(MethodName::Packnet, &sets[..1]), network + 2 * weights);
}

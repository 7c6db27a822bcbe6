//! Task files of at most so many bytes: from masks, and from networks that were fine-tuned elsewhere.

use piggyback::data::DataSet;
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::export::{ExportOptions, Format, export};
use piggyback::files::{MethodName, NetworkFile, Precisions, unpack};
use piggyback::learn::{Learned, Run};
use piggyback::methods::{DeltaConfig, Settle, compress};
use piggyback::task::{Precision, TaskFile};
use piggyback::{Backbone, Engine, KnownNetworks, LearnedFile};
use safetensors::SafeTensors;

use crate::methods::{backbone, set, settings};
use crate::support::filled;
use crate::tasks::folder;

fn learn(method: MethodName, more: &str, data: &[DataSet]) -> Learned<LearnedFile> {
    Run::new()
        .learn(&settings(method, more), &backbone(), data)
        .unwrap()
}

fn task(learned: Learned<LearnedFile>) -> TaskFile {
    match learned.product {
        LearnedFile::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

fn fine_tuned(data: &[DataSet]) -> NetworkFile {
    match learn(MethodName::Individual, "", data).product {
        LearnedFile::Network(network) => network,
        other => panic!("{other:?}"),
    }
}

fn bytes(task: &TaskFile) -> usize {
    task.to_bytes().unwrap().len()
}

#[test]
fn a_budget_keeps_the_zeros_of_most_effect() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path())];
    // At this rate scores pass the threshold at once.
    let fixed = "lr-mask = 0.02\nsettle-epochs = 1\n";
    let learned = |budget: &str| {
        let more = format!("{fixed}budget = '{budget}'");
        task(learn(MethodName::Piggyback, &more, &sets))
    };
    let free = learned("none");
    assert!(bytes(&free) > 80_000, "{}", bytes(&free));
    let small = learned("60kB");
    assert!(bytes(&small) <= 60_000, "{}", bytes(&small));
    // As many zeros as fit: another one in a hundred would not.
    assert!(bytes(&small) > 55_000, "{}", bytes(&small));
    let (few, all) = (small.zeros(), free.zeros());
    assert!(0 < few.count && few.count < all.count);
    for (layer, mask) in &small.masks {
        let of_free = free.masks[layer].keep().to_bits();
        mask.keep()
            .for_each_zero(|i| assert_eq!(of_free.get(i), Some(false), "{layer} {i}"));
    }
    for (budget, reason) in [("20kB", "too few"), ("x", "budget")] {
        let table: toml::Table = format!("{fixed}budget = '{budget}'").parse().unwrap();
        let settings = piggyback::methods::MethodSettings::from_table(None, &table);
        let error = match settings {
            Err(error) => error,
            Ok(settings) => Run::new()
                .learn(&settings, &backbone(), &sets[..])
                .unwrap_err(),
        };
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_sign_delta_fits_its_budget_and_learns() {
    let data = folder(&[("train", 6), ("val", 2)]);
    let sets = [set("a", data.path())];
    for budget in [60_000, 100_000] {
        let learned = learn(MethodName::SignDelta, &format!("budget = {budget}"), &sets);
        let judged = learned.epochs[learned.best_epoch - 1].validation_error;
        let task = task(learned);
        assert!(bytes(&task) <= budget, "{}", bytes(&task));
        assert!(bytes(&task) > budget * 9 / 10, "{}", bytes(&task));
        assert_eq!(task.training.get("method").unwrap(), "sign-delta");
        // What was validated is what the file holds.
        let opened = TaskFile::from_bytes(&task.to_bytes().unwrap(), &KnownNetworks).unwrap();
        let engine = Engine::new(backbone()).with_task("a", opened).unwrap();
        let samples = sets[0]
            .images
            .val()
            .map_or_else(|| panic!("no val/"), Clone::clone);
        let again = evaluate(&engine, "a", samples, &EvaluateConfig::default(), |_, _| {
            true
        });
        assert_eq!(again.unwrap().top1_error, judged);
    }
}

#[test]
fn a_fine_tuned_network_is_compressed() {
    let data = folder(&[("train", 6), ("test", 2)]);
    let sets = [set("a", data.path())];
    let (backbone, network) = (backbone(), fine_tuned(&sets));
    let mut lost = 1.0;
    for budget in [52_000, 100_000, 4_000_000] {
        let compressed = compress(&backbone, &network, budget, Precisions::default()).unwrap();
        let (task, loss) = (&compressed.task, compressed.loss);
        assert!(bytes(task) as u64 <= budget, "{}", bytes(task));
        // One scale for a tensor describes some of its changes best: more are not kept.
        assert!(loss.lost_share <= lost, "{budget}: {loss:?}");
        assert!(loss.kept_weights <= loss.changed_weights);
        assert_eq!(task.classes, network.classes());
        lost = loss.lost_share;
        Engine::new(backbone.clone())
            .with_task("a", task.clone())
            .unwrap();
        let opened = TaskFile::from_bytes(&task.to_bytes().unwrap(), &KnownNetworks).unwrap();
        assert_eq!(&opened, task);
    }
    assert!(lost < 0.5, "{lost}");
    let refused = compress(&backbone, &network, 20_000, Precisions::default()).unwrap_err();
    assert!(refused.to_string().contains("too few"), "{refused}");
    let state = filled(piggyback::Architecture::ResNet18, 10);
    let options = piggyback::checkpoint::LoadOptions::default();
    let other = Backbone::from_state_dict(state, options, &piggyback::Device::flex()).unwrap();
    let refused = compress(&other, &network, 400_000, Precisions::default()).unwrap_err();
    assert!(refused.to_string().contains("resnet18"), "{refused}");
}

#[test]
fn a_checkpoint_without_a_tensor_is_refused() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path())];
    let (backbone, network) = (backbone(), fine_tuned(&sets));
    for missing in ["features.1.conv.1.weight", "features.0.1.running_var"] {
        let mut state = network.state().clone();
        state.tensors.remove(missing).unwrap();
        let refused = NetworkFile::new(state)
            .and_then(|network| compress(&backbone, &network, 150_000, Precisions::default()));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(missing), "{refused}");
    }
}

#[test]
fn settling_trains_scales_norms_and_head_of_a_compressed_network() {
    let data = folder(&[("train", 6), ("test", 2)]);
    let sets = [set("a", data.path())];
    let (backbone, network) = (backbone(), fine_tuned(&sets));
    let before = compress(&backbone, &network, 100_000, Precisions::default())
        .unwrap()
        .task;
    let mut settings = DeltaConfig {
        scale_epochs: 2,
        budget: Some(100_000),
        ..DeltaConfig::default()
    };
    settings.run.batch_size = 4;
    let settled = Run::new()
        .learn(&Settle { settings }, (&backbone, &before), &sets[0].images)
        .unwrap();
    assert_eq!(settled.epochs.len(), 2);
    let after = settled.product;
    assert!(bytes(&after) <= 100_000);
    assert_ne!((&after.norms, &after.head), (&before.norms, &before.head));
    for (weight, delta) in &before.deltas {
        assert_eq!(after.deltas[weight].up(), delta.up(), "{weight}");
        assert_eq!(after.deltas[weight].changed(), delta.changed(), "{weight}");
    }
    let moved =
        (before.deltas.iter()).filter(|(w, delta)| after.deltas[*w].scale() != delta.scale());
    assert!(moved.count() > before.deltas.len() / 2);
}

/// A network that only has another head: nothing else is stored, and its outputs stay.
#[test]
fn what_a_network_did_not_change_costs_nothing() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path())];
    let backbone = backbone();
    let task = task(learn(
        MethodName::ClassifierOnly,
        "head-precision = 'f32'",
        &sets,
    ));
    let path = data.path().join("network.safetensors");
    let options = ExportOptions::default();
    export(&backbone, "a", &task, Format::Safetensors, options, &path).unwrap();
    let LearnedFile::Network(network) = LearnedFile::open(&path).unwrap() else {
        panic!("not a network")
    };
    let precisions = Precisions {
        head: Precision::F32,
        norm: Precision::F32,
    };
    let compressed = compress(&backbone, &network, 4_000_000, precisions).unwrap();
    assert_eq!(compressed.loss.changed_weights, 0);
    let again = compressed.task;
    assert!(again.deltas.is_empty() && again.norms.is_empty() && again.replaced.is_empty());
    assert_eq!(again.head, task.head);
}

#[test]
fn an_unpacked_file_has_plain_tensors() {
    let data = folder(&[("train", 6)]);
    let sets = [set("a", data.path())];
    let path = data.path().join("plain.safetensors");
    for (method, more) in [
        (
            MethodName::Piggyback,
            "lr-mask = 0.02\nmask = 'ternary'\naffine = true",
        ),
        (MethodName::SignDelta, "budget = 100000"),
    ] {
        let task = task(learn(method, more, &sets));
        let count = unpack(&task, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let plain = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(plain.len(), count);
        for (name, mask) in &task.masks {
            let keep = plain.tensor(&format!("mask.{name}")).unwrap();
            assert_eq!(keep.shape(), mask.shape());
            let bits = mask.keep().to_bits();
            assert!(
                keep.data().iter().copied().eq(bits.iter().map(u8::from)),
                "{name}"
            );
        }
        for (name, delta) in &task.deltas {
            let change = plain.tensor(&format!("delta.{name}")).unwrap();
            let changed = change.data().chunks(4).filter(|bytes| **bytes != [0; 4]);
            assert_eq!(changed.count(), delta.changed().ones_count(), "{name}");
        }
        for (name, norm) in &task.norms {
            let gain = plain.tensor(&format!("norm.{name}.gain")).unwrap();
            assert_eq!(gain.shape(), [norm.channels()]);
        }
        assert_eq!(
            plain.tensor("head.weight").unwrap().shape(),
            task.head.weight.shape()
        );
    }
}

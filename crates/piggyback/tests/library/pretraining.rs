//! Networks trained from scratch, and used as backbones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use piggyback::checkpoint::{LoadOptions, StateDict, convert};
use piggyback::data::ImageFolder;
use piggyback::image::{AugmentPreset, Image, ImageSettings, ResizeMode};
use piggyback::learn::{Event, Learned, Run, RunSettings};
use piggyback::methods::{MaskLayers, PretrainConfig, TrainConfig};
use piggyback::{Architecture, Backbone, Error};

use crate::tasks::{SIDE, folder, image};

fn config() -> PretrainConfig {
    PretrainConfig {
        lr: Some(0.02),
        warmup_epochs: Some(1),
        run: RunSettings {
            epochs: 3,
            batch_size: 4,
            augment: AugmentPreset::None,
            val_share: 0.25,
            ..PretrainConfig::default().run
        },
        images: ImageSettings {
            image_size: SIDE.into(),
            resize: ResizeMode::Fit,
            ..ImageSettings::default()
        },
        ..PretrainConfig::default()
    }
}

fn pretrain(data: &Path, config: PretrainConfig) -> Learned<StateDict> {
    Run::new()
        .learn(
            &config,
            (Architecture::ResNet18, &Device::flex()),
            &ImageFolder::open(data).unwrap(),
        )
        .unwrap()
}

fn written(network: &StateDict, folder: &Path) -> Backbone {
    let path = folder.join("own.safetensors");
    convert(network, LoadOptions::default(), &path).unwrap();
    Backbone::load(&path, &Device::flex()).unwrap()
}

#[test]
fn a_network_is_learned_and_is_a_backbone_like_others() {
    let data = folder(&[("train", 32), ("test", 4)]);
    let learned = pretrain(
        data.path(),
        PretrainConfig {
            run: RunSettings {
                epochs: 8,
                batch_size: 8,
                ..config().run
            },
            ..config()
        },
    );
    assert_eq!(learned.epochs.len(), 8);
    let (first, last) = (&learned.epochs[0], &learned.epochs[7]);
    assert!(last.train_loss < first.train_loss, "{first:?} {last:?}");
    let best = &learned.epochs[learned.best_epoch - 1];
    assert_eq!(best.validation_error, 0.0);
    assert_eq!(best.zeros, None);
    let test = learned.tests[0].evaluation().unwrap();

    let backbone = written(&learned.product, data.path());
    assert_eq!(backbone.architecture(), Architecture::ResNet18);
    assert_eq!(backbone.classes().unwrap(), ["across", "down"]);
    assert_eq!(backbone.preprocessing().image_size, SIDE);
    let images: Vec<Image> = (0..8).map(|index| image(index % 2, index / 2)).collect();
    let predictions = backbone.predict(&images, backbone.preprocessing()).unwrap();
    let wrong = (predictions.iter().enumerate())
        .filter(|(index, prediction)| prediction.top_indices(1) != [index % 2])
        .count();
    assert_eq!(100.0 * wrong as f64 / 8.0, test.top1_error);
    let record = StateDict::open(data.path().join("own.safetensors")).unwrap();
    let record = record.about.training.unwrap();
    assert_eq!(record.get("best-epoch").unwrap(), learned.best_epoch);
    assert_eq!(record.get("settings").unwrap()["epochs"], 8);

    let task = Run::new()
        .learn(
            &TrainConfig {
                run: RunSettings {
                    epochs: 1,
                    batch_size: 4,
                    ..TrainConfig::default().run
                },
                ..TrainConfig::default()
            },
            &backbone,
            &ImageFolder::open(data.path()).unwrap(),
        )
        .unwrap()
        .product;
    assert_eq!(task.backbone, backbone.id());
    assert_eq!(task.preprocessing.image_size, SIDE);
}

/// A step of pretraining, and one of masks on what came of it.
#[test]
fn every_family_learns_all_over_and_by_masks() {
    let data = folder(&[("train", 8), ("test", 4)]);
    for architecture in [
        Architecture::EfficientNetB0,
        Architecture::MobileNetV3Small,
        Architecture::RegNetY400Mf,
    ] {
        let config = PretrainConfig {
            run: RunSettings {
                epochs: 1,
                ..config().run
            },
            warmup_epochs: Some(0),
            ..config()
        };
        let images = ImageFolder::open(data.path()).unwrap();
        let device = Device::flex();
        let learned = Run::new().learn(&config, (architecture, &device), &images);
        let learned = learned.unwrap();
        assert!(learned.epochs[0].train_loss.is_finite(), "{architecture}");
        let own = tempfile::tempdir().unwrap();
        let backbone = written(&learned.product, own.path());
        assert_eq!(backbone.architecture(), architecture);
        let default = TrainConfig::default();
        let config = TrainConfig {
            run: RunSettings {
                epochs: 1,
                batch_size: 4,
                ..default.run
            },
            mask_layers: MaskLayers::All,
            ..default
        };
        let task = Run::new().learn(&config, &backbone, &images).unwrap();
        let masked: Vec<&String> = task.product.masks.keys().collect();
        let expected: Vec<String> = (backbone.maskable().into_iter())
            .map(|weight| weight.name)
            .collect();
        assert_eq!(masked.len(), expected.len(), "{architecture}");
        assert!(
            expected
                .iter()
                .all(|name| task.product.masks.contains_key(name))
        );
    }
}

#[test]
fn a_run_stopped_in_an_epoch_and_resumed_gives_the_same_network() {
    let data = folder(&[("train", 8)]);
    let run = data.path().join("run");
    let whole = pretrain(data.path(), config());
    let images = ImageFolder::open(data.path()).unwrap();
    let (architecture, device) = (Architecture::ResNet18, Device::flex());

    let stop = Arc::new(AtomicBool::new(false));
    let signal = stop.clone();
    let stopped = Run::new()
        .folder(&run)
        .stop_when(stop)
        .observe(move |event| {
            if matches!(event, Event::Step { step: 5, .. }) {
                signal.store(true, Ordering::Relaxed);
            }
        })
        .learn(&config(), (architecture, &device), &images);
    assert!(matches!(stopped, Err(Error::Interrupted { steps: 5, .. })));

    let again = |architecture, config| {
        Run::new()
            .folder(&run)
            .resume(true)
            .learn(&config, (architecture, &device), &images)
    };
    let refusal = |result: Result<Learned<StateDict>, Error>| result.unwrap_err().to_string();
    let other = PretrainConfig {
        momentum: 0.5,
        ..config()
    };
    assert!(refusal(again(architecture, other)).contains("momentum was 0.9 and is 0.5"));
    let error = refusal(again(Architecture::EfficientNetLite0, config()));
    assert!(error.contains("another run"), "{error}");
    // A task's run is another thing.
    let backbone = written(&whole.product, data.path());
    let task =
        Run::new()
            .folder(&run)
            .resume(true)
            .learn(&TrainConfig::default(), &backbone, &images);
    assert!(task.unwrap_err().to_string().contains("'pretrain'"));

    let resumed = again(architecture, config()).unwrap();
    assert!(resumed.product.tensors == whole.product.tensors);
    assert_eq!(resumed.best_epoch, whole.best_epoch);
}

#[test]
fn a_network_at_random_is_a_backbone_too() {
    let data = folder(&[("train", 2)]);
    let random = |seed| {
        let config = PretrainConfig {
            run: RunSettings {
                epochs: 0,
                seed,
                ..config().run
            },
            ..config()
        };
        pretrain(data.path(), config)
    };
    let first = random(1);
    assert_eq!((first.best_epoch, first.epochs.len()), (0, 0));
    let backbone = written(&first.product, data.path());
    assert_eq!(backbone.classes().unwrap(), ["across", "down"]);
    assert!(first.product.tensors == random(1).product.tensors);
    assert!(first.product.tensors != random(2).product.tensors);
}

//! Tasks on one backbone: learned, kept, and answered for, without touching each other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::filled;
use burn::tensor::Device;
use piggyback::checkpoint::{LoadOptions, StoredTensor};
use piggyback::data::{ImageFolder, Samples};
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::image::{AugmentPreset, Image, ImageSettings, ResizeMode};
use piggyback::learn::{Event, Learned, Run, RunSettings, Test};
use piggyback::methods::{MaskLayers, NormMode, Preset, TrainConfig};
use piggyback::task::TaskFile;
use piggyback::{Architecture, Backbone, Engine, Error, KnownNetworks};

pub(crate) const SIDE: u32 = 32;

fn backbone() -> Backbone {
    let state = filled(Architecture::MobileNetV2, 10);
    Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap()
}

/// Stripes of a class's direction and colour.
pub(crate) fn image(class: usize, index: usize) -> Image {
    let side = SIDE as usize;
    let pixels = (0..side * side)
        .flat_map(|i| {
            let along = if class == 0 { i % side } else { i / side };
            let stripe = if ((along + index) / 4).is_multiple_of(2) {
                250
            } else {
                20
            };
            [stripe, (60 + 40 * class) as u8, (index * 9) as u8]
        })
        .collect();
    Image::from_pixels(SIDE, SIDE, pixels).unwrap()
}

fn write_png(path: &Path, picture: &Image) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::save_buffer(path, picture.pixels(), SIDE, SIDE, image::ColorType::Rgb8).unwrap();
}

pub(crate) fn folder(split_counts: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for &(split, count) in split_counts {
        for (class, name) in ["across", "down"].into_iter().enumerate() {
            for index in 0..count {
                let path = folder.path().join(format!("{split}/{name}/{index}.png"));
                write_png(&path, &image(class, index));
            }
        }
    }
    folder
}

fn config() -> TrainConfig {
    TrainConfig {
        lr_mask: 3e-3.into(),
        lr_norm: 1e-2,
        lr_head: 1e-2,
        run: RunSettings {
            epochs: 2,
            batch_size: 4,
            augment: AugmentPreset::None,
            val_share: 0.25,
            ..TrainConfig::default().run
        },
        images: ImageSettings {
            image_size: SIDE.into(),
            resize: ResizeMode::Fit,
            ..ImageSettings::default()
        },
        ..TrainConfig::default()
    }
}

fn train(backbone: &Backbone, data: &Path, config: TrainConfig) -> Learned<TaskFile> {
    Run::new()
        .learn(&config, backbone, &ImageFolder::open(data).unwrap())
        .unwrap()
}

fn bits(engine: &Engine, task: &str, images: &[Image]) -> Vec<Vec<u32>> {
    let predictions = engine.predict(task, images).unwrap();
    predictions
        .iter()
        .map(|p| p.logits.iter().map(|logit| logit.to_bits()).collect())
        .collect()
}

#[test]
fn a_task_answers_the_same_whatever_else_is_loaded() {
    let data = folder(&[("train", 8), ("test", 3)]);
    let backbone = backbone();
    let first = train(&backbone, data.path(), config());
    let second = train(
        &backbone,
        data.path(),
        TrainConfig {
            run: RunSettings {
                seed: 5,
                ..config().run
            },
            ..config()
        },
    );
    assert_ne!(first.product.head, second.product.head);
    assert!(
        first.product.zeros().count > 0,
        "the rates must be high enough to mask something"
    );
    assert_eq!(first.tests[0].evaluation().unwrap().images, 6);

    let images: Vec<Image> = (0..5).map(|index| image(index % 2, index)).collect();
    let alone = Engine::new(backbone.clone())
        .with_task("a", first.product.clone())
        .unwrap();
    let expected = bits(&alone, "a", &images);

    let both = Engine::new(backbone)
        .with_task("b", second.product.clone())
        .unwrap()
        .with_task("a", first.product.clone())
        .unwrap();
    let other = bits(&both, "b", &images);
    assert_ne!(other, expected);
    assert_eq!(bits(&both, "a", &images), expected);
    assert_eq!(bits(&both, "b", &images), other);
    both.remove_task("b").unwrap();
    assert_eq!(bits(&both, "a", &images), expected);
    assert!(matches!(
        both.predict("b", &images),
        Err(Error::UnknownTask { .. })
    ));

    // One image at a time gives the bits of the batch.
    let one_by_one: Vec<Vec<u32>> = images
        .iter()
        .flat_map(|image| bits(&both, "a", std::slice::from_ref(image)))
        .collect();
    assert_eq!(one_by_one, expected);
}

#[test]
fn a_saved_task_gives_the_bits_and_the_error_of_the_trained_one() {
    let data = folder(&[("train", 8), ("val", 2), ("test", 3)]);
    let backbone = backbone();
    let trained = train(&backbone, data.path(), config());
    let file = data.path().join("stripes.task.safetensors");
    trained.product.save(&file).unwrap();
    let engine = Engine::new(backbone)
        .with_task("saved", TaskFile::open(&file, &KnownNetworks).unwrap())
        .unwrap();
    let classes = engine.task("saved").unwrap().classes.clone();
    let samples = Samples::for_classes(data.path(), &classes).unwrap();
    let config = EvaluateConfig {
        batch_size: 5,
        skip_bad: false,
    };
    let evaluation = evaluate(&engine, "saved", samples, &config, |_, _| true).unwrap();
    assert_eq!(Some(&evaluation), trained.tests[0].evaluation());
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let bytes = |config| {
        train(&backbone, data.path(), config)
            .product
            .to_bytes()
            .unwrap()
    };
    assert_eq!(bytes(config()), bytes(config()));
    assert_ne!(
        bytes(config()),
        bytes(TrainConfig {
            run: RunSettings {
                seed: 1,
                ..config().run
            },
            ..config()
        })
    );
}

#[test]
fn a_run_stopped_in_an_epoch_and_resumed_gives_the_same_file() {
    let data = folder(&[("train", 8)]);
    let (backbone, run) = (backbone(), data.path().join("run"));
    let whole = train(&backbone, data.path(), config());
    let images = ImageFolder::open(data.path()).unwrap();

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
        .learn(&config(), &backbone, &images);
    assert!(matches!(stopped, Err(Error::Interrupted { steps: 5, .. })));

    let resumed = Run::new()
        .folder(&run)
        .resume(true)
        .learn(&config(), &backbone, &images)
        .unwrap();
    assert_eq!(
        resumed.product.to_bytes().unwrap(),
        whole.product.to_bytes().unwrap()
    );
    assert_eq!(
        std::fs::read_to_string(run.join("metrics.jsonl"))
            .unwrap()
            .lines()
            .count(),
        2
    );

    let other = TrainConfig {
        lr_head: 1e-3,
        ..config()
    };
    let refused = Run::new()
        .folder(&run)
        .resume(true)
        .learn(&other, &backbone, &images);
    assert!(refused.unwrap_err().to_string().contains("settings"));
}

#[test]
fn tasks_store_what_they_train() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let task = |mask_layers, norm| {
        let config = TrainConfig {
            mask_layers,
            norm,
            run: RunSettings {
                epochs: 1,
                ..config().run
            },
            ..config()
        };
        train(&backbone, data.path(), config).product
    };
    let preset = |preset| {
        let TrainConfig {
            mask_layers, norm, ..
        } = TrainConfig::preset(preset);
        task(mask_layers, norm)
    };
    let (convolutions, norms) = (52, 52);

    let classifier = task(MaskLayers::None, NormMode::Frozen);
    assert!(classifier.masks.is_empty() && classifier.norms.is_empty());
    let norm_only = task(MaskLayers::None, NormMode::Task);
    assert!(norm_only.masks.is_empty());
    assert_eq!(norm_only.norms.len(), norms);
    let paper = preset(Preset::Paper);
    assert_eq!((paper.masks.len(), paper.norms.len()), (convolutions, 0));
    let default = preset(Preset::Default);
    assert_eq!(
        (default.masks.len(), default.norms.len()),
        (convolutions - 17, norms)
    );
}

#[test]
fn frozen_batch_norms_keep_the_backbones_values() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let config = TrainConfig {
        norm: NormMode::Frozen,
        mask_layers: MaskLayers::None,
        lr_head: 0.0,
        run: RunSettings {
            epochs: 1,
            ..config().run
        },
        ..config()
    };
    // Nothing learns, so the features are the backbone's own, from training's forward pass on.
    let trained = train(&backbone, data.path(), config);
    assert!(trained.product.norms.is_empty());
    assert_eq!(trained.epochs[0].zeros, Some(0.0));
}

#[test]
fn weights_that_are_packed_give_the_bits_of_the_first_prediction_and_count_as_memory() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let config = TrainConfig {
        run: RunSettings {
            epochs: 1,
            ..config().run
        },
        ..config()
    };
    let task = train(&backbone, data.path(), config).product;
    let images: Vec<Image> = (0..3).map(|index| image(index % 2, index)).collect();
    let engine = Engine::new(backbone.clone())
        .with_task("a", task.clone())
        .unwrap();
    let first = bits(&engine, "a", &images);
    let unpacked = engine.memory().cache_bytes;
    for _ in 0..2 {
        assert_eq!(bits(&engine, "a", &images), first);
    }
    let packed = engine.memory().cache_bytes;
    assert!(packed > unpacked, "{packed} {unpacked}");

    // A network that grows makes others go that there is no room for any more.
    let engine = Engine::new(backbone).with_cache_bytes(2 * unpacked);
    for name in ["a", "b"] {
        engine.add_task(name, task.clone()).unwrap();
        engine.predict(name, &images).unwrap();
    }
    assert_eq!(engine.memory().cache_bytes, 2 * unpacked);
    engine.predict("b", &images).unwrap();
    assert_eq!(engine.memory().cache_bytes, packed);
}

#[test]
fn the_cache_keeps_one_network_and_what_its_bytes_allow() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let task = train(
        &backbone,
        data.path(),
        TrainConfig {
            run: RunSettings {
                epochs: 1,
                ..config().run
            },
            ..config()
        },
    )
    .product;
    let images = [image(0, 0)];
    let used = |cache_bytes: usize| {
        let engine = Engine::new(backbone.clone()).with_cache_bytes(cache_bytes);
        for name in ["a", "b", "c"] {
            engine.add_task(name, task.clone()).unwrap();
            engine.predict(name, &images).unwrap();
        }
        engine.memory()
    };
    let one = used(0);
    assert_eq!(used(one.cache_bytes * 2).cache_bytes, one.cache_bytes * 2);
    assert_eq!(used(usize::MAX).cache_bytes, one.cache_bytes * 3);
    assert!(one.tasks_bytes < 3 * one.cache_bytes / 8);

    let engine = Engine::new(backbone.clone()).with_task("a", task).unwrap();
    assert_eq!(engine.memory().cache_bytes, 0);
    engine.make_ready("a").unwrap();
    assert_eq!(engine.memory().cache_bytes, one.cache_bytes);
    assert!(engine.make_ready("b").is_err());
}

#[test]
fn a_task_of_other_weights_is_refused() {
    let data = folder(&[("train", 6)]);
    let ours = backbone();
    let task = train(
        &ours,
        data.path(),
        TrainConfig {
            run: RunSettings {
                epochs: 1,
                ..config().run
            },
            ..config()
        },
    )
    .product;
    let mut state = filled(Architecture::MobileNetV2, 10);
    let changed = state.tensors.get_mut("features.18.0.weight").unwrap();
    let mut values = changed.to_f32();
    values[0] += 0.5;
    *changed = StoredTensor::from_f32(changed.shape().to_vec(), &values).unwrap();
    let theirs =
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &Device::flex()).unwrap();
    let error = Engine::new(theirs)
        .with_task("stripes", task.clone())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("stripes") && error.contains("fingerprint"),
        "{error}"
    );

    let resnet = filled(Architecture::ResNet18, 10);
    let resnet =
        Backbone::from_state_dict(resnet.clone(), LoadOptions::default(), &Device::flex()).unwrap();
    let error = Engine::new(resnet)
        .with_task("stripes", task)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("mobilenet_v2") && error.contains("resnet18"),
        "{error}"
    );
}

#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let data = folder(&[("train", 6)]);
    let config = TrainConfig {
        lr_head: 1e30,
        lr_norm: 1e30,
        ..config()
    };
    let error = Run::new()
        .learn(
            &config,
            &backbone(),
            &ImageFolder::open(data.path()).unwrap(),
        )
        .unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
}

#[test]
fn an_unreadable_test_image_does_not_cost_the_task() {
    let data = folder(&[("train", 6), ("test", 2)]);
    // Its header is sound, so that it is found at the very end.
    let image = data.path().join("test/down/1.png");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(image, &bytes[..bytes.len() / 2]).unwrap();
    let trained = train(
        &backbone(),
        data.path(),
        TrainConfig {
            run: RunSettings {
                epochs: 1,
                ..config().run
            },
            ..config()
        },
    );
    let Test::Failed(error) = &trained.tests[0] else {
        panic!("{:?}", trained.tests)
    };
    let error = error.to_string();
    assert!(error.contains("1.png"), "{error}");
    let lenient = TrainConfig {
        run: RunSettings {
            epochs: 1,
            skip_bad: true,
            ..config().run
        },
        ..config()
    };
    let trained = train(&backbone(), data.path(), lenient);
    assert_eq!(trained.tests[0].evaluation().unwrap().images, 3);
    assert!(trained.skipped[0].contains("1.png"));
}

/// A server predicts from many threads, and tasks come and go meanwhile.
#[test]
fn many_threads_predict_while_tasks_are_replaced_and_taken_out() {
    let data = folder(&[("train", 6)]);
    let backbone = backbone();
    let config = TrainConfig {
        run: RunSettings {
            epochs: 1,
            ..config().run
        },
        ..config()
    };
    let task = train(&backbone, data.path(), config).product;
    let images = [image(0, 0)];
    let engine = Engine::new(backbone)
        .with_task("stays", task.clone())
        .unwrap();
    let expected = bits(&engine, "stays", &images);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert_eq!(bits(&engine, "stays", &images), expected);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..4 {
                engine.add_task("guest", task.clone()).unwrap();
                assert_eq!(bits(&engine, "guest", &images), expected);
                engine.add_task("stays", task.clone()).unwrap();
                engine.remove_task("guest").unwrap();
                assert!(engine.predict("guest", &images).is_err());
            }
        });
    });
    assert_eq!(engine.tasks(), ["stays"]);
}

#[test]
fn a_pinned_task_stays_ready_whatever_else_is_used() {
    let data = folder(&[("train", 6)]);
    let config = TrainConfig {
        run: RunSettings {
            epochs: 1,
            ..config().run
        },
        ..config()
    };
    let backbone = backbone();
    let task = train(&backbone, data.path(), config).product;
    let engine = Engine::new(backbone);
    for name in ["a", "b", "c"] {
        engine.add_task(name, task.clone()).unwrap();
    }
    let ready = || ["a", "b", "c"].map(|name| engine.is_ready(name).unwrap());
    engine.pin("a").unwrap();
    engine.make_ready("b").unwrap();
    engine.make_ready("c").unwrap();
    assert_eq!(ready(), [true, false, true]);
    engine.unpin("a").unwrap();
    assert_eq!(ready(), [false, false, true]);
    assert!(engine.pin("d").is_err() && engine.is_ready("d").is_err());
}

//! The real TensorBoard reads what a run folder holds for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use piggyback::data::ImageFolder;
use piggyback::image::ImageSettings;
use piggyback::learn::{Event, Run, RunSettings};
use piggyback::methods::PretrainConfig;
use piggyback::{Architecture, Error};
use serde_json::Value;

use crate::tasks::{SIDE, folder};

/// Values by scalar's name and epoch.
type Scalars = BTreeMap<String, BTreeMap<u64, f32>>;

fn lines(run: &Path) -> Scalars {
    let mut scalars = Scalars::new();
    let mut put = |name: String, epoch: u64, value: &Value| {
        let value = value.as_f64().unwrap() as f32;
        scalars.entry(name).or_default().insert(epoch, value);
    };
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for line in text.lines() {
        let line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let epoch = line["epoch"].as_u64().unwrap();
        for (name, value) in line.iter().filter(|(name, _)| *name != "epoch") {
            match value.as_object() {
                Some(table) => {
                    for (key, value) in table {
                        put(format!("{name}/{key}"), epoch, value);
                    }
                }
                None => put(name.clone(), epoch, value),
            }
        }
    }
    scalars
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_tensorboard_shows_the_metrics_of_a_resumed_run() {
    let data = folder(&[("train", 8)]);
    let run = data.path().join("run");
    let images = ImageFolder::open(data.path()).unwrap();
    let config = PretrainConfig {
        run: RunSettings {
            epochs: 3,
            batch_size: 4,
            val_share: 0.25,
            ..PretrainConfig::default().run
        },
        images: ImageSettings {
            image_size: SIDE.into(),
            ..ImageSettings::default()
        },
        ..PretrainConfig::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let signal = stop.clone();
    let start = |of: Run<'_>| {
        let start = (Architecture::ResNet18, &Device::flex());
        of.folder(&run).learn(&config, start, &images)
    };
    let stopped = start(Run::new().stop_when(stop).observe(move |event| {
        if matches!(event, Event::Step { epoch: 2, .. }) {
            signal.store(true, Ordering::Relaxed);
        }
    }));
    assert!(matches!(stopped, Err(Error::Interrupted { .. })));
    start(Run::new().resume(true)).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/read_events.py");
    let output = piggyback_testing::peer_python()
        .arg(script)
        .arg(&run)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let theirs: Scalars = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs, lines(&run));
    assert_eq!(theirs["learning_rates/lr"].len(), 3);
}

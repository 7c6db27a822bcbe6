//! Trains a task and predicts with it.
//!
//! ```text
//! cargo run --release --example learn_a_task -- data/mobilenet_v2.pth data/sketch data/sketch/test/symbols
//! ```

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use piggyback::data::{ImageFolder, Samples};
use piggyback::image::{Image, ImageSettings};
use piggyback::learn::{Event, Run, RunSettings};
use piggyback::methods::TrainConfig;
use piggyback::task::TaskFile;
use piggyback::{Backbone, Device, Engine, KnownNetworks};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [checkpoint, data, image] = &arguments[..] else {
        return Err("usage: learn_a_task CHECKPOINT DATA IMAGE".into());
    };

    // The backbone is loaded once; nothing below changes it.
    let backbone = Backbone::load(checkpoint, &Device::flex())?;

    let config = TrainConfig {
        run: RunSettings {
            epochs: 3,
            ..TrainConfig::default().run
        },
        images: ImageSettings {
            image_size: 96.into(),
            ..ImageSettings::default()
        },
        ..TrainConfig::default()
    };
    let learned = Run::new()
        .observe(|event| {
            if let Event::Epoch(epoch) = event {
                println!(
                    "epoch {}: {:.1} % validation error",
                    epoch.epoch, epoch.validation_error
                );
            }
        })
        .learn(&config, &backbone, &ImageFolder::open(data)?)?;
    let file = std::env::temp_dir().join("example.task.safetensors");
    learned.product.save(&file)?;
    println!(
        "{} holds the task in {} bytes",
        file.display(),
        std::fs::metadata(&file)?.len()
    );

    let task = TaskFile::open(&file, &KnownNetworks)?;
    let engine = Engine::new(backbone).with_task("example", task)?;
    for (path, _) in Samples::unlabelled(std::slice::from_ref(image))?
        .iter()
        .take(5)
    {
        let predictions = engine.predict("example", &[Image::open(&path)?])?;
        for (class, probability) in predictions.iter().flat_map(|prediction| prediction.top(1)) {
            let percent = 100.0 * probability;
            println!("{}: {class} ({percent:.0} %)", path.display());
        }
    }
    Ok(())
}

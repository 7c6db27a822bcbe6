//! From a task's packed bits to its effective network.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use piggyback::methods::MaskLayers;
use piggyback::task::TaskFile;
use piggyback::{Engine, KnownNetworks};
use serde_json::{Value, json};

use super::meter::timed;
use super::synthetic::{open, random_task};

/// Switches that are not counted.
const WARM_UP: usize = 4;

/// What is switched.
#[derive(Debug, clap::Args)]
pub(crate) struct SwitchArgs {
    checkpoint: PathBuf,
    /// Number of measured switches.
    #[arg(long)]
    times: usize,
}

/// The seconds of each switch, and of a copy of the weights after each.
pub(crate) fn measure(args: &SwitchArgs, scratch: &Path) -> Result<Value> {
    let (backbone, state) = open(&args.checkpoint)?;
    let names = ["a", "b"];
    let bytes = backbone.weights_bytes();
    let engine = Engine::new(backbone.clone());
    for (name, seed) in names.into_iter().zip(0..) {
        let file = scratch.join(name);
        random_task(&backbone, &state, 224, &MaskLayers::All, seed)?.save(&file)?;
        engine.add_task(name, TaskFile::open(&file, &KnownNetworks)?)?;
    }
    drop(state);
    // Numbers of the size of the weights, touched before they are copied.
    let source = vec![1.0_f32; bytes / 4];
    let mut target = vec![2.0_f32; source.len()];
    let (mut seconds, mut copy_seconds) = (Vec::new(), Vec::new());
    for name in names.into_iter().cycle().take(WARM_UP + args.times) {
        // The cache has room for one task: each is made anew.
        seconds.push(timed(|| engine.make_ready(name))?);
        let started = Instant::now();
        black_box(&mut target).copy_from_slice(black_box(&source));
        copy_seconds.push(started.elapsed().as_secs_f64());
    }
    Ok(json!({
        "seconds": seconds[WARM_UP..],
        "copy_seconds": copy_seconds[WARM_UP..],
        "bytes": bytes,
    }))
}

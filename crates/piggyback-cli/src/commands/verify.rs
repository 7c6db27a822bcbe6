use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use piggyback::data::Image;
use piggyback::device::Device;
use piggyback::engine::Prediction;
use piggyback::task::{BitMask, Mask, TaskFile};
use piggyback::{Artefact, Backbone, Engine};
use serde::Serialize;

use super::{Outcome, open_artefact, open_backbone};
use crate::args::VerifyArgs;
use crate::printer::Printer;

/// Images of the synthetic batch.
const IMAGES: u64 = 3;

/// Names of the two tasks that take turns.
const TASK: &str = "task";
const OTHER: &str = "other";

#[derive(Serialize)]
struct Verdict<'a> {
    file: Cow<'a, str>,
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Check {
    fn of(check: &'static str, outcome: Result<()>) -> Self {
        Self {
            check,
            ok: outcome.is_ok(),
            reason: outcome.err().map(|error| format!("{error:#}")),
        }
    }
}

pub(super) fn run(args: &VerifyArgs, printer: &Printer) -> Result<Outcome> {
    // A file that is not there has not failed a check: nothing was checked.
    for path in &args.files {
        File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    }
    let backbone = args.backbone.backbone.is_some();
    let backbone = backbone
        .then(|| open_backbone(&args.backbone))
        .transpose()?;
    let device = piggyback::device::open(&args.backbone.device)?;
    let mut failed = false;
    for path in &args.files {
        let checks = checks(backbone.as_ref(), &device, path)?;
        let ok = checks.iter().all(|check| check.ok);
        failed |= !ok;
        let verdict = Verdict {
            file: path.to_string_lossy(),
            ok,
            checks,
        };
        if args.json {
            printer.json(&verdict)?;
        } else {
            printer.result(&text(&verdict))?;
        }
    }
    Ok(Outcome::found(failed))
}

/// The checks in order, up to the first that failed: each needs what those before it proved.
fn checks(backbone: Option<&Backbone>, device: &Device, path: &Path) -> Result<Vec<Check>> {
    let artefact = match open_artefact(path) {
        Ok(artefact) => artefact,
        Err(error) => return Ok(vec![Check::of("integrity", Err(error))]),
    };
    if artefact.needs_backbone() && backbone.is_none() {
        bail!(
            "{} is a task file: give the checkpoint of its backbone with --backbone",
            path.display()
        );
    }
    let engine = || artefact.engine(TASK, backbone, device);
    let repeat = || {
        let engine = engine()?;
        (artefact.names(TASK).iter())
            .try_for_each(|name| check_repeat(engine.backbone(), engine.task(name)?))
    };
    let mut checks = vec![Check::of("integrity", Ok(()))];
    let remaining: [(&'static str, &dyn Fn() -> Result<()>); 3] = [
        ("fingerprint", &|| check_fingerprint(backbone, &artefact)),
        ("fit", &|| Ok(engine().map(drop)?)),
        ("repeat", &repeat),
    ];
    for (name, check) in remaining {
        checks.push(Check::of(name, check()));
        if checks.iter().any(|check| !check.ok) {
            break;
        }
    }
    Ok(checks)
}

/// Whether a file is of the backbone that is given; nothing to check without one.
fn check_fingerprint(backbone: Option<&Backbone>, artefact: &Artefact) -> Result<()> {
    let Some(backbone) = backbone else {
        return Ok(());
    };
    let began = match artefact {
        Artefact::Task(task) => return backbone.check_origin(task).map_err(anyhow::Error::msg),
        Artefact::Shared(network) => network.backbone().fingerprint.to_string(),
        _ => {
            let training = artefact.tasks().into_iter().find_map(|task| task.training);
            let recorded = training.and_then(|record| record.get("backbone-fingerprint")?.as_str());
            match recorded {
                Some(recorded) => recorded.to_owned(),
                None => return Ok(()),
            }
        }
    };
    let own = backbone.fingerprint().to_string();
    ensure!(
        began == own,
        "it began as weights of fingerprint {began}, and the backbone has {own}"
    );
    Ok(())
}

/// Predicts the same images again and again while another task comes and goes.
fn check_repeat(backbone: &Backbone, task: &TaskFile) -> Result<()> {
    let images = (0..IMAGES)
        .map(|seed| synthetic(task.preprocessing.image_size, seed))
        .collect::<Result<Vec<Image>>>()?;
    let other = opposite(task)?;
    let mut engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    let first = engine.predict(TASK, &images)?;
    let compare = |when: &str, again: &[Prediction]| {
        anyhow::ensure!(bits(&first) == bits(again), "the outputs differ {when}");
        Ok(())
    };

    engine.add_task(OTHER, other.clone())?;
    engine.predict(OTHER, &images)?;
    compare(
        "after another task was used",
        &engine.predict(TASK, &images)?,
    )?;
    engine.remove_task(OTHER)?;
    compare(
        "after another task was removed",
        &engine.predict(TASK, &images)?,
    )?;

    let mut engine = Engine::new(backbone.clone()).with_task(OTHER, other)?;
    engine.predict(OTHER, &images)?;
    engine.add_task(TASK, task.clone())?;
    compare(
        "when another task was loaded first",
        &engine.predict(TASK, &images)?,
    )?;

    let mut alone = Vec::new();
    for image in &images {
        alone.extend(engine.predict(TASK, std::slice::from_ref(image))?);
    }
    compare("when the images come one by one", &alone)
}

/// A task that keeps what `task` zeroes, with the backbone's own batch norms: as different as can be.
fn opposite(task: &TaskFile) -> Result<TaskFile> {
    let mut other = TaskFile {
        norms: Default::default(),
        ..task.clone()
    };
    for mask in other.masks.values_mut() {
        let kept: Vec<bool> = mask.keep().iter().collect();
        let keep = BitMask::from_fn(kept.len(), |i| !kept[i]);
        *mask = Mask::binary(mask.shape(), keep)?;
    }
    Ok(other)
}

/// An image of pseudo-random pixels, `side` x `side`.
fn synthetic(side: u32, seed: u64) -> Result<Image> {
    // splitmix64: a few lines, and the same numbers everywhere and for ever.
    let mut state = seed;
    let mut pixel = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 56) as u8
    };
    let pixels = (0..u64::from(side) * u64::from(side) * 3)
        .map(|_| pixel())
        .collect();
    Ok(Image::from_pixels(side, side, pixels)?)
}

fn bits(predictions: &[Prediction]) -> Vec<u32> {
    predictions
        .iter()
        .flat_map(|prediction| &prediction.logits)
        .map(|x| x.to_bits())
        .collect()
}

fn text(verdict: &Verdict<'_>) -> String {
    let mut text = format!("{}\n", verdict.file);
    for check in &verdict.checks {
        let result = if check.ok { "OK" } else { "FAILED" };
        let reason = check
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        text.push_str(&format!("  {:<11}  {result}{reason}\n", check.check));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::synthetic;

    #[test]
    fn synthetic_images_depend_on_the_seed_alone() {
        let [a, again, b] = [1, 1, 2].map(|seed| synthetic(8, seed).unwrap());
        assert_eq!(a, again);
        assert_ne!(a, b);
    }
}

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use piggyback::engine::Prediction;
use piggyback::image::Image;
use piggyback::task::{BitMask, Mask, TaskFile};
use piggyback::{Artefact, Backbone, Device, Engine, Error, InstructionSet};
use serde::Serialize;

use super::{Outcome, open_artefact, open_backbone};
use crate::args::{DEFAULT_DEVICE, VerifyArgs};
use crate::bar::Bar;
use crate::printer::Printer;

/// Images that are predicted while other tasks come and go, and on other numbers of threads.
const IMAGES: u64 = 3;

/// Images that are predicted together and one by one: no multiple of a vector or a tile.
const BATCH: u64 = 13;

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
    /// What gave equal bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// In words, where there is a choice.
type Compared = Option<String>;

impl Check {
    fn of(check: &'static str, outcome: Result<Compared>) -> Self {
        let (ok, compared, reason) = match outcome {
            Ok(compared) => (true, compared, None),
            Err(error) => (false, None, Some(format!("{error:#}"))),
        };
        Self {
            check,
            ok,
            compared,
            reason,
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
        .then(|| open_backbone(&args.backbone, printer))
        .transpose()?;
    let device = piggyback::open_device(&args.backbone.device)?;
    let on_cpu = args.backbone.device == DEFAULT_DEVICE;
    let wanted = if on_cpu {
        &TASK_CHECKS[..]
    } else {
        &TASK_CHECKS[..ANYWHERE]
    };
    if !on_cpu {
        printer.note("batches, threads and instruction sets are not checked: only the CPU promises equal bits");
    }
    let bar = printer.bar(args.files.len() * (FILE_CHECKS + wanted.len()));
    let mut failed = false;
    for path in &args.files {
        let checks = checks(backbone.as_ref(), &device, path, wanted, &bar)?;
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
    bar.finish_and_clear();
    Ok(Outcome::found(failed))
}

/// A check of a task that could be opened.
type TaskCheck = fn(&Backbone, &TaskFile) -> Result<Compared>;

/// How many checks come before those of the tasks in a file.
const FILE_CHECKS: usize = 3;

/// In their order.
const TASK_CHECKS: [(&str, TaskCheck); 5] = [
    ("numbers", check_numbers),
    ("repeat", check_repeat),
    ("batch", check_batch),
    ("threads", check_threads),
    ("instructions", check_instructions),
];

/// How many of them hold on every device.
const ANYWHERE: usize = 2;

/// The checks in order, up to the first that failed: each needs what those before it proved.
fn checks(
    backbone: Option<&Backbone>,
    device: &Device,
    path: &Path,
    wanted: &[(&'static str, TaskCheck)],
    bar: &Bar,
) -> Result<Vec<Check>> {
    bar.set_message("integrity");
    let artefact = open_artefact(path);
    bar.inc(1);
    let artefact = match artefact {
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
    let mut checks = vec![Check::of("integrity", Ok(None))];
    let fingerprint = || check_fingerprint(backbone, &artefact).map(|()| None);
    let fit = || Ok(engine().map(|_| None)?);
    let of_file: [(&'static str, &dyn Fn() -> Result<Compared>); FILE_CHECKS - 1] =
        [("fingerprint", &fingerprint), ("fit", &fit)];
    for (name, check) in of_file {
        bar.set_message(name);
        checks.push(Check::of(name, check()));
        bar.inc(1);
        if checks.iter().any(|check| !check.ok) {
            return Ok(checks);
        }
    }
    let engine = engine()?;
    for &(name, check) in wanted {
        bar.set_message(name);
        let mut outcome = Ok(None);
        for task in artefact.names(TASK) {
            outcome = check(engine.backbone(), engine.task(&task)?.as_ref());
            if outcome.is_err() {
                break;
            }
        }
        checks.push(Check::of(name, outcome));
        bar.inc(1);
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

/// Predicts images, whose outputs must be numbers.
fn check_numbers(backbone: &Backbone, task: &TaskFile) -> Result<Compared> {
    let images = synthetic_images(task, IMAGES)?;
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    engine.predict(TASK, &images)?;
    Ok(None)
}

/// Predicts with a task that only has to be in the way: its outputs need not be numbers.
fn use_other(engine: &Engine, images: &[Image]) -> Result<()> {
    match engine.predict(OTHER, images) {
        Err(Error::NotNumbers { .. }) => Ok(()),
        predictions => Ok(predictions.map(drop)?),
    }
}

/// Predicts the same images again and again while another task comes and goes.
fn check_repeat(backbone: &Backbone, task: &TaskFile) -> Result<Compared> {
    let images = synthetic_images(task, IMAGES)?;
    let other = opposite(task)?;
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    let first = engine.predict(TASK, &images)?;

    engine.add_task(OTHER, other.clone())?;
    use_other(&engine, &images)?;
    let again = engine.predict(TASK, &images)?;
    same(&first, &again, "after another task was used")?;
    engine.remove_task(OTHER)?;
    let again = engine.predict(TASK, &images)?;
    same(&first, &again, "after another task was removed")?;

    let engine = Engine::new(backbone.clone()).with_task(OTHER, other)?;
    use_other(&engine, &images)?;
    engine.add_task(TASK, task.clone())?;
    let again = engine.predict(TASK, &images)?;
    same(&first, &again, "when another task was loaded first")?;
    Ok(None)
}

/// Predicts images together and one by one.
fn check_batch(backbone: &Backbone, task: &TaskFile) -> Result<Compared> {
    let images = synthetic_images(task, BATCH)?;
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    let together = engine.predict(TASK, &images)?;
    let mut alone = Vec::new();
    for image in &images {
        alone.extend(engine.predict(TASK, std::slice::from_ref(image))?);
    }
    same(&together, &alone, "when the images come one by one")?;
    Ok(Some(format!("1 image and {BATCH} together")))
}

/// Predicts on one thread and on all.
fn check_threads(backbone: &Backbone, task: &TaskFile) -> Result<Compared> {
    let images = synthetic_images(task, IMAGES)?;
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    // Where all are one, a second one still shares out the work.
    let all = rayon::current_num_threads().max(2);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.context("cannot start the threads; lower --threads")?;
        anyhow::Ok(pool.install(|| engine.predict(TASK, &images))?)
    };
    same(&on(all)?, &on(1)?, &format!("between {all} threads and 1"))?;
    Ok(Some(format!("1 and {all}")))
}

/// Predicts with every instruction set that this CPU has.
fn check_instructions(backbone: &Backbone, task: &TaskFile) -> Result<Compared> {
    // One: without vector instructions it takes seconds.
    let images = synthetic_images(task, 1)?;
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    let used = engine.predict(TASK, &images)?;
    let sets = InstructionSet::available();
    for set in &sets {
        let other = set.compute(|| engine.predict(TASK, &images))?;
        same(&used, &other, &format!("with the instruction set '{set}'"))?;
    }
    let names: Vec<&str> = sets.into_iter().map(InstructionSet::name).collect();
    Ok(Some(names.join(", ")))
}

fn same(first: &[Prediction], again: &[Prediction], when: &str) -> Result<()> {
    anyhow::ensure!(bits(first) == bits(again), "the outputs differ {when}");
    Ok(())
}

fn synthetic_images(task: &TaskFile, count: u64) -> Result<Vec<Image>> {
    let side = task.preprocessing.image_size;
    (0..count).map(|seed| synthetic(side, seed)).collect()
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

fn text(verdict: &Verdict<'_>) -> Vec<String> {
    let mut lines = vec![verdict.file.to_string()];
    for check in &verdict.checks {
        let result = if check.ok { "OK" } else { "FAILED" };
        let told = check.reason.as_ref().or(check.compared.as_ref());
        let told = told.map(|told| format!(": {told}")).unwrap_or_default();
        lines.push(format!("  {:<12}  {result}{told}", check.check));
    }
    lines
}

#[cfg(test)]
mod tests {
    use piggyback::engine::Prediction;

    use super::{Check, same, synthetic};

    #[test]
    fn a_difference_in_one_bit_fails_a_check() {
        let of = |logit: f32| [Prediction::from_logits(vec![1.0, logit])];
        let check = |logit| Check::of("batch", same(&of(0.0), &of(logit), "here").map(|()| None));
        assert!(check(0.0).ok);
        let failed = check(-0.0);
        assert!(!failed.ok);
        assert_eq!(failed.reason.as_deref(), Some("the outputs differ here"));
    }

    #[test]
    fn synthetic_images_depend_on_the_seed_alone() {
        let [a, again, b] = [1, 1, 2].map(|seed| synthetic(8, seed).unwrap());
        assert_eq!(a, again);
        assert_ne!(a, b);
    }
}

//! `piggyback compare`: a plan, unit by unit, and its report.

mod child;
mod unit;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::HumanDuration;
use piggyback::task::atomic;
use piggyback_compare::report::Report;
use piggyback_compare::{Comparison, Plan, Record, Results, Speeds, Unit};
use serde::Serialize;

use super::Status;
use super::run::note_folder;
use crate::args::{CompareArgs, Shard};
use crate::printer::Printer;
use crate::report::{count, pairs, table};
use crate::{interrupt, write};
use child::Ended;

pub(super) use unit::run as run_unit;

/// The result of a finished command.
#[derive(Serialize)]
struct Summary {
    output: String,
    report: String,
    units: usize,
    done: usize,
    failed: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    unit: String,
    reason: String,
}

/// A line of `--dry-run`.
#[derive(Serialize)]
struct Listed<'a> {
    identity: &'a str,
    unit: String,
    state: &'static str,
}

pub(super) fn run(args: &CompareArgs, threads: Option<usize>, printer: &Printer) -> Result<Status> {
    let mut plan = Plan::open(&args.plan)?;
    // An unknown device should fail here, and not in every unit.
    piggyback::open_device(&args.device)?;
    fetch_backbones(&mut plan, &args.plan, printer)?;
    let comparison = Comparison::new(&args.plan, plan, args.output.as_deref())?;
    for (set, data) in comparison.plan().data.iter().zip(comparison.data()) {
        note_folder(Some(&set.name), &data.folder, printer);
    }
    let shard = args.shard.map(|Shard { part, parts }| (part, parts));
    let units = comparison.shard(shard);
    if args.dry_run {
        return list(
            &units,
            &Results::read(comparison.output())?,
            args.json,
            printer,
        );
    }
    check_report_files(&comparison, &args.plan)?;
    let mut results = Results::open(comparison.output())?;
    results.notes().iter().for_each(|note| printer.warn(note));
    let mut work = Work {
        args,
        threads,
        printer,
        speeds: Speeds::of(&units, &results),
        failed: Vec::new(),
        failed_identities: BTreeSet::new(),
    };
    let interrupted = work.all(&units, &mut results)?;
    let summary = finish(args, &comparison, &units, &results, work.failed)?;
    if args.json {
        printer.json(&summary)?;
    } else {
        printer.result(&text(&summary))?;
    }
    for Failure { unit, reason } in &summary.failed {
        printer.error(&anyhow!("{unit}: {reason}"));
    }
    if interrupted {
        printer.warn("stopped; the same command continues");
        return Ok(Status::Interrupted);
    }
    Ok(Status::found(!summary.failed.is_empty()))
}

/// The files of the report.
const REPORT_FILES: [&str; 3] = ["report.html", "report.md", "results.csv"];

/// Files by which a comparison's folder is detected.
const OWN_FILES: [&str; 2] = ["results.jsonl", "units"];

/// Fails where the report could not be written once everything is computed, or would take the place
/// of a file that no comparison has written, or of one that this one reads. That files can be
/// created at all is checked when the results are opened.
fn check_report_files(comparison: &Comparison, plan: &Path) -> Result<()> {
    let folder = comparison.output();
    let is_own = OWN_FILES.iter().any(|name| folder.join(name).exists());
    for path in REPORT_FILES.map(|name| folder.join(name)) {
        let shown = path.display();
        atomic::target(&path).with_context(|| {
            format!(
                "cannot write {shown}; move it away, or choose another output folder with --output"
            )
        })?;
        write::check_no_input(&path, &[plan])?;
        if path.exists() && !is_own {
            bail!(
                "{shown} exists, but the folder holds no results of a comparison: the report would overwrite it; \
                 choose another output folder with --output"
            );
        }
    }
    Ok(())
}

/// Downloads the backbones that the plan gives as `hf:` models to the cache.
fn fetch_backbones(plan: &mut Plan, path: &Path, printer: &Printer) -> Result<()> {
    for backbone in &mut plan.backbones {
        let model = backbone
            .path
            .as_deref()
            .and_then(|path| path.strip_prefix("hf:"));
        let Some(model) = model else { continue };
        let context = || format!("{}: backbone '{}'", path.display(), backbone.name);
        let fetched = fetch_model(model, printer).with_context(context)?;
        backbone.path = Some(fetched.to_string_lossy().into_owned());
    }
    Ok(())
}

#[cfg(feature = "hub")]
use super::backbone::fetch_model;

#[cfg(not(feature = "hub"))]
fn fetch_model(model: &str, _printer: &Printer) -> Result<std::path::PathBuf> {
    bail!("hf:{model} needs a program built with the Cargo feature hub; give a file instead")
}

fn list(units: &[&Unit], results: &Results, json: bool, printer: &Printer) -> Result<Status> {
    let state = |unit: &Unit| {
        if results.is_done(unit) {
            "done"
        } else if results.failure(&unit.job).is_some() {
            "failed"
        } else {
            "missing"
        }
    };
    if json {
        for unit in units {
            printer.json(&Listed {
                identity: &unit.job.identity,
                unit: unit.job.title(),
                state: state(unit),
            })?;
        }
        return Ok(Status::Done);
    }
    let rows: Vec<[String; 3]> = (units.iter())
        .map(|unit| {
            [
                unit.job.title(),
                state(unit).to_owned(),
                unit.job.short().to_owned(),
            ]
        })
        .collect();
    let open: Vec<&Unit> = units
        .iter()
        .copied()
        .filter(|unit| !results.is_done(unit))
        .collect();
    let left = Speeds::of(units, results).remaining(open.iter().copied());
    let left = match left.filter(|_| !open.is_empty()) {
        Some(seconds) => format!(", about {}", HumanDuration(duration(seconds))),
        None => String::new(),
    };
    let total = format!(
        "{} of {} to do{left}",
        open.len(),
        count(units.len(), "unit")
    );
    let mut lines = table(&rows);
    lines.extend([String::new(), total]);
    printer.result(&lines)?;
    Ok(Status::Done)
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The units under way.
struct Work<'a> {
    args: &'a CompareArgs,
    threads: Option<usize>,
    printer: &'a Printer,
    speeds: Speeds,
    failed: Vec<Failure>,
    failed_identities: BTreeSet<String>,
}

impl Work<'_> {
    /// Computes what is missing; whether it was interrupted.
    fn all(&mut self, units: &[&Unit], results: &mut Results) -> Result<bool> {
        let open: Vec<&Unit> = units
            .iter()
            .copied()
            .filter(|unit| !results.is_done(unit))
            .collect();
        self.printer.note(&format!(
            "{} of {} to do",
            open.len(),
            count(units.len(), "unit")
        ));
        if open.is_empty() {
            return Ok(false);
        }
        let stop = interrupt::listen();
        for (index, unit) in open.iter().enumerate() {
            let place = format!("[{}/{}] {}", index + 1, open.len(), unit.job.title());
            let lacking: Vec<&String> = unit
                .needs
                .iter()
                .filter(|need| results.get(need).is_none())
                .collect();
            if lacking
                .iter()
                .any(|need| self.failed_identities.contains(*need))
            {
                self.fail(unit, "not run: a unit that it needs failed".into());
                continue;
            }
            if !lacking.is_empty() {
                self.printer
                    .note(&format!("{place}: waits for units of other shards"));
                continue;
            }
            let child = child::Child::start(unit, &self.args.device, self.threads)?;
            match child.watch(&place, &stop, self.printer)? {
                Ended::Done => match results.computed(&unit.job) {
                    Ok(record) => {
                        self.speeds.add(unit, record.seconds);
                        let left = self.speeds.remaining(open[index + 1..].iter().copied());
                        self.printer
                            .note(&format!("{place}: {}", said(&record, left)));
                        results.append(record)?;
                    }
                    Err(error) => self.note_failure(unit, error.to_string(), results)?,
                },
                Ended::Failed(reason) => self.note_failure(unit, reason, results)?,
                Ended::Interrupted => return Ok(true),
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note_failure(&mut self, unit: &Unit, reason: String, results: &Results) -> Result<()> {
        self.printer
            .warn(&format!("{} failed: {reason}", unit.job.title()));
        results.fail(&unit.job, &reason)?;
        self.fail(unit, reason);
        Ok(())
    }

    fn fail(&mut self, unit: &Unit, reason: String) {
        self.failed_identities.insert(unit.job.identity.clone());
        self.failed.push(Failure {
            unit: unit.job.title(),
            reason,
        });
    }
}

/// The result of a unit, and the time left for the others, in a line.
fn said(record: &Record, left_seconds: Option<f64>) -> String {
    let errors: Vec<String> = record
        .tasks
        .iter()
        .map(|task| format!("{:.2} %", task.top1_error))
        .collect();
    let mut text = if errors.is_empty() {
        "done".to_owned()
    } else {
        format!("test error {}", errors.join(", "))
    };
    text.push_str(&format!(", {:.0} s", record.seconds));
    if let Some(seconds) = left_seconds.filter(|seconds| *seconds >= 1.0) {
        text.push_str(&format!(
            "; about {} left",
            HumanDuration(duration(seconds))
        ));
    }
    text
}

fn finish(
    args: &CompareArgs,
    comparison: &Comparison,
    units: &[&Unit],
    results: &Results,
    failed: Vec<Failure>,
) -> Result<Summary> {
    let command = format!("piggyback compare {}", args.plan.display());
    let report = Report::new(comparison, results, &command);
    let folder = comparison.output();
    let contents = [report.html(), report.markdown(), report.csv().to_owned()];
    for (name, content) in REPORT_FILES.iter().zip(&contents) {
        write::file(&folder.join(name), content).context(
            "the results are kept; the same command writes the report without computing them again",
        )?;
    }
    if units.is_empty() {
        bail!("this shard has no units; use fewer parts");
    }
    Ok(Summary {
        output: folder.display().to_string(),
        report: folder.join(REPORT_FILES[0]).display().to_string(),
        units: units.len(),
        done: units.iter().filter(|unit| results.is_done(unit)).count(),
        failed,
    })
}

fn text(summary: &Summary) -> Vec<String> {
    let mut lines = vec![
        ("report", summary.report.clone()),
        (
            "done",
            format!("{} of {}", summary.done, count(summary.units, "unit")),
        ),
    ];
    if !summary.failed.is_empty() {
        lines.push(("failed", count(summary.failed.len(), "unit")));
    }
    pairs(0, &lines)
}

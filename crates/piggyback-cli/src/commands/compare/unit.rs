//! A unit in its own process: so its memory can be measured, and its failure does not end the other
//! units.

use std::io::{self, BufRead, Read};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use piggyback::learn::Event;
use piggyback_compare::{Job, Memory, Results};
use serde::{Deserialize, Serialize};

use crate::args::CompareUnitArgs;
use crate::commands::Status;
use crate::interrupt;
use crate::printer::Printer;

/// How often progress is reported.
const TICK: Duration = Duration::from_millis(100);

/// The message on stdin that asks a unit's process to stop, after its job.
pub(super) const STOP: &str = "stop";

/// The messages of a unit's process, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ChildMessage {
    /// Progress.
    Progress {
        what: String,
        done: usize,
        total: usize,
    },
    /// An image was left out.
    Skipped(String),
    /// A checkpoint could not be written; the unit goes on.
    NotSaved(String),
    /// It failed.
    Failed(String),
}

/// Computes the unit whose job is the first line of stdin, and stops, with a checkpoint, at the
/// next line or when stdin ends: so it does not outlive the process that started it. If stdin ends
/// after it was told to stop, that process did not wait: it ends at once.
pub(in crate::commands) fn run(args: &CompareUnitArgs, printer: &Printer) -> Result<Status> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the job from stdin")?;
    let job: Job = serde_json::from_str(&line)
        .context("this command is internal: `piggyback compare` starts it")?;
    let device = piggyback::open_device(&args.device)?;
    let stop = interrupt::listen();
    let at_end = stop.clone();
    thread::spawn(move || {
        let (mut told, mut rest) = (String::new(), Vec::new());
        let mut stdin = io::stdin().lock();
        // However stdin ends, nobody is waiting any more.
        let told = stdin.read_line(&mut told).is_ok_and(|bytes| bytes > 0);
        at_end.store(true, Ordering::SeqCst);
        if told {
            let _ = stdin.read_to_end(&mut rest);
            interrupt::end();
        }
    });
    let mut last: Option<Instant> = None;
    let observe = |event: &Event| {
        let told = match event {
            Event::Step {
                epoch,
                step,
                steps,
                error,
                ..
            } => ChildMessage::Progress {
                what: format!("epoch {epoch} error {error:.1} %"),
                done: *step,
                total: *steps,
            },
            Event::Evaluating {
                split,
                images,
                total,
            } => ChildMessage::Progress {
                what: (*split).to_owned(),
                done: *images,
                total: *total,
            },
            Event::Skipped(reason) => ChildMessage::Skipped(reason.clone()),
            Event::NotSaved(reason) => ChildMessage::NotSaved(reason.clone()),
            _ => return,
        };
        let is_progress = matches!(told, ChildMessage::Progress { .. });
        if is_progress && last.is_some_and(|last| last.elapsed() < TICK) {
            return;
        }
        last = Some(Instant::now());
        // The work counts, whoever listens.
        let _ = printer.json(&told);
    };
    match piggyback_compare::run(&job, &device, stop, observe) {
        Ok(record) => {
            if let Some(memory) = Memory::now() {
                Results::note_memory(&job, record, memory.peak_bytes)?;
            }
            Ok(Status::Done)
        }
        Err(error) if error.is_interruption() => Ok(Status::Interrupted),
        Err(error) => {
            printer.json(&ChildMessage::Failed(piggyback_compare::reason(&error)))?;
            Ok(Status::Failed)
        }
    }
}

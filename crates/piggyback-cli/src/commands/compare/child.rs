//! The process of a unit, seen from its parent.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use piggyback_compare::Unit;

use super::unit::{ChildMessage, STOP};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::not_saved;

/// How often the stop flag is polled.
const LOOK: Duration = Duration::from_millis(100);

/// A running unit.
pub(super) struct Child {
    process: std::process::Child,
}

/// How a unit ended.
pub(super) enum Ended {
    /// Its record is in its folder.
    Done,
    /// For this reason.
    Failed(String),
    /// It left a checkpoint.
    Interrupted,
}

impl Child {
    /// Starts this program again, to compute `unit`.
    pub(super) fn start(unit: &Unit, device: &str, threads: Option<usize>) -> Result<Self> {
        let program =
            std::env::current_exe().context("cannot find this program to start it again")?;
        let mut command = Command::new(&program);
        // Its settings come from the job alone.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PIGGYBACK_") {
                command.env_remove(name);
            }
        }
        command.args(["compare-unit", "--quiet", "--device", device]);
        if let Some(threads) = threads {
            command.args(["--threads", &threads.to_string()]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let job = serde_json::to_string(&unit.job)?;
        if let Some(stdin) = &mut process.stdin {
            // A process that is gone already says why when it is waited for.
            let _ = writeln!(stdin, "{job}").and_then(|()| stdin.flush());
        }
        Ok(Self { process })
    }

    /// Shows how it goes until it ends. Once `stop` is true the unit is asked to stop: a Ctrl-C
    /// reaches it by itself, other signals do not.
    pub(super) fn watch(
        mut self,
        place: &str,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> Result<Ended> {
        let stdin = self.process.stdin.take();
        let (under_way, ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || ask_to_stop(stdin, stop, &ended));
            let outcome = self.show(place, stop, printer);
            drop(under_way);
            outcome
        })
    }

    fn show(mut self, place: &str, stop: &AtomicBool, printer: &Printer) -> Result<Ended> {
        let mut stderr = self.process.stderr.take();
        let said = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(stderr) = &mut stderr {
                // What was read until then is shown all the same.
                let _ = stderr.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let bar = printer.bar(1);
        bar.set_prefix(place);
        let mut failure = None;
        if let Some(stdout) = self.process.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                match line.ok().and_then(|line| serde_json::from_str(&line).ok()) {
                    Some(ChildMessage::Progress { what, done, total }) => {
                        bar.set_length(total as u64);
                        bar.set_position(done as u64);
                        bar.set_message(&what);
                    }
                    Some(ChildMessage::Skipped(reason)) => {
                        printer.warn(&format!("{place}: left out: {reason}"));
                    }
                    Some(ChildMessage::NotSaved(reason)) => {
                        printer.warn(&format!("{place}: {}", not_saved(&reason)));
                    }
                    Some(ChildMessage::Failed(reason)) => failure = Some(reason),
                    None => {}
                }
            }
        }
        bar.finish_and_clear();
        let status = self
            .process
            .wait()
            .context("cannot wait for a unit's process")?;
        let said = said.join().unwrap_or_default();
        Ok(match status.code() {
            Some(0) => Ended::Done,
            Some(code) if code == i32::from(interrupt::EXIT_CODE) => Ended::Interrupted,
            // A signal to all processes may have come before the unit had begun, and reach this one
            // later.
            _ if failure.is_none() && is_set_soon(stop) => Ended::Interrupted,
            _ => Ended::Failed(failure.unwrap_or_else(|| {
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                let last = last.map(|line| format!(": {line}")).unwrap_or_default();
                format!("its process ended with {status}{last}")
            })),
        })
    }
}

/// Whether `stop` is true, or becomes so within a moment.
fn is_set_soon(stop: &AtomicBool) -> bool {
    if !stop.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    stop.load(Ordering::Relaxed)
}

/// Tells a unit on its stdin to stop, once `stop` is true, and keeps stdin open until it has
/// `ended`: its end means that nobody is waiting any more.
fn ask_to_stop(mut stdin: Option<ChildStdin>, stop: &AtomicBool, ended: &Receiver<()>) {
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if stop.load(Ordering::Relaxed) {
            if let Some(stdin) = &mut stdin {
                // A process that is gone need not be told.
                let _ = writeln!(stdin, "{STOP}").and_then(|()| stdin.flush());
            }
            // Until the other end is dropped.
            let _ = ended.recv();
            return;
        }
    }
}

//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! A verb that writes a file ends at once, and takes what it has written so far along. A verb that
//! trains is asked to stop by the first signal, and leaves a checkpoint; a second one ends it at
//! once. Signals come in pairs (timeout(1) sends one to its child and one to the group), so the
//! second counts only when the first is a second old. A signal that was ignored when the program
//! started, as nohup(1) has it, stays ignored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use piggyback::task::atomic;

use crate::printer::Printer;

/// Exit code of a program that was interrupted and wrote a checkpoint.
pub(crate) const EXIT_CODE: u8 = 130;

/// Exit code of a program that failed.
const NOT_DONE: i32 = 2;

/// Signals that come so soon after the first are the same one.
const SAME: Duration = Duration::from_secs(1);

/// What the program is doing when a signal comes.
struct Handling {
    /// Whether exit code 130 is for interrupted runs with a checkpoint alone.
    trains: bool,
    /// Asks the run under way to stop.
    stop: Option<Arc<AtomicBool>>,
    /// When a run was asked to stop.
    asked: Option<Instant>,
}

static HANDLING: Mutex<Handling> = Mutex::new(Handling {
    trains: false,
    stop: None,
    asked: None,
});

fn handling() -> std::sync::MutexGuard<'static, Handling> {
    HANDLING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens for signals from now on; `trains` says whether the verb writes checkpoints.
pub(crate) fn start(trains: bool, printer: &Printer) -> Result<()> {
    handling().trains = trains;
    system::listen(printer.clone())
}

/// The flag that a signal sets from now on.
pub(crate) fn listen() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    handling().stop = Some(stop.clone());
    stop
}

/// The run is over: a signal ends the program at once again.
pub(crate) fn run_is_over() {
    handling().stop = None;
}

/// Ends the program: nobody is waiting for its work any more.
pub(crate) fn end() -> ! {
    atomic::abandon();
    std::process::exit(NOT_DONE)
}

/// What a signal does.
#[derive(Debug, PartialEq)]
enum Action {
    /// It repeats the signal before it.
    Nothing,
    /// The run under way was asked to stop.
    Stop,
    End,
}

impl Handling {
    /// Takes a signal that came `now`.
    fn take(&mut self, now: Instant) -> Action {
        if self.asked.is_some_and(|asked| now < asked + SAME) {
            return Action::Nothing;
        }
        match &self.stop {
            Some(stop) if !stop.swap(true, Ordering::SeqCst) => {
                self.asked = Some(now);
                Action::Stop
            }
            _ => Action::End,
        }
    }
}

fn on_signal(signal: i32, printer: &Printer) {
    let mut handling = handling();
    match handling.take(Instant::now()) {
        Action::Nothing => return,
        Action::Stop => {
            drop(handling);
            printer.note(
                "stopping after this step, with a checkpoint; to stop at once without one, press Ctrl-C again after \
                 more than a second",
            );
            return;
        }
        Action::End => atomic::abandon(),
    }
    if handling.trains {
        printer.error(&anyhow::anyhow!(
            "stopped at once by {}, without a new checkpoint",
            system::name(signal)
        ));
        std::process::exit(NOT_DONE);
    }
    system::die(signal)
}

#[cfg(unix)]
mod system {
    use std::process::{Command, Stdio};
    use std::{fs, thread};

    use anyhow::{Context, Result};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    use crate::printer::Printer;

    pub(super) fn name(signal: i32) -> &'static str {
        match signal {
            SIGHUP => "SIGHUP",
            SIGINT => "SIGINT",
            _ => "SIGTERM",
        }
    }

    pub(super) fn listen(printer: Printer) -> Result<()> {
        let taken = [SIGHUP, SIGINT, SIGTERM];
        let taken = taken.into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = Signals::new(taken).context("cannot listen for signals")?;
        let listener = thread::Builder::new().name("signals".into());
        let listener = listener.spawn(move || {
            for signal in signals.forever() {
                super::on_signal(signal, &printer);
            }
        });
        listener.map(drop).context("cannot listen for signals")
    }

    /// Ends the program as if nobody had listened.
    pub(super) fn die(signal: i32) -> ! {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        std::process::exit(super::NOT_DONE)
    }

    /// Whether the program was started with `signal` ignored. Linux tells; elsewhere a shell is
    /// asked, which inherits it.
    fn is_ignored(signal: i32) -> bool {
        let status = fs::read_to_string("/proc/self/status");
        let ignored = status.ok().and_then(|status| ignored_in(&status, signal));
        ignored.unwrap_or_else(|| is_ignored_by_a_child(signal))
    }

    /// What a process's status says of a signal.
    fn ignored_in(status: &str, signal: i32) -> Option<bool> {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        Some(mask & (1 << (signal - 1)) != 0)
    }

    /// A shell that sends itself the signal outlives it only if it is ignored.
    fn is_ignored_by_a_child(signal: i32) -> bool {
        let script = format!("kill -{signal} $$; exit 0");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null());
        let status = shell.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_mask_of_ignored_signals_is_read() {
            let status = "Name:\tpiggyback\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
            assert_eq!(ignored_in(status, SIGHUP), Some(true));
            assert_eq!(ignored_in(status, SIGINT), Some(false));
            assert_eq!(ignored_in(status, SIGTERM), Some(false));
            assert_eq!(ignored_in("Name:\tpiggyback\n", SIGHUP), None);
        }

        /// The child of the next test.
        #[test]
        #[ignore = "runs as a child of a_shell_tells_what_is_ignored"]
        fn hup_is_ignored_and_term_is_not() {
            assert!(is_ignored(SIGHUP) && is_ignored_by_a_child(SIGHUP));
            assert!(!is_ignored(SIGTERM) && !is_ignored_by_a_child(SIGTERM));
        }

        #[test]
        fn a_shell_tells_what_is_ignored() {
            assert!(!is_ignored_by_a_child(SIGTERM));
            let script = "trap '' HUP; exec \"$0\" --exact \
                          interrupt::system::tests::hup_is_ignored_and_term_is_not --ignored";
            let output = Command::new("sh")
                .args(["-c", script])
                .arg(std::env::current_exe().unwrap())
                .output()
                .unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.contains("1 passed"), "{output:?}");
        }
    }
}

#[cfg(not(unix))]
mod system {
    use anyhow::{Context, Result};

    use crate::printer::Printer;

    pub(super) fn name(_signal: i32) -> &'static str {
        "Ctrl-C"
    }

    pub(super) fn listen(printer: Printer) -> Result<()> {
        ctrlc::set_handler(move || super::on_signal(0, &printer))
            .context("cannot listen for Ctrl-C")
    }

    pub(super) fn die(_signal: i32) -> ! {
        std::process::exit(super::NOT_DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signal_counts_after_a_second() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut handling = Handling {
            trains: true,
            stop: Some(stop.clone()),
            asked: None,
        };
        let first = Instant::now();
        assert_eq!(handling.take(first), Action::Stop);
        assert!(stop.load(Ordering::SeqCst));
        let milliseconds = |count| first + Duration::from_millis(count);
        assert_eq!(handling.take(milliseconds(0)), Action::Nothing);
        assert_eq!(handling.take(milliseconds(999)), Action::Nothing);
        // The checkpoint is on the disk, and the run over: its second signal must not end what
        // follows.
        handling.stop = None;
        assert_eq!(handling.take(milliseconds(999)), Action::Nothing);
        handling.stop = Some(stop);
        assert_eq!(handling.take(milliseconds(1000)), Action::End);
        handling.stop = None;
        assert_eq!(handling.take(milliseconds(1000)), Action::End);
    }

    #[test]
    fn without_a_run_the_first_signal_ends_the_program() {
        let mut handling = Handling {
            trains: true,
            stop: None,
            asked: None,
        };
        assert_eq!(handling.take(Instant::now()), Action::End);
    }
}

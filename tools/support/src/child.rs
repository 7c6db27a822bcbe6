//! Running other programs so that Ctrl-C ends them too.

use std::error::Error;
use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context, Result, bail};

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(20);

/// What an interrupted child gets to end by itself: a training writes its checkpoint.
const GRACE: Duration = Duration::from_secs(5);

/// Starts programs and sees to it that none outlives this one.
pub struct Children {
    interrupted: Arc<AtomicBool>,
}

/// What a program that ran to its end left.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
}

/// Asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

impl Children {
    /// Takes Ctrl-C and SIGTERM over: from now on they end a child first.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn new() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = interrupted.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst))
            .context("cannot listen for Ctrl-C")?;
        Ok(Self { interrupted })
    }

    /// Fails once it was asked to stop.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::SeqCst) {
            bail!(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Runs `command` to its end with its stdout caught and its stderr shown.
    ///
    /// # Errors
    ///
    /// It cannot be started, or [`Interrupted`].
    pub fn run(&self, command: &mut Command) -> Result<Finished> {
        let shown = shown(command);
        let context = || format!("cannot run {shown}");
        self.check()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(context)?;
        let mut pipe = child.stdout.take();
        let reader = thread::spawn(move || -> io::Result<Vec<u8>> {
            let mut stdout = Vec::new();
            if let Some(pipe) = &mut pipe {
                pipe.read_to_end(&mut stdout)?;
            }
            Ok(stdout)
        });
        let mut asked: Option<Instant> = None;
        let status = loop {
            if let Some(status) = child.try_wait().with_context(context)? {
                break status;
            }
            if self.interrupted.load(Ordering::SeqCst) {
                // Ctrl-C reaches every program of the terminal; a signal sent to this one alone
                // does not.
                if asked.get_or_insert_with(Instant::now).elapsed() > GRACE {
                    child.kill().with_context(context)?;
                }
            }
            thread::sleep(TICK);
        };
        self.check()?;
        let stdout = match reader.join() {
            Ok(stdout) => stdout.with_context(context)?,
            Err(_) => bail!("cannot read what {shown} prints"),
        };
        Ok(Finished { status, stdout })
    }

    /// [`Children::run`] for a program that must succeed; returns its stdout.
    ///
    /// # Errors
    ///
    /// Besides those of [`Children::run`]: an exit code other than 0.
    pub fn output(&self, command: &mut Command) -> Result<Vec<u8>> {
        let finished = self.run(command)?;
        if !finished.status.success() {
            return Err(failed(command, finished.status));
        }
        Ok(finished.stdout)
    }
}

/// The error of a program that ended with an exit code that it should not have.
pub fn failed(command: &Command, status: ExitStatus) -> anyhow::Error {
    anyhow::anyhow!(
        "`{}` failed ({status}); see its message above",
        shown(command)
    )
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        match word.contains([' ', '\'', '"', '\\', '$', '*']) {
            true => format!("'{}'", word.replace('\'', r"'\''")),
            false => word.into_owned(),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children() -> Children {
        Children {
            interrupted: Arc::default(),
        }
    }

    #[test]
    fn commands_can_be_typed_as_shown() {
        let mut command = Command::new("piggyback");
        command.args(["eval", "--data", "my photos", "it's"]);
        assert_eq!(
            shown(&command),
            r"piggyback eval --data 'my photos' 'it'\''s'"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = children()
            .run(&mut Command::new("/nonexistent/piggyback"))
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "cannot run /nonexistent/piggyback");
    }

    #[cfg(unix)]
    #[test]
    fn output_is_caught_and_a_failure_is_named() {
        let mut command = Command::new("sh");
        assert_eq!(
            children().output(command.args(["-c", "echo a"])).unwrap(),
            b"a\n"
        );
        let mut command = Command::new("false");
        let error = children().output(&mut command).unwrap_err();
        assert!(error.to_string().starts_with("`false` failed ("), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn after_an_interruption_nothing_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("started");
        let children = children();
        children.interrupted.store(true, Ordering::SeqCst);
        let error = children
            .run(Command::new("touch").arg(&file))
            .err()
            .unwrap();
        assert!(error.is::<Interrupted>());
        assert!(!file.exists());
    }
}

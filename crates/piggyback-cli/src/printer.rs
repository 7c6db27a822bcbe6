//! The only place that prints: results on stdout, everything else on stderr.
//!
//! Names of files, classes and tasks come from other people. What is printed for people is a list
//! of lines, each of them escaped here, so no name can add a line or turn one around.

use std::io::{self, Write};

use anyhow::{Context, Error, Result};
use indicatif::MultiProgress;
use piggyback::text;
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::bar::Bar;

/// Where output goes; clones share the progress bars.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    quiet: bool,
    /// Bars on stderr, which lines on stderr must not tear; hidden where stderr is no terminal.
    bars: MultiProgress,
}

impl Printer {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bars: MultiProgress::new(),
        }
    }

    /// Prints the lines of a result, for people.
    pub(crate) fn result(&self, lines: &[String]) -> Result<()> {
        self.stdout(&escaped(lines))
    }

    /// A result as one line of JSON, with all names as they are.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        let line = text::json(value).context("the result holds a number that is not finite")?;
        self.stdout(&line)
    }

    /// Prints a path for another program, unescaped.
    #[cfg(feature = "hub")]
    pub(crate) fn path(&self, path: &str) -> Result<()> {
        self.stdout(path)
    }

    /// Prints raw bytes, such as a script.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    fn stdout(&self, text: &str) -> Result<()> {
        self.bars
            .suspend(|| self.raw(format!("{text}\n").as_bytes()))
    }

    /// Prints a note, in one line; not with --quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, text: &str) {
        self.stderr(&format!("warning: {text}"));
    }

    /// Prints an error with its whole chain of causes.
    pub(crate) fn error(&self, error: &Error) {
        self.stderr(&format!("error: {}", chain(error)));
    }

    fn stderr(&self, text: &str) {
        // Nothing can be done about a closed stderr.
        let _ = self
            .bars
            .suspend(|| writeln!(io::stderr(), "{}", text::visible(text)));
    }

    /// A bar over `total` things with time left and a message, drawn if stderr is a terminal.
    pub(crate) fn bar(&self, total: usize) -> Bar {
        let template = "{prefix} {wide_bar} {pos}/{len} {msg} {eta} left";
        self.styled_bar(total as u64, template)
    }

    /// A bar over bytes that come, with their speed.
    #[cfg(feature = "hub")]
    pub(crate) fn byte_bar(&self, total_bytes: u64) -> Bar {
        let template = "{prefix} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left";
        self.styled_bar(total_bytes, template)
    }

    fn styled_bar(&self, total: u64, template: &str) -> Bar {
        if self.quiet {
            return Bar::hidden();
        }
        Bar::new(total, template).among(&self.bars)
    }

    /// Sends the log to stderr.
    pub(crate) fn start_log(&self, verbose: bool) {
        let level = match (self.quiet, verbose) {
            (true, _) => Level::ERROR,
            (_, true) => Level::INFO,
            _ => Level::WARN,
        };
        let log = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(LogWriter(self.clone()));
        // Fails only if a log was started before.
        let _ = log.try_init();
    }
}

/// Writes log lines between the bars.
struct LogWriter(Printer);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(&self.0)
    }
}

struct LogLine<'a>(&'a Printer);

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.stderr(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the program ended because nobody reads its output any more.
pub(crate) fn is_closed(error: &Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and its causes in one line. A cause that the message before it contains is not
/// repeated.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Lines as people see them, without the empty ones at the end.
fn escaped(lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| text::visible(line)).collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{chain, escaped};

    #[test]
    fn a_chain_is_one_line_without_repetition() {
        let error = anyhow!("disk full")
            .context("cannot write: disk full")
            .context("flags");
        assert_eq!(chain(&error), "flags: cannot write: disk full");
    }

    #[test]
    fn names_cannot_add_lines_or_send_escape_sequences() {
        let lines = ["a\u{1b}[2J\nforged", "", "b\u{202e}", ""].map(str::to_owned);
        assert_eq!(escaped(&lines), "a\\u{1b}[2J\\nforged\n\nb\\u{202e}");
    }
}

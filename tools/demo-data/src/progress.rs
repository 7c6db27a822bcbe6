//! Progress messages.

/// One line of progress on stderr.
#[expect(
    clippy::print_stderr,
    reason = "unlike a handle's, eprintln's output is caught in tests"
)]
pub(super) fn progress(line: &str) {
    eprintln!("{line}");
}

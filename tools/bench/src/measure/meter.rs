//! How a measurement takes the time, and what it says meanwhile.

use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use anyhow::Result;

pub(super) fn timed<T>(work: impl FnOnce() -> piggyback::Result<T>) -> Result<f64> {
    let started = Instant::now();
    black_box(work()?);
    Ok(started.elapsed().as_secs_f64())
}

/// What is being measured, on stderr.
pub(super) fn note(what: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "measuring: {what}");
}

//! The number of threads.

use anyhow::{Context, Result, bail};

/// Most threads per core: more are a typing error, and would block the machine.
const MOST_PER_CORE: usize = 4;

/// Allowed on any machine.
const ALWAYS: usize = 16;

/// The environment variable that sets the number of rayon's threads by default.
const OF_RAYON: &str = "RAYON_NUM_THREADS";

/// Starts the threads: `asked`, or one per core.
///
/// # Errors
///
/// More threads than the machine allows.
pub(super) fn start(asked: Option<usize>) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(threads) = asked else {
        let of_rayon = std::env::var(OF_RAYON).ok();
        let threads = of_rayon.and_then(|text| text.trim().parse().ok());
        return check(threads.unwrap_or_default(), cores, OF_RAYON);
    };
    check(threads, cores, "--threads")?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    (pool.build_global()).context("cannot start the threads; lower --threads")
}

fn check(threads: usize, cores: usize, option: &str) -> Result<()> {
    let most = (MOST_PER_CORE * cores).max(ALWAYS);
    if threads > most {
        let cores = crate::report::count(cores, "core");
        bail!(
            "{option}: {threads} threads are too many for this machine, which has {cores}; the limit is {most}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_machine_has_its_limit() {
        let refused = |threads, cores| check(threads, cores, "--threads").is_err();
        assert!(!refused(16, 1) && refused(17, 1));
        assert!(!refused(256, 64) && refused(257, 64));
        let error = check(100_000, 2, "--threads").unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("2 cores") && error.contains("16"));
    }
}

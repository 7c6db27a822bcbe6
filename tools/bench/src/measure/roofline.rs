//! What this machine can do at most.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Bytes that are read or copied: more than any cache holds.
const BYTES: usize = 256 << 20;

/// How often each is tried; the best counts.
const TRIES: usize = 7;

/// Of one thread, and of all.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Roofline {
    pub(crate) threads: usize,
    /// 1e9 floating-point operations a second, a multiply-add being two: fused multiply-adds on
    /// registers, nothing read.
    pub(crate) gflops: [f64; 2],
    /// 1e9 bytes read a second.
    pub(crate) read_gbs: [f64; 2],
    /// 1e9 bytes copied a second (each is read once and written once).
    pub(crate) copy_gbs: [f64; 2],
}

/// Measures on one thread, then on all of the pool.
pub(crate) fn measure() -> Result<Roofline> {
    super::meter::note("what this machine can do");
    let threads = rayon::current_num_threads();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.context("cannot start a thread")?;
    let source = vec![1_u64; BYTES / 8];
    let mut target = vec![2_u64; source.len()];
    let both = |work: &mut (dyn FnMut(usize) -> f64 + Send)| {
        [one.install(|| best(1, work)), best(threads, work)]
    };
    let gflops = both(&mut multiply_adds);
    let read_gbs = both(&mut |threads| read(&source, threads));
    let copy_gbs = both(&mut |threads| copy(&source, &mut target, threads));
    Ok(Roofline {
        threads,
        gflops,
        read_gbs,
        copy_gbs,
    })
}

fn best(threads: usize, work: &mut (dyn FnMut(usize) -> f64 + Send)) -> f64 {
    (0..TRIES).map(|_| work(threads)).fold(0.0, f64::max)
}

/// 1e9 operations a second.
fn multiply_adds(threads: usize) -> f64 {
    const ROUNDS: usize = 4_000_000;
    let started = Instant::now();
    let count: u64 = (0..threads)
        .into_par_iter()
        .map(|_| {
            let (count, total) = piggyback_kernels::peak::multiply_adds(black_box(ROUNDS));
            black_box(total);
            count
        })
        .sum();
    2e-9 * count as f64 / started.elapsed().as_secs_f64()
}

/// 1e9 bytes a second.
fn read(source: &[u64], threads: usize) -> f64 {
    let started = Instant::now();
    let sum = |part: &[u64]| {
        let mut sums = [0_u64; 16];
        for chunk in part.chunks_exact(16) {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum ^= value;
            }
        }
        black_box(sums);
    };
    source.par_chunks(source.len() / threads).for_each(sum);
    1e-9 * size_of_val(source) as f64 / started.elapsed().as_secs_f64()
}

/// 1e9 bytes a second.
fn copy(source: &[u64], target: &mut [u64], threads: usize) -> f64 {
    let started = Instant::now();
    let part = source.len() / threads;
    let parts = target.par_chunks_mut(part).zip(source.par_chunks(part));
    parts.for_each(|(target, source)| black_box(target).copy_from_slice(source));
    1e-9 * size_of_val(source) as f64 / started.elapsed().as_secs_f64()
}

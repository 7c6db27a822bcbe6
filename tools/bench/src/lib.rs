//! Pieces of work that are measured, for `benches/` and `piggyback-bench`.

pub mod kernels;

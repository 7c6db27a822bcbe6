//! The program from outside: what it prints, what it leaves on disk, and its exit codes.

mod backbone;
#[cfg(unix)]
mod bad_files;
mod bad_training;
mod checkpoints;
mod common;
mod comparing;
mod compressing;
mod folders;
mod hands;
mod help;
#[cfg(feature = "hub")]
mod hub;
mod journey;
mod methods;
#[cfg(unix)]
mod outputs;
mod own_classes;
mod pretraining;
#[cfg(unix)]
mod resume;
mod usage;

//! The program from outside: what it prints, what it leaves on disk, and its exit codes.

#[cfg(unix)]
mod bad_files;
mod bad_training;
mod common;
mod help;
mod journey;
mod own_classes;
#[cfg(unix)]
mod resume;
mod usage;

//! The task file as a whole, through the public API: what it looks like, what is refused, what the disk does.

mod disk;
mod example;
mod forge;
mod fuzz_corpus;
mod golden;
mod integrity;
mod outputs;
mod peer;
mod reject_content;
mod reject_file;
mod round_trip;

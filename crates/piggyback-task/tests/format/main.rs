//! The task file as a whole, through the public API: what it looks like, what is refused, what the disk does.

mod disk;
mod example;
mod forge;
mod fuzz_corpus;
mod golden;
mod integrity;
mod outputs;
mod peer;
mod plane_code;
mod reject_bits;
mod reject_content;
mod reject_file;
mod reject_numbers;
mod reject_parts;
mod round_trip;

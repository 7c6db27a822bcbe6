//! Jpeg files: baseline and progressive, with the pixels of libjpeg-turbo (and so of Pillow and torchvision) to the bit.
//!
//! A decoder of our own, because none of those that a plain Rust build gives reads every arrangement rightly: scans for
//! each component with subsampled chroma, luma coarser than chroma, colour by the markers in libjpeg's order. It is
//! strict where others guess: data that ends early or is damaged is refused, not filled up with grey.

mod frame;
mod header;
mod huffman;
mod idct;
mod scan;
mod segments;
mod upsample;

pub(super) use header::{Refusal, read as read_header};
pub(super) use segments::decode;

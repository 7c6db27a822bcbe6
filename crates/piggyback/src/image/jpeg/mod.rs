//! Jpeg decoder for baseline and progressive files, bit-identical to libjpeg-turbo (and thus Pillow
//! and torchvision).
//!
//! Existing pure-Rust decoders do not handle all of these correctly: separate scans per component
//! with subsampled chroma, luma coarser than chroma, and libjpeg's rules for the colour space. This
//! decoder is also strict: truncated or damaged data is an error, not filled with grey.

mod frame;
mod header;
mod huffman;
mod idct;
mod scan;
mod segments;
mod upsample;

pub(super) use header::{Refusal, read as read_header};
pub(super) use segments::decode;

//! How large images may be.

/// Largest image file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Most pixels an image may have: where Pillow, too, stops (`DecompressionBombError`).
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most pixels a side may have; bounds the resize's coefficients for absurdly narrow images.
pub const MAX_SIDE: u32 = 1 << 17;

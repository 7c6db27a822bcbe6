//! Size limits of images.

/// Maximum size of an image file, bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Maximum number of pixels, the same as Pillow's (`DecompressionBombError`).
pub const MAX_PIXELS: u64 = 178_956_970;

/// Maximum side, pixels. It limits the resize coefficients of extremely narrow images.
pub const MAX_SIDE: u32 = 1 << 17;

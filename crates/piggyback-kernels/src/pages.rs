//! Huge pages for large buffers: fewer pages to zero at first touch, and fewer TLB misses.

/// Asks the system for huge pages where `buffer`, not yet touched, covers whole ones. A hint: without it, or on a system
/// that does not know it, nothing but speed is lost.
pub(super) fn prefer_huge(buffer: &mut Vec<f32>) {
    #[cfg(target_os = "linux")]
    advise(buffer.as_mut_ptr().cast(), 4 * buffer.capacity());
    #[cfg(not(target_os = "linux"))]
    let _ = buffer;
}

/// The size of a huge page where pages have 4 KiB. Where they are larger, the system takes the hint for what fits.
#[cfg(target_os = "linux")]
const HUGE_BYTES: usize = 2 << 20;

#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    let skipped = start.align_offset(HUGE_BYTES);
    let whole = bytes.saturating_sub(skipped) / HUGE_BYTES * HUGE_BYTES;
    if whole > 0 {
        // SAFETY: the range lies inside memory that the caller holds, and the advice does not change what it contains.
        // An error means that there are no huge pages here.
        unsafe {
            libc::madvise(
                start.wrapping_add(skipped).cast(),
                whole,
                libc::MADV_HUGEPAGE,
            )
        };
    }
}

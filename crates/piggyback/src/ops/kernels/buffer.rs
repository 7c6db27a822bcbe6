//! Output buffers that are written once, without being zeroed first.

use std::mem::MaybeUninit;

/// A vector of `len` values, all of which `fill` writes.
///
/// # Safety
/// `fill` must write every element.
pub(crate) unsafe fn filled<T: Copy>(
    len: usize,
    fill: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller vouches that `fill` wrote every element.
    unsafe { values.set_len(len) };
    values
}

/// Initialised values as a place to write to.
pub(crate) fn overwrite(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the layout is the same, and kernels only ever store initialised values through the result.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}

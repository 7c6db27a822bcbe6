//! The output of a product.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Rows that are `stride` values apart. Tasks may write to parts of one target at the same time, as long as no value is
/// in the parts of two.
pub(crate) struct Target<'a> {
    values: *mut f32,
    len: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: a target is a mutable borrow of plain values; what is shared between threads are parts that `Self::shared` was
// promised to be disjoint.
unsafe impl Send for Target<'_> {}
// SAFETY: as above.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    pub(crate) fn new(values: &'a mut [MaybeUninit<f32>], stride: usize) -> Self {
        Self {
            values: values.as_mut_ptr().cast(),
            len: values.len(),
            stride,
            borrow: PhantomData,
        }
    }

    /// What starts with value `at`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub(crate) fn from(&mut self, at: usize) -> Target<'_> {
        // SAFETY: `self` is borrowed for as long as the part lives.
        unsafe { self.shared(at) }
    }

    /// What starts with value `at`, while `self` and other parts of it stay in use.
    ///
    /// # Safety
    ///
    /// Nobody may write or read the values that are written to the part while it is in use.
    pub(crate) unsafe fn shared(&self, at: usize) -> Self {
        assert!(at <= self.len, "part of a target");
        Self {
            // SAFETY: just checked.
            values: unsafe { self.values.add(at) },
            len: self.len - at,
            stride: self.stride,
            borrow: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.values
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Values from one row to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }
}

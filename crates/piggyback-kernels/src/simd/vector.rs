//! Vectors that are generic over the instruction set.

/// Work whose body is compiled once per instruction set.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;

    /// The body: must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Vectors of `f32`. A value of the type is the proof that the CPU has the instructions.
pub trait Simd: Copy {
    /// A vector.
    type Vector: Copy;

    /// Values in a vector.
    const LANES: usize;

    /// Rows of the largest matrix tile that fits the registers with two vectors of columns.
    const TILE_ROWS: usize;

    /// The same value in every lane.
    fn splat(self, value: f32) -> Self::Vector;

    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The lanes of `vector` where `y` is neither at most `low` nor at least `high`; the others become `+0.0`.
    fn keep_between(
        self,
        vector: Self::Vector,
        y: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
    ) -> Self::Vector;

    /// `f32::clamp` of every lane: a NaN stays, and so does the sign of a zero at a bound.
    fn clamp(self, vector: Self::Vector, low: Self::Vector, high: Self::Vector) -> Self::Vector;

    /// The lanes whose bit in `bits` is set; the others become `+0.0`.
    fn keep(self, vector: Self::Vector, bits: u16) -> Self::Vector;

    /// The lanes with the sign flipped whose bit in `bits` is set.
    fn negate(self, vector: Self::Vector, bits: u16) -> Self::Vector;

    /// Asks for the cache line at an address, valid or not, and changes nothing else.
    fn prefetch_line(self, at: *const f32);

    /// Asks for the cache lines of `values`.
    #[inline(always)]
    fn prefetch(self, values: &[f32]) {
        for line in values.chunks(16) {
            self.prefetch_line(line.as_ptr());
        }
    }

    /// Reads a vector.
    ///
    /// # Safety
    ///
    /// `from` must be valid for reading `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// Reads `count <= LANES` values; the other lanes are 0.
    ///
    /// # Safety
    ///
    /// `from` must be valid for reading `count` values.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::Vector;

    /// Writes a vector.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing `LANES` values.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);

    /// Writes the first `count <= LANES` values.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing `count` values.
    unsafe fn store_first(self, to: *mut f32, vector: Self::Vector, count: usize);
}

/// A whole vector where `FULL`, otherwise its first `count` values.
///
/// # Safety
///
/// `from` must be valid for reading that many values.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const FULL: bool>(
    simd: S,
    from: *const f32,
    count: usize,
) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            simd.load(from)
        } else {
            simd.load_first(from, count)
        }
    }
}

/// Writes a whole vector where `FULL`, otherwise its first `count` values.
///
/// # Safety
///
/// `to` must be valid for writing that many values.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const FULL: bool>(
    simd: S,
    to: *mut f32,
    vector: S::Vector,
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            simd.store(to, vector)
        } else {
            simd.store_first(to, vector, count)
        }
    }
}

//! Operations after a convolution in inference, applied to outputs while they are in registers.

use super::batch_norm::Activation;
use super::simd::{Kernel, Simd, load};

/// `activation(output * scale + shift + shortcut)`: the bits of a batch norm, or a bias, as a pass of its own.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// What each channel is multiplied by.
    pub scale: &'a [f32],
    /// What is added to each channel.
    pub shift: &'a [f32],
    /// Added to the output, and laid out as it is.
    pub shortcut: Option<&'a [f32]>,
    /// What is applied last.
    pub activation: Activation,
}

impl<'a> Epilogue<'a> {
    /// # Panics
    ///
    /// If it does not fit an output of `len` values with this many channels.
    pub fn check(&self, channels: usize, len: usize) {
        assert_eq!(self.scale.len(), channels, "length of scale");
        assert_eq!(self.shift.len(), channels, "length of shift");
        assert!(
            self.shortcut.is_none_or(|shortcut| shortcut.len() == len),
            "length of shortcut"
        );
    }

    /// What follows the part of the output that starts with value `at`, which is one of channel `channel`.
    pub fn part(&self, at: usize, channel: usize) -> Epilogue<'a> {
        Epilogue {
            scale: &self.scale[channel..],
            shift: &self.shift[channel..],
            shortcut: self.shortcut.map(|shortcut| &shortcut[at..]),
            activation: self.activation,
        }
    }

    /// # Panics
    ///
    /// If it does not reach as far as `rows` of `columns` that are `stride` apart.
    pub fn check_rows(&self, rows: usize, columns: usize, stride: usize) {
        let end = rows.saturating_sub(1) * stride + columns;
        assert!(columns <= self.scale.len(), "scale of a block");
        assert!(columns <= self.shift.len(), "shift of a block");
        assert!(
            self.shortcut.is_none_or(|shortcut| end <= shortcut.len()),
            "shortcut of a block"
        );
    }

    /// A whole vector where `FULL`, otherwise its first `count` values, that stands at `at` of the output and starts with
    /// `channel`.
    ///
    /// # Safety
    ///
    /// So many values must be readable from `channel` on of `scale` and `shift`, and from `at` on of the shortcut.
    #[inline(always)]
    pub unsafe fn apply<S: Simd, const FULL: bool>(
        &self,
        simd: S,
        value: S::Vector,
        at: usize,
        channel: usize,
        count: usize,
    ) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let scale = load::<S, FULL>(simd, self.scale.as_ptr().add(channel), count);
            let shift = load::<S, FULL>(simd, self.shift.as_ptr().add(channel), count);
            let mut value = simd.mul_add(value, scale, shift);
            if let Some(shortcut) = self.shortcut {
                let shortcut = load::<S, FULL>(simd, shortcut.as_ptr().add(at), count);
                value = simd.add(value, shortcut);
            }
            let [low, high] = self.activation.bounds();
            simd.clamp(value, simd.splat(low), simd.splat(high))
        }
    }

    /// Replaces `len` values that stand at `at` of the output and start with `channel`.
    ///
    /// # Safety
    ///
    /// So many values must be readable and writable at `values`, readable from `channel` on of `scale` and `shift`, and
    /// from `at` on of the shortcut.
    #[inline(always)]
    pub unsafe fn apply_row<S: Simd>(
        &self,
        simd: S,
        values: *mut f32,
        at: usize,
        channel: usize,
        len: usize,
    ) {
        let mut first = 0;
        while first < len {
            let count = S::LANES.min(len - first);
            let (at, channel) = (at + first, channel + first);
            // SAFETY: the caller's.
            unsafe {
                let place = values.add(first);
                if count == S::LANES {
                    let value = simd.load(place);
                    simd.store(
                        place,
                        self.apply::<S, true>(simd, value, at, channel, count),
                    );
                } else {
                    let value = simd.load_first(place, count);
                    let value = self.apply::<S, false>(simd, value, at, channel, count);
                    simd.store_first(place, value, count);
                }
            }
            first += count;
        }
    }
}

/// Applies an epilogue to whole pixels.
pub(crate) struct ApplyEpilogue<'a> {
    /// For the first value of `values`.
    pub epilogue: Epilogue<'a>,
    pub values: &'a mut [f32],
    pub channels: usize,
}

impl Kernel for ApplyEpilogue<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            epilogue,
            values,
            channels,
        } = self;
        epilogue.check_rows(values.len() / channels, channels, channels);
        for (pixel, values) in values.chunks_exact_mut(channels).enumerate() {
            // SAFETY: the pixel has as many values, and the check has shown that the epilogue reaches as far.
            unsafe { epilogue.apply_row(simd, values.as_mut_ptr(), pixel * channels, 0, channels) };
        }
    }
}

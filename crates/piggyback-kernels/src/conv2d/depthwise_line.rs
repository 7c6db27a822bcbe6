//! The inner loops of depthwise convolutions: positions of one line that read the same taps.

use std::mem::MaybeUninit;

use super::super::simd::{Kernel, Simd, load, store};

/// Taps whose weights or sums are held in registers at once.
pub(super) const MOST_TAPS: usize = 9;

/// Where the lines below the last tap lie, relative to it: what the next line of positions will read. At stride 1 one
/// value per position, at stride 2 four.
pub(super) struct Ahead {
    offsets: [usize; 4],
    count: usize,
}

impl Ahead {
    /// For positions `step` source pixels apart, in lines of `width` pixels.
    pub(super) fn new(step: [usize; 2], width: usize, channels: usize) -> Self {
        let below = width * channels;
        let offsets = [below, below + channels, 2 * below, 2 * below + channels];
        let count = match step {
            [1, 1] => 1,
            [2, 2] => 4,
            _ => 0,
        };
        Self { offsets, count }
    }

    #[inline(always)]
    fn prefetch<S: Simd, const COUNT: usize>(&self, simd: S, last_tap: *const f32) {
        for offset in &self.offsets[..COUNT] {
            simd.prefetch_line(last_tap.wrapping_add(*offset));
        }
    }
}

/// Positions of a line: `out[p] = sum over taps of source[p + tap] * weight[tap]`, a chain in the order of the taps.
pub(super) struct Segment<'a> {
    /// Taps in use.
    pub(super) taps: usize,
    /// Where each tap reads at the first position.
    pub(super) source_at: [usize; MOST_TAPS],
    /// Where the weights of each tap start.
    pub(super) weight_at: [usize; MOST_TAPS],
    pub(super) source: &'a [f32],
    /// Values of `source` from one position to the next.
    pub(super) source_step: usize,
    pub(super) weight: &'a [f32],
    pub(super) out: &'a mut [MaybeUninit<f32>],
    /// Values of `out` from one position to the next.
    pub(super) out_step: usize,
    pub(super) positions: usize,
    pub(super) channels: usize,
    /// Whether the chains go on from what `out` holds, which must then be initialised.
    pub(super) resume: bool,
    pub(super) ahead: Ahead,
}

impl Kernel for Segment<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.positions == 0 || self.channels == 0 {
            return;
        }
        let reach = (self.positions - 1) * self.source_step + self.channels;
        for tap in 0..self.taps {
            assert!(
                self.source_at[tap] + reach <= self.source.len(),
                "source of a segment"
            );
            assert!(
                self.weight_at[tap] + self.channels <= self.weight.len(),
                "weights of a segment"
            );
        }
        assert!(
            (self.positions - 1) * self.out_step + self.channels <= self.out.len(),
            "output of a segment"
        );
        let mut channel = 0;
        while channel < self.channels {
            let count = S::LANES.min(self.channels - channel);
            // SAFETY: the checks above cover `count` channels from `channel` on at every position of every tap.
            unsafe {
                if count == S::LANES {
                    self.channels_from::<S, true>(simd, channel, count);
                } else {
                    self.channels_from::<S, false>(simd, channel, count);
                }
            }
            channel += count;
        }
    }
}

impl Segment<'_> {
    /// # Safety
    ///
    /// Every position of every tap in use must hold `count` channels from `channel` on; `FULL` means a whole vector.
    #[inline(always)]
    unsafe fn channels_from<S: Simd, const FULL: bool>(
        &self,
        simd: S,
        channel: usize,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            match self.taps {
                0 => self.fixed::<S, FULL, 0, 0>(simd, channel, count),
                1 => self.fixed::<S, FULL, 1, 0>(simd, channel, count),
                2 => self.fixed::<S, FULL, 2, 0>(simd, channel, count),
                3 => self.fixed::<S, FULL, 3, 0>(simd, channel, count),
                4 => self.fixed::<S, FULL, 4, 0>(simd, channel, count),
                5 => self.fixed::<S, FULL, 5, 0>(simd, channel, count),
                6 => self.fixed::<S, FULL, 6, 0>(simd, channel, count),
                7 => self.fixed::<S, FULL, 7, 0>(simd, channel, count),
                8 => self.fixed::<S, FULL, 8, 0>(simd, channel, count),
                _ => match self.ahead.count {
                    1 => self.fixed::<S, FULL, 9, 1>(simd, channel, count),
                    4 => self.fixed::<S, FULL, 9, 4>(simd, channel, count),
                    _ => self.fixed::<S, FULL, 9, 0>(simd, channel, count),
                },
            }
        }
    }

    /// # Safety
    ///
    /// As for `channels_from`, with `TAPS` taps in use, and `AHEAD` values to prefetch.
    #[inline(always)]
    unsafe fn fixed<S: Simd, const FULL: bool, const TAPS: usize, const AHEAD: usize>(
        &self,
        simd: S,
        channel: usize,
        count: usize,
    ) {
        // SAFETY: the caller's; where chains resume, `out` is initialised.
        unsafe {
            let mut weights = [simd.splat(0.0); TAPS];
            let mut sources = [self.source.as_ptr(); TAPS];
            for tap in 0..TAPS {
                let from = self.weight.as_ptr().add(self.weight_at[tap] + channel);
                weights[tap] = load::<S, FULL>(simd, from, count);
                sources[tap] = self.source.as_ptr().add(self.source_at[tap] + channel);
            }
            let out = self.out.as_ptr().cast::<f32>().cast_mut().add(channel);
            for position in 0..self.positions {
                let to = out.add(position * self.out_step);
                let mut sum = if self.resume {
                    load::<S, FULL>(simd, to, count)
                } else {
                    simd.splat(0.0)
                };
                for tap in 0..TAPS {
                    let value =
                        load::<S, FULL>(simd, sources[tap].add(position * self.source_step), count);
                    sum = simd.mul_add(value, weights[tap], sum);
                }
                if AHEAD > 0 {
                    let last = sources[TAPS - 1].wrapping_add(position * self.source_step);
                    self.ahead.prefetch::<S, AHEAD>(simd, last);
                }
                store::<S, FULL>(simd, to, sum, count);
            }
        }
    }
}

/// Products of positions of a line: `sums[tap] += source[p + tap] * gradient[p]`, a chain in the order of positions.
pub(super) struct Sums<'a> {
    /// Taps in use.
    pub(super) taps: usize,
    /// Where each tap reads at the first position.
    pub(super) source_at: [usize; MOST_TAPS],
    /// Where the sums of each tap start.
    pub(super) sums_at: [usize; MOST_TAPS],
    pub(super) source: &'a [f32],
    /// Values of `source` from one position to the next.
    pub(super) source_step: usize,
    /// Gradients of the positions, `[positions, channels]`.
    pub(super) gradient: &'a [f32],
    pub(super) positions: usize,
    pub(super) channels: usize,
    pub(super) sums: &'a mut [f32],
    pub(super) ahead: Ahead,
    /// Values of `gradient` from one line to the next.
    pub(super) gradient_line: usize,
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if self.positions == 0 || self.channels == 0 {
            return;
        }
        let reach = (self.positions - 1) * self.source_step + self.channels;
        for tap in 0..self.taps {
            assert!(
                self.source_at[tap] + reach <= self.source.len(),
                "source of sums"
            );
            assert!(
                self.sums_at[tap] + self.channels <= self.sums.len(),
                "taps of sums"
            );
        }
        assert!(
            self.positions * self.channels <= self.gradient.len(),
            "gradient of sums"
        );
        let mut channel = 0;
        while channel < self.channels {
            let count = S::LANES.min(self.channels - channel);
            // SAFETY: the checks above cover `count` channels from `channel` on at every position of every tap.
            unsafe {
                if count == S::LANES {
                    self.channels_from::<S, true>(simd, channel, count);
                } else {
                    self.channels_from::<S, false>(simd, channel, count);
                }
            }
            channel += count;
        }
    }
}

impl Sums<'_> {
    /// # Safety
    ///
    /// Every position of every tap in use must hold `count` channels from `channel` on; `FULL` means a whole vector.
    #[inline(always)]
    unsafe fn channels_from<S: Simd, const FULL: bool>(
        &mut self,
        simd: S,
        channel: usize,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            match self.taps {
                0 => {}
                1 => self.fixed::<S, FULL, 1, 0>(simd, channel, count),
                2 => self.fixed::<S, FULL, 2, 0>(simd, channel, count),
                3 => self.fixed::<S, FULL, 3, 0>(simd, channel, count),
                4 => self.fixed::<S, FULL, 4, 0>(simd, channel, count),
                5 => self.fixed::<S, FULL, 5, 0>(simd, channel, count),
                6 => self.fixed::<S, FULL, 6, 0>(simd, channel, count),
                7 => self.fixed::<S, FULL, 7, 0>(simd, channel, count),
                8 => self.fixed::<S, FULL, 8, 0>(simd, channel, count),
                _ => match self.ahead.count {
                    1 => self.fixed::<S, FULL, 9, 1>(simd, channel, count),
                    4 => self.fixed::<S, FULL, 9, 4>(simd, channel, count),
                    _ => self.fixed::<S, FULL, 9, 0>(simd, channel, count),
                },
            }
        }
    }

    /// # Safety
    ///
    /// As for `channels_from`, with `TAPS` taps in use, and `AHEAD` values to prefetch.
    #[inline(always)]
    unsafe fn fixed<S: Simd, const FULL: bool, const TAPS: usize, const AHEAD: usize>(
        &mut self,
        simd: S,
        channel: usize,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [simd.splat(0.0); TAPS];
            let mut sources = [self.source.as_ptr(); TAPS];
            for tap in 0..TAPS {
                sums[tap] = load::<S, FULL>(
                    simd,
                    self.sums.as_ptr().add(self.sums_at[tap] + channel),
                    count,
                );
                sources[tap] = self.source.as_ptr().add(self.source_at[tap] + channel);
            }
            let gradients = self.gradient.as_ptr().add(channel);
            for position in 0..self.positions {
                let gradient =
                    load::<S, FULL>(simd, gradients.add(position * self.channels), count);
                for tap in 0..TAPS {
                    let value =
                        load::<S, FULL>(simd, sources[tap].add(position * self.source_step), count);
                    sums[tap] = simd.mul_add(value, gradient, sums[tap]);
                }
                if AHEAD > 0 {
                    let last = sources[TAPS - 1].wrapping_add(position * self.source_step);
                    self.ahead.prefetch::<S, AHEAD>(simd, last);
                    let below = self.gradient_line + position * self.channels;
                    simd.prefetch_line(gradients.wrapping_add(below));
                }
            }
            for (sum, at) in sums.into_iter().zip(self.sums_at) {
                let to = self.sums.as_mut_ptr().add(at + channel);
                store::<S, FULL>(simd, to, sum, count);
            }
        }
    }
}

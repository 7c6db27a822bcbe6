//! The geometry of a two-dimensional convolution.

use thiserror::Error;

/// Sizes of a convolution over `[batch, height, width, in_channels]` with weights
/// `[out_channels, in_channels / groups, kernel[0], kernel[1]]`. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Step between output positions.
    pub stride: [usize; 2],
    /// Zeros added before and after the input.
    pub padding: [[usize; 2]; 2],
    /// Step between kernel positions.
    pub dilation: [usize; 2],
    /// Groups of channels convolved apart from each other.
    pub groups: usize,
}

/// Why a [`Conv2dShape`] cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// A channel or group count, kernel size, stride or dilation of zero.
    #[error("{field} of a convolution must be at least 1, got {value:?}")]
    Zero {
        /// The field concerned.
        field: &'static str,
        /// Its value.
        value: Vec<usize>,
    },
    /// Channels that do not divide into the groups.
    #[error(
        "{in_channels} input and {out_channels} output channels do not divide into {groups} groups"
    )]
    Groups {
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
        /// Groups asked for.
        groups: usize,
    },
    /// A kernel larger than the padded input.
    #[error(
        "a kernel that spans {span:?} does not fit an input of {padded:?} (padding included): use larger images"
    )]
    KernelTooLarge {
        /// `dilation * (kernel - 1) + 1`.
        span: [usize; 2],
        /// Input size with padding.
        padded: [usize; 2],
    },
    /// Sizes whose product overflows the address space.
    #[error("the sizes of a convolution overflow: {shape:?}")]
    Overflow {
        /// The shape concerned.
        shape: Box<Conv2dShape>,
    },
}

impl Conv2dShape {
    /// Panics with what is wrong, where the shape is not valid.
    pub(super) fn check(&self) {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
    }

    /// Checks that the shape can be computed and that no size overflows.
    ///
    /// # Errors
    ///
    /// See [`ShapeError`].
    pub fn validate(&self) -> Result<(), ShapeError> {
        let counts = [
            ("groups", self.groups),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
        ];
        for (field, value) in counts {
            if value == 0 {
                return Err(ShapeError::Zero {
                    field,
                    value: vec![value],
                });
            }
        }
        let pairs = [
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ];
        for (field, value) in pairs {
            if value.contains(&0) {
                return Err(ShapeError::Zero {
                    field,
                    value: value.to_vec(),
                });
            }
        }
        if !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            let Self {
                in_channels,
                out_channels,
                groups,
                ..
            } = *self;
            return Err(ShapeError::Groups {
                in_channels,
                out_channels,
                groups,
            });
        }
        let overflow = || ShapeError::Overflow {
            shape: Box::new(*self),
        };
        let (span, padded) = self.span_and_padded().ok_or_else(overflow)?;
        if span[0] > padded[0] || span[1] > padded[1] {
            return Err(ShapeError::KernelTooLarge { span, padded });
        }
        let product = |sizes: &[usize]| {
            sizes
                .iter()
                .try_fold(4_usize, |total, &size| total.checked_mul(size))
        };
        let taps = self.kernel[0]
            .checked_mul(self.kernel[1])
            .ok_or_else(overflow)?;
        let largest = [
            product(&[self.batch, padded[0], padded[1], self.in_channels]),
            product(&[
                self.batch,
                self.out_height(),
                self.out_width(),
                self.out_channels,
            ]),
            product(&[self.out_channels, self.in_channels, taps]),
        ];
        if largest
            .iter()
            .any(|bytes| bytes.is_none_or(|bytes| bytes > isize::MAX as usize))
        {
            return Err(overflow());
        }
        Ok(())
    }

    fn span_and_padded(&self) -> Option<([usize; 2], [usize; 2])> {
        let size = [self.height, self.width];
        let mut span = [0; 2];
        let mut padded = [0; 2];
        for axis in 0..2 {
            span[axis] = self.dilation[axis]
                .checked_mul(self.kernel[axis] - 1)?
                .checked_add(1)?;
            let [before, after] = self.padding[axis];
            padded[axis] = before.checked_add(after)?.checked_add(size[axis])?;
        }
        Some((span, padded))
    }

    fn out_size(&self, axis: usize, size: usize) -> usize {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let [before, after] = self.padding[axis];
        (size + before + after - span) / self.stride[axis] + 1
    }

    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        self.out_size(0, self.height)
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        self.out_size(1, self.width)
    }

    /// Elements of the input, `[batch, height, width, in_channels]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of the output, `[batch, out_height, out_width, out_channels]`.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Elements of the weights, `[out_channels, in_channels / groups, kernel[0], kernel[1]]`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.taps()
    }

    /// Kernel positions.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether each channel is convolved alone.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }
}

/// What a convolution is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// A step of training, or something that is to give its bits.
    Training,
    /// A prediction, whose weights may be packed once for many.
    Inference,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Conv2dShape = Conv2dShape {
        batch: 2,
        height: 7,
        width: 9,
        in_channels: 4,
        out_channels: 6,
        kernel: [3, 3],
        stride: [2, 1],
        padding: [[1, 1], [0, 0]],
        dilation: [1, 2],
        groups: 2,
    };

    #[test]
    fn output_sizes_follow_pytorch() {
        assert_eq!(SHAPE.validate(), Ok(()));
        assert_eq!((SHAPE.out_height(), SHAPE.out_width()), (4, 5));
        assert_eq!(SHAPE.weight_len(), 6 * 2 * 9);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let refused = |shape: Conv2dShape| shape.validate().unwrap_err();
        assert!(matches!(
            refused(Conv2dShape {
                stride: [0, 1],
                ..SHAPE
            }),
            ShapeError::Zero {
                field: "stride",
                ..
            }
        ));
        assert!(matches!(
            refused(Conv2dShape { groups: 0, ..SHAPE }),
            ShapeError::Zero {
                field: "groups",
                ..
            }
        ));
        assert!(matches!(
            refused(Conv2dShape { groups: 3, ..SHAPE }),
            ShapeError::Groups { .. }
        ));
        assert!(matches!(
            refused(Conv2dShape { width: 4, ..SHAPE }),
            ShapeError::KernelTooLarge { .. }
        ));
        assert!(matches!(
            refused(Conv2dShape {
                batch: usize::MAX / 8,
                ..SHAPE
            }),
            ShapeError::Overflow { .. }
        ));
        assert!(matches!(
            refused(Conv2dShape {
                padding: [[usize::MAX, 1], [0, 0]],
                ..SHAPE
            }),
            ShapeError::Overflow { .. }
        ));
    }
}

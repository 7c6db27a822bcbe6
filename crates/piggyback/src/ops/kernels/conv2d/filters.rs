//! The weights of a convolution as its kernels read them.

use super::super::buffer::Recycled;
use super::super::gemm::Packed;
use super::super::simd::Isa;
use super::{Conv2dShape, dense, depthwise, winograd};

/// Weights packed for a convolution. Packing costs a pass over the weights or more, so what computes with the same ones
/// again keeps them.
#[derive(Debug)]
pub(crate) struct Filters {
    packed: Kind,
}

#[derive(Debug)]
enum Kind {
    /// `[tap, channel]`.
    Depthwise(Recycled),
    /// One matrix a group.
    Dense(Vec<Packed>),
    /// At the points of tiles.
    Tiles(Packed),
}

impl Filters {
    /// Packs `weight`, `[out_channels, in_channels / groups, kernel[0], kernel[1]]`.
    ///
    /// # Panics
    /// If `weight` does not have the length that `shape` asks for.
    pub(crate) fn new(weight: &[f32], shape: &Conv2dShape) -> Self {
        Self::new_on(Isa::best(), weight, shape)
    }

    pub(super) fn new_on(isa: Isa, weight: &[f32], shape: &Conv2dShape) -> Self {
        assert_eq!(weight.len(), shape.weight_len(), "length of weight");
        let packed = if shape.is_depthwise() {
            Kind::Depthwise(depthwise::filters(weight, shape))
        } else if winograd::suits(shape) {
            Kind::Tiles(winograd::filters(isa, weight, shape))
        } else {
            Kind::Dense(dense::filters(isa, weight, shape))
        };
        Self { packed }
    }

    /// Whether they are packed as a convolution of this shape wants them: the way of computing goes by the size of the
    /// maps, and the width of a panel by the instruction set.
    pub(crate) fn suit(&self, shape: &Conv2dShape) -> bool {
        let panels = |packed: &Packed| packed.suits(Isa::best());
        match &self.packed {
            Kind::Depthwise(_) => shape.is_depthwise(),
            Kind::Tiles(packed) => winograd::suits(shape) && panels(packed),
            Kind::Dense(packed) => {
                !shape.is_depthwise() && !winograd::suits(shape) && packed.iter().all(panels)
            }
        }
    }

    /// Convolves.
    pub(super) fn convolve(
        &self,
        isa: Isa,
        x: &[f32],
        shape: &Conv2dShape,
        epilogue: Option<&super::Epilogue<'_>>,
    ) -> Vec<f32> {
        match &self.packed {
            Kind::Depthwise(weight) => depthwise::forward(isa, x, weight, epilogue, shape),
            Kind::Tiles(packed) => winograd::forward(isa, x, packed, epilogue, shape),
            Kind::Dense(packed) => dense::forward(isa, x, packed, epilogue, shape),
        }
    }
}

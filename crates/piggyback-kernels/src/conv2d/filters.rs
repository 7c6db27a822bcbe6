//! A convolution's weights, packed for the forward pass.

use super::super::gemm::Packed;
use super::super::simd::Isa;
use super::shape::{Conv2dShape, Pass};
use super::{dense, depthwise, winograd};

/// Weights that are packed once and serve many passes.
#[derive(Debug)]
pub struct Filters {
    pub(super) packed: PackedFilters,
    isa: Isa,
    pass: Pass,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum PackedFilters {
    /// `[tap, channel]`.
    Depthwise(Vec<f32>),
    /// Of each group.
    Dense(Vec<Packed>),
    /// At the points of tiles.
    Tiles(Packed),
}

/// What of a shape the packed weights depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    weight: [usize; 5],
    tiles: bool,
}

impl Kind {
    fn of(shape: &Conv2dShape, pass: Pass) -> Self {
        let [height, width] = shape.kernel;
        let [inputs, outputs] = [shape.in_channels, shape.out_channels];
        Self {
            weight: [outputs, inputs, height, width, shape.groups],
            tiles: winograd::suits(shape, pass),
        }
    }
}

impl Filters {
    /// Packs `weight`, `[out_channels, in_channels / groups, kernel[0], kernel[1]]`, for inference.
    ///
    /// # Panics
    ///
    /// If `shape` is not valid or `weight` does not have the length it asks for.
    pub fn for_inference(weight: &[f32], shape: &Conv2dShape) -> Self {
        Self::new(Isa::best(), weight, shape, Pass::Inference)
    }

    pub(super) fn new(isa: Isa, weight: &[f32], shape: &Conv2dShape, pass: Pass) -> Self {
        shape.check();
        assert_eq!(weight.len(), shape.weight_len(), "length of weight");
        let kind = Kind::of(shape, pass);
        let packed = if shape.is_depthwise() {
            PackedFilters::Depthwise(depthwise::filters(weight, shape))
        } else if kind.tiles {
            PackedFilters::Tiles(winograd::filters(isa, weight, shape))
        } else {
            PackedFilters::Dense(dense::filters(isa, weight, shape))
        };
        Self {
            packed,
            isa,
            pass,
            kind,
        }
    }

    /// Whether they are what packing for a convolution of this shape would give now: images of another size may want
    /// another form, and so does another instruction set.
    pub fn are_current(&self, shape: &Conv2dShape) -> bool {
        self.are_for(Isa::best(), shape)
    }

    pub(super) fn are_for(&self, isa: Isa, shape: &Conv2dShape) -> bool {
        self.isa == isa && self.fit(shape)
    }

    /// Whether a convolution of this shape can read them.
    pub(super) fn fit(&self, shape: &Conv2dShape) -> bool {
        self.kind == Kind::of(shape, self.pass)
    }

    /// The instruction set that they are packed for.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Memory they take.
    pub fn bytes(&self) -> usize {
        match &self.packed {
            PackedFilters::Depthwise(filters) => size_of_val::<[f32]>(filters),
            PackedFilters::Dense(filters) => filters.iter().map(Packed::bytes).sum(),
            PackedFilters::Tiles(filters) => filters.bytes(),
        }
    }
}

//! A frame's components: where their blocks lie, and their samples.

use super::header::{Header, Refusal, reason};
use super::idct;
use super::upsample::Plane;

/// A block's coefficients, not in zigzag.
pub(super) type Block = [i16; 64];

/// A component while it is decoded.
pub(super) struct Part {
    pub(super) id: u8,
    /// Blocks in a unit of the image.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Blocks that mean something: a scan of this component alone has no others.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Blocks that whole units have, of a row.
    pub(super) stride: usize,
    /// Rows of blocks that whole units have.
    rows: usize,
    /// Position of its quantisation values.
    pub(super) slot: usize,
    /// As they were when its first scan began.
    pub(super) table: Option<[u16; 64]>,
    /// Of a progressive image alone, until all scans are read.
    pub(super) blocks: Vec<Block>,
    /// Of each coefficient, in zigzag, how many low bits are still to come; none is known at first.
    pub(super) missing_bits: [Option<u8>; 64],
    pub(super) plane: Plane,
}

impl Part {
    /// The components of an image, nothing allocated yet.
    pub(super) fn of(header: &Header) -> Result<Vec<Self>, Refusal> {
        // The only component of an image fills it, whatever its factors.
        let max = |factor: fn(&super::header::Component) -> u8| {
            header
                .components
                .iter()
                .map(factor)
                .max()
                .map_or(1, usize::from)
        };
        let (most_across, most_down) = (max(|c| c.horizontal), max(|c| c.vertical));
        let (width, height) = (usize::from(header.width), usize::from(header.height));
        let units = (
            width.div_ceil(8 * most_across),
            height.div_ceil(8 * most_down),
        );
        header
            .components
            .iter()
            .map(|component| {
                let (horizontal, vertical) = (usize::from(component.horizontal), usize::from(component.vertical));
                if most_across % horizontal != 0 || most_down % vertical != 0 {
                    return Err(reason(format!(
                        "a component sampled {horizontal}x{vertical} in units of {most_across}x{most_down} (a fraction) is \
                         not supported"
                    )));
                }
                let (width, height) =
                    ((width * horizontal).div_ceil(most_across), (height * vertical).div_ceil(most_down));
                let stride = units.0 * horizontal;
                Ok(Self {
                    id: component.id,
                    horizontal,
                    vertical,
                    across: width.div_ceil(8),
                    down: height.div_ceil(8),
                    stride,
                    rows: units.1 * vertical,
                    slot: usize::from(component.table),
                    table: None,
                    blocks: Vec::new(),
                    missing_bits: [None; 64],
                    plane: Plane {
                        width,
                        height,
                        stride: 8 * stride,
                        samples: Vec::new(),
                        across: most_across / horizontal,
                        down: most_down / vertical,
                    },
                })
            })
            .collect()
    }

    pub(super) fn has_samples(&self) -> bool {
        !self.plane.samples.is_empty()
    }

    pub(super) fn allocate_samples(&mut self) {
        self.plane.samples = vec![0; 64 * self.stride * self.rows];
    }

    pub(super) fn allocate_blocks(&mut self) {
        self.blocks = vec![[0; 64]; self.stride * self.rows];
    }

    /// Turns the block at this position (row by row) into samples.
    pub(super) fn draw(&mut self, at: usize, block: &Block) {
        let (row, column) = (at / self.stride, at % self.stride);
        let stride = self.plane.stride;
        let first = 8 * row * stride + 8 * column;
        if let Some(table) = &self.table {
            idct::inverse(block, table, &mut self.plane.samples[first..], stride);
        }
    }

    /// Turns all coefficients into samples, and lets go of them.
    pub(super) fn draw_all(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        self.allocate_samples();
        for (at, block) in blocks.iter().enumerate() {
            self.draw(at, block);
        }
    }
}

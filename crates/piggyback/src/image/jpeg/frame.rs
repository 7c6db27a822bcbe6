//! A frame's components: the positions of their blocks, and their samples.

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
    /// Visible blocks: a scan of only this component has no others.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Blocks per row, rounded up to whole units.
    pub(super) stride: usize,
    /// Rows of blocks, rounded up to whole units.
    rows: usize,
    /// Position of its quantisation values.
    pub(super) slot: usize,
    /// The table at the start of its first scan.
    pub(super) table: Option<[u16; 64]>,
    /// Only for progressive images, until all scans are read.
    pub(super) blocks: Vec<Block>,
    /// For each coefficient, in zigzag order, the number of low bits still missing; `None` before
    /// its first scan.
    pub(super) missing_bits: [Option<u8>; 64],
    pub(super) plane: Plane,
}

impl Part {
    /// The components of an image, without allocations.
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

    /// Converts the block at this position (row by row) to samples.
    pub(super) fn draw(&mut self, at: usize, block: &Block) {
        let (row, column) = (at / self.stride, at % self.stride);
        let stride = self.plane.stride;
        let first = 8 * row * stride + 8 * column;
        if let Some(table) = &self.table {
            idct::inverse(block, table, &mut self.plane.samples[first..], stride);
        }
    }

    /// Converts all coefficients to samples, and frees them.
    pub(super) fn draw_all(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        self.allocate_samples();
        for (at, block) in blocks.iter().enumerate() {
            self.draw(at, block);
        }
    }
}

//! Matrix product: every element is one fused multiply-add chain in ascending depth from 0, so its bits do not depend
//! on the other rows, the threads, the place in a tile or the instruction set.

mod left;
mod packed;
mod tile;

use rayon::prelude::*;

pub use left::Matrix;
pub(crate) use left::{LeftSide, aliases, multiply_rows, scratch_stride};
pub(crate) use packed::{Packed, pack_strided};
pub(crate) use tile::{Block, PANEL_VECTORS};

use super::{buffer, simd::Isa};

/// The product `a * b`, row-major `[a.rows, b.columns]`. [`Matrix::transposed`] views need no copy.
///
/// # Panics
/// If `a` does not have as many columns as `b` has rows.
pub fn matmul(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    matmul_on(Isa::best(), a, b)
}

fn matmul_on(isa: Isa, a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.columns(), b.rows(), "inner sizes of a product");
    let (rows, columns) = (a.rows(), b.columns());
    if rows * columns == 0 {
        return Vec::new();
    }
    let packed = Packed::new(isa, b.rows(), columns, |first, count, panel, width| {
        pack_strided(panel, width, b.part(first, count));
    });
    let chunk = rows_per_task(rows, packed.depth(), columns);
    // SAFETY: the chunks cover every row, and `multiply_rows` writes all of the rows it is given.
    unsafe {
        buffer::filled(rows * columns, |out| {
            out.par_chunks_mut(chunk * columns)
                .enumerate()
                .for_each_init(Vec::new, |scratch, (i, out)| {
                    let from = i * chunk;
                    let rows = from..from + out.len() / columns;
                    multiply_rows(isa, &a, &packed, rows, out, columns, scratch);
                });
        })
    }
}

/// Rows that make a task long enough to be worth sending to another thread, yet leave enough tasks to share out.
pub(crate) fn rows_per_task(rows: usize, depth: usize, columns: usize) -> usize {
    /// Weights beyond this leave the second-level cache, so that reading them must serve more rows.
    const CACHED_LEN: usize = 1 << 17;
    const LARGEST: usize = 768;
    let smallest = if depth * columns > CACHED_LEN { 72 } else { 24 };
    let tasks = (rows / smallest).clamp(1, 16).max(rows / LARGEST);
    rows.div_ceil(tasks).next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_product_is_one_chain_per_element(
            rows in 1_usize..60, depth in 0_usize..70, columns in 1_usize..80, long in any::<bool>(),
            layout in 0_usize..4, seed in any::<u64>(),
        ) {
            let depth = if long { depth + 1000 } else { depth };
            let a = reference::noise(rows * depth, seed);
            let b = reference::noise(depth * columns, seed ^ 1);
            let view = |data, rows, columns, transposed: bool| if transposed {
                Matrix::row_major(data, columns, rows).transposed()
            } else {
                Matrix::row_major(data, rows, columns)
            };
            let a = view(&a, rows, depth, layout & 1 == 1);
            let b = view(&b, depth, columns, layout & 2 == 2);
            let expected: Vec<f32> = (0..rows * columns)
                .map(|i| (0..depth).fold(0.0, |sum, k| a.at(i / columns, k).mul_add(b.at(k, i % columns), sum)))
                .collect();
            for isa in Isa::all() {
                prop_assert!(reference::same_bits(&matmul_on(isa, a, b), &expected), "{isa:?}");
            }
        }
    }
}

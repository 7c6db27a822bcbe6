//! Compares products with chains of `f32::mul_add`.

use std::ops::Range;

use proptest::prelude::*;

use super::super::buffer::{self, Workspace};
use super::super::reference::{noise, same_bits};
use super::super::simd::Isa;
use super::matrix::Matrix;
use super::packed::pack_strided;
use super::{LeftSide, Packed, Target, multiply_rows};

impl LeftSide for Matrix<'_> {
    fn in_place(&self) -> Option<(&[f32], usize)> {
        self.in_place_rows()
    }

    fn copy(
        &self,
        _: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &mut [f32],
        stride: usize,
    ) {
        for (row, to) in rows.zip(block.chunks_mut(stride)) {
            match self.contiguous_row(row) {
                Some(from) => to[..columns.len()].copy_from_slice(&from[columns.clone()]),
                None => {
                    for (value, column) in to.iter_mut().zip(columns.clone()) {
                        *value = self.at(row, column);
                    }
                }
            }
        }
    }
}

/// The product `a * b`, its rows in two parts.
fn product(isa: Isa, a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let (rows, columns) = (a.rows(), b.columns());
    let packed = Packed::new(isa, b.rows(), columns, |first, count, panel, width| {
        pack_strided(panel, width, b.columns_from(first, count));
    });
    let mut out = vec![f32::NAN; rows * columns];
    let (upper, lower) = out.split_at_mut(rows / 2 * columns);
    let mut copied = Workspace::default();
    for (rows, out) in [(0..rows / 2, upper), (rows / 2..rows, lower)] {
        let out = Target::new(buffer::overwrite(out), columns);
        multiply_rows(isa, &a, packed.all(), rows, out, None, &mut copied);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_product_is_one_chain_per_element(
        rows in 1_usize..60, depth in 0_usize..70, columns in 1_usize..80, long in any::<bool>(),
        layout in 0_usize..4, seed in any::<u64>(),
    ) {
        let depth = if long { depth + 1000 } else { depth };
        let a = noise(rows * depth, seed);
        let b = noise(depth * columns, seed ^ 1);
        let view = |data, rows, columns, transposed: bool| {
            let strides = if transposed { [1, rows] } else { [columns, 1] };
            Matrix::strided(data, [rows, columns], strides)
        };
        let a = view(&a[..], rows, depth, layout & 1 == 1);
        let b = view(&b[..], depth, columns, layout & 2 == 2);
        let expected: Vec<f32> = (0..rows * columns)
            .map(|i| (0..depth).fold(0.0, |sum, k| a.at(i / columns, k).mul_add(b.at(k, i % columns), sum)))
            .collect();
        for isa in Isa::all() {
            prop_assert!(same_bits(&product(isa, a, b), &expected), "{isa:?}");
        }
    }
}

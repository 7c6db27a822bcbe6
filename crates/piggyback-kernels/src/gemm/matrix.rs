//! A view of a matrix with strides.

/// A matrix of `rows x columns` whose element `(r, c)` is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A view with strides; `data` starts at element `(0, 0)`.
    pub(super) fn strided(data: &'a [f32], size: [usize; 2], strides: [usize; 2]) -> Self {
        let [rows, columns] = size;
        let [row_stride, column_stride] = strides;
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The elements of a row.
    pub(super) fn strided_row(&self, row: usize) -> impl Iterator<Item = &'a f32> {
        self.data[row * self.row_stride..]
            .iter()
            .step_by(self.column_stride)
            .take(self.columns)
    }

    /// A row as a slice, where its elements are neighbours.
    pub(super) fn contiguous_row(&self, row: usize) -> Option<&'a [f32]> {
        (self.column_stride == 1).then(|| &self.data[row * self.row_stride..][..self.columns])
    }
}

#[cfg(test)]
impl<'a> Matrix<'a> {
    /// An element.
    pub(super) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// `count` columns from `first` on.
    pub(super) fn columns_from(self, first: usize, count: usize) -> Self {
        let data = &self.data[(first * self.column_stride).min(self.data.len())..];
        Self {
            data,
            columns: count,
            ..self
        }
    }

    /// The data and the step between rows, where the elements of a row are neighbours.
    pub(super) fn in_place_rows(&self) -> Option<(&'a [f32], usize)> {
        (self.column_stride == 1).then_some((self.data, self.row_stride))
    }
}

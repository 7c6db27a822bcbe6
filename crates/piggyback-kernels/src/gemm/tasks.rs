//! Divides a product among threads. Results do not depend on it.

use std::ops::Range;

use super::Packed;

/// Parts of a product's rows and columns that make a task long enough to be worth sending to another thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tasks {
    rows: usize,
    columns: usize,
    task_rows: usize,
    task_columns: usize,
}

impl Tasks {
    /// For the product of `rows` with `packed`.
    pub(crate) fn new(rows: usize, packed: &Packed) -> Self {
        /// Weights beyond this leave the second-level cache, so that reading them must serve more rows.
        const CACHED_LEN: usize = 1 << 17;
        const LARGEST: usize = 768;
        let (depth, columns) = (packed.all().depth(), packed.columns());
        let smallest = if depth * columns > CACHED_LEN { 72 } else { 24 };
        let threads = rayon::current_num_threads();
        let mut parts = (rows / smallest).clamp(1, 16).max(rows / LARGEST);
        if parts > 1 {
            // As much for each thread.
            parts = parts.next_multiple_of(threads);
        }
        let task_rows = rows.div_ceil(parts).next_multiple_of(4).max(1);
        // Few rows, as of small maps of one image, are shared out by columns.
        let parts = threads.div_ceil(rows.div_ceil(task_rows).max(1));
        let task_columns = columns.div_ceil(parts).next_multiple_of(packed.width());
        Self {
            rows,
            columns,
            task_rows,
            task_columns: task_columns.max(1),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.task_rows) * self.column_parts()
    }

    fn column_parts(&self) -> usize {
        self.columns.div_ceil(self.task_columns)
    }

    /// The rows and columns of a task.
    pub(crate) fn part(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let part = |i: usize, step: usize, len: usize| i * step..len.min((i + 1) * step);
        (
            part(task / self.column_parts(), self.task_rows, self.rows),
            part(task % self.column_parts(), self.task_columns, self.columns),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::simd::Isa;
    use super::*;

    #[test]
    fn every_element_is_in_one_task() {
        for (rows, depth, columns) in [(49, 2048, 512), (1, 1, 1), (3136, 64, 65), (392, 512, 2048)]
        {
            let packed = Packed::new(Isa::best(), depth, columns, |_, _, panel, _| {
                panel.fill(0.0)
            });
            let tasks = Tasks::new(rows, &packed);
            let mut seen = vec![0; rows * columns];
            for task in 0..tasks.count() {
                let (task_rows, task_columns) = tasks.part(task);
                assert_eq!(task_columns.start % packed.width(), 0);
                for row in task_rows {
                    for column in task_columns.clone() {
                        seen[row * columns + column] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1));
        }
    }
}

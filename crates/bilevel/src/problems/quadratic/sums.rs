//! Sums of the coefficients of some rows.

use std::ops::Range;

use super::coefficients::BLOCK;
use crate::simd::vectorize;

/// Rows that are added at a time: so rarely is the sum over them read and written.
const ROWS: usize = 8;

/// The sum of a part of some of the rows, which are handed over one by one.
pub(super) struct Sums<'s> {
    rows: &'s [f32],
    len: usize,
    part: Range<usize>,
    sum: &'s mut [f64],
    /// Rows that are not in the sum yet.
    waiting: [usize; ROWS],
    count: usize,
}

impl<'s> Sums<'s> {
    /// `sum` becomes that of the given part of rows of `len` numbers; what it holds before does not matter.
    pub fn new(rows: &'s [f32], len: usize, part: Range<usize>, sum: &'s mut [f64]) -> Self {
        sum.fill(0.0);
        Sums { rows, len, part, sum, waiting: [0; ROWS], count: 0 }
    }

    /// Adds row `i`.
    pub fn add(&mut self, i: usize) {
        self.waiting[self.count] = i;
        self.count += 1;
        if self.count == ROWS {
            add_rows(self.waiting.map(|i| row(self.rows, self.len, &self.part, i)), self.sum);
            self.count = 0;
        }
    }

    /// Adds the rows that wait.
    pub fn finish(self) {
        for &i in &self.waiting[..self.count] {
            add_rows([row(self.rows, self.len, &self.part, i)], self.sum);
        }
    }
}

fn row<'r>(rows: &'r [f32], len: usize, part: &Range<usize>, i: usize) -> &'r [f32] {
    &rows[i * len..][part.clone()]
}

/// Adds rows as long as `sum`, whose length is a multiple of [`BLOCK`], to it.
fn add_rows<const R: usize>(rows: [&[f32]; R], sum: &mut [f64]) {
    let (sum, _) = sum.as_chunks_mut::<BLOCK>();
    let rows = rows.map(|row| &row.as_chunks::<BLOCK>().0[..sum.len()]);
    vectorize(
        #[inline(always)]
        || {
            for (at, sum) in sum.iter_mut().enumerate() {
                let mut lanes = *sum;
                for row in &rows {
                    for lane in 0..BLOCK {
                        lanes[lane] += f64::from(row[at][lane]);
                    }
                }
                *sum = lanes;
            }
        },
    );
}

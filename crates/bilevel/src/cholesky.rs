//! Cholesky factors in the memory of the matrix, and in a quarter of it.

use faer::linalg::cholesky::llt;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{MatMut, MatRef, Par};

/// `L` of `A = L L^T`, with `n^2` numbers.
pub(crate) struct Cholesky {
    size: usize,
    /// The lower triangle, column after column; what is above it has no meaning.
    values: Vec<f64>,
}

impl Cholesky {
    /// The factors of the symmetric matrix whose lower triangle `values` holds column after column, `n^2` numbers; `None`
    /// when it is not positive definite.
    pub fn new(size: usize, mut values: Vec<f64>) -> Option<Self> {
        let parallel = faer::get_global_parallelism();
        let matrix = MatMut::from_column_major_slice_mut(&mut values, size, size);
        let need = llt::factor::cholesky_in_place_scratch::<f64>(size, parallel, Default::default());
        let mut memory = faer::dyn_stack::MemBuffer::new(need);
        let stack = faer::dyn_stack::MemStack::new(&mut memory);
        llt::factor::cholesky_in_place(matrix, Default::default(), parallel, stack, Default::default()).ok()?;
        Some(Cholesky { size, values })
    }

    /// The entry of `L` in row `i` and column `j <= i`.
    pub fn entry(&self, i: usize, j: usize) -> f64 {
        self.values[j * self.size + i]
    }

    /// Replaces `b` by `A^{-1} b`.
    pub fn solve_in_place(&self, b: &mut [f64]) {
        let factor = MatRef::from_column_major_slice(&self.values, self.size, self.size);
        let mut b = MatMut::from_column_major_slice_mut(b, self.size, 1);
        solve_lower_triangular_in_place(factor, b.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(factor.transpose(), b, Par::Seq);
    }

    /// The same in single precision without what is above the triangle: enough for a preconditioner.
    pub fn packed(&self) -> PackedCholesky {
        // Whoever collects does not know how many there are, and takes up to twice the memory.
        let mut values = Vec::with_capacity(self.size * (self.size + 1) / 2);
        values.extend((0..self.size).flat_map(|i| (0..=i).map(move |j| self.entry(i, j) as f32)));
        PackedCholesky { size: self.size, values }
    }
}

/// `L` with `n (n + 1) / 2` numbers in single precision, row after row.
pub(crate) struct PackedCholesky {
    size: usize,
    values: Vec<f32>,
}

/// Sums that do not wait for each other.
const LANES: usize = 16;

impl PackedCholesky {
    /// Replaces `b` by about `A^{-1} b`.
    pub fn solve_in_place(&self, b: &mut [f64]) {
        debug_assert_eq!(b.len(), self.size);
        crate::simd::vectorize(
            #[inline(always)]
            || {
                for i in 0..self.size {
                    let (before, rest) = b.split_at_mut(i);
                    let (row, diagonal) = self.row(i);
                    rest[0] = (rest[0] - dot(row, before)) / diagonal;
                }
                for i in (0..self.size).rev() {
                    let (before, rest) = b.split_at_mut(i);
                    let (row, diagonal) = self.row(i);
                    rest[0] /= diagonal;
                    let x = rest[0];
                    before.iter_mut().zip(row).for_each(|(b, l)| *b = f64::from(*l).mul_add(-x, *b));
                }
            },
        );
    }

    /// The entries of row `i` left of the diagonal, and the one on it.
    #[inline(always)]
    fn row(&self, i: usize) -> (&[f32], f64) {
        let row = &self.values[i * (i + 1) / 2..(i + 1) * (i + 2) / 2];
        (&row[..i], f64::from(row[i]))
    }
}

#[inline(always)]
fn dot(row: &[f32], b: &[f64]) -> f64 {
    let (row_blocks, row_rest) = row.as_chunks::<LANES>();
    let (blocks, rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (l, b) in row_blocks.iter().zip(blocks) {
        for lane in 0..LANES {
            sums[lane] = f64::from(l[lane]).mul_add(b[lane], sums[lane]);
        }
    }
    let rest: f64 = row_rest.iter().zip(rest).map(|(l, b)| f64::from(*l) * b).sum();
    sums.iter().sum::<f64>() + rest
}

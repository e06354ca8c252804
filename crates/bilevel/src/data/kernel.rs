//! Products with the kernel `X S X^T` of the rows of a sparse matrix, `S` diagonal.
//!
//! Where features outnumber rows, a vector of the rows is short and one of the weights is long. Neither the kernel nor a vector
//! of the weights is ever formed: a feature takes what its rows have for it, and gives it back to them at once. So of the matrix
//! only a copy by columns is needed, and what is read and written here and there is as long as a vector of the rows.

use rayon::prelude::*;

use super::csr::CsrMatrix;
use super::csr_outputs as several;
use super::design::DesignMatrix;
use super::element::Element;
use super::row_ranges::RowRanges;
use crate::simd::vectorize;

/// Outputs of one task: so many vectors of some ten thousand rows stay in the nearer caches.
const OUTPUTS: usize = 8;
/// Parts of the features, for all outputs of a product together; each part sums for itself.
const PARTS: usize = 32;
/// Fewest and most parts.
const PARTS_WITHIN: (usize, usize) = (2, 16);

/// Some rows of a sparse matrix, `n x q`, with the `q` features that occur in them.
#[derive(Debug, Clone)]
pub struct KernelRows {
    entries: Entries,
    columns: Vec<u32>,
    rows: usize,
}

#[derive(Debug, Clone)]
enum Entries {
    Single(ByColumn<f32>),
    Double(ByColumn<f64>),
}

/// Calls a method on the entries, whatever their type.
macro_rules! each {
    ($entries:expr, $by_column:ident => $body:expr) => {
        match $entries {
            Entries::Single($by_column) => $body,
            Entries::Double($by_column) => $body,
        }
    };
}

/// Entries column after column, with positions among the rows.
#[derive(Debug, Clone)]
struct ByColumn<T> {
    offsets: Vec<usize>,
    rows: Vec<u32>,
    values: Vec<T>,
}

impl KernelRows {
    /// The given rows of `design`; `None` when it is dense.
    pub fn new(design: &DesignMatrix, rows: &RowRanges) -> Option<Self> {
        let (entries, columns) = match design {
            DesignMatrix::CsrF32(m) => {
                let (entries, columns) = ByColumn::new(m, rows);
                (Entries::Single(entries), columns)
            }
            DesignMatrix::CsrF64(m) => {
                let (entries, columns) = ByColumn::new(m, rows);
                (Entries::Double(entries), columns)
            }
            _ => return None,
        };
        Some(KernelRows { entries, columns, rows: rows.len() })
    }

    /// Number of rows `n`.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The features that occur, as columns of the original matrix, in rising order.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// Calls `visit(j, row)` with the rows of `S X^T U`, for `U` of shape `n x C` and the diagonal `scale` of `S`; `j` is the
    /// column of the original matrix.
    pub fn scaled_transpose_product(
        &self,
        u: &[f64],
        outputs: usize,
        scale: &[f64],
        mut visit: impl FnMut(usize, &[f64]),
    ) {
        let mut t = vec![0.0; outputs];
        for (k, (&j, &scale)) in self.columns.iter().zip(scale).enumerate() {
            each!(&self.entries, m => m.dots(k, u, &mut t));
            t.iter_mut().for_each(|t| *t *= scale);
            visit(j as usize, &t);
        }
    }

    /// `out = X T` for weights `T` of all features of the original matrix, `C` numbers each; `out` is of shape `n x C`.
    pub fn product(&self, t: &[f64], outputs: usize, out: &mut [f64]) {
        out.fill(0.0);
        for (k, &j) in self.columns.iter().enumerate() {
            let t = &t[j as usize * outputs..][..outputs];
            each!(&self.entries, m => m.scatter(k, t, out));
        }
    }

    /// `out = X S X^T U`, both of shape `n x C`.
    pub fn kernel_product(&self, u: &[f64], outputs: usize, scale: &[f64], out: &mut [f64]) {
        let parts = (PARTS / outputs.max(1)).clamp(PARTS_WITHIN.0, PARTS_WITHIN.1);
        let groups = outputs.div_ceil(OUTPUTS);
        let sums: Vec<Vec<f64>> = (0..parts * groups)
            .into_par_iter()
            .map(|task| {
                let (part, group) = (task / groups, task % groups);
                let first = group * OUTPUTS;
                let width = OUTPUTS.min(outputs - first);
                let own: Vec<f64> = u.chunks_exact(outputs).flat_map(|u| &u[first..first + width]).copied().collect();
                let mut sums = vec![0.0; self.rows * width];
                each!(&self.entries, m => m.add_kernel_product(m.part(part, parts), &own, width, scale, &mut sums));
                sums
            })
            .collect();
        out.fill(0.0);
        for (task, sums) in sums.iter().enumerate() {
            let first = task % groups * OUTPUTS;
            let width = OUTPUTS.min(outputs - first);
            for (out, sums) in out.chunks_exact_mut(outputs).zip(sums.chunks_exact(width)) {
                out[first..first + width].iter_mut().zip(sums).for_each(|(o, s)| *o += s);
            }
        }
    }
}

impl<T: Element> ByColumn<T> {
    /// The entries of some rows, and which columns have any.
    fn new(matrix: &CsrMatrix<T>, rows: &RowRanges) -> (Self, Vec<u32>) {
        let picked = || rows.ranges().iter().cloned().flatten();
        let mut counts = vec![0_usize; matrix.cols()];
        picked().for_each(|i| matrix.row(i).0.iter().for_each(|&j| counts[j as usize] += 1));
        let columns: Vec<u32> = (0..matrix.cols() as u32).filter(|&j| counts[j as usize] > 0).collect();
        let mut offsets = Vec::with_capacity(columns.len() + 1);
        offsets.push(0);
        let mut stored = 0;
        for &j in &columns {
            let count = std::mem::replace(&mut counts[j as usize], stored);
            stored += count;
            offsets.push(stored);
        }
        let mut next = counts;
        let (mut positions, mut values) = (vec![0; stored], vec![T::default(); stored]);
        for (position, i) in picked().enumerate() {
            let (indices, row) = matrix.row(i);
            for (&j, &x) in indices.iter().zip(row) {
                let place = &mut next[j as usize];
                positions[*place] = position as u32;
                values[*place] = x;
                *place += 1;
            }
        }
        (ByColumn { offsets, rows: positions, values }, columns)
    }

    /// The columns of one of `parts` parts with about as many entries each.
    fn part(&self, part: usize, parts: usize) -> std::ops::Range<usize> {
        let columns = self.offsets.len() - 1;
        let begin = |part: usize| {
            let entry = self.values.len() * part / parts;
            self.offsets[..columns].partition_point(|&offset| offset < entry)
        };
        begin(part)..if part + 1 == parts { columns } else { begin(part + 1) }
    }

    fn column(&self, k: usize) -> (&[u32], &[T]) {
        let span = self.offsets[k]..self.offsets[k + 1];
        (&self.rows[span.clone()], &self.values[span])
    }

    /// `out = x_k^T U` for the column `x_k`.
    fn dots(&self, k: usize, u: &[f64], out: &mut [f64]) {
        let (rows, values) = self.column(k);
        vectorize(
            #[inline(always)]
            || several::dots(rows, values, u, out),
        );
    }

    /// `out += x_k t^T` for the column `x_k`.
    fn scatter(&self, k: usize, t: &[f64], out: &mut [f64]) {
        let (rows, values) = self.column(k);
        vectorize(
            #[inline(always)]
            || several::scatter(rows, values, t, out, |x| x),
        );
    }

    /// `out += sum_k scale_k x_k x_k^T U` over some columns.
    fn add_kernel_product(
        &self,
        columns: std::ops::Range<usize>,
        u: &[f64],
        outputs: usize,
        scale: &[f64],
        out: &mut [f64],
    ) {
        vectorize(
            #[inline(always)]
            || {
                let mut t = [0.0; OUTPUTS];
                let t = &mut t[..outputs];
                for k in columns.clone() {
                    let (rows, values) = self.column(k);
                    several::dots(rows, values, u, t);
                    t.iter_mut().for_each(|t| *t *= scale[k]);
                    several::scatter(rows, values, t, out, |x| x);
                }
            },
        );
    }
}

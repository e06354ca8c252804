//! Products with the kernel `X S X^T` of the rows of a sparse matrix, `S` diagonal.
//!
//! Where features outnumber rows, a vector of the rows is short and one of the weights is long. The kernel is never
//! formed: its product goes to the features and back, so all that is written of the weights is one scratch. For the
//! sake of the cache the rows are copied with the features they use only, the most frequent ones first.

use rayon::prelude::*;

use super::design::{DesignMatrix, RowPick, RowRanges};

/// Features of one task of a product with the transpose.
const COLUMNS: usize = 512;
/// Rows of one task of a product.
const ROWS: usize = 128;

/// Some rows of a sparse matrix, `n x q`, with the `q` features that occur in them.
#[derive(Debug, Clone)]
pub struct KernelRows {
    matrix: DesignMatrix,
    columns: Vec<u32>,
}

impl KernelRows {
    /// The given rows of `design`; `None` when it is dense.
    pub fn new(design: &DesignMatrix, rows: &RowRanges) -> Option<Self> {
        let order: Vec<u32> = rows.ranges().iter().cloned().flatten().map(|row| row as u32).collect();
        let (matrix, columns) = match design {
            DesignMatrix::CsrF32(m) => {
                let (matrix, columns) = m.compacted(&order);
                (DesignMatrix::CsrF32(matrix), columns)
            }
            DesignMatrix::CsrF64(m) => {
                let (matrix, columns) = m.compacted(&order);
                (DesignMatrix::CsrF64(matrix), columns)
            }
            _ => return None,
        };
        Some(KernelRows { matrix, columns })
    }

    /// Number of rows `n`.
    pub fn len(&self) -> usize {
        self.matrix.rows()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features that occur, as columns of the original matrix.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// `out = S X^T U`, with `U` of shape `n x C`, `out` of shape `q x C` and the diagonal `scale` of `S`.
    pub fn scaled_transpose_product(&self, u: &[f64], outputs: usize, scale: &[f64], out: &mut [f64]) {
        out.par_chunks_mut(COLUMNS * outputs).enumerate().for_each(|(index, out)| {
            let columns = index * COLUMNS..index * COLUMNS + out.len() / outputs;
            self.matrix.columns_transpose(columns.clone(), u, outputs, out);
            for (out, s) in out.chunks_exact_mut(outputs).zip(&scale[columns]) {
                out.iter_mut().for_each(|o| *o *= s);
            }
        });
    }

    /// `out = X T`, with `T` of shape `q x C` and `out` of shape `n x C`.
    pub fn product(&self, t: &[f64], outputs: usize, out: &mut [f64]) {
        out.par_chunks_mut(ROWS * outputs).enumerate().for_each(|(index, out)| {
            let rows = index * ROWS..index * ROWS + out.len() / outputs;
            self.matrix.block_margins(&RowPick::Span(rows), t, outputs, out);
        });
    }

    /// `out = X S X^T U`; `scratch` grows to `q x C`.
    pub fn kernel_product(&self, u: &[f64], outputs: usize, scale: &[f64], scratch: &mut Vec<f64>, out: &mut [f64]) {
        scratch.resize(scratch.len().max(self.columns.len() * outputs), 0.0);
        let scratch = &mut scratch[..self.columns.len() * outputs];
        self.scaled_transpose_product(u, outputs, scale, scratch);
        self.product(scratch, outputs, out);
    }
}

//! An approximate inverse of the Hessian in the space of the rows.
//!
//! With the basis `V = S^{1/2} X^T B`, orthonormal as `B^T K B = I`, and the intercept as one more direction, the Hessian
//! of output `c` within their span is `G_c = I + L^T D_c L` (bordered by the intercept), with `D_c` the diagonal second
//! derivatives of that output; what couples the outputs is left out. Outside the span the Hessian is taken to be the
//! penalty alone. So, in coordinates of the rows, `z = r - B (I - G_c^{-1}) L^T r`.

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::basis::Basis;
use super::row_space::RowSpace;
use crate::cholesky::{Cholesky, PackedCholesky};
use crate::stop::StopSignal;

/// Rows of one task.
const ROWS: usize = 256;
/// Columns of one task.
const COLUMNS: usize = 32;

/// `G_c` of every output, factorised.
pub(super) struct Preconditioner {
    blocks: Vec<PackedCholesky>,
}

impl Preconditioner {
    /// At the second derivatives of the rows; `None` when a block is not positive definite, or `stop` is raised.
    pub fn new(space: &RowSpace, basis: &Basis, curvature: &[f64], stop: &StopSignal) -> Option<Self> {
        let diagonal = space.loss.curvature_diagonal(curvature);
        let (outputs, width) = (space.outputs, basis.width);
        let border = usize::from(space.intercept);
        let size = width + border;
        let blocks: Vec<Option<PackedCholesky>> = (0..outputs)
            .into_par_iter()
            .map(|output| {
                let mut gram = vec![0.0; size * size];
                let mut weighted = vec![0.0; ROWS * size];
                for (first, l) in basis.l.chunks(ROWS * width).enumerate() {
                    if stop.is_raised() {
                        return None;
                    }
                    let rows = l.len() / width;
                    for (i, (out, l)) in weighted.chunks_exact_mut(size).zip(l.chunks_exact(width)).enumerate() {
                        let root = diagonal[(first * ROWS + i) * outputs + output].sqrt();
                        out[width..].fill(root);
                        let root = root * space.by_output[output].sqrt();
                        out.iter_mut().zip(l).for_each(|(o, l)| *o = root * f64::from(*l));
                    }
                    let block = MatRef::from_row_major_slice(&weighted[..rows * size], rows, size);
                    triangular::matmul(
                        MatMut::from_column_major_slice_mut(&mut gram, size, size),
                        triangular::BlockStructure::TriangularLower,
                        Accum::Add,
                        block.transpose(),
                        triangular::BlockStructure::Rectangular,
                        block,
                        triangular::BlockStructure::Rectangular,
                        1.0,
                        Par::Seq,
                    );
                }
                (0..width).for_each(|j| gram[j * size + j] += 1.0);
                if border == 1 {
                    gram[width * size + width] += if outputs > 1 { 1.0 } else { 1e-12 };
                }
                Some(Cholesky::new(size, gram)?.packed())
            })
            .collect();
        Some(Preconditioner { blocks: blocks.into_iter().collect::<Option<_>>()? })
    }

    /// `z = P r`. Where all outputs have the same penalties, adding a constant to the margins of a row changes no
    /// probability, so that in the mean over the outputs the Hessian is the penalty alone. The blocks do not know that;
    /// so the mean, and what they make of the rest in the direction of the mean, is kept from them.
    pub fn apply(&self, space: &RowSpace, basis: &Basis, r: &[f64], z: &mut [f64]) {
        let outputs = space.outputs;
        if outputs == 1 || space.by_output.iter().any(|s| *s != space.by_output[0]) {
            return self.apply_blocks(space, basis, r, z);
        }
        let mean = |row: &[f64]| row.iter().sum::<f64>() / outputs as f64;
        let mut rest = r.to_vec();
        for row in rest.chunks_exact_mut(outputs) {
            let mean = mean(row);
            row.iter_mut().for_each(|x| *x -= mean);
        }
        self.apply_blocks(space, basis, &rest, z);
        for (z, r) in z.chunks_exact_mut(outputs).zip(r.chunks_exact(outputs)) {
            let change = mean(r) - mean(z);
            z.iter_mut().for_each(|z| *z += change);
        }
    }

    /// `z = r - B (I - G_c^{-1}) L^T r` for each output.
    fn apply_blocks(&self, space: &RowSpace, basis: &Basis, r: &[f64], z: &mut [f64]) {
        let (n, outputs, width) = (space.kernel.len(), space.outputs, basis.width);
        let (rows, intercept) = r.split_at(n * outputs);
        // Coordinates of output `c` are in units of its own kernel.
        let roots: Vec<f64> = space.by_output.iter().map(|s| s.sqrt()).collect();
        let mut given = vec![0.0; (width + 1) * outputs];
        project(basis, outputs, rows, &roots, &mut given);
        given[width * outputs..].copy_from_slice(intercept);
        let mut x = given.clone();
        self.solve_blocks(space, width, &mut x);
        let (z_rows, z_intercept) = z.split_at_mut(n * outputs);
        z_intercept.copy_from_slice(&x[width * outputs..]);
        x[..width * outputs].iter_mut().zip(&given).for_each(|(x, g)| *x -= g);
        let inverse: Vec<f64> = roots.iter().map(|r| 1.0 / r).collect();
        z_rows.copy_from_slice(rows);
        add_expanded(&basis.b, width, outputs, &x, &inverse, z_rows);
    }

    /// Replaces the coordinates `x`, `C` numbers for each direction, by `G_c^{-1} x_c`.
    fn solve_blocks(&self, space: &RowSpace, width: usize, x: &mut [f64]) {
        let outputs = space.outputs;
        let size = width + usize::from(space.intercept);
        let solved: Vec<Vec<f64>> = (0..outputs)
            .into_par_iter()
            .map(|output| {
                let mut own: Vec<f64> = x.iter().skip(output).step_by(outputs).take(size).copied().collect();
                self.blocks[output].solve_in_place(&mut own);
                own
            })
            .collect();
        for (output, solved) in solved.iter().enumerate() {
            x.iter_mut().skip(output).step_by(outputs).zip(solved).for_each(|(x, s)| *x = *s);
        }
    }
}

/// `out = L^T M` with output `c` scaled by `roots[c]`.
fn project(basis: &Basis, outputs: usize, rows: &[f64], roots: &[f64], out: &mut [f64]) {
    let (width, n) = (basis.width, rows.len() / outputs);
    let rows = narrowed(rows);
    let rows = MatRef::from_row_major_slice(&rows, n, outputs);
    let l = MatRef::from_row_major_slice(&basis.l, n, width);
    out[..width * outputs].par_chunks_mut(COLUMNS * outputs).enumerate().for_each(|(index, out)| {
        let count = out.len() / outputs;
        let columns = l.subcols(index * COLUMNS, count);
        let mut product = vec![0.0; out.len()];
        let target = MatMut::from_row_major_slice_mut(&mut product, count, outputs);
        matmul(target, Accum::Replace, columns.transpose(), rows, 1.0, Par::Seq);
        for (row, product) in out.chunks_exact_mut(outputs).zip(product.chunks_exact(outputs)) {
            row.iter_mut().zip(product).zip(roots).for_each(|((x, p), s)| *x = f64::from(*p) * s);
        }
    });
}

/// `out += B X` with output `c` of `X` scaled by `roots[c]`.
fn add_expanded(b: &[f32], width: usize, outputs: usize, x: &[f64], roots: &[f64], out: &mut [f64]) {
    let mut x = x[..width * outputs].to_vec();
    for row in x.chunks_exact_mut(outputs) {
        row.iter_mut().zip(roots).for_each(|(x, s)| *x *= s);
    }
    let x = narrowed(&x);
    let x = MatRef::from_row_major_slice(&x, width, outputs);
    out.par_chunks_mut(ROWS * outputs).zip(b.par_chunks(ROWS * width)).for_each(|(out, b)| {
        let count = b.len() / width;
        let b = MatRef::from_row_major_slice(b, count, width);
        let mut product = vec![0.0; out.len()];
        matmul(MatMut::from_row_major_slice_mut(&mut product, count, outputs), Accum::Replace, b, x, 1.0, Par::Seq);
        out.iter_mut().zip(product).for_each(|(o, p)| *o += f64::from(p));
    });
}

/// In single precision.
fn narrowed(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|x| *x as f32).collect()
}

//! An approximate leading eigenspace of the kernel, found by a randomised subspace iteration.
//!
//! It is that of `W K` with weights `W` of the rows, the traces of their second derivatives: rows that are fitted with
//! certainty have none and need no directions.

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::row_space::RowSpace;
use crate::sample::{Purpose, Rng};
use crate::stop::StopSignal;

/// Largest dimension. Twice as many save a few products where penalties are weak, and cost more than that in time and memory.
const LARGEST: usize = 128;
/// Rows for each dimension.
const ROWS_PER_DIMENSION: usize = 16;
/// Columns of one product with the kernel.
const BLOCK: usize = 32;
/// Rows of one task.
const ROWS: usize = 512;

/// `B` with `B^T K B = I` and `L = K B`, both `n x r` and row-major, for the kernel of one output without its factor. In single
/// precision: they only precondition, and are most of what is kept from one `lambda` to the next.
#[derive(Clone)]
pub(super) struct Basis {
    pub width: usize,
    pub b: Vec<f32>,
    pub l: Vec<f32>,
    /// The `S` it was made for.
    by_feature: Vec<f64>,
}

impl Basis {
    /// The basis for the kernel of `space` and `weights` of the rows, one step of the iteration from that of another
    /// kernel or two from random vectors; `None` when the kernel has not enough rank, or `stop` is raised.
    pub fn new(space: &RowSpace, before: Option<Basis>, weights: &[f64], stop: &StopSignal) -> Option<Basis> {
        let n = space.kernel.len();
        let width = (n / ROWS_PER_DIMENSION).clamp(16, LARGEST).min(n / 2).max(1);
        let weigh = |l: Vec<f32>| {
            let rows = l.chunks_exact(width).zip(weights);
            rows.flat_map(|(l, w)| l.iter().map(move |l| w * f64::from(*l))).collect()
        };
        match before {
            None => {
                let mut rng = Rng::stream(0, Purpose::Start, 77);
                let first = (0..n * width).map(|_| rng.normal()).collect();
                let Basis { l, .. } = Self::iterate(space, first, width, stop)?;
                Self::iterate(space, weigh(l), width, stop)
            }
            Some(mut before) => {
                // Where all strengths changed by one factor, so did the kernel.
                let factor = space.by_feature[0] / before.by_feature[0];
                let same = |(new, old): (&f64, &f64)| (new / old / factor - 1.0).abs() < 1e-12;
                if !space.by_feature.iter().zip(&before.by_feature).all(same) {
                    let Basis { l, .. } = before;
                    return Self::iterate(space, weigh(l), width, stop);
                }
                let root = factor.sqrt() as f32;
                before.b.iter_mut().for_each(|b| *b /= root);
                before.l.iter_mut().for_each(|l| *l *= root);
                before.by_feature.copy_from_slice(&space.by_feature);
                Some(before)
            }
        }
    }

    /// `Y = K Omega`, `Omega^T Y = C C^T`, `B = Omega C^{-T}`, `L = Y C^{-T}`.
    fn iterate(space: &RowSpace, omega: Vec<f64>, width: usize, stop: &StopSignal) -> Option<Basis> {
        let n = space.kernel.len();
        let mut y = vec![0.0; n * width];
        for first in (0..width).step_by(BLOCK) {
            if stop.is_raised() {
                return None;
            }
            let count = BLOCK.min(width - first);
            let block: Vec<f64> =
                omega.chunks_exact(width).flat_map(|row| &row[first..first + count]).copied().collect();
            let mut image = vec![0.0; n * count];
            space.kernel.kernel_product(&block, count, &space.by_feature, &mut image);
            for (y, image) in y.chunks_exact_mut(width).zip(image.chunks_exact(count)) {
                y[first..first + count].copy_from_slice(image);
            }
        }
        if stop.is_raised() {
            return None;
        }
        let mut core = inner_products(&omega, &y, width);
        let trace: f64 = (0..width).map(|j| core[(j, j)]).sum();
        (0..width).for_each(|j| core[(j, j)] += 1e-13 * trace);
        let factor = core.llt(Side::Lower).ok()?;
        let [b, l] = [omega, y].map(|mut matrix| {
            matrix.par_chunks_mut(ROWS * width).for_each(|block| {
                let rows = block.len() / width;
                let transposed = MatMut::from_column_major_slice_mut(block, width, rows);
                solve_lower_triangular_in_place(factor.L(), transposed, Par::Seq);
            });
            matrix.into_iter().map(|x| x as f32).collect()
        });
        Some(Basis { width, b, l, by_feature: space.by_feature.clone() })
    }
}

/// `X^T Y` of two `n x r` matrices, summed over blocks of rows in order; only the lower triangle counts.
fn inner_products(x: &[f64], y: &[f64], width: usize) -> Mat<f64> {
    let blocks = width.div_ceil(BLOCK);
    let parts: Vec<Mat<f64>> = (0..blocks)
        .into_par_iter()
        .map(|index| {
            let columns = index * BLOCK..((index + 1) * BLOCK).min(width);
            let n = x.len() / width;
            let x = MatRef::from_row_major_slice(x, n, width);
            let y = MatRef::from_row_major_slice(y, n, width).subcols(columns.start, columns.len());
            let mut part = Mat::zeros(width, columns.len());
            matmul(part.as_mut(), Accum::Replace, x.transpose(), y, 1.0, Par::Seq);
            part
        })
        .collect();
    Mat::from_fn(width, width, |i, j| parts[j / BLOCK][(i, j % BLOCK)])
}

//! A preconditioner for many outputs: the Hessian without its coupling of the outputs, from some of the rows.
//!
//! The Hessian of a softmax with `p` features and `C` classes is of size `p C`, and costs `n (p C)^2` to form. Its diagonal
//! blocks, one a class, cost `C m p^2` from `m` rows. With a few rows for each feature they show conjugate gradients the
//! directions in which the data are large and those that only the penalty holds, which the diagonal alone cannot.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatMut, Side};
use rayon::prelude::*;

use super::curvature::GlmCurvature;
use crate::data::RowPick;
use crate::lower::{Curvature, Factorization};
use crate::stop::StopSignal;
use crate::{Error, Result};

/// Rows for each feature.
const ROWS_PER_FEATURE: usize = 6;

/// Cholesky factors of one block for each output.
struct BlockDiagonal {
    blocks: Vec<Llt<f64>>,
    features: usize,
}

/// `H_cc = scale sum_i d_ic x_i x_i^T + diag(strengths)` for each output `c`, the intercept as last feature.
pub(super) fn block_diagonal(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Box<dyn Factorization>> {
    let risk = &curvature.glm.risk;
    let (p, outputs) = (risk.features(), risk.outputs());
    let size = p + usize::from(risk.intercept);
    let rows = risk.len().min(ROWS_PER_FEATURE * size);
    // A feature that is rare is not in some of the rows; its own curvature at least is known from all.
    let mut diagonal = vec![0.0; risk.parameters()];
    curvature.diagonal(&mut diagonal);
    let penalty = curvature.penalty_diagonal();
    let scale = risk.scale * risk.len() as f64 / rows as f64;
    let blocks = (0..outputs).into_par_iter().map(|output| {
        stop.check()?;
        let (mut gram, mut sums, mut total) = (vec![0.0; p * p], vec![0.0; p], 0.0);
        let mut position = 0;
        for range in risk.rows.ranges() {
            let span = range.start..range.end.min(range.start + rows - position);
            let mut d = vec![0.0; span.len() * outputs];
            let own = curvature.of_rows(position, span.len());
            risk.loss.curvature_diagonal(own, curvature.weighting().of(span.clone()), &mut d);
            let d: Vec<f64> = d.iter().skip(output).step_by(outputs).copied().collect();
            position += span.len();
            let pick = RowPick::Span(span);
            risk.design.add_block_gram(&pick, &d, &mut gram);
            risk.design.add_block_transpose(&pick, &d, 1, &mut sums);
            total += d.iter().sum::<f64>();
        }
        stop.check()?;
        let entry = |j: usize, k: usize| match (j == p, k == p) {
            (true, true) => total * scale + 1.0 / outputs as f64,
            (true, false) => sums[k] * scale,
            (false, true) => sums[j] * scale,
            _ if j == k => {
                let at = j * outputs + output;
                diagonal[at].max(gram[j * p + j] * scale + penalty[at])
            }
            _ => gram[j.max(k) * p + j.min(k)] * scale,
        };
        Mat::from_fn(size, size, entry)
            .llt(Side::Lower)
            .map_err(|_| Error::numeric("a block of the Hessian is not positive definite"))
    });
    Ok(Box::new(BlockDiagonal { blocks: blocks.collect::<Result<_>>()?, features: size }))
}

impl Factorization for BlockDiagonal {
    fn solve_in_place(&self, b: &mut [f64]) {
        let (outputs, size) = (self.blocks.len(), self.features);
        let solved: Vec<Vec<f64>> = self
            .blocks
            .par_iter()
            .enumerate()
            .map(|(output, block)| {
                let mut own: Vec<f64> = b.iter().skip(output).step_by(outputs).copied().collect();
                block.solve_in_place(MatMut::from_column_major_slice_mut(&mut own, size, 1));
                own
            })
            .collect();
        for (output, own) in solved.iter().enumerate() {
            b.iter_mut().skip(output).step_by(outputs).zip(own).for_each(|(b, x)| *b = *x);
        }
    }
}

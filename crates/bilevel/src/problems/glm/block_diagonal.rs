//! A preconditioner for many outputs: the Hessian without its coupling of the outputs, from some of the rows.
//!
//! The Hessian of a softmax with `p` features and `C` classes is of size `p C`, and costs `n (p C)^2` to form. Its diagonal
//! blocks, one a class, cost `C m p^2` from `m` rows. With a few rows for each feature they show conjugate gradients the
//! directions in which the data are large and those that only the penalty holds, which the diagonal alone cannot.

use rayon::prelude::*;

use super::curvature::GlmCurvature;
use crate::cholesky::{Cholesky, PackedCholesky};
use crate::data::RowPick;
use crate::lower::{Curvature, Factorization};
use crate::stop::StopSignal;
use crate::{Error, Result};

/// Rows for each feature.
const ROWS_PER_FEATURE: usize = 6;

/// Cholesky factors of one block for each output.
struct BlockDiagonal {
    blocks: Vec<PackedCholesky>,
}

/// One block after the other: together they would take many times the memory of their factors.
///
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
    let blocks = (0..outputs).map(|output| {
        stop.check()?;
        let mut block = Vec::with_capacity(size * size);
        block.resize(p * p, 0.0);
        let (mut sums, mut total) = (vec![0.0; p], 0.0);
        let mut position = 0;
        for range in risk.rows.ranges() {
            let span = range.start..range.end.min(range.start + rows - position);
            let mut d = vec![0.0; span.len() * outputs];
            let own = curvature.of_rows(position, span.len());
            risk.loss.curvature_diagonal(own, curvature.weighting().of(span.clone()), &mut d);
            let d: Vec<f64> = d.iter().skip(output).step_by(outputs).copied().collect();
            position += span.len();
            let pick = RowPick::Span(span);
            risk.design.add_block_gram(&pick, &d, &mut block);
            risk.design.add_block_transpose(&pick, &d, 1, &mut sums);
            total += d.iter().sum::<f64>();
        }
        stop.check()?;
        // Row after row, and each a little longer than in the Gram matrix: in its place, from the end.
        block.resize(size * size, 0.0);
        for j in (0..p).rev() {
            block.copy_within(j * p..j * p + j + 1, j * size);
        }
        for j in 0..p {
            let row = &mut block[j * size..][..=j];
            row.iter_mut().for_each(|x| *x *= scale);
            let at = j * outputs + output;
            row[j] = diagonal[at].max(row[j] + penalty[at]);
        }
        if risk.intercept {
            let row = &mut block[p * size..];
            row.iter_mut().zip(&sums).for_each(|(x, sum)| *x = sum * scale);
            row[p] = total * scale + 1.0 / outputs as f64;
        }
        // Column after column.
        for j in 0..size {
            (0..j).for_each(|k| block[k * size + j] = block[j * size + k]);
        }
        let factors = Cholesky::new(size, block);
        let factors = factors.ok_or_else(|| Error::numeric("a block of the Hessian is not positive definite"))?;
        Ok(factors.packed())
    });
    Ok(Box::new(BlockDiagonal { blocks: blocks.collect::<Result<_>>()? }))
}

impl Factorization for BlockDiagonal {
    fn solve_in_place(&self, b: &mut [f64]) {
        let outputs = self.blocks.len();
        let solved: Vec<Vec<f64>> = self
            .blocks
            .par_iter()
            .enumerate()
            .map(|(output, block)| {
                let mut own: Vec<f64> = b.iter().skip(output).step_by(outputs).copied().collect();
                block.solve_in_place(&mut own);
                own
            })
            .collect();
        for (output, own) in solved.iter().enumerate() {
            b.iter_mut().skip(output).step_by(outputs).zip(own).for_each(|(b, x)| *b = *x);
        }
    }
}

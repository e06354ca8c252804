//! A preconditioner for many outputs: the Hessian without its coupling of the outputs, from some of the rows.
//!
//! The Hessian of a softmax with `p` features and `C` classes is of size `p C`, and costs `n (p C)^2` to form. Its diagonal
//! blocks, one a class, cost `C m p^2` from `m` rows. With a few rows for each feature they show conjugate gradients the
//! directions in which the data are large and those that only the penalty holds, which the diagonal alone cannot.
//!
//! The blocks know nothing of what the outputs have in common: probabilities sum to 1, so that on `u` for all outputs alike the
//! rows have no curvature, `H (u, .., u) = (s_1 u, .., s_C u)` with the strengths `s` of the penalty alone. Conjugate gradients
//! would find a tiny eigenvalue for each feature there. As that part of `H` is known, it is inverted exactly, and the blocks
//! serve the rest: `M^-1 = Q B^-1 Q^T + 1 1^T / sum s`, `Q = I - 1 s^T / sum s`, for each feature.

use rayon::prelude::*;

use super::curvature::GlmCurvature;
use crate::cholesky::{Cholesky, PackedCholesky};
use crate::data::RowPick;
use crate::lower::{Curvature, Factorization};
use crate::stop::StopSignal;
use crate::{Error, Result};

/// Rows for each feature.
const ROWS_PER_FEATURE: usize = 6;

/// Rows whose second derivatives are looked at together.
const CHUNK: usize = 4096;

/// Cholesky factors of one block for each output, and what the penalty alone holds.
struct BlockDiagonal {
    blocks: Vec<PackedCholesky>,
    /// Strength `s_jc` of the penalty on each parameter.
    strengths: Vec<f64>,
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
    let blocks = (0..outputs).map(|output| {
        stop.check()?;
        let Picked { rows, weights } = Picked::new(curvature, output, rows);
        let mut block = Vec::with_capacity(size * size);
        block.resize(p * p, 0.0);
        let mut sums = vec![0.0; p];
        let pick = RowPick::List(&rows);
        risk.design.add_block_gram(&pick, &weights, &mut block);
        risk.design.add_block_transpose(&pick, &weights, 1, &mut sums);
        let total: f64 = weights.iter().sum();
        stop.check()?;
        // Row after row, and each a little longer than in the Gram matrix: in its place, from the end.
        block.resize(size * size, 0.0);
        for j in (0..p).rev() {
            block.copy_within(j * p..j * p + j + 1, j * size);
        }
        for j in 0..p {
            let row = &mut block[j * size..][..=j];
            row.iter_mut().for_each(|x| *x *= risk.scale);
            let at = j * outputs + output;
            row[j] = diagonal[at].max(row[j] + penalty[at]);
        }
        if risk.intercept {
            let row = &mut block[p * size..];
            row.iter_mut().zip(&sums).for_each(|(x, sum)| *x = sum * risk.scale);
            row[p] = total * risk.scale + 1.0 / outputs as f64;
        }
        // Column after column.
        for j in 0..size {
            (0..j).for_each(|k| block[k * size + j] = block[j * size + k]);
        }
        let factors = Cholesky::new(size, block);
        let factors = factors.ok_or_else(|| Error::numeric("a block of the Hessian is not positive definite"))?;
        Ok(factors.packed())
    });
    let blocks = blocks.collect::<Result<_>>()?;
    let mut strengths = penalty;
    // The gauge of the intercepts acts on what all have in common as a penalty of one on each would.
    strengths[p * outputs..].fill(1.0);
    Ok(Box::new(BlockDiagonal { blocks, strengths }))
}

/// Rows that stand for all in the block of one output.
struct Picked {
    rows: Vec<u32>,
    /// What they count: about as many rows each, in second derivatives.
    weights: Vec<f64>,
}

impl Picked {
    /// At most `count` rows, each drawn with a probability in proportion to its second derivative `d_ic`: where most rows are
    /// fitted with certainty, a few make up the Hessian. Systematic sampling over the rows in their order; all rows as they
    /// are where there are no more.
    fn new(curvature: &GlmCurvature<'_, '_>, output: usize, count: usize) -> Self {
        let risk = &curvature.glm.risk;
        let mut own = Vec::with_capacity(risk.len());
        for range in risk.rows.ranges() {
            for first in range.clone().step_by(CHUNK) {
                let span = first..range.end.min(first + CHUNK);
                let mut d = vec![0.0; span.len() * risk.outputs()];
                let rows = curvature.of_rows(own.len(), span.len());
                risk.loss.curvature_diagonal(rows, curvature.weighting().of(span), &mut d);
                own.extend(d.iter().skip(output).step_by(risk.outputs()));
            }
        }
        let all = risk.rows.ranges().iter().cloned().flatten();
        if count >= own.len() {
            return Picked { rows: all.map(|row| row as u32).collect(), weights: own };
        }
        let each = own.iter().sum::<f64>() / count as f64;
        let mut picked = Picked { rows: Vec::with_capacity(count), weights: Vec::with_capacity(count) };
        let (mut passed, mut drawn) = (0.0, 0.0);
        for (row, d) in all.zip(own) {
            passed += d;
            let until = (passed / each + 0.5).floor();
            if until > drawn {
                picked.rows.push(row as u32);
                picked.weights.push((until - drawn) * each);
                drawn = until;
            }
        }
        picked
    }
}

impl Factorization for BlockDiagonal {
    /// `b = M^-1 b`.
    fn solve_in_place(&self, b: &mut [f64]) {
        let outputs = self.blocks.len();
        let shares: Vec<f64> = b
            .chunks_exact_mut(outputs)
            .zip(self.strengths.chunks_exact(outputs))
            .map(|(b, s)| {
                let share = b.iter().sum::<f64>() / s.iter().sum::<f64>();
                b.iter_mut().zip(s).for_each(|(b, s)| *b -= share * s);
                share
            })
            .collect();
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
        for ((b, s), share) in b.chunks_exact_mut(outputs).zip(self.strengths.chunks_exact(outputs)).zip(shares) {
            let common = crate::vector::dot(s, b) / s.iter().sum::<f64>();
            b.iter_mut().for_each(|b| *b += share - common);
        }
    }
}

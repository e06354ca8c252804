//! The Hessian of a generalised linear model at one point: second derivatives of every row, computed once.

use super::block_diagonal::block_diagonal;
use super::direct;
use super::problem::Glm;
use super::weighting::Weighting;
use crate::data::passes::SharedSlots;
use crate::lower::{Curvature, Factorization};
use crate::problems::scaled::Whitening;
use crate::stop::StopSignal;

/// Largest matrix that is factorised.
const LARGEST_DIRECT: usize = 6_000;
/// Entries up to which rows are written out for a factorisation in their space: 1 GiB.
const LARGEST_ROWS: usize = 1 << 27;

/// Largest block of one output that is factorised.
const LARGEST_BLOCK: usize = 2_000;

/// How much slower per operation a product is than a factorisation (measured: memory against arithmetic).
const PRODUCT_SLOWNESS: f64 = 4.0;

/// `H = X^T D X * scale + diag(strengths)`.
#[derive(Debug)]
pub struct GlmCurvature<'p, 'a> {
    pub(super) glm: &'p Glm<'a>,
    rows: RowCurvature,
    pub(super) strengths: Vec<f64>,
    /// What the rows of the matrix count, where that depends on `lambda`.
    counts: Option<Vec<f64>>,
}

/// Second derivatives of the rows.
#[derive(Debug)]
enum RowCurvature {
    /// All are 1, as those of the squared loss: as many of them as are asked for at a time.
    Ones(Vec<f64>),
    /// What [`super::Loss::curvature`] leaves for each row, in the order of the rows.
    Each(Vec<f64>),
}

impl<'p, 'a> GlmCurvature<'p, 'a> {
    /// Second derivatives at `w`.
    pub fn new(glm: &'p Glm<'a>, w: &[f64], lambda: &[f64]) -> Self {
        let risk = &glm.risk;
        let outputs = risk.outputs();
        let (strengths, counts) = (glm.strengths(lambda), glm.learned_counts(lambda));
        if let super::Loss::Squared = risk.loss {
            return GlmCurvature {
                glm,
                rows: RowCurvature::Ones(vec![1.0; risk.pass.longest_chunk()]),
                strengths,
                counts,
            };
        }
        let mut rows = vec![0.0; risk.len() * outputs];
        let slots = SharedSlots::new(&mut rows, outputs);
        let (weights, intercept) = risk.split(w);
        risk.pass.margins(weights, &intercept, |span, position, margins| {
            risk.loss.curvature(margins, &risk.target[span.clone()]);
            slots.at(position, span.len()).copy_from_slice(margins);
            0.0
        });
        GlmCurvature { glm, rows: RowCurvature::Each(rows), strengths, counts }
    }

    /// What [`super::Loss::curvature`] leaves for `count` rows, `C` numbers each, the first of them at `position` among the
    /// rows; no more of them than a chunk of a pass has.
    pub(super) fn of_rows(&self, position: usize, count: usize) -> &[f64] {
        let outputs = self.glm.risk.outputs();
        match &self.rows {
            RowCurvature::Ones(ones) => &ones[..count],
            RowCurvature::Each(rows) => &rows[position * outputs..(position + count) * outputs],
        }
    }

    /// What the rows of the matrix count here.
    pub(super) fn weighting(&self) -> Weighting<'_> {
        self.counts.as_deref().map_or(self.glm.risk.weighting, Weighting::Rows)
    }

    /// True where the second derivatives are the same at every point and every `lambda`, the penalty apart.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.glm.risk.loss, super::Loss::Squared) && self.counts.is_none()
    }

    /// The units in which this Hessian is the identity: of some of the rows, it preconditions the gradient
    /// steps on all of them. `n d^2 / 2 + d^3 / 3` multiplications.
    ///
    /// # Errors
    /// Numeric, when the matrix is not positive definite; interrupted, once `stop` is raised.
    pub fn whitening(&self, stop: &StopSignal) -> crate::Result<Whitening> {
        direct::whitening(self, stop)
    }

    /// Strength of the penalty on each parameter (0 for intercepts).
    pub(super) fn penalty_diagonal(&self) -> Vec<f64> {
        let mut diagonal = vec![0.0; self.glm.risk.parameters()];
        let outputs = self.glm.risk.outputs();
        self.glm.penalty.for_each_weight(self.glm.weights(), outputs, |i, h| diagonal[i] = self.strengths[h]);
        diagonal
    }
}

impl Curvature for GlmCurvature<'_, '_> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        let risk = &self.glm.risk;
        risk.full_pass(v, out, |rows, position, margins| {
            let curvature = self.of_rows(position, rows.len());
            risk.loss.curvature_product(curvature, self.weighting().of(rows), margins);
            0.0
        });
        self.glm.add_quadratic_product(1.0, &self.strengths, v, out);
    }

    fn diagonal(&self, out: &mut [f64]) {
        let risk = &self.glm.risk;
        let outputs = risk.outputs();
        let mut sums = vec![0.0; (risk.features() + 1) * outputs];
        risk.pass.accumulate(
            4,
            |rows, position, partial| {
                let mut d = vec![0.0; rows.len() * outputs];
                let curvature = self.of_rows(position, rows.len());
                risk.loss.curvature_diagonal(curvature, self.weighting().of(rows.clone()), &mut d);
                let (weights, intercept) = partial.split_at_mut(risk.features() * outputs);
                let pick = crate::data::RowPick::Span(rows);
                risk.design.add_block_squared_transpose(&pick, &d, outputs, weights);
                for d in d.chunks_exact(outputs) {
                    intercept.iter_mut().zip(d).for_each(|(o, d)| *o += d);
                }
            },
            &mut sums,
        );
        let penalty = self.penalty_diagonal();
        for ((out, sum), penalty) in out.iter_mut().zip(sums).zip(penalty) {
            *out = sum * risk.scale + penalty;
        }
        if outputs > 1 && risk.intercept {
            out[self.glm.weights()..].iter_mut().for_each(|o| *o += 1.0 / outputs as f64);
        }
        // A row-free intercept (all residuals beyond Huber's delta) has no curvature of its own.
        out.iter_mut().for_each(|o| *o = o.max(1e-12));
    }

    fn factorize(&self, stop: &StopSignal) -> Option<crate::Result<Box<dyn Factorization>>> {
        let risk = &self.glm.risk;
        let entries = risk.len().saturating_mul(risk.features());
        let few_rows = risk.len() < risk.features() && risk.len() <= LARGEST_DIRECT && entries <= LARGEST_ROWS;
        if risk.outputs() == 1 && few_rows {
            return Some(direct::by_rows(self, stop));
        }
        (risk.parameters() <= LARGEST_DIRECT).then(|| direct::by_parameters(self, stop))
    }

    fn preconditioner(&self, stop: &StopSignal) -> Option<crate::Result<Box<dyn Factorization>>> {
        let risk = &self.glm.risk;
        let blocks = risk.outputs() > 1 && risk.features() <= LARGEST_BLOCK && risk.len() >= risk.features();
        (blocks && risk.parameters() > LARGEST_DIRECT).then(|| block_diagonal(self, stop))
    }

    fn factorization_cost(&self) -> f64 {
        let risk = &self.glm.risk;
        if self.is_constant() {
            // The Gram matrix does not change and is kept.
            return 0.0;
        }
        let (n, p, d) = (risk.len() as f64, risk.features() as f64, risk.parameters() as f64);
        let (stored, c) = (risk.stored_per_row(), risk.outputs() as f64);
        let direct = if c == 1.0 && n < p { n * n * p / 2.0 } else { n * (stored * c).powi(2) / 2.0 + d.powi(3) / 3.0 };
        // A product streams the data twice at a fraction of the arithmetic speed of a factorisation.
        direct / (4.0 * PRODUCT_SLOWNESS * n * stored * c)
    }
}

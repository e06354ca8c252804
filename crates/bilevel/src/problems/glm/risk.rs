//! The mean loss over rows: the data part of the lower level, and all of the upper level.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::loss::Loss;
use super::weighting::{Counts, Weighting};
use crate::data::sampled::Arithmetic;
use crate::data::{DesignMatrix, Pass, RowRanges};
use crate::lower::Dims;
use crate::sample::{Rng, Sample, Sampling};
use crate::upper::UpperObjective;

/// `sum_i c_i loss(x_i^T W + b, y_i) / sum_i c_i` over some rows of a matrix.
#[derive(Debug, Clone)]
pub struct EmpiricalRisk<'a> {
    pub(super) design: &'a DesignMatrix,
    pub(super) target: &'a [f64],
    pub(super) rows: RowRanges,
    pub(super) pass: Pass<'a>,
    pub(super) loss: Loss,
    pub(super) intercept: bool,
    pub(super) weighting: Weighting<'a>,
    pub(super) sampling: Sampling,
    /// `1 / sum_i c_i`.
    pub(super) scale: f64,
    /// Gram matrix of the squared loss, shared by clones.
    pub(super) gram: Arc<OnceLock<Arc<super::direct::Sums>>>,
    /// Number of hyperparameters of the problem this is the upper level of; it depends on none of them.
    pub(super) hyperparameters: usize,
}

impl<'a> EmpiricalRisk<'a> {
    /// The mean of `loss` over `rows` of `design`; `target` holds a number for every row of `design`.
    ///
    /// # Panics
    /// When the target does not fit the matrix, or there are no rows.
    pub fn new(design: &'a DesignMatrix, target: &'a [f64], rows: RowRanges, loss: Loss, intercept: bool) -> Self {
        assert_eq!(design.rows(), target.len(), "one target per row");
        assert!(!rows.is_empty(), "a mean needs rows");
        let pass = Pass::new(design, &rows);
        let scale = 1.0 / rows.len() as f64;
        EmpiricalRisk {
            design,
            target,
            rows,
            pass,
            loss,
            intercept,
            weighting: Weighting::Uniform,
            sampling: Sampling::default(),
            scale,
            gram: Arc::default(),
            hyperparameters: 0,
        }
    }

    /// The same mean with weights `c_i`, one for every row of the matrix.
    #[must_use]
    pub fn weighted(mut self, weighting: Weighting<'a>) -> Self {
        let total: f64 = match weighting {
            Weighting::Uniform => self.rows.len() as f64,
            Weighting::Rows(c) => self.rows.ranges().iter().flat_map(|r| &c[r.clone()]).sum(),
        };
        self.weighting = weighting;
        self.gram = Arc::default();
        self.scale = 1.0 / total;
        self
    }

    /// For each row its position among the rows of `other`, a mean over rows of the same matrix.
    pub fn positions_among(&self, other: &EmpiricalRisk<'_>) -> Vec<Option<usize>> {
        let mut position = vec![None; self.design.rows()];
        if std::ptr::eq(self.design, other.design) {
            other.rows.ranges().iter().cloned().flatten().enumerate().for_each(|(i, row)| position[row] = Some(i));
        }
        self.rows.ranges().iter().cloned().flatten().map(|row| position[row]).collect()
    }

    /// The same mean as the upper level of a problem with `hyperparameters` hyperparameters.
    #[must_use]
    pub fn as_upper(mut self, hyperparameters: usize) -> Self {
        self.hyperparameters = hyperparameters;
        self
    }

    /// The same mean over some of its rows, given by their positions among them.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn restricted(&self, positions: Range<usize>) -> Self {
        self.over(self.rows.at_positions(positions))
    }

    /// The same mean over the rows at several ranges of positions among its rows.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn at_positions(&self, positions: &RowRanges) -> Self {
        let parts = positions.ranges().iter().map(|part| self.rows.at_positions(part.clone()));
        self.over(RowRanges::new(parts.flat_map(|part| part.ranges().to_vec())))
    }

    /// The same mean without some of its rows, given by their positions among them.
    ///
    /// # Panics
    /// When none are left.
    #[must_use]
    pub fn without(&self, positions: Range<usize>) -> Self {
        self.over(self.rows.without_positions(positions))
    }

    fn over(&self, rows: RowRanges) -> Self {
        EmpiricalRisk::new(self.design, self.target, rows, self.loss, self.intercept)
            .weighted(self.weighting)
            .sampled_by(self.sampling)
            .as_upper(self.hyperparameters)
    }

    /// The same with a loss whose curvature does not depend on the margin and is nowhere smaller; itself where there is
    /// no such loss. Losses with linear pieces have no curvature there, which says nothing of the next step.
    #[must_use]
    pub fn majorant(&self) -> Self {
        let loss = match self.loss {
            Loss::Huber { .. } | Loss::SquaredHinge => Loss::Squared,
            other => other,
        };
        EmpiricalRisk { loss, ..self.clone() }
    }

    /// Number of features `p`.
    pub fn features(&self) -> usize {
        self.design.cols()
    }

    /// True where only the nonzero entries of the matrix are stored.
    pub fn is_sparse(&self) -> bool {
        self.design.is_sparse()
    }

    /// Number of outputs `C`.
    pub fn outputs(&self) -> usize {
        self.loss.outputs()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without rows (never).
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of parameters: `p C`, and `C` more with intercepts.
    pub fn parameters(&self) -> usize {
        (self.features() + usize::from(self.intercept)) * self.outputs()
    }

    /// Stored entries in a row, on average.
    pub fn stored_per_row(&self) -> f64 {
        self.design.stored() as f64 / self.design.rows().max(1) as f64
    }

    /// Zero weights and the intercepts that are best with them (zeros without intercepts).
    pub fn null_parameters(&self) -> Vec<f64> {
        let outputs = self.outputs();
        let weights = self.features() * outputs;
        let mut w = vec![0.0; self.parameters()];
        if !self.intercept {
            return w;
        }
        let mut shares = vec![0.0; outputs.max(2)];
        let mut sum = 0.0;
        for range in self.rows.ranges() {
            let rows = &self.target[range.clone()];
            let c = self.weighting.of(range.clone());
            for (i, y) in rows.iter().enumerate() {
                let c = c.map_or(1.0, |c| c[i]) * self.scale;
                sum += c * y;
                if let Loss::Softmax { .. } = self.loss {
                    shares[*y as usize] += c;
                }
            }
        }
        match self.loss {
            Loss::Softmax { .. } => {
                let logs: Vec<f64> = shares.iter().map(|s| s.max(1e-12).ln()).collect();
                let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                w[weights..].iter_mut().zip(logs).for_each(|(b, log)| *b = log - mean);
            }
            Loss::Logistic => w[weights] = (sum.clamp(1e-12, 1.0 - 1e-12) / (1.0 - sum).clamp(1e-12, 1.0)).ln(),
            Loss::Poisson => w[weights] = sum.max(1e-12).ln(),
            Loss::Squared => w[weights] = sum,
            Loss::Huber { delta } => w[weights] = self.huber_location(delta),
            Loss::SquaredHinge => w[weights] = 2.0 * sum - 1.0,
        }
        w
    }

    /// What turns the inverse Hessian of the summed loss into a variance: 1 for likelihoods, the residual variance (about
    /// twice the mean loss) for the losses of regression.
    pub fn variance_scale(&self, w: &[f64]) -> f64 {
        match self.loss {
            Loss::Squared | Loss::Huber { .. } | Loss::SquaredHinge => 2.0 * self.full_value(w),
            Loss::Logistic | Loss::Softmax { .. } | Loss::Poisson => 1.0,
        }
    }

    /// The parameters as weights and intercepts (zeros without).
    pub(super) fn split<'w>(&self, w: &'w [f64]) -> (&'w [f64], std::borrow::Cow<'w, [f64]>) {
        let (weights, intercept) = w.split_at(self.features() * self.outputs());
        let intercept = if self.intercept { intercept.into() } else { vec![0.0; self.outputs()].into() };
        (weights, intercept)
    }

    /// The mean over all rows.
    pub fn full_value(&self, w: &[f64]) -> f64 {
        self.counted_value(self.weighting.into(), w)
    }

    /// The same with other weights of the rows in the sum; what it is divided by stays.
    pub(super) fn counted_value(&self, counts: Counts<'_>, w: &[f64]) -> f64 {
        let (weights, intercept) = self.split(w);
        let sum = self.pass.margins(weights, &intercept, |rows, _, margins| {
            self.loss.value(margins, &self.target[rows.clone()], counts.of(rows).as_deref())
        });
        sum * self.scale
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Margins (`C` a row) and targets of every row, in the order of the rows.
    pub fn margins_and_targets(&self, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
        (self.margins(w), self.targets().into_owned())
    }

    /// Margins (`C` a row) of every row, in the order of the rows.
    pub fn margins(&self, w: &[f64]) -> Vec<f64> {
        let (weights, intercept) = self.split(w);
        self.pass.all_margins(weights, &intercept)
    }

    /// The same in the memory of `all`, which is overwritten.
    pub(crate) fn margins_in(&self, all: &mut Vec<f64>, w: &[f64]) {
        let (weights, intercept) = self.split(w);
        self.pass.all_margins_in(all, weights, &intercept);
    }

    /// `out += X^T A`, `A` of `C` numbers for each row that is fitted.
    pub(crate) fn add_row_combinations(&self, a: &[f64], out: &mut [f64]) {
        self.pass.add_transpose(a, self.outputs(), out);
    }

    /// Target of every row, in the order of the rows; where they are, if they follow one another.
    pub fn targets(&self) -> Cow<'a, [f64]> {
        match self.rows.ranges() {
            [range] => Cow::Borrowed(&self.target[range.clone()]),
            ranges => ranges.iter().flat_map(|range| &self.target[range.clone()]).copied().collect(),
        }
    }

    /// `|x_i|^2` of every row, with the 1 of the intercept where there is one, in the order of the rows.
    pub fn row_norms_squared(&self) -> Vec<f64> {
        let intercept = f64::from(u8::from(self.intercept));
        let rows = self.rows.ranges().iter().flat_map(Clone::clone);
        rows.map(|i| self.design.row_norm_squared(i) + intercept).collect()
    }

    /// `sum_i c_i`: the number of rows where all count the same.
    pub fn total_weight(&self) -> f64 {
        self.rows.ranges().iter().map(|r| self.weighting.of(r.clone()).map_or(r.len() as f64, |c| c.iter().sum())).sum()
    }

    /// `c_i` of every row, in the order of the rows; nothing where all count the same.
    pub fn row_weights(&self) -> Option<Vec<f64>> {
        let Weighting::Rows(c) = self.weighting else { return None };
        Some(self.rows.ranges().iter().flat_map(|range| &c[range.clone()]).copied().collect())
    }

    /// `c_i n / sum_i c_i` of every row: what it counts, relative to the mean row.
    pub fn relative_weights(&self) -> Vec<f64> {
        let factor = self.scale * self.len() as f64;
        let of = |range: &Range<usize>| match self.weighting.of(range.clone()) {
            None => vec![1.0; range.len()],
            Some(c) => c.iter().map(|c| c * factor).collect(),
        };
        self.rows.ranges().iter().flat_map(of).collect()
    }

    /// `out = (1/n) sum_i factor_i x_i x_i^T v` for each output, `x_i` with the 1 of the intercept where there is one.
    pub fn gram_product(&self, factors: &[f64], v: &[f64], out: &mut [f64]) {
        let (outputs, n) = (self.outputs(), self.len() as f64);
        self.full_pass(v, out, |rows, position, margins| {
            self.loss.weigh(Some(&factors[position..position + rows.len()]), margins);
            debug_assert_eq!(margins.len(), rows.len() * outputs);
            0.0
        });
        let unscale = 1.0 / (self.scale * n);
        out.iter_mut().for_each(|o| *o *= unscale);
    }

    /// The loss of every row, in the order of the rows, without weights.
    pub fn row_values(&self, w: &[f64]) -> Vec<f64> {
        let outputs = self.outputs();
        let mut values = vec![0.0; self.len()];
        let (weights, intercept) = self.split(w);
        let slots = crate::data::passes::SharedSlots::new(&mut values, 1);
        self.pass.margins(weights, &intercept, |rows, position, margins| {
            let out = slots.at(position, rows.len());
            for ((margins, y), out) in margins.chunks_exact_mut(outputs).zip(&self.target[rows]).zip(out) {
                *out = self.loss.value(margins, &[*y], None);
            }
            0.0
        });
        values
    }

    /// `out = scale * sum_i c_i x_i (transform of the margins)`, overwritten; returns the scaled sum of `transform`.
    pub(super) fn full_pass(
        &self,
        w: &[f64],
        out: &mut [f64],
        transform: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
    ) -> f64 {
        let (weights, intercept) = self.split(w);
        out.fill(0.0);
        let mut ignored = vec![0.0; self.outputs()];
        let (out_weights, out_intercept) = out.split_at_mut(weights.len());
        let out_intercept = if self.intercept { out_intercept } else { &mut ignored[..] };
        let sum = self.pass.margins_and_transpose(weights, &intercept, transform, out_weights, out_intercept);
        out.iter_mut().for_each(|o| *o *= self.scale);
        sum * self.scale
    }

    /// The same mean with its samples drawn in another way than by blocks.
    #[must_use]
    pub fn sampled_by(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// `out = grad` of the mean over the sample; returns the mean.
    pub fn gradient(&self, w: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        self.counted_gradient(self.weighting.into(), w, zeta, out)
    }

    /// The same with other weights of the rows in the sum; what it is divided by stays.
    pub(super) fn counted_gradient(&self, counts: Counts<'_>, w: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        match zeta {
            Sample::Full => self.full_pass(w, out, |rows, _, margins| {
                self.loss.gradient(margins, &self.target[rows.clone()], counts.of(rows).as_deref())
            }),
            _ => {
                out.fill(0.0);
                self.sampled_pass(Arithmetic::Double, counts, [w], zeta, [out], |rows, [margins]| {
                    self.loss.gradient(margins, rows.y, rows.c)
                })
            }
        }
    }
}

impl UpperObjective for EmpiricalRisk<'_> {
    fn dims(&self) -> Dims {
        Dims { w: self.parameters(), lambda: self.hyperparameters }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.draw_rows(batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        self.sample_size(xi)
    }

    fn value(&self, w: &[f64], _lambda: &[f64], xi: &Sample) -> f64 {
        match xi {
            Sample::Full => self.full_value(w),
            _ => self.gradient(w, xi, &mut vec![0.0; w.len()]),
        }
    }

    fn gradients(&self, w: &[f64], _lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        grad_lambda.fill(0.0);
        self.gradient(w, xi, grad_w)
    }

    fn gradients_only(&self, w: &[f64], _lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) {
        grad_lambda.fill(0.0);
        if *xi == Sample::Full {
            self.full_pass(w, grad_w, |rows, _, margins| {
                let counts = Counts::from(self.weighting);
                self.loss.derivative(margins, &self.target[rows.clone()], counts.of(rows).as_deref());
                0.0
            });
            return;
        }
        grad_w.fill(0.0);
        self.derivative(self.weighting.into(), w, xi, grad_w);
    }

    fn gradients_change(
        &self,
        w: [&[f64]; 2],
        _lambda: [&[f64]; 2],
        xi: &Sample,
        grad_w: &mut [f64],
        grad_lambda: &mut [f64],
    ) {
        grad_lambda.fill(0.0);
        self.change_of_gradients(w, xi, grad_w);
    }
}

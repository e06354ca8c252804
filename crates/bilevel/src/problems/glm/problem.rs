//! The lower level: mean loss plus penalty.

use std::borrow::Cow;

use super::curvature::GlmCurvature;
use super::penalty::Penalty;
use super::risk::EmpiricalRisk;
use super::weighting::{Counts, Reweighting};
use crate::data::KernelRows;
use crate::data::sampled::Arithmetic;
use crate::lower::{CrossJvp, Curvature, Curved, Dims, FirstOrder, StochasticLoss, difference_of_directions};
use crate::sample::{Rng, Sample};

/// `g(w, lambda) = risk(w) + 1/2 sum exp(lambda_h) W^2`.
///
/// With hyperparameters of the rows ([`Glm::reweighted`]) the risk is `sum_i c_i s(lambda_i) loss_i / sum_i c_i`. Data
/// cleaning is that with the penalty held ([`Glm::holding`]) and the loss of rows that are known to be right above it.
///
/// The intercepts of a softmax are only determined up to a common constant, so `(sum_c b_c)^2 / (2 C)` is added: it is
/// zero at the minimum, changes nothing else, and makes `g` strongly convex.
#[derive(Debug, Clone)]
pub struct Glm<'a> {
    pub(super) risk: EmpiricalRisk<'a>,
    pub(super) penalty: Penalty,
    /// The hyperparameters of the penalty, where they are none of the problem.
    held: Option<Vec<f64>>,
    reweighting: Reweighting,
}

impl<'a> Glm<'a> {
    /// Joins a mean loss and a penalty.
    ///
    /// # Panics
    /// When the penalty is for another number of features or outputs.
    pub fn new(risk: EmpiricalRisk<'a>, penalty: Penalty) -> Self {
        match &penalty {
            Penalty::Shared => {}
            Penalty::PerGroup { of_feature, .. } => {
                assert_eq!(of_feature.len(), risk.features(), "a group per feature")
            }
            Penalty::PerClass { outputs } => assert_eq!(*outputs, risk.outputs(), "a penalty per output"),
            Penalty::PerFeature { features } => assert_eq!(*features, risk.features(), "a penalty per feature"),
        }
        Glm { risk, penalty, held: None, reweighting: Reweighting::Fixed }
    }

    /// The same with the penalty held at these hyperparameters, which `lambda` does not hold any more: the penalty
    /// `1/2 sum exp(held_h) W^2`, whatever `lambda`.
    ///
    /// # Panics
    /// When the penalty has another number of hyperparameters.
    #[must_use]
    pub fn holding(mut self, held: Vec<f64>) -> Self {
        assert_eq!(held.len(), self.penalty.hyperparameters(), "a number for each hyperparameter of the penalty");
        self.held = Some(held);
        self
    }

    /// The same with hyperparameters for the weights of the rows, which come after those of the penalty in `lambda`.
    #[must_use]
    pub fn reweighted(mut self, reweighting: Reweighting) -> Self {
        self.reweighting = reweighting;
        self
    }

    /// How the weights of the rows depend on `lambda`.
    pub fn reweighting(&self) -> Reweighting {
        self.reweighting
    }

    /// Number of hyperparameters that belong to the penalty; they are the first ones.
    pub fn penalty_hyperparameters(&self) -> usize {
        self.held.as_ref().map_or(self.penalty.hyperparameters(), |_| 0)
    }

    /// The hyperparameters of the penalty.
    pub(super) fn penalty_lambda<'l>(&'l self, lambda: &'l [f64]) -> &'l [f64] {
        match &self.held {
            Some(held) => held,
            None => &lambda[..self.penalty.hyperparameters()],
        }
    }

    /// `exp` of each hyperparameter of the penalty.
    pub fn strengths(&self, lambda: &[f64]) -> Vec<f64> {
        Penalty::strengths(self.penalty_lambda(lambda))
    }

    /// What the rows count.
    pub(super) fn counts<'l>(&'l self, lambda: &'l [f64]) -> Counts<'l> {
        Counts::new(self.risk.weighting, self.reweighting, &lambda[self.penalty_hyperparameters()..])
    }

    /// The same for all rows of the matrix, where it depends on `lambda`.
    pub(super) fn learned_counts(&self, lambda: &[f64]) -> Option<Vec<f64>> {
        match self.reweighting {
            Reweighting::Fixed => None,
            Reweighting::Sigmoid => self.counts(lambda).of(0..self.risk.design.rows()).map(Cow::into_owned),
        }
    }

    pub(super) fn is_reweighted(&self) -> bool {
        self.reweighting != Reweighting::Fixed
    }

    /// The mean loss.
    pub fn risk(&self) -> &EmpiricalRisk<'a> {
        &self.risk
    }

    /// The penalty.
    pub fn penalty(&self) -> &Penalty {
        &self.penalty
    }

    /// The rows of the mean loss for products with their kernel; `None` where they are stored densely, or have
    /// hyperparameters of their own, which solvers in the space of the rows know nothing of.
    pub(crate) fn kernel_rows(&self) -> Option<KernelRows> {
        if self.is_reweighted() || self.held.is_some() {
            return None;
        }
        KernelRows::new(self.risk.design, &self.risk.rows)
    }

    pub(super) fn weights(&self) -> usize {
        self.risk.features() * self.risk.outputs()
    }

    /// `out` = penalty and softmax gauge, both quadratic, times `v`.
    pub(super) fn quadratic_product(&self, strengths: &[f64], v: &[f64], out: &mut [f64]) {
        let (weights, intercept) = v.split_at(self.weights());
        let (out_weights, out_intercept) = out.split_at_mut(self.weights());
        self.penalty.product(strengths, weights, self.risk.outputs(), out_weights);
        out_intercept.fill(self.gauge(intercept));
    }

    /// Adds `factor` times the same to `out`.
    pub(super) fn add_quadratic_product(&self, factor: f64, strengths: &[f64], v: &[f64], out: &mut [f64]) {
        let (weights, intercept) = v.split_at(self.weights());
        let (out_weights, out_intercept) = out.split_at_mut(self.weights());
        self.penalty.add_product(factor, strengths, weights, self.risk.outputs(), out_weights);
        let gauge = self.gauge(intercept);
        out_intercept.iter_mut().for_each(|o| *o += factor * gauge);
    }

    /// The gradient of the softmax gauge, for each intercept the same.
    fn gauge(&self, intercept: &[f64]) -> f64 {
        match self.risk.outputs() {
            1 => 0.0,
            outputs => intercept.iter().sum::<f64>() / outputs as f64,
        }
    }

    /// `out` = the Hessian of what depends on no row, times `v`; it is the gradient at `v` too.
    pub(super) fn penalty_product(&self, lambda: &[f64], v: &[f64], out: &mut [f64]) {
        Penalty::with_strengths(self.penalty_lambda(lambda), |strengths| self.quadratic_product(strengths, v, out));
    }

    /// Adds `factor` times the same to `out`.
    pub(super) fn add_penalty_product(&self, factor: f64, lambda: &[f64], v: &[f64], out: &mut [f64]) {
        Penalty::with_strengths(self.penalty_lambda(lambda), |strengths| {
            self.add_quadratic_product(factor, strengths, v, out);
        });
    }

    /// The penalty's part of the cross product; what belongs to the rows becomes zero.
    pub(super) fn penalty_cross_product(&self, strengths: &[f64], w: &[f64], v: &[f64], out: &mut [f64]) {
        let (own, of_rows) = out.split_at_mut(self.penalty_hyperparameters());
        self.own_cross_product(strengths, w, v, own);
        of_rows.fill(0.0);
    }

    /// The same without what belongs to the rows.
    pub(super) fn own_cross_product(&self, strengths: &[f64], w: &[f64], v: &[f64], out: &mut [f64]) {
        let weights = self.weights();
        if self.held.is_none() {
            self.penalty.cross_product(strengths, &w[..weights], &v[..weights], self.risk.outputs(), out);
        }
    }

    fn quadratic_value(&self, strengths: &[f64], w: &[f64]) -> f64 {
        let (weights, intercept) = w.split_at(self.weights());
        let outputs = self.risk.outputs();
        let mut value = self.penalty.value(strengths, weights, outputs);
        if outputs > 1 {
            let sum: f64 = intercept.iter().sum();
            value += 0.5 * sum * sum / outputs as f64;
        }
        value
    }

    /// `out = d/dlambda (grad_w g) delta`, in R^d: where the minimum would move, before `-H^{-1}` is applied.
    pub fn tangent(&self, w: &[f64], lambda: &[f64], delta: &[f64], out: &mut [f64]) {
        self.cross_jvp(w, lambda, &Sample::Full, delta, out);
    }
}

impl CrossJvp for Glm<'_> {
    fn cross_jvp(&self, w: &[f64], lambda: &[f64], zeta: &Sample, delta: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let weights = self.weights();
        if self.held.is_none() {
            let strengths = self.strengths(lambda);
            self.penalty.tangent(&strengths, &w[..weights], delta, self.risk.outputs(), &mut out[..weights]);
        }
        if self.is_reweighted() {
            self.add_row_tangent(w, lambda, zeta, delta, out);
        }
    }
}

impl StochasticLoss for Glm<'_> {
    fn dims(&self) -> Dims {
        let of_rows = self.reweighting.hyperparameters(self.risk.design.rows());
        Dims { w: self.risk.parameters(), lambda: self.penalty_hyperparameters() + of_rows }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.risk.draw_rows(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.risk.sample_size(zeta)
    }

    /// None where only the penalty depends on `lambda`.
    fn cross_size(&self, zeta: &Sample) -> usize {
        if self.is_reweighted() { self.size(zeta) } else { 0 }
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        let counts = self.counts(lambda);
        let risk = match zeta {
            Sample::Full => self.risk.counted_value(counts, w),
            _ => self.risk.counted_gradient(counts, w, zeta, &mut vec![0.0; w.len()]),
        };
        risk + self.quadratic_value(&self.strengths(lambda), w)
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let strengths = self.strengths(lambda);
        let risk = self.risk.counted_gradient(self.counts(lambda), w, zeta, out);
        self.add_quadratic_product(1.0, &strengths, w, out);
        risk + self.quadratic_value(&strengths, w)
    }

    fn gradient_only(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        if *zeta == Sample::Full {
            self.gradient(w, lambda, zeta, out);
            return;
        }
        self.penalty_product(lambda, w, out);
        self.risk.derivative(self.counts(lambda), w, zeta, out);
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        if *zeta == Sample::Full {
            return self.curvature(w, lambda).product(v, out);
        }
        let loss = self.risk.loss;
        self.penalty_product(lambda, v, out);
        let counts = self.counts(lambda);
        self.risk.sampled_pass(Arithmetic::Storage, counts, [v, w], zeta, [out], |rows, [u, margins]| {
            loss.curvature(margins, rows.y);
            loss.curvature_product(margins, rows.c, u);
            0.0
        });
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        Penalty::with_strengths(self.penalty_lambda(lambda), |strengths| {
            self.penalty_cross_product(strengths, w, v, out)
        });
        if self.is_reweighted() {
            self.add_row_cross_product(w, lambda, zeta, v, out);
        }
    }

    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        self.visit_directions(w, lambda, zeta, v, out);
    }

    fn directions_change(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        zeta: &Sample,
        v: [&[f64]; 2],
        out: [&mut [f64]; 3],
    ) {
        if *zeta == Sample::Full {
            return difference_of_directions(self, w, lambda, zeta, v, out);
        }
        self.change_of_directions(w, lambda, zeta, v, out);
    }
}

impl FirstOrder for Glm<'_> {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        // The penalty is half a quadratic form in the weights.
        self.penalty_cross_product(&self.strengths(lambda), w, w, out);
        out.iter_mut().for_each(|o| *o *= 0.5);
        if self.is_reweighted() {
            self.add_row_gradient(w, lambda, zeta, out);
        }
    }
}

impl Curved for Glm<'_> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(GlmCurvature::new(self, w, lambda))
    }
}

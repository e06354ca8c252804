//! The lower level: mean loss plus penalty.

use super::curvature::GlmCurvature;
use super::penalty::Penalty;
use super::risk::EmpiricalRisk;
use crate::data::KernelRows;
use crate::data::sampled::Arithmetic;
use crate::lower::{Curvature, Curved, Dims, FirstOrder, StochasticLoss};
use crate::sample::{Rng, Sample};

/// `g(w, lambda) = risk(w) + 1/2 sum exp(lambda_h) W^2`.
///
/// The intercepts of a softmax are only determined up to a common constant, so `(sum_c b_c)^2 / (2 C)` is added: it is
/// zero at the minimum, changes nothing else, and makes `g` strongly convex.
#[derive(Debug, Clone)]
pub struct Glm<'a> {
    pub(super) risk: EmpiricalRisk<'a>,
    pub(super) penalty: Penalty,
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
        Glm { risk, penalty }
    }

    /// The mean loss.
    pub fn risk(&self) -> &EmpiricalRisk<'a> {
        &self.risk
    }

    /// The penalty.
    pub fn penalty(&self) -> &Penalty {
        &self.penalty
    }

    /// The rows of the mean loss for products with their kernel; `None` where they are stored densely.
    pub fn kernel_rows(&self) -> Option<KernelRows> {
        KernelRows::new(self.risk.design, &self.risk.rows)
    }

    pub(super) fn weights(&self) -> usize {
        self.risk.features() * self.risk.outputs()
    }

    /// Adds penalty and softmax gauge, both quadratic, times `v` to `out`.
    pub(super) fn add_quadratic_product(&self, strengths: &[f64], v: &[f64], out: &mut [f64]) {
        let (weights, intercept) = v.split_at(self.weights());
        let (out_weights, out_intercept) = out.split_at_mut(self.weights());
        let outputs = self.risk.outputs();
        self.penalty.add_product(strengths, weights, outputs, out_weights);
        if outputs > 1 {
            let sum: f64 = intercept.iter().sum();
            out_intercept.iter_mut().for_each(|o| *o += sum / outputs as f64);
        }
    }

    fn penalty_cross_product(&self, strengths: &[f64], w: &[f64], v: &[f64], out: &mut [f64]) {
        let weights = self.weights();
        self.penalty.cross_product(strengths, &w[..weights], &v[..weights], self.risk.outputs(), out);
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
        out.fill(0.0);
        let weights = self.weights();
        self.penalty.tangent(
            &Penalty::strengths(lambda),
            &w[..weights],
            delta,
            self.risk.outputs(),
            &mut out[..weights],
        );
    }
}

impl StochasticLoss for Glm<'_> {
    fn dims(&self) -> Dims {
        Dims { w: self.risk.parameters(), lambda: self.penalty.hyperparameters() }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.risk.draw_rows(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.risk.sample_size(zeta)
    }

    /// None: only the penalty depends on `lambda`.
    fn cross_size(&self, _zeta: &Sample) -> usize {
        0
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        let risk = match zeta {
            Sample::Full => self.risk.full_value(w),
            _ => self.risk.gradient(w, zeta, &mut vec![0.0; w.len()]),
        };
        risk + self.quadratic_value(&Penalty::strengths(lambda), w)
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let strengths = Penalty::strengths(lambda);
        let risk = self.risk.gradient(w, zeta, out);
        self.add_quadratic_product(&strengths, w, out);
        risk + self.quadratic_value(&strengths, w)
    }

    fn gradient_only(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        if *zeta == Sample::Full {
            self.gradient(w, lambda, zeta, out);
            return;
        }
        out.fill(0.0);
        self.risk.derivative(w, zeta, out);
        Penalty::with_strengths(lambda, |strengths| self.add_quadratic_product(strengths, w, out));
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        if *zeta == Sample::Full {
            return self.curvature(w, lambda).product(v, out);
        }
        let loss = self.risk.loss;
        out.fill(0.0);
        self.risk.sampled_pass(Arithmetic::Storage, [v, w], zeta, [out], |y, c, [u, margins]| {
            loss.curvature(margins, y);
            loss.curvature_product(margins, c, u);
            0.0
        });
        Penalty::with_strengths(lambda, |strengths| self.add_quadratic_product(strengths, v, out));
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        Penalty::with_strengths(lambda, |strengths| self.penalty_cross_product(strengths, w, v, out));
    }

    fn directions(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        gradient: &mut [f64],
        hessian_product: &mut [f64],
        cross_product: &mut [f64],
    ) -> f64 {
        let risk = match zeta {
            Sample::Full => {
                self.curvature(w, lambda).product(v, hessian_product);
                self.risk.gradient(w, zeta, gradient)
            }
            _ => {
                gradient.fill(0.0);
                hessian_product.fill(0.0);
                let out = [&mut *gradient, &mut *hessian_product];
                self.risk.sampled_pass(Arithmetic::Storage, [w, v], zeta, out, |y, c, [m, u]| {
                    self.risk.loss.directions(m, u, y, c)
                })
            }
        };
        Penalty::with_strengths(lambda, |strengths| {
            self.add_quadratic_product(strengths, w, gradient);
            if *zeta != Sample::Full {
                self.add_quadratic_product(strengths, v, hessian_product);
            }
            self.penalty_cross_product(strengths, w, v, cross_product);
            risk + self.quadratic_value(strengths, w)
        })
    }
}

impl FirstOrder for Glm<'_> {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        // The penalty is half a quadratic form in the weights.
        self.cross_product(w, lambda, zeta, w, out);
        out.iter_mut().for_each(|o| *o *= 0.5);
    }
}

impl Curved for Glm<'_> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(GlmCurvature::new(self, w, lambda))
    }
}

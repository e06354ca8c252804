//! Gradient, Hessian product and cross product in one visit: at one point, and the difference between two.
//!
//! At two points the margins with both weights are taken together, and what is multiplied by the transpose is the difference of
//! what the loss makes of them: half of those products, and no digits lost where the points are close.

use super::penalty::Penalty;
use super::problem::Glm;
use super::risk::EmpiricalRisk;
use crate::data::sampled::{Arithmetic, GROUP};
use crate::sample::Sample;
use crate::scratch::scratch;
use crate::vector;

impl Glm<'_> {
    /// Gradient, Hessian product and cross product.
    pub(super) fn visit_directions(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        [gradient, product, cross]: [&mut [f64]; 3],
    ) {
        let (counts, loss) = (self.counts(lambda), self.risk.loss);
        Penalty::with_strengths(self.penalty_lambda(lambda), |strengths| {
            self.penalty_cross_product(strengths, w, v, cross);
            if *zeta != Sample::Full {
                self.quadratic_product(strengths, w, gradient);
                self.quadratic_product(strengths, v, product);
            }
        });
        if *zeta == Sample::Full {
            if self.is_reweighted() {
                self.add_row_cross_product(w, lambda, zeta, v, cross);
            }
            let out = [&mut *gradient, &mut *product];
            self.risk.full_pass_of_two(counts, [w, v], out, |_, y, c, m, u| loss.directions(m, u, y, c));
            self.add_penalty_product(1.0, lambda, w, gradient);
            self.add_penalty_product(1.0, lambda, v, product);
            return;
        }
        let factor = self.risk.sample_scale(zeta);
        let mut along = Vec::new();
        self.risk.sampled_pass(Arithmetic::Storage, counts, [w, v], zeta, [gradient, product], |rows, [m, u]| {
            if self.is_reweighted() {
                along.clear();
                along.extend_from_slice(u);
            }
            loss.directions(m, u, rows.y, rows.c);
            if self.is_reweighted() {
                self.scatter_cross(lambda, &rows, m, &along, factor, cross);
            }
            0.0
        });
    }

    /// Gradient, Hessian product and cross product on a sample of rows, at the first of two points without those at the second.
    pub(super) fn change_of_directions(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        zeta: &Sample,
        v: [&[f64]; 2],
        [gradient, product, cross]: [&mut [f64]; 3],
    ) {
        let own = self.penalty_hyperparameters();
        Penalty::with_strengths(self.penalty_lambda(lambda[0]), |strengths| {
            self.penalty_cross_product(strengths, w[0], v[0], cross);
            self.quadratic_product(strengths, w[0], gradient);
            self.quadratic_product(strengths, v[0], product);
        });
        Penalty::with_strengths(self.penalty_lambda(lambda[1]), |strengths| {
            scratch(own, |there| {
                self.own_cross_product(strengths, w[1], v[1], there);
                vector::axpy(-1.0, there, &mut cross[..own]);
            });
            self.add_quadratic_product(-1.0, strengths, w[1], gradient);
            self.add_quadratic_product(-1.0, strengths, v[1], product);
        });
        let (loss, factor) = (self.risk.loss, self.risk.sample_scale(zeta));
        let (counts, counts_there) = (self.counts(lambda[0]), self.counts(lambda[1]));
        let (points, sums) = ([w[0], v[0], w[1], v[1]], [gradient, product]);
        let mut along = [Vec::new(), Vec::new()];
        self.risk.sampled_pass(Arithmetic::Storage, counts, points, zeta, sums, |rows, [m, u, m1, u1]| {
            let mut c1 = [0.0; GROUP];
            let c1 = rows.counted(&counts_there, &mut c1);
            if self.is_reweighted() {
                for (along, u) in along.iter_mut().zip([&*u, &*u1]) {
                    along.clear();
                    along.extend_from_slice(u);
                }
            }
            loss.directions(m, u, rows.y, rows.c);
            loss.directions(m1, u1, rows.y, c1);
            if self.is_reweighted() {
                self.scatter_cross(lambda[0], &rows, m, &along[0], factor, cross);
                self.scatter_cross(lambda[1], &rows, m1, &along[1], -factor, cross);
            }
            vector::axpy(-1.0, m1, m);
            vector::axpy(-1.0, u1, u);
            0.0
        });
    }
}

impl EmpiricalRisk<'_> {
    /// The gradient at the first of two points without that at the second.
    pub(super) fn change_of_gradients(&self, w: [&[f64]; 2], xi: &Sample, out: &mut [f64]) {
        out.fill(0.0);
        self.sampled_pass(Arithmetic::Storage, self.weighting.into(), w, xi, [out], |rows, [m, m1]| {
            self.loss.derivative(m, rows.y, rows.c);
            self.loss.derivative(m1, rows.y, rows.c);
            vector::axpy(-1.0, m1, m);
            0.0
        });
    }
}

//! Gradient, Hessian product and cross product in one visit: at one point, and the difference between two.
//!
//! At two points the margins with both weights are taken together, and what is multiplied by the transpose is the difference of
//! what the loss makes of them: half of those products, and no digits lost where the points are close.

use super::penalty::Penalty;
use super::problem::Glm;
use super::risk::EmpiricalRisk;
use crate::data::sampled::Arithmetic;
use crate::sample::Sample;
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
            self.penalty_cross_product(strengths, w, v, cross)
        });
        if *zeta == Sample::Full {
            if self.is_reweighted() {
                self.add_row_cross_product(w, lambda, zeta, v, cross);
            }
            let out = [&mut *gradient, &mut *product];
            self.risk.full_pass_of_two(counts, [w, v], out, |_, y, c, m, u| loss.directions(m, u, y, c));
        } else {
            gradient.fill(0.0);
            product.fill(0.0);
            let out = [&mut *gradient, &mut *product];
            let factor = self.risk.sample_scale(zeta);
            let mut along = Vec::new();
            self.risk.sampled_pass(Arithmetic::Storage, counts, [w, v], zeta, out, |rows, [m, u]| {
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
        Penalty::with_strengths(self.penalty_lambda(lambda), |strengths| {
            self.add_quadratic_product(1.0, strengths, w, gradient);
            self.add_quadratic_product(1.0, strengths, v, product);
        });
    }

    /// Gradient, Hessian product and cross product at the first of two points without those at the second. The weights of the rows may
    /// not depend on `lambda`.
    pub(super) fn change_of_directions(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        zeta: &Sample,
        v: [&[f64]; 2],
        [gradient, product, cross]: [&mut [f64]; 3],
    ) {
        let loss = self.risk.loss;
        let (counts, points) = (self.counts(lambda[0]), [w[0], v[0], w[1], v[1]]);
        gradient.fill(0.0);
        product.fill(0.0);
        let sums = [&mut *gradient, &mut *product];
        self.risk.sampled_pass(Arithmetic::Storage, counts, points, zeta, sums, |rows, [m, u, m1, u1]| {
            loss.directions(m, u, rows.y, rows.c);
            loss.directions(m1, u1, rows.y, rows.c);
            vector::axpy(-1.0, m1, m);
            vector::axpy(-1.0, u1, u);
            0.0
        });
        let mut earlier = vec![0.0; cross.len()];
        for (factor, point, of_lambda) in [(-1.0, 1, &mut earlier[..]), (1.0, 0, &mut *cross)] {
            Penalty::with_strengths(self.penalty_lambda(lambda[point]), |strengths| {
                self.add_quadratic_product(factor, strengths, w[point], gradient);
                self.add_quadratic_product(factor, strengths, v[point], product);
                self.penalty_cross_product(strengths, w[point], v[point], of_lambda);
            });
        }
        vector::axpy(-1.0, &earlier, cross);
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

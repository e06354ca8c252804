//! Derivatives in the hyperparameters of the rows.
//!
//! With `s_i = s(lambda_i)` the loss of row `i` enters as `c_i s_i loss_i / sum c`, so that everything that differentiates
//! it in `lambda_i` is what it is without, times `s'_i / s_i`:
//!
//! ```text
//! grad_lambda g: c_i s'_i loss_i / sum c,     (d/dlambda_i grad_w g)^T v = c_i s'_i loss'_i . (x_i^T V + b_v) / sum c.
//! ```
//!
//! A sample of `b` rows has at most `b` components that are not zero.

use super::problem::Glm;
use super::sampled_risk::Visited;
use crate::data::passes::SharedSlots;
use crate::data::sampled::Arithmetic;
use crate::sample::Sample;

impl Glm<'_> {
    /// The part of the products in `lambda` that belongs to the rows.
    fn of_rows<'o>(&self, out: &'o mut [f64]) -> &'o mut [f64] {
        &mut out[self.penalty_hyperparameters()..]
    }

    /// Rows of `out` += `factor s'_i / s_i derivative_i . u_i` for rows that are visited together.
    #[inline(always)]
    pub(super) fn scatter_cross(
        &self,
        lambda: &[f64],
        rows: &Visited<'_>,
        derivatives: &[f64],
        u: &[f64],
        factor: f64,
        out: &mut [f64],
    ) {
        let (counts, outputs) = (self.counts(lambda), self.risk.outputs());
        let out = self.of_rows(out);
        for (i, (g, u)) in derivatives.chunks_exact(outputs).zip(u.chunks_exact(outputs)).enumerate() {
            let row = rows.row(i);
            out[row] += factor * counts.log_derivative(row) * dot(g, u);
        }
    }

    /// Adds the rows' part of the cross product with `v` to `out`.
    pub(super) fn add_row_cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let (risk, counts) = (&self.risk, self.counts(lambda));
        let (loss, outputs) = (risk.loss, risk.outputs());
        if *zeta != Sample::Full {
            let factor = risk.sample_scale(zeta);
            risk.sampled_pass(Arithmetic::Storage, counts, [w, v], zeta, [], |rows, [m, u]| {
                loss.derivative(m, rows.y, rows.c);
                self.scatter_cross(lambda, &rows, m, u, factor, out);
                0.0
            });
            return;
        }
        let (along, intercept) = risk.split(v);
        let along = risk.pass.all_margins(along, &intercept);
        let (weights, intercept) = risk.split(w);
        let slots = SharedSlots::new(self.of_rows(out), 1);
        risk.pass.margins(weights, &intercept, |rows, position, margins| {
            loss.derivative(margins, &risk.target[rows.clone()], counts.of(rows.clone()).as_deref());
            let u = &along[position * outputs..][..margins.len()];
            let out = slots.at(rows.start, rows.len());
            for (((out, row), g), u) in
                out.iter_mut().zip(rows).zip(margins.chunks_exact(outputs)).zip(u.chunks_exact(outputs))
            {
                *out += risk.scale * counts.log_derivative(row) * dot(g, u);
            }
            0.0
        });
    }

    /// Adds the rows' part of `grad_lambda g` to `out`.
    pub(super) fn add_row_gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        let (risk, counts) = (&self.risk, self.counts(lambda));
        let (loss, outputs) = (risk.loss, risk.outputs());
        let value = |margins: &mut [f64], y: f64, c: f64| c * loss.value(margins, &[y], None);
        if *zeta != Sample::Full {
            let factor = risk.sample_scale(zeta);
            let out = self.of_rows(out);
            risk.sampled_pass(Arithmetic::Double, counts, [w], zeta, [], |rows, [margins]| {
                for (i, margins) in margins.chunks_exact_mut(outputs).enumerate() {
                    let row = rows.row(i);
                    let own = value(margins, rows.y[i], rows.c.map_or(1.0, |c| c[i]));
                    out[row] += factor * counts.log_derivative(row) * own;
                }
                0.0
            });
            return;
        }
        let (weights, intercept) = risk.split(w);
        let slots = SharedSlots::new(self.of_rows(out), 1);
        risk.pass.margins(weights, &intercept, |rows, _, margins| {
            let c = counts.of(rows.clone());
            let out = slots.at(rows.start, rows.len());
            for (i, (row, margins)) in rows.zip(margins.chunks_exact_mut(outputs)).enumerate() {
                let own = value(margins, risk.target[row], c.as_ref().map_or(1.0, |c| c[i]));
                out[i] += risk.scale * counts.log_derivative(row) * own;
            }
            0.0
        });
    }

    /// Adds the rows' part of `d/dlambda (grad_w g) delta` to `out`.
    pub(super) fn add_row_tangent(&self, w: &[f64], lambda: &[f64], zeta: &Sample, delta: &[f64], out: &mut [f64]) {
        let (risk, counts) = (&self.risk, self.counts(lambda));
        let delta = &delta[self.penalty_hyperparameters()..];
        if *zeta != Sample::Full {
            let outputs = risk.outputs();
            risk.sampled_pass(Arithmetic::Double, counts, [w], zeta, [out], |rows, [margins]| {
                risk.loss.derivative(margins, rows.y, rows.c);
                for (i, margins) in margins.chunks_exact_mut(outputs).enumerate() {
                    let row = rows.row(i);
                    let factor = counts.log_derivative(row) * delta[row];
                    margins.iter_mut().for_each(|g| *g *= factor);
                }
                0.0
            });
            return;
        }
        let mut moved = vec![0.0; out.len()];
        risk.full_pass(w, &mut moved, |rows, _, margins| {
            risk.loss.derivative(margins, &risk.target[rows.clone()], counts.of(rows.clone()).as_deref());
            let factors: Vec<f64> = rows.map(|row| counts.log_derivative(row) * delta[row]).collect();
            risk.loss.weigh(Some(&factors), margins);
            0.0
        });
        crate::vector::axpy(1.0, &moved, out);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

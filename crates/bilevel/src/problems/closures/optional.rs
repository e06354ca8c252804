//! What maps and losses by closures can do beyond what every method needs.
//!
//! These closures are optional, and whether they were given is part of the type: a method that needs them does not compile
//! for a problem without.

use super::{RowLoss, RowMap, RowProduct, RowVector, product_mean, vector_mean};
use crate::lower::{CrossJvp, FirstOrder, Jvp, JvpLambda, Symmetric};
use crate::sample::Sample;

/// `d1Phi_i x` and `d2Phi_i x` by closures; given to `RowMapBuilder::forward`.
pub struct ForwardProducts<'a> {
    pub(super) jvp_w: RowProduct<'a>,
    pub(super) jvp_lambda: RowProduct<'a>,
}

/// `(d/dlambda grad_w g_i) x` by a closure; given to `RowLossBuilder::cross_jvp`.
pub struct CrossProducts<'a> {
    pub(super) cross_jvp: RowProduct<'a>,
}

/// `grad_lambda g_i` by a closure; given to `RowLossBuilder::gradient_lambda`.
pub struct LambdaGradients<'a>(pub(super) RowVector<'a>);

/// Jacobians of a map in `w` that are symmetric, beside what else was given; said by `RowMap::symmetric`.
pub struct SymmetricJacobian<J = ()>(pub(super) J);

impl Jvp for RowMap<'_, ForwardProducts<'_>> {
    fn jvp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product_mean(&self.forward.jvp_w, self.rows, [w, lambda, x], zeta, out);
    }
}

impl JvpLambda for RowMap<'_, ForwardProducts<'_>> {
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product_mean(&self.forward.jvp_lambda, self.rows, [w, lambda, x], zeta, out);
    }
}

impl<G: Sync> CrossJvp for RowLoss<'_, CrossProducts<'_>, G> {
    fn cross_jvp(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product_mean(&self.forward.cross_jvp, self.rows, [w, lambda, x], zeta, out);
    }
}

impl<J: Sync> FirstOrder for RowLoss<'_, J, LambdaGradients<'_>> {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        vector_mean(&self.gradient_lambda.0, self.rows, [w, lambda], zeta, out);
    }
}

impl<J: Sync> Symmetric for RowMap<'_, SymmetricJacobian<J>> {}

impl JvpLambda for RowMap<'_, SymmetricJacobian<ForwardProducts<'_>>> {
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product_mean(&self.forward.0.jvp_lambda, self.rows, [w, lambda, x], zeta, out);
    }
}

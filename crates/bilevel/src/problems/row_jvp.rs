//! Maps and losses by closures that can also multiply with their Jacobians and not only with the transposes.
//!
//! The closures are optional, and whether they were given is part of the type: a method that needs them does not compile
//! for a problem without.

use super::closures::{RowLoss, RowMap, RowProduct, mean};
use crate::lower::{CrossJvp, Jvp, JvpLambda};
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

fn product(closure: &RowProduct<'_>, rows: usize, [w, lambda, x]: [&[f64]; 3], zeta: &Sample, out: &mut [f64]) {
    mean(rows, zeta, out, |i, out| {
        closure(i, w, lambda, x, out);
        0.0
    });
}

impl Jvp for RowMap<'_, ForwardProducts<'_>> {
    fn jvp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product(&self.forward.jvp_w, self.rows, [w, lambda, x], zeta, out);
    }
}

impl JvpLambda for RowMap<'_, ForwardProducts<'_>> {
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product(&self.forward.jvp_lambda, self.rows, [w, lambda, x], zeta, out);
    }
}

impl CrossJvp for RowLoss<'_, CrossProducts<'_>> {
    fn cross_jvp(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        product(&self.forward.cross_jvp, self.rows, [w, lambda, x], zeta, out);
    }
}

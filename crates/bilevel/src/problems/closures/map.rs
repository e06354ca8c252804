//! Maps by closures.

use super::optional::{ForwardProducts, SymmetricJacobian};
use super::{RowProduct, RowVector, check, given, product_mean, vector_mean};
use crate::error::Result;
use crate::lower::{Dims, StochasticMap};
use crate::row_sums::RowSums;
use crate::sample::{Rng, Sample, Sampling};

/// A map `Phi = (1/n) sum_i Phi_i` by closures; made by [`RowMap::builder`].
///
/// `J` is [`ForwardProducts`] where those were given too, and then the map is [`Jvp`](crate::lower::Jvp) and
/// [`JvpLambda`](crate::lower::JvpLambda); [`SymmetricJacobian`] where it was said to be [`symmetric`](RowMap::symmetric).
pub struct RowMap<'a, J = ()> {
    dims: Dims,
    pub(super) rows: usize,
    apply: RowVector<'a>,
    vjp_w: RowProduct<'a>,
    vjp_lambda: RowProduct<'a>,
    pub(super) forward: J,
}

/// The closures of a [`RowMap`] so far.
pub struct RowMapBuilder<'a, J = ()> {
    dims: Dims,
    rows: usize,
    apply: Option<RowVector<'a>>,
    vjp_w: Option<RowProduct<'a>>,
    vjp_lambda: Option<RowProduct<'a>>,
    forward: J,
}

impl<'a> RowMap<'a> {
    /// Starts a map over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowMapBuilder<'a> {
        RowMapBuilder { dims, rows, apply: None, vjp_w: None, vjp_lambda: None, forward: () }
    }
}

impl<'a, J> RowMap<'a, J> {
    /// The same map, of which it is said that `d1Phi_i` is symmetric: conjugate gradients apply to it.
    ///
    /// `vjp_w` multiplies with `d1Phi_i` itself, then.
    #[must_use]
    pub fn symmetric(self) -> RowMap<'a, SymmetricJacobian<J>> {
        let RowMap { dims, rows, apply, vjp_w, vjp_lambda, forward } = self;
        RowMap { dims, rows, apply, vjp_w, vjp_lambda, forward: SymmetricJacobian(forward) }
    }
}

impl<'a, J> RowMapBuilder<'a, J> {
    /// Adds products with the Jacobians themselves: `jvp_w` writes `d1Phi_i(w, lambda) x` for `x` in R^d and `jvp_lambda`
    /// `d2Phi_i(w, lambda) x` for `x` in R^m, both in R^d.
    #[must_use]
    pub fn forward(
        self,
        jvp_w: impl Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a,
        jvp_lambda: impl Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a,
    ) -> RowMapBuilder<'a, ForwardProducts<'a>> {
        let RowMapBuilder { dims, rows, apply, vjp_w, vjp_lambda, .. } = self;
        let forward = ForwardProducts { jvp_w: Box::new(jvp_w), jvp_lambda: Box::new(jvp_lambda) };
        RowMapBuilder { dims, rows, apply, vjp_w, vjp_lambda, forward }
    }

    part! {
        /// `out = Phi_i(w, lambda)`, `out` in R^d.
        apply: Fn(usize, &[f64], &[f64], &mut [f64])
    }
    part! {
        /// `out = d1Phi_i(w, lambda)^T v`, `out` in R^d.
        vjp_w: Fn(usize, &[f64], &[f64], &[f64], &mut [f64])
    }
    part! {
        /// `out = d2Phi_i(w, lambda)^T v`, `out` in R^m.
        vjp_lambda: Fn(usize, &[f64], &[f64], &[f64], &mut [f64])
    }

    /// The map.
    ///
    /// # Errors
    /// Input, where a closure is missing or the sizes are impossible.
    pub fn build(self) -> Result<RowMap<'a, J>> {
        check(self.dims, self.rows)?;
        Ok(RowMap {
            dims: self.dims,
            rows: self.rows,
            apply: given(self.apply, "apply")?,
            vjp_w: given(self.vjp_w, "vjp_w")?,
            vjp_lambda: given(self.vjp_lambda, "vjp_lambda")?,
            forward: self.forward,
        })
    }
}

impl<J: Sync> StochasticMap for RowMap<'_, J> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows, batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.rows)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        vector_mean(&self.apply, self.rows, [w, lambda], zeta, out);
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        product_mean(&self.vjp_w, self.rows, [w, lambda, v], zeta, out);
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        product_mean(&self.vjp_lambda, self.rows, [w, lambda, v], zeta, out);
    }
}

impl<J: Sync> RowSums for RowMap<'_, J> {}

debug!(RowMap, J);
debug!(RowMapBuilder, J);

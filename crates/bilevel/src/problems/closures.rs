//! A problem of one's own from closures, one row at a time.
//!
//! A map, a loss or an upper objective is the mean over `n` rows of functions that closures give: the value and the products
//! of its derivatives, by hand or by automatic differentiation (`problems::autodiff`, feature `autodiff`). Sampling,
//! averaging and passes over all rows are done here, so that every estimator and every check works at once:
//!
//! ```
//! use bilevel::lower::Dims;
//! use bilevel::problems::closures::RowMap;
//!
//! // Phi_i(w, lambda) = w/2 + lambda x_i
//! let x = [1.0, 2.0, 6.0];
//! let map = RowMap::builder(Dims { w: 1, lambda: 1 }, x.len())
//!     .apply(|i, w, lambda, out| out[0] = 0.5 * w[0] + lambda[0] * x[i])
//!     .vjp_w(|_, _, _, v, out| out[0] = 0.5 * v[0])
//!     .vjp_lambda(|i, _, _, v, out| out[0] = x[i] * v[0])
//!     .build()
//!     .unwrap();
//! ```
//!
//! A row is a number: it may index data, or seed a simulation. Closures overwrite `out`. Rows are drawn uniformly with
//! repetition; a pass over all of them runs on all threads, and its sum does not depend on their number.

use rayon::prelude::*;

pub use super::row_jvp::{CrossProducts, ForwardProducts};
use super::{draw_rows, for_each_row, sample_size};
use crate::error::{Error, Result};
use crate::lower::{Curvature, Curved, Dims, ProductCurvature, StochasticLoss, StochasticMap};
use crate::row_sums::{RowSumLoss, RowSumObjective};
use crate::sample::{Rng, Sample};
use crate::upper::UpperObjective;
use crate::vector;

/// `(row, w, lambda) -> number`.
pub type RowValue<'a> = Box<dyn Fn(usize, &[f64], &[f64]) -> f64 + Send + Sync + 'a>;
/// `(row, w, lambda, out)`.
pub type RowVector<'a> = Box<dyn Fn(usize, &[f64], &[f64], &mut [f64]) + Send + Sync + 'a>;
/// `(row, w, lambda, v, out)`.
pub type RowProduct<'a> = Box<dyn Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a>;
/// `(row, w, lambda, grad_w, grad_lambda) -> value`.
pub type RowGradients<'a> = Box<dyn Fn(usize, &[f64], &[f64], &mut [f64], &mut [f64]) -> f64 + Send + Sync + 'a>;

/// Rows summed by one thread.
const CHUNK: usize = 256;

/// `out = ` the mean over a sample of what `row` writes; returns the mean of what it returns.
pub(super) fn mean(rows: usize, zeta: &Sample, out: &mut [f64], row: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> f64 {
    let add = |i: usize, one: &mut [f64], sum: &mut [f64]| {
        let value = row(i, one);
        vector::axpy(1.0, one, sum);
        value
    };
    out.fill(0.0);
    let mut total = 0.0;
    if *zeta == Sample::Full {
        let chunk = |first: usize| {
            let (mut one, mut sum) = (vec![0.0; out.len()], vec![0.0; out.len()]);
            let values = (first..(first + CHUNK).min(rows)).map(|i| add(i, &mut one, &mut sum)).sum::<f64>();
            (values, sum)
        };
        let chunks: Vec<(f64, Vec<f64>)> =
            (0..rows.div_ceil(CHUNK)).into_par_iter().map(|index| chunk(index * CHUNK)).collect();
        for (values, sum) in &chunks {
            total += values;
            vector::axpy(1.0, sum, out);
        }
    } else {
        let mut one = vec![0.0; out.len()];
        for_each_row(zeta, rows, |i| total += add(i, &mut one, out));
    }
    let weight = 1.0 / sample_size(rows, zeta) as f64;
    vector::scale(weight, out);
    total * weight
}

fn given<T>(part: Option<T>, name: &str) -> Result<T> {
    part.ok_or_else(|| Error::input(format!("the closure `{name}` is missing")).remedy("give it before `build`"))
}

fn check(dims: Dims, rows: usize) -> Result<()> {
    if dims.w == 0 || rows == 0 || rows > u32::MAX as usize {
        return Err(Error::input(format!("a problem of {rows} rows in {dims:?} cannot be sampled"))
            .remedy("give at least one row and one component of w, and at most 2^32 - 1 rows"));
    }
    Ok(())
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident: $($closure:tt)*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, closure: impl $($closure)* + Send + Sync + 'a) -> Self {
            self.$name = Some(Box::new(closure));
            self
        }
    };
}

/// A map `Phi = (1/n) sum_i Phi_i` by closures; made by [`RowMap::builder`].
///
/// `J` is [`ForwardProducts`] where those were given too, and then the map is [`Jvp`](crate::lower::Jvp) and
/// [`JvpLambda`](crate::lower::JvpLambda).
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
        draw_rows(self.rows, batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        sample_size(self.rows, zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        mean(self.rows, zeta, out, |i, out| {
            (self.apply)(i, w, lambda, out);
            0.0
        });
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        mean(self.rows, zeta, out, |i, out| {
            (self.vjp_w)(i, w, lambda, v, out);
            0.0
        });
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        mean(self.rows, zeta, out, |i, out| {
            (self.vjp_lambda)(i, w, lambda, v, out);
            0.0
        });
    }
}

/// A loss `g = (1/n) sum_i g_i` by closures; made by [`RowLoss::builder`].
///
/// It is [`Curved`] by products alone: Newton's method and exact hypergradients solve their systems by conjugate gradients.
///
/// `J` is [`CrossProducts`] where those were given too, and then the loss is [`CrossJvp`](crate::lower::CrossJvp).
pub struct RowLoss<'a, J = ()> {
    dims: Dims,
    pub(super) rows: usize,
    value: RowValue<'a>,
    gradient: RowVector<'a>,
    hessian_product: RowProduct<'a>,
    cross_product: RowProduct<'a>,
    pub(super) forward: J,
}

/// The closures of a [`RowLoss`] so far.
pub struct RowLossBuilder<'a, J = ()> {
    dims: Dims,
    rows: usize,
    value: Option<RowValue<'a>>,
    gradient: Option<RowVector<'a>>,
    hessian_product: Option<RowProduct<'a>>,
    cross_product: Option<RowProduct<'a>>,
    forward: J,
}

impl<'a> RowLoss<'a> {
    /// Starts a loss over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowLossBuilder<'a> {
        let (value, gradient) = (None, None);
        RowLossBuilder { dims, rows, value, gradient, hessian_product: None, cross_product: None, forward: () }
    }
}

impl<'a, J> RowLossBuilder<'a, J> {
    /// Adds the cross derivative the other way round: `cross_jvp` writes `(d/dlambda grad_w g_i(w, lambda)) x` in R^d for
    /// `x` in R^m.
    #[must_use]
    pub fn cross_jvp(
        self,
        cross_jvp: impl Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a,
    ) -> RowLossBuilder<'a, CrossProducts<'a>> {
        let RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, .. } = self;
        let forward = CrossProducts { cross_jvp: Box::new(cross_jvp) };
        RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, forward }
    }

    part! {
        /// `g_i(w, lambda)`.
        value: Fn(usize, &[f64], &[f64]) -> f64
    }
    part! {
        /// `out = grad_w g_i(w, lambda)`, `out` in R^d.
        gradient: Fn(usize, &[f64], &[f64], &mut [f64])
    }
    part! {
        /// `out = (hess_w g_i(w, lambda)) v`, `out` in R^d.
        hessian_product: Fn(usize, &[f64], &[f64], &[f64], &mut [f64])
    }
    part! {
        /// `out = (d/dlambda grad_w g_i(w, lambda))^T v`, `out` in R^m.
        cross_product: Fn(usize, &[f64], &[f64], &[f64], &mut [f64])
    }

    /// The loss.
    ///
    /// # Errors
    /// Input, where a closure is missing or the sizes are impossible.
    pub fn build(self) -> Result<RowLoss<'a, J>> {
        check(self.dims, self.rows)?;
        Ok(RowLoss {
            dims: self.dims,
            rows: self.rows,
            value: given(self.value, "value")?,
            gradient: given(self.gradient, "gradient")?,
            hessian_product: given(self.hessian_product, "hessian_product")?,
            cross_product: given(self.cross_product, "cross_product")?,
            forward: self.forward,
        })
    }
}

impl<J: Sync> RowSumLoss for RowLoss<'_, J> {}

impl<J: Sync> StochasticLoss for RowLoss<'_, J> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        draw_rows(self.rows, batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        sample_size(self.rows, zeta)
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        mean(self.rows, zeta, &mut [], |i, _| (self.value)(i, w, lambda))
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        mean(self.rows, zeta, out, |i, out| {
            (self.gradient)(i, w, lambda, out);
            (self.value)(i, w, lambda)
        })
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        mean(self.rows, zeta, out, |i, out| {
            (self.hessian_product)(i, w, lambda, v, out);
            0.0
        });
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        mean(self.rows, zeta, out, |i, out| {
            (self.cross_product)(i, w, lambda, v, out);
            0.0
        });
    }
}

impl<J: Sync> Curved for RowLoss<'_, J> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(ProductCurvature::at(self, w, lambda))
    }
}

/// An upper objective `E = (1/n) sum_i E_i` by closures; made by [`RowObjective::builder`].
pub struct RowObjective<'a> {
    dims: Dims,
    rows: usize,
    value: RowValue<'a>,
    gradients: RowGradients<'a>,
}

/// The closures of a [`RowObjective`] so far.
pub struct RowObjectiveBuilder<'a> {
    dims: Dims,
    rows: usize,
    value: Option<RowValue<'a>>,
    gradients: Option<RowGradients<'a>>,
}

impl<'a> RowObjective<'a> {
    /// Starts an objective over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowObjectiveBuilder<'a> {
        RowObjectiveBuilder { dims, rows, value: None, gradients: None }
    }
}

impl<'a> RowObjectiveBuilder<'a> {
    part! {
        /// `E_i(w, lambda)`.
        value: Fn(usize, &[f64], &[f64]) -> f64
    }
    part! {
        /// `grad_w = grad1 E_i` in R^d and `grad_lambda = grad2 E_i` in R^m, both overwritten; returns `E_i`.
        gradients: Fn(usize, &[f64], &[f64], &mut [f64], &mut [f64]) -> f64
    }

    /// The objective.
    ///
    /// # Errors
    /// Input, where a closure is missing or the sizes are impossible.
    pub fn build(self) -> Result<RowObjective<'a>> {
        check(self.dims, self.rows)?;
        Ok(RowObjective {
            dims: self.dims,
            rows: self.rows,
            value: given(self.value, "value")?,
            gradients: given(self.gradients, "gradients")?,
        })
    }
}

impl UpperObjective for RowObjective<'_> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        draw_rows(self.rows, batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        sample_size(self.rows, xi)
    }

    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        mean(self.rows, xi, &mut [], |i, _| (self.value)(i, w, lambda))
    }

    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        let mut both = vec![0.0; w.len() + lambda.len()];
        let value = mean(self.rows, xi, &mut both, |i, both| {
            let (grad_w, grad_lambda) = both.split_at_mut(w.len());
            (self.gradients)(i, w, lambda, grad_w, grad_lambda)
        });
        grad_w.copy_from_slice(&both[..w.len()]);
        grad_lambda.copy_from_slice(&both[w.len()..]);
        value
    }
}

impl RowSumObjective for RowObjective<'_> {}

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

use super::{draw_rows, for_each_row, sample_size};
use crate::error::{Error, Result};
use crate::lower::{Curvature, Curved, Dims, Factorization, StochasticLoss, StochasticMap};
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
fn mean(rows: usize, zeta: &Sample, out: &mut [f64], row: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> f64 {
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
pub struct RowMap<'a> {
    dims: Dims,
    rows: usize,
    apply: RowVector<'a>,
    vjp_w: RowProduct<'a>,
    vjp_lambda: RowProduct<'a>,
}

/// The closures of a [`RowMap`] so far.
pub struct RowMapBuilder<'a> {
    dims: Dims,
    rows: usize,
    apply: Option<RowVector<'a>>,
    vjp_w: Option<RowProduct<'a>>,
    vjp_lambda: Option<RowProduct<'a>>,
}

impl<'a> RowMap<'a> {
    /// Starts a map over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowMapBuilder<'a> {
        RowMapBuilder { dims, rows, apply: None, vjp_w: None, vjp_lambda: None }
    }
}

impl<'a> RowMapBuilder<'a> {
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
    pub fn build(self) -> Result<RowMap<'a>> {
        check(self.dims, self.rows)?;
        Ok(RowMap {
            dims: self.dims,
            rows: self.rows,
            apply: given(self.apply, "apply")?,
            vjp_w: given(self.vjp_w, "vjp_w")?,
            vjp_lambda: given(self.vjp_lambda, "vjp_lambda")?,
        })
    }
}

impl StochasticMap for RowMap<'_> {
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
pub struct RowLoss<'a> {
    dims: Dims,
    rows: usize,
    value: RowValue<'a>,
    gradient: RowVector<'a>,
    hessian_product: RowProduct<'a>,
    cross_product: RowProduct<'a>,
}

/// The closures of a [`RowLoss`] so far.
pub struct RowLossBuilder<'a> {
    dims: Dims,
    rows: usize,
    value: Option<RowValue<'a>>,
    gradient: Option<RowVector<'a>>,
    hessian_product: Option<RowProduct<'a>>,
    cross_product: Option<RowProduct<'a>>,
}

impl<'a> RowLoss<'a> {
    /// Starts a loss over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowLossBuilder<'a> {
        RowLossBuilder { dims, rows, value: None, gradient: None, hessian_product: None, cross_product: None }
    }
}

impl<'a> RowLossBuilder<'a> {
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
    pub fn build(self) -> Result<RowLoss<'a>> {
        check(self.dims, self.rows)?;
        Ok(RowLoss {
            dims: self.dims,
            rows: self.rows,
            value: given(self.value, "value")?,
            gradient: given(self.gradient, "gradient")?,
            hessian_product: given(self.hessian_product, "hessian_product")?,
            cross_product: given(self.cross_product, "cross_product")?,
        })
    }
}

impl RowSumLoss for RowLoss<'_> {}

impl StochasticLoss for RowLoss<'_> {
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

impl Curved for RowLoss<'_> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(Products { loss: self, w: w.to_vec(), lambda: lambda.to_vec() })
    }
}

/// A Hessian that is known by its products.
struct Products<'a> {
    loss: &'a RowLoss<'a>,
    w: Vec<f64>,
    lambda: Vec<f64>,
}

impl Curvature for Products<'_> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        self.loss.hessian_product(&self.w, &self.lambda, &Sample::Full, v, out);
    }

    /// Ones: nothing is known of the diagonal without a product for each entry, and nothing is preconditioned.
    fn diagonal(&self, out: &mut [f64]) {
        out.fill(1.0);
    }

    fn factorize(&self) -> Option<Result<Box<dyn Factorization>>> {
        None
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

//! Losses by closures.

use super::optional::{CrossProducts, LambdaGradients};
use super::{RowProduct, RowValue, RowVector, check, given, mean, product_mean, vector_mean};
use crate::error::Result;
use crate::lower::{Curvature, Curved, Dims, ProductCurvature, StochasticLoss};
use crate::row_sums::RowSumLoss;
use crate::sample::{Rng, Sample, Sampling};

/// A loss `g = (1/n) sum_i g_i` by closures; made by [`RowLoss::builder`].
///
/// It is [`Curved`] by products alone: Newton's method and exact hypergradients solve their systems by conjugate gradients.
///
/// `J` is [`CrossProducts`] where those were given too, and then the loss is [`CrossJvp`](crate::lower::CrossJvp); `G` is
/// [`LambdaGradients`] where those were, and then it is [`FirstOrder`](crate::lower::FirstOrder), so that the
/// [algorithms](crate::algorithms) run on it.
pub struct RowLoss<'a, J = (), G = ()> {
    dims: Dims,
    pub(super) rows: usize,
    value: RowValue<'a>,
    gradient: RowVector<'a>,
    hessian_product: RowProduct<'a>,
    cross_product: RowProduct<'a>,
    pub(super) forward: J,
    pub(super) gradient_lambda: G,
}

/// The closures of a [`RowLoss`] so far.
pub struct RowLossBuilder<'a, J = (), G = ()> {
    dims: Dims,
    rows: usize,
    value: Option<RowValue<'a>>,
    gradient: Option<RowVector<'a>>,
    hessian_product: Option<RowProduct<'a>>,
    cross_product: Option<RowProduct<'a>>,
    forward: J,
    gradient_lambda: G,
}

impl<'a> RowLoss<'a> {
    /// Starts a loss over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowLossBuilder<'a> {
        RowLossBuilder {
            dims,
            rows,
            value: None,
            gradient: None,
            hessian_product: None,
            cross_product: None,
            forward: (),
            gradient_lambda: (),
        }
    }
}

impl<'a, J, G> RowLossBuilder<'a, J, G> {
    /// Adds the cross derivative the other way round: `cross_jvp` writes `(d/dlambda grad_w g_i(w, lambda)) x` in R^d for
    /// `x` in R^m.
    #[must_use]
    pub fn cross_jvp(
        self,
        cross_jvp: impl Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a,
    ) -> RowLossBuilder<'a, CrossProducts<'a>, G> {
        let RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, gradient_lambda, .. } = self;
        let forward = CrossProducts { cross_jvp: Box::new(cross_jvp) };
        RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, forward, gradient_lambda }
    }

    /// Adds the derivative in `lambda`: `gradient_lambda` writes `grad_lambda g_i(w, lambda)` in R^m.
    #[must_use]
    pub fn gradient_lambda(
        self,
        gradient_lambda: impl Fn(usize, &[f64], &[f64], &mut [f64]) + Send + Sync + 'a,
    ) -> RowLossBuilder<'a, J, LambdaGradients<'a>> {
        let RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, forward, .. } = self;
        let gradient_lambda = LambdaGradients(Box::new(gradient_lambda));
        RowLossBuilder { dims, rows, value, gradient, hessian_product, cross_product, forward, gradient_lambda }
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
    pub fn build(self) -> Result<RowLoss<'a, J, G>> {
        check(self.dims, self.rows)?;
        Ok(RowLoss {
            dims: self.dims,
            rows: self.rows,
            value: given(self.value, "value")?,
            gradient: given(self.gradient, "gradient")?,
            hessian_product: given(self.hessian_product, "hessian_product")?,
            cross_product: given(self.cross_product, "cross_product")?,
            forward: self.forward,
            gradient_lambda: self.gradient_lambda,
        })
    }
}

impl<J: Sync, G: Sync> RowSumLoss for RowLoss<'_, J, G> {}

impl<J: Sync, G: Sync> StochasticLoss for RowLoss<'_, J, G> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows, batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.rows)
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

    fn gradient_only(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        vector_mean(&self.gradient, self.rows, [w, lambda], zeta, out);
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        product_mean(&self.hessian_product, self.rows, [w, lambda, v], zeta, out);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        product_mean(&self.cross_product, self.rows, [w, lambda, v], zeta, out);
    }
}

impl<J: Sync, G: Sync> Curved for RowLoss<'_, J, G> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(ProductCurvature::at(self, w, lambda))
    }
}

debug!(RowLoss, J, G);
debug!(RowLossBuilder, J, G);

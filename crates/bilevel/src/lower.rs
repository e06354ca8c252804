//! The lower level: a map that can be sampled, or a loss whose gradient step is such a map.
//!
//! Everything above this floor sees a problem only through these traits. What a problem can do beyond the products
//! every method needs is a sub-trait, so that a method which needs more says so in its signature.

use crate::company;
use crate::error::{Error, Result};
use crate::sample::{Rng, Sample};
use crate::scratch::scratch;
use crate::stop::StopSignal;
use crate::vector;

/// Sizes of a bilevel problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Length `d` of the lower variable `w` (and of the adjoint `v`).
    pub w: usize,
    /// Length `m` of the upper variable `lambda`.
    pub lambda: usize,
}

/// Lower level `w(lambda) = Phi(w(lambda), lambda)` with `Phi = E_zeta[Phi_hat(., ., zeta)]`.
///
/// `Phi(., lambda)` must be a contraction; a single `Phi_hat` need not be. All products take `out` of the right length
/// and overwrite it.
pub trait StochasticMap: Sync {
    /// Lengths of `w` and `lambda`.
    fn dims(&self) -> Dims;

    /// Draws a sample of `batch` elements; reuses the buffers of `sample` where it can.
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample);

    /// Number of elements (rows, transitions, ...) that evaluating on `zeta` visits; the unit of work.
    fn size(&self, zeta: &Sample) -> usize;

    /// Number of elements that [`vjp_lambda`](Self::vjp_lambda) visits; 0 where `d2 Phi` depends on no data.
    fn cross_size(&self, zeta: &Sample) -> usize {
        self.size(zeta)
    }

    /// `out = Phi_hat(w, lambda, zeta)`, `out` in R^d.
    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]);

    /// `out = d1 Phi_hat(w, lambda, zeta)^T v`, `v` and `out` in R^d.
    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]);

    /// `out = d2 Phi_hat(w, lambda, zeta)^T v`, `v` in R^d, `out` in R^m.
    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]);

    /// Refuses settings with which the map contracts for no problem: samples alone do not tell a map that goes nowhere from one
    /// that has arrived.
    ///
    /// # Errors
    /// Input, naming the setting.
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// A map whose `d1 Phi` is symmetric, so that conjugate gradients apply to `I - d1 Phi`.
pub trait Symmetric: StochasticMap {}

/// A map whose Jacobian in `w` multiplies vectors as well as its transpose does.
///
/// What the normal equations and forward mode need. A symmetric map has it, as it is its own transpose.
pub trait Jvp: StochasticMap {
    /// `out = d1 Phi_hat(w, lambda, zeta) x`, `x` and `out` in R^d.
    fn jvp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]);
}

impl<M: Symmetric + ?Sized> Jvp for M {
    fn jvp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        self.vjp_w(w, lambda, zeta, x, out);
    }
}

/// A map whose Jacobian in `lambda` multiplies vectors too, so that derivatives can be carried forward along the iterates.
pub trait JvpLambda: Jvp {
    /// `out = d2 Phi_hat(w, lambda, zeta) x`, `x` in R^m, `out` in R^d.
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]);
}

/// Lower level as a loss: `w(lambda) = argmin_w g(w, lambda)`, `g = E_zeta[g_hat]`, strongly convex in `w`.
///
/// Every `out` has the right length and is overwritten.
pub trait StochasticLoss: Sync {
    /// Lengths of `w` and `lambda`.
    fn dims(&self) -> Dims;

    /// Draws a sample of `batch` elements; reuses the buffers of `sample` where it can.
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample);

    /// Number of rows that evaluating on `zeta` visits.
    fn size(&self, zeta: &Sample) -> usize;

    /// Number of rows that [`cross_product`](Self::cross_product) visits; 0 where it depends on no data.
    fn cross_size(&self, zeta: &Sample) -> usize {
        self.size(zeta)
    }

    /// False where evaluations, also those of the upper objective, must follow one another on the thread of the caller, as
    /// those in an interpreter do. Elsewhere algorithms may call from other threads, and two at a time.
    fn is_parallel(&self) -> bool {
        true
    }

    /// `g_hat(w, lambda, zeta)`.
    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64;

    /// `out = grad_w g_hat(w, lambda, zeta)`; returns `g_hat`.
    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64;

    /// `out = grad_w g_hat(w, lambda, zeta)`, without the value where that saves work.
    fn gradient_only(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.gradient(w, lambda, zeta, out);
    }

    /// `out = (hess_w g_hat(w, lambda, zeta)) v`, `v` and `out` in R^d.
    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]);

    /// `out = (d/dlambda grad_w g_hat(w, lambda, zeta))^T v`, `v` in R^d, `out` in R^m.
    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]);

    /// `out` = [`gradient`](Self::gradient), [`hessian_product`](Self::hessian_product) and
    /// [`cross_product`](Self::cross_product) with `v`, on one sample.
    ///
    /// All that a step of a method with a single loop needs (Dagreou et al., NeurIPS 2022, algorithm 1). A loss that can
    /// serves them in one visit of the sample.
    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let [gradient, hessian_product, cross_product] = out;
        self.gradient_only(w, lambda, zeta, gradient);
        self.hessian_product(w, lambda, zeta, v, hessian_product);
        self.cross_product(w, lambda, zeta, v, cross_product);
    }

    /// The [`directions`](Self::directions) at the first of two points without those at the second, on one sample.
    ///
    /// What recursive estimates need (SARAH, SPIDER). A loss that can serves both points in one visit of the sample.
    fn directions_change(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        zeta: &Sample,
        v: [&[f64]; 2],
        out: [&mut [f64]; 3],
    ) {
        difference_of_directions(self, w, lambda, zeta, v, out);
    }
}

/// [`StochasticLoss::directions_change`] by two calls of [`StochasticLoss::directions`].
pub(crate) fn difference_of_directions<L: StochasticLoss + ?Sized>(
    loss: &L,
    w: [&[f64]; 2],
    lambda: [&[f64]; 2],
    zeta: &Sample,
    v: [&[f64]; 2],
    out: [&mut [f64]; 3],
) {
    let [here_w, here_v, here_lambda] = out;
    let (d, m) = (here_w.len(), here_lambda.len());
    scratch(2 * d + m, |there: &mut [f64]| {
        let (there_w, rest) = there.split_at_mut(d);
        let (there_v, there_lambda) = rest.split_at_mut(d);
        company::join(
            || loss.directions(w[0], lambda[0], zeta, v[0], [&mut *here_w, &mut *here_v, &mut *here_lambda]),
            || loss.directions(w[1], lambda[1], zeta, v[1], [&mut *there_w, &mut *there_v, &mut *there_lambda]),
        );
        vector::axpy(-1.0, there_w, here_w);
        vector::axpy(-1.0, there_v, here_v);
        vector::axpy(-1.0, there_lambda, here_lambda);
    });
}

/// A loss whose derivative in `lambda` is known too: what methods without second derivatives need.
pub trait FirstOrder: StochasticLoss {
    /// `out = grad_lambda g_hat(w, lambda, zeta)`, `out` in R^m.
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]);
}

/// A loss whose cross derivative multiplies directions in `lambda`: makes its gradient map [`JvpLambda`].
pub trait CrossJvp: StochasticLoss {
    /// `out = (d/dlambda grad_w g_hat(w, lambda, zeta)) x`, `x` in R^m, `out` in R^d.
    fn cross_jvp(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]);
}

/// A loss whose second derivatives at one point can be prepared once and used many times (Newton, CG, exact adjoints).
pub trait Curved: StochasticLoss {
    /// The Hessian of `g(., lambda)` at `w`, over all rows, ready for products.
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a>;
}

/// The Hessian `H = hess_w g(w, lambda)` at a fixed `(w, lambda)`: symmetric and positive definite.
pub trait Curvature: Sync {
    /// `out = H v`.
    fn product(&self, v: &[f64], out: &mut [f64]);

    /// `out_j = H_jj`, or a positive estimate of it; preconditions conjugate gradients.
    fn diagonal(&self, out: &mut [f64]);

    /// A direct factorisation, where one is affordable; `None` where `H` is too large or is only known by products.
    ///
    /// # Errors
    /// Numeric, when `H` is not positive definite; interrupted, where it takes long and `stop` is raised.
    fn factorize(&self, stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>>;

    /// A factorisation of a matrix near `H`, where `H` itself is too large: preconditions conjugate gradients.
    ///
    /// # Errors
    /// As [`Curvature::factorize`].
    fn preconditioner(&self, _stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        None
    }

    /// About how many products a factorisation costs; lets a solver decide whether an old one will do.
    fn factorization_cost(&self) -> f64 {
        0.0
    }
}

/// The Hessian over all rows of a loss that knows it by [`hessian_product`](StochasticLoss::hessian_product) alone.
pub struct ProductCurvature<'a, L: ?Sized> {
    loss: &'a L,
    w: Vec<f64>,
    lambda: Vec<f64>,
}

impl<'a, L: StochasticLoss + ?Sized> ProductCurvature<'a, L> {
    /// The Hessian of `loss` at `(w, lambda)`.
    pub fn at(loss: &'a L, w: &[f64], lambda: &[f64]) -> Self {
        ProductCurvature { loss, w: w.to_vec(), lambda: lambda.to_vec() }
    }
}

impl<L: StochasticLoss + ?Sized> Curvature for ProductCurvature<'_, L> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        self.loss.hessian_product(&self.w, &self.lambda, &Sample::Full, v, out);
    }

    /// Ones: nothing is known of the diagonal without a product for each entry, and nothing is preconditioned.
    fn diagonal(&self, out: &mut [f64]) {
        out.fill(1.0);
    }

    fn factorize(&self, _stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        None
    }
}

/// A factorised symmetric positive definite matrix.
pub trait Factorization: Send + Sync {
    /// Replaces `b` by `H^{-1} b`.
    fn solve_in_place(&self, b: &mut [f64]);
}

/// The map of a gradient step, `Phi_hat = w - map_step * grad_w g_hat` (theory, section 5).
///
/// With `mu I <= hess g <= L I` it contracts by `q = max(|1 - map_step mu|, |1 - map_step L|)`. A step that serves is measured
/// by `diagnose::GradientStep`.
#[derive(Debug, Clone, Copy)]
pub struct GradientMap<'a, L: ?Sized> {
    /// The loss `g`.
    pub loss: &'a L,
    /// The step `alpha` of the map.
    pub map_step: f64,
}

impl<L: StochasticLoss + ?Sized> StochasticMap for GradientMap<'_, L> {
    fn dims(&self) -> Dims {
        self.loss.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.loss.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.loss.size(zeta)
    }

    fn cross_size(&self, zeta: &Sample) -> usize {
        self.loss.cross_size(zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.loss.gradient_only(w, lambda, zeta, out);
        vector::step_from(w, self.map_step, out);
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.loss.hessian_product(w, lambda, zeta, v, out);
        vector::step_from(v, self.map_step, out);
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.loss.cross_product(w, lambda, zeta, v, out);
        for o in out.iter_mut() {
            *o *= -self.map_step;
        }
    }

    fn validate(&self) -> Result<()> {
        if self.map_step > 0.0 && self.map_step.is_finite() {
            return Ok(());
        }
        Err(Error::input(format!("with map_step = {} the gradient step is no contraction", self.map_step))
            .remedy("use a positive one, below 2/L for a loss with L-Lipschitz gradient"))
    }
}

impl<L: StochasticLoss + ?Sized> Symmetric for GradientMap<'_, L> {}

impl<L: CrossJvp + ?Sized> JvpLambda for GradientMap<'_, L> {
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        self.loss.cross_jvp(w, lambda, zeta, x, out);
        vector::scale(-self.map_step, out);
    }
}

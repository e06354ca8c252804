//! Random operators: the one kind of equation `x = T(x)`, `T = E[T_hat]`, behind both solves of a hypergradient.
//!
//! The lower level `w = Phi(w, lambda)` and the linear system `v = Psi_w(v)` differ only in the operator, so a solver is
//! written once against [`RandomOperator`]. Better estimates of the direction (variance reduction, for one) are operators
//! that wrap an operator, which is why `apply` may change `self`.

use crate::lower::StochasticMap;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// A map `T = E[T_hat]` of R^d into itself that can be sampled.
pub trait RandomOperator {
    /// The dimension `d`.
    fn dim(&self) -> usize;

    /// Draws a sample of `batch` elements; reuses the buffers of `sample` where it can.
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample);

    /// `out = T_hat(x, sample)`; returns what it cost.
    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work;
}

/// The lower level: `T_hat(w, zeta) = Phi_hat(w, lambda, zeta)`.
#[derive(Debug)]
pub struct LowerOperator<'a, M: ?Sized> {
    /// The map `Phi`.
    pub map: &'a M,
    /// The hyperparameters, held fixed.
    pub lambda: &'a [f64],
}

impl<M: StochasticMap + ?Sized> RandomOperator for LowerOperator<'_, M> {
    fn dim(&self) -> usize {
        self.map.dims().w
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn apply(&mut self, w: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        self.map.apply(w, self.lambda, sample, out);
        Work::gradient(self.map.size(sample))
    }
}

/// The linear system: `T_hat(v, zeta) = Psi_hat_w(v, zeta) = d1Phi_hat(w, lambda, zeta)^T v + grad1 E` (theory, section 2).
#[derive(Debug)]
pub struct AdjointOperator<'a, M: ?Sized> {
    /// The map `Phi`.
    pub map: &'a M,
    /// The lower variable at which the system is posed.
    pub w: &'a [f64],
    /// The hyperparameters.
    pub lambda: &'a [f64],
    /// The right-hand side `grad1 E(w, lambda)`.
    pub grad_w: &'a [f64],
}

impl<M: StochasticMap + ?Sized> RandomOperator for AdjointOperator<'_, M> {
    fn dim(&self) -> usize {
        self.map.dims().w
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn apply(&mut self, v: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        self.map.vjp_w(self.w, self.lambda, sample, v, out);
        vector::axpy(1.0, self.grad_w, out);
        Work::hessian_product(self.map.size(sample))
    }
}

/// The mean of one operator over several streams of samples: `T_hat(x) = mean_i T_hat(x, zeta_i)`, one sample from each
/// stream at every application.
///
/// As if the batch were larger, but on samples that other runs see as well.
#[derive(Debug)]
pub struct PooledOperator<'s, O> {
    /// The operator.
    pub inner: O,
    /// Elements drawn from each stream.
    pub batch: usize,
    /// The streams.
    pub streams: &'s mut [Rng],
    sample: Sample,
    image: Vec<f64>,
}

impl<'s, O: RandomOperator> PooledOperator<'s, O> {
    /// Pools samples of `batch` elements from each of `streams`.
    pub fn new(inner: O, batch: usize, streams: &'s mut [Rng]) -> Self {
        let image = vec![0.0; inner.dim()];
        PooledOperator { inner, batch, streams, sample: Sample::Full, image }
    }
}

impl<O: RandomOperator> RandomOperator for PooledOperator<'_, O> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Samples are drawn when they are needed, from the streams of the pool.
    fn draw(&self, _batch: usize, _rng: &mut Rng, _sample: &mut Sample) {}

    fn apply(&mut self, x: &[f64], _sample: &Sample, out: &mut [f64]) -> Work {
        let weight = 1.0 / self.streams.len() as f64;
        out.fill(0.0);
        let mut work = Work::default();
        for stream in self.streams.iter_mut() {
            self.inner.draw(self.batch, stream, &mut self.sample);
            work += self.inner.apply(x, &self.sample, &mut self.image);
            vector::axpy(weight, &self.image, out);
        }
        work
    }
}

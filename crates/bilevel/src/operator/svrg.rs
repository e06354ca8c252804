//! Stochastic variance-reduced gradients (Johnson, Zhang, NeurIPS 2013): noise that vanishes as the iterates settle.
//!
//! `T_hat_k(x) = T_hat(x, zeta) - T_hat(a, zeta) + T(a)` has the mean `T(x)`, whatever the anchor `a`, and a variance of
//! at most `E|T_hat(x, zeta) - T_hat(a, zeta)|^2`, which is proportional to `|x - a|^2`. With an anchor that is renewed now
//! and then constant steps converge linearly, for the price of one exact evaluation each time.

use super::RandomOperator;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// The variance-reduced operator around `inner`, which must be able to evaluate on [`Sample::Full`].
#[derive(Debug, Clone)]
pub struct Svrg<O> {
    inner: O,
    period: usize,
    steps: usize,
    anchor: Vec<f64>,
    /// `T(a)`.
    mean: Vec<f64>,
}

impl<O: RandomOperator> Svrg<O> {
    /// Renews the anchor at the first of every `period` applications (at every one for 0), which then costs a pass.
    pub fn new(inner: O, period: usize) -> Self {
        let zeros = vec![0.0; inner.dim()];
        Svrg { inner, period: period.max(1), steps: 0, anchor: zeros.clone(), mean: zeros }
    }
}

impl<O: RandomOperator> RandomOperator for Svrg<O> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.inner.draw(batch, rng, sample);
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let mut work = Work::default();
        if self.steps.is_multiple_of(self.period) {
            self.anchor.copy_from_slice(x);
            work += self.inner.apply(x, &Sample::Full, &mut self.mean);
        }
        self.steps += 1;
        work += self.inner.difference(x, &self.anchor, sample, out);
        vector::axpy(1.0, &self.mean, out);
        work
    }
}

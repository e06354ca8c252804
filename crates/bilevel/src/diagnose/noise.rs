//! The noise constants of the theory, by sampling.
//!
//! ```text
//! E|Phi_hat(x) - Phi(x)|^2 <= sigma1 + sigma2 |Phi(x) - x|^2,    E|(d1Phi_hat - d1Phi)' v|^2 <= m1 |v|^2,
//! ```
//!
//! and `m2` likewise for `d2Phi`. Suprema over a space are found from below, by looking where they are likely: `m1` and
//! `m2` by power iteration on the second moment of the noise, `sigma2` along random directions and towards zero.

use super::constants::Difference;
use crate::error::{Error, Result};
use crate::lower::StochasticMap;
use crate::sample::{Purpose, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// Power iterations on the second moment of the noise.
const POWER_STEPS: usize = 6;

/// How to estimate the constants.
///
/// The cost is `samples` minibatch evaluations of the map at each of 7 points, and for `m1` and `m2` each `6 samples`
/// minibatches of two products and two evaluations, beside a few passes for the means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseEstimate {
    /// Elements of a minibatch; the constants are those of this batch size, and fall like `1/batch`.
    pub batch: usize,
    /// Minibatches to each mean.
    pub samples: usize,
    /// Seed of all of it.
    pub seed: u64,
}

/// Estimated constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Variance of the map at its fixed point.
    pub sigma1: f64,
    /// Growth of the variance with the squared residual.
    pub sigma2: f64,
    /// Variance of `d1Phi_hat^T v` per `|v|^2`.
    pub m1: f64,
    /// Variance of `d2Phi_hat^T v` per `|v|^2`.
    pub m2: f64,
    /// What the estimate cost.
    pub work: Work,
}

impl NoiseEstimate {
    /// Estimates the constants around `w`, which is to be near the fixed point (the variance there is `sigma1`).
    ///
    /// # Errors
    /// Input, for an empty batch or no samples; numeric, when anything is not finite.
    pub fn estimate<M: StochasticMap + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64]) -> Result<Noise> {
        if self.batch == 0 || self.samples == 0 {
            return Err(Error::input("estimating noise constants needs samples of at least one element"));
        }
        let mut work = Work::default();
        let (sigma1, _) = self.variance(map, w, lambda, 0, &mut work);
        let mut sigma2 = 0.0_f64;
        let size = vector::norm(w).max(1.0);
        for point in 1..=6 {
            let mut x = w.to_vec();
            if point == 1 {
                x.fill(0.0);
            } else {
                let direction = self.direction(w.len(), point);
                vector::axpy(size * 4.0_f64.powi(1 - point as i32 / 2), &direction, &mut x);
            }
            let (variance, residual) = self.variance(map, &x, lambda, point, &mut work);
            if residual > 0.0 {
                sigma2 = sigma2.max((variance - sigma1) / residual);
            }
        }
        let m1 = self.operator_noise(
            (w, w.len()),
            |zeta, v, out| map.vjp_w(w, lambda, zeta, v, out),
            |w, zeta, out| map.apply(w, lambda, zeta, out),
            map,
            &mut work,
        );
        let m2 = self.operator_noise(
            (lambda, w.len()),
            |zeta, v, out| map.vjp_lambda(w, lambda, zeta, v, out),
            |lambda, zeta, out| map.apply(w, lambda, zeta, out),
            map,
            &mut work,
        );
        if ![sigma1, sigma2, m1, m2].iter().all(|constant| constant.is_finite()) {
            return Err(Error::numeric("the noise constants are not finite")
                .remedy("check the data for non-finite or huge values"));
        }
        Ok(Noise { sigma1, sigma2, m1, m2, work })
    }

    /// `E|Phi_hat(x) - Phi(x)|^2` and `|Phi(x) - x|^2`.
    fn variance<M: StochasticMap + ?Sized>(
        &self,
        map: &M,
        x: &[f64],
        lambda: &[f64],
        stream: u64,
        work: &mut Work,
    ) -> (f64, f64) {
        let mut rng = Rng::stream(self.seed, Purpose::Lower, stream);
        let (mut exact, mut image) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        map.apply(x, lambda, &Sample::Full, &mut exact);
        let mut rows = map.size(&Sample::Full);
        let mut sample = Sample::Full;
        let mut sum = 0.0;
        for _ in 0..self.samples {
            map.draw(self.batch, &mut rng, &mut sample);
            map.apply(x, lambda, &sample, &mut image);
            sum += vector::distance_squared(&image, &exact);
            rows += map.size(&sample);
        }
        *work += Work::gradient(rows);
        (sum / self.samples as f64, vector::distance_squared(&exact, x))
    }

    /// Largest eigenvalue of `E[D D']`, `D' v = vjp(zeta, v) - vjp(Full, v)`, by power iteration; `D u` is a central
    /// difference of `apply` at `x` on the same sample.
    fn operator_noise<M: StochasticMap + ?Sized>(
        &self,
        (x, dim): (&[f64], usize),
        vjp: impl Fn(&Sample, &[f64], &mut [f64]),
        apply: impl Fn(&[f64], &Sample, &mut [f64]),
        map: &M,
        work: &mut Work,
    ) -> f64 {
        let mut difference = Difference::new(x);
        let mut v = self.direction(dim, 100);
        let (mut exact, mut noise) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let (mut image, mut next, mut total) = (vec![0.0; dim], vec![0.0; dim], vec![0.0; x.len()]);
        let mut sample = Sample::Full;
        let mut largest = 0.0_f64;
        for iteration in 0..POWER_STEPS {
            // The same samples at each iteration, so that it is the power iteration of one matrix.
            let mut rng = Rng::stream(self.seed, Purpose::Linear, 0);
            vjp(&Sample::Full, &v, &mut exact);
            *work += Work::hessian_product(map.size(&Sample::Full));
            next.fill(0.0);
            total.fill(0.0);
            let mut sum = 0.0;
            for _ in 0..self.samples {
                map.draw(self.batch, &mut rng, &mut sample);
                vjp(&sample, &v, &mut noise);
                vector::axpy(-1.0, &exact, &mut noise);
                sum += vector::norm_squared(&noise);
                let rows = map.size(&sample);
                *work += Work::hessian_product(rows);
                if iteration + 1 < POWER_STEPS {
                    difference.along(&noise, &mut image, |x, out| apply(x, &sample, out));
                    vector::axpy(1.0, &image, &mut next);
                    vector::axpy(1.0, &noise, &mut total);
                    *work += Work::gradient(2 * rows);
                }
            }
            // sum D D'v = sum J_hat D'v - J sum D'v: one pass for the exact Jacobian, not one a sample.
            difference.along(&total, &mut image, |x, out| apply(x, &Sample::Full, out));
            vector::axpy(-1.0, &image, &mut next);
            *work += Work::gradient(2 * map.size(&Sample::Full));
            largest = largest.max(sum / self.samples as f64);
            let norm = vector::norm(&next);
            if norm == 0.0 || !norm.is_finite() {
                break;
            }
            vector::scaled_copy(1.0 / norm, &next, &mut v);
        }
        largest
    }

    fn direction(&self, length: usize, number: u64) -> Vec<f64> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, number);
        let mut direction: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
        let norm = vector::norm(&direction);
        vector::scale(1.0 / norm, &mut direction);
        direction
    }
}

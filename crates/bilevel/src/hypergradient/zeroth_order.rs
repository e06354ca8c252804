//! The Jacobian of the lower steps by differences: the estimator of PZOBO (Sow, Ji, Liang, NeurIPS 2022).
//!
//! From one start and on the same samples, `t` steps are made at `lambda` and at `lambda + mu u_j` for standard normal
//! `u_1, .., u_Q`. The difference quotients stand for `(dw_t/dlambda) u_j`:
//!
//! ```text
//! g = grad2 E + (1/Q) sum_j < (w_t(lambda + mu u_j) - w_t(lambda)) / mu, grad1 E > u_j.
//! ```
//!
//! Given the samples, its mean over the directions is the gradient of `f_t` with `w_t` smoothed by a normal kernel of
//! width `mu`, hence that of [`ReverseMode`](super::ReverseMode) as `mu -> 0`; its variance is about `(m + 1)/Q` times the
//! square of the part of it that comes from `w`. No Jacobian product at all: for maps that only evaluate. `mu` should be
//! well above the square root of the rounding error relative to `lambda`.

use serde::{Deserialize, Serialize};

use super::differentiated_iterates::Iterates;
use super::spread::std_error;
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::FixedPoint;
use crate::lower::StochasticMap;
use crate::sample::{Batch, Purpose, Rng};
use crate::status::Status;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Differences along random directions. `(Q + 1) t` evaluations of the map; memory of a few vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ZerothOrder {
    /// The iteration that is differentiated; its `average` must be the last iterate.
    pub lower: FixedPoint,
    /// Directions `Q`.
    pub directions: usize,
    /// The length `mu` of the differences.
    pub smoothing: f64,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

impl ZerothOrder {
    /// Of a given iteration, with everything of the upper objective.
    pub fn new(lower: FixedPoint, directions: usize, smoothing: f64) -> Self {
        ZerothOrder { lower, directions, smoothing, upper_batch: Batch::All }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`](super::Sid::estimate). `start` gives `w_0` and is
    /// left at `w_t`, with its `v` as it was. Where nothing else is sampled and there are two directions or more, the
    /// spread over them gives a standard error.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when an iteration diverged or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        if self.directions == 0 {
            return Err(Error::input("differences need at least one direction"));
        }
        if !(self.smoothing > 0.0 && self.smoothing.is_finite()) {
            return Err(Error::input(format!("smoothing = {} must be positive and finite", self.smoothing)));
        }
        let samples = (seed, index);
        // All runs make the same steps: a tolerance would end them at different ones.
        let lower = FixedPoint { tolerance: 0.0, ..self.lower };
        let at_lambda = |lambda: &[f64]| -> Result<(Vec<f64>, Status, Work)> {
            let iterates = Iterates::new(&lower, map, upper, lambda, start.as_deref(), self.upper_batch)?;
            let mut run = iterates.begin(start.as_deref(), samples);
            let status = loop {
                if let Some(status) = iterates.step(&mut run) {
                    break status;
                }
            };
            let info = iterates.end(&run, status)?;
            Ok((run.w, info.status, info.work))
        };
        let (w, status, mut work) = at_lambda(lambda)?;
        let iterates = Iterates::new(&lower, map, upper, lambda, None, self.upper_batch)?;
        let at = iterates.upper_at(upper, &w, self.upper_batch, samples)?;
        let mut normals = Rng::stream(seed, Purpose::Start, index);
        let mut terms = Vec::with_capacity(self.directions);
        for _ in 0..self.directions {
            let mut u: Vec<f64> = lambda.iter().map(|_| normals.normal()).collect();
            let mut shifted = lambda.to_vec();
            vector::axpy(self.smoothing, &u, &mut shifted);
            let (mut there, _, spent) = at_lambda(&shifted)?;
            vector::axpy(-1.0, &w, &mut there);
            vector::scale(vector::dot(&there, &at.grad_w) / self.smoothing, &mut u);
            terms.push(u);
            work += spent;
        }
        let mut sum = vec![0.0; lambda.len()];
        terms.iter().for_each(|term| vector::axpy(1.0, term, &mut sum));
        let mut estimate = at.assemble(1.0 / self.directions as f64, &sum, status, work)?;
        if self.directions >= 2 && self.lower.batch == Batch::All && self.upper_batch == Batch::All {
            estimate.std_error = Some((0..lambda.len()).map(|j| std_error(terms.iter().map(|term| term[j]))).collect());
        }
        if let Some(start) = start {
            start.w = w;
        }
        Ok(estimate)
    }
}

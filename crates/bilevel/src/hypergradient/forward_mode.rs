//! Iterative differentiation, forwards (Franceschi, Donini, Frasconi, Pontil, ICML 2017): the Jacobian of the iterate is
//! carried along.
//!
//! With `Z_s = dw_s/dlambda`, `Z_0 = 0`,
//!
//! ```text
//! Z_{s+1} = (1 - eta_s) Z_s + eta_s (d1Phi_hat(w_s, zeta_s) Z_s + d2Phi_hat(w_s, zeta_s)),    g = grad2 E + Z_t^T grad1 E.
//! ```
//!
//! The same number as [`ReverseMode`](super::ReverseMode), with memory that does not grow with `t`, and known at every
//! step on the way; but `m` products with each Jacobian a step and `m d` numbers, so for few hyperparameters.

use serde::{Deserialize, Serialize};

use super::differentiated_iterates::Iterates;
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::FixedPoint;
use crate::lower::JvpLambda;
use crate::sample::{Batch, Sample};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// The gradient of the last iterate's objective, carried along. `m t` products with each Jacobian.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForwardMode {
    /// The iteration that is differentiated; its `average` must be the last iterate.
    pub lower: FixedPoint,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

impl ForwardMode {
    /// Of a given iteration, with everything of the upper objective.
    pub fn new(lower: FixedPoint) -> Self {
        ForwardMode { lower, upper_batch: Batch::All }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`](super::Sid::estimate). `start` gives `w_0` and is
    /// left at `w_t`, with its `v` as it was.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the iteration diverged or anything is not finite.
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
        M: JvpLambda + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let samples = (seed, index);
        let iterates = Iterates::new(&self.lower, map, upper, lambda, start.as_deref(), self.upper_batch)?;
        let mut run = iterates.begin(start.as_deref(), samples);
        let mut jacobian = Jacobian::new(run.w.len(), lambda.len());
        let (mut sample, mut work) = (Sample::Full, Work::default());
        let status = loop {
            let (s, before, mut again) = (run.state.steps, run.w.clone(), run.rng.clone());
            if let Some(status) = iterates.step(&mut run) {
                break status;
            }
            iterates.draw(&mut again, &mut sample);
            work += jacobian.advance(map, &before, lambda, &sample, iterates.eta(s));
        };
        let lower = iterates.end(&run, status)?;
        let at = iterates.upper_at(upper, &run.w, self.upper_batch, samples)?;
        let along: Vec<f64> = jacobian.columns().map(|column| vector::dot(column, &at.grad_w)).collect();
        let estimate = at.assemble(1.0, &along, lower.status, lower.work + work)?;
        if let Some(start) = start {
            start.w = run.w;
        }
        Ok(estimate)
    }
}

/// `dw_s/dlambda`, column after column.
struct Jacobian {
    columns: Vec<f64>,
    image: Vec<f64>,
    cross: Vec<f64>,
    unit: Vec<f64>,
}

impl Jacobian {
    fn new(d: usize, m: usize) -> Self {
        Jacobian { columns: vec![0.0; d * m], image: vec![0.0; d], cross: vec![0.0; d], unit: vec![0.0; m] }
    }

    fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.columns.chunks_exact(self.image.len())
    }

    fn advance<M: JvpLambda + ?Sized>(&mut self, map: &M, w: &[f64], lambda: &[f64], zeta: &Sample, eta: f64) -> Work {
        for (j, column) in self.columns.chunks_exact_mut(w.len()).enumerate() {
            self.unit[j] = 1.0;
            map.jvp_w(w, lambda, zeta, column, &mut self.image);
            map.jvp_lambda(w, lambda, zeta, &self.unit, &mut self.cross);
            vector::axpy(1.0, &self.cross, &mut self.image);
            vector::move_towards(eta, &self.image, column);
            self.unit[j] = 0.0;
        }
        let m = lambda.len();
        Work::hessian_product(m * map.size(zeta)) + Work::cross_product(m * map.cross_size(zeta))
    }
}

//! Iterative differentiation, backwards (Franceschi, Donini, Frasconi, Pontil, ICML 2017), whole or truncated (Shaban,
//! Cheng, Hatch, Boots, AISTATS 2019).
//!
//! The exact gradient of `f_t(lambda) = E(w_t(lambda), lambda)` for the iterate that was in fact computed. With
//! `w_{s+1} = w_s + eta_s (Phi_hat(w_s, lambda, zeta_s) - w_s)`, `a_t = grad1 E(w_t, lambda)` and `s = t - 1, .., 0`,
//!
//! ```text
//! g <- g + eta_s d2Phi_hat(w_s, zeta_s)^T a_{s+1},    a_s = (1 - eta_s) a_{s+1} + eta_s d1Phi_hat(w_s, zeta_s)^T a_{s+1},
//! ```
//!
//! from `g = grad2 E`. `w_0` is taken not to depend on `lambda`. The samples are those of the forward run, drawn again.
//! For a contraction on the exact mean `|grad f_t - grad f| = O(t q^t)` (theory, section 7.1), while noise in the iterates
//! enters `grad f_t` as it enters `w_t` and does not average out of it.
//!
//! Going back needs `w_{t-1}, w_{t-2}, ..`. Every `ceil(sqrt(t))`-th iterate is kept with the state of its generator, and
//! the ones in between are computed once more: memory of about `2 sqrt(t)` vectors instead of `t`, for `t` further
//! evaluations of the map.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::differentiated_iterates::Iterates;
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::FixedPoint;
use crate::lower::StochasticMap;
use crate::sample::{Batch, Rng, Sample};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// The gradient of the last iterate's objective. `t` products with each Jacobian and `2 t` evaluations of the map.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReverseMode {
    /// The iteration that is differentiated; its `average` must be the last iterate.
    pub lower: FixedPoint,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

/// The same through the last `window` steps alone, as if `w_{t - window}` did not depend on `lambda`: the error grows by a
/// term of the order `q^window`, memory and work fall to those of `window` steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TruncatedReverse {
    /// Everything else.
    pub reverse: ReverseMode,
    /// Steps that are differentiated.
    pub window: usize,
}

impl ReverseMode {
    /// Of a given iteration, with everything of the upper objective.
    pub fn new(lower: FixedPoint) -> Self {
        ReverseMode { lower, upper_batch: Batch::All }
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
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.through(self.lower.steps, map, upper, lambda, start, (seed, index))
    }

    fn through<M, U>(
        &self,
        window: usize,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        samples: (u64, u64),
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let iterates = Iterates::new(&self.lower, map, upper, lambda, start.as_deref(), self.upper_batch)?;
        let mut run = iterates.begin(start.as_deref(), samples);
        // A window longer than the run is the whole run, with as few iterates kept.
        let mut kept = Checkpoints::new(window.min(self.lower.steps));
        let status = loop {
            kept.visit(run.state.steps, &run.w, &run.rng);
            if let Some(status) = iterates.step(&mut run) {
                break status;
            }
        };
        let lower = iterates.end(&run, status)?;
        let at = iterates.upper_at(upper, &run.w, self.upper_batch, samples)?;
        let mut adjoint = at.grad_w.clone();
        let mut sum = vec![0.0; lambda.len()];
        let work = kept.reverse(&iterates, lower.steps, &mut adjoint, &mut sum);
        let estimate = at.assemble(1.0, &sum, lower.status, lower.work + work)?;
        if let Some(start) = start {
            start.w = run.w;
        }
        Ok(estimate)
    }
}

impl TruncatedReverse {
    /// As [`ReverseMode::estimate`].
    ///
    /// # Errors
    /// Those of [`ReverseMode::estimate`]; input, for a window of zero.
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
        if self.window == 0 {
            return Err(Error::input("window = 0 steps to differentiate must be positive"));
        }
        self.reverse.through(self.window, map, upper, lambda, start, (seed, index))
    }
}

/// An iterate to begin again from.
struct Checkpoint {
    s: usize,
    w: Vec<f64>,
    rng: Rng,
}

struct Checkpoints {
    window: usize,
    every: usize,
    kept: VecDeque<Checkpoint>,
}

impl Checkpoints {
    fn new(window: usize) -> Self {
        let every = (window as f64).sqrt().ceil().max(1.0) as usize;
        Checkpoints { window, every, kept: VecDeque::new() }
    }

    /// Keeps the iterate before step `s` if it is due, and forgets those that a window ending here or later cannot need.
    fn visit(&mut self, s: usize, w: &[f64], rng: &Rng) {
        if s.is_multiple_of(self.every) {
            let first = s.saturating_sub(self.window);
            while self.kept.get(1).is_some_and(|second| second.s <= first) {
                self.kept.pop_front();
            }
            self.kept.push_back(Checkpoint { s, w: w.to_vec(), rng: rng.clone() });
        }
    }

    /// Goes back from step `t` through the window: `adjoint` from `a_t` to that of its first iterate, `sum` by the cross terms.
    fn reverse<M: StochasticMap + ?Sized>(
        mut self,
        iterates: &Iterates<'_, M>,
        t: usize,
        adjoint: &mut [f64],
        sum: &mut [f64],
    ) -> Work {
        let Iterates { map, lambda, .. } = *iterates;
        let first = t.saturating_sub(self.window);
        let (mut image, mut cross) = (vec![0.0; adjoint.len()], vec![0.0; sum.len()]);
        let (mut work, mut end) = (Work::default(), t);
        while let Some(Checkpoint { s: begin, mut w, mut rng }) = self.kept.pop_back() {
            if end <= first {
                break;
            }
            // The iterates of this stretch once more, with their samples.
            let mut stretch = Vec::with_capacity(end - begin);
            let mut sample = Sample::Full;
            for s in begin..end {
                iterates.draw(&mut rng, &mut sample);
                stretch.push((w.clone(), sample.clone()));
                if s + 1 < end {
                    work += iterates.repeat(s, &mut w, &sample, &mut image);
                }
            }
            for (s, (w, zeta)) in (begin..end).zip(&stretch).skip(first.saturating_sub(begin)).rev() {
                let eta = iterates.eta(s);
                map.vjp_lambda(w, lambda, zeta, adjoint, &mut cross);
                vector::axpy(eta, &cross, sum);
                map.vjp_w(w, lambda, zeta, adjoint, &mut image);
                vector::move_towards(eta, &image, adjoint);
                work += Work::hessian_product(map.size(zeta)) + Work::cross_product(map.cross_size(zeta));
            }
            end = begin;
        }
        work
    }
}

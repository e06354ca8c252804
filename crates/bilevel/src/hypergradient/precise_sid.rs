//! SID until a requested precision is reached.
//!
//! The error of a mean over independent replicates is noise and bias. Bias is what the trial (`trial.rs`) measures and
//! keeps small; the differences it needs take few replicates. The noise is beaten down here, by fresh ones without
//! companions. All iterates past the burn-in are averaged (Polyak, Juditsky 1992), so that `R` replicates of `t` steps are
//! as good as one of `R t`, and where many more samples are needed than the trial took, replicates get longer instead of
//! more: longer ones waste a smaller part on forgetting. Only where the correction for noise hardly matters, though: it was
//! measured at the length of the trial, and some of what it corrects is less in longer ones. The number of rows of the data
//! appears nowhere.

use rayon::prelude::*;

use super::precision::{PreciseHypergradient, Precision, ROUNDINGS};
use super::sid::CROSS_PART;
use super::spread::Spread;
use super::trial::{BIAS_SHARE, Run, TRIALS, values};
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::lower::StochasticMap;
use crate::observer::Observer;
use crate::status::Status;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Replicates of the result: at least, and where longer ones are better than more.
const REPLICATES: (u64, u64) = (8, 32);
/// Replicates grow to at most this many times the length of the trial's; beyond, little is wasted on forgetting.
const LONGER: f64 = 8.0;
/// Replicates between two looks at the error.
const ROUND: u64 = 16;
/// Samples are planned for this part of the allowed noise, since the plan itself is an estimate.
const PLANNED: f64 = 0.95;

/// Settings of the estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreciseSid {
    /// Elements drawn at each step; doubled where the bias asks for it.
    pub batch: usize,
    /// The step `eta`; it is halved where a solve diverges.
    pub eta: f64,
    /// The contraction `q` of the map where it is known. Without it, a part of the start that is forgotten ever so slowly
    /// cannot be told from one that does not matter.
    pub contraction: Option<f64>,
    /// Seed of all samples.
    pub seed: u64,
    /// Relative rounding error of one evaluation on a sample, which no average over samples removes.
    pub sample_precision: f64,
}

impl Default for PreciseSid {
    fn default() -> Self {
        PreciseSid { batch: 64, eta: 0.5, contraction: None, seed: 0, sample_precision: f64::EPSILON }
    }
}

/// Where a run stands, for whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Steps `t = k` of a replicate.
    pub steps: usize,
    /// Replicates so far.
    pub replicates: usize,
    /// Bound on the error so far.
    pub error: f64,
    /// The allowed error.
    pub allowed: f64,
    /// Rows visited so far.
    pub rows: u64,
}

impl PreciseSid {
    /// Estimates `grad f(lambda)` to `precision`, from `start` (zeros without). `observer` sees every stage and may break
    /// the run off, which then ends with what it has: the trial is finished, and at least two replicates are made, so that
    /// there always is an estimate with an error bar.
    ///
    /// # Errors
    /// Input, for unusable settings; numeric, when solves diverge however small the steps, or when the map does not contract.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&WarmStart>,
        precision: Precision,
        observer: &mut dyn Observer<Stage>,
    ) -> Result<PreciseHypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        precision.validate()?;
        if !(self.eta > 0.0 && self.eta <= 1.0) {
            return Err(Error::input(format!("eta = {} must be in (0, 1]", self.eta)));
        }
        if let Some(q) = self.contraction
            && !(0.0..1.0).contains(&q)
        {
            return Err(Error::input(format!("contraction = {q} must be at least 0 and below 1"))
                .remedy("use a smaller map_step or a strongly convex lower level"));
        }
        let run = Run { map, upper, lambda, start, settings: *self };
        let mut work = Work::default();
        let trial = run.trial(&precision, &mut work, observer)?;
        let correction = Spread::of(&trial.corrections);
        let mut plan = trial.plan;
        let mut found: Vec<Hypergradient> = Vec::new();
        let rounding = ROUNDINGS * self.sample_precision;
        let mut goal = Goal { bias: trial.bias, correction: &correction, precision: &precision, rounding };

        let mut wanted = match trial.stopped {
            false => goal.replicates(&trial.spread).max(REPLICATES.0 as f64),
            true => 0.0,
        };
        let corrected = correction.signal_squared().sqrt();
        let slight = corrected <= BIAS_SHARE * goal.allowed(&trial.spread);
        if wanted > REPLICATES.1 as f64 && trial.settled && slight {
            let longer = plan.averaged as f64 * (wanted / REPLICATES.1 as f64).min(LONGER);
            let left = precision.max_rows.saturating_sub(work.rows) as f64 / REPLICATES.1 as f64;
            let rows_of_a_step = plan.batch as f64 * (2.0 + plan.upper_part + CROSS_PART);
            let most = (left / rows_of_a_step - plan.burn_in as f64).max(plan.averaged as f64);
            plan.averaged = longer.min(most).ceil() as usize;
            let shortened = trial.plan.averaged as f64 / plan.averaged as f64;
            wanted *= shortened;
            goal.bias += (1.0 - shortened) * corrected;
        }
        let mut status = Status::StepLimit;
        let mut next = TRIALS;
        let spread = loop {
            let have = next - TRIALS;
            let count = (wanted.min(1e15) as u64).saturating_sub(have).clamp(2, ROUND);
            let more: Result<Vec<Hypergradient>> =
                (next..next + count).into_par_iter().map(|index| run.replicate(&plan, index)).collect();
            let more = more?;
            next += count;
            work += more.iter().map(|estimate| estimate.work).sum();
            found.extend(more);
            let spread = Spread::of(&values(&found));
            let (error, allowed) = (goal.error(&spread), goal.allowed(&spread));
            let replicates = found.len();
            let stage = Stage { steps: plan.steps(), replicates, error, allowed, rows: work.rows };
            let go_on = observer.observe(&stage).is_continue();
            if error <= allowed && trial.settled && replicates as u64 >= REPLICATES.0 {
                status = Status::Converged;
                break spread;
            }
            wanted = goal.replicates(&spread).max(REPLICATES.0 as f64);
            // More replicates bring down neither a bias that did not settle nor rounding.
            let in_vain = !trial.settled || goal.rounded(&spread) >= allowed;
            let enough = in_vain && replicates as u64 >= REPLICATES.0;
            if !go_on || enough || work.rows + found[0].work.rows > precision.max_rows {
                break spread;
            }
        };

        let replicates = values(&found);
        let mut value = spread.mean.clone();
        vector::axpy(1.0, &correction.mean, &mut value);
        let objective = found.iter().map(|estimate| estimate.objective).sum::<f64>() / found.len() as f64;
        let precise = PreciseHypergradient {
            bias: goal.bias,
            error: goal.error(&spread),
            allowed: goal.allowed(&spread),
            settings: run.sid(&plan),
            anchors: 0,
            replicates,
            corrections: trial.corrections,
            biases: trial.biases,
            reached: None,
            estimate: Hypergradient { value, objective, std_error: None, status, work },
        };
        Ok(precise.with_std_errors())
    }
}

/// The error of the sum of replicates' mean and correction, against what is allowed.
struct Goal<'a> {
    bias: f64,
    correction: &'a Spread,
    precision: &'a Precision,
    /// Part of the value that rounding may be.
    rounding: f64,
}

impl Goal<'_> {
    fn allowed(&self, spread: &Spread) -> f64 {
        let mut value = spread.mean.clone();
        vector::axpy(1.0, &self.correction.mean, &mut value);
        let noise = spread.variance / spread.count as f64 + self.correction.variance / self.correction.count as f64;
        self.precision.allowed((vector::norm_squared(&value) - noise).max(0.0).sqrt())
    }

    fn error(&self, spread: &Spread) -> f64 {
        let noise = spread.radius(spread.count, self.precision.probability);
        self.bias + noise.hypot(self.correction_radius()) + self.rounded(spread)
    }

    fn rounded(&self, spread: &Spread) -> f64 {
        self.rounding * vector::norm(&spread.mean)
    }

    fn correction_radius(&self) -> f64 {
        self.correction.radius(self.correction.count, self.precision.probability)
    }

    /// Replicates like those of `spread` that make the error small enough.
    fn replicates(&self, spread: &Spread) -> f64 {
        let correction = self.correction_radius();
        let noise = PLANNED * (self.allowed(spread) - self.bias - self.rounded(spread)).max(0.0);
        let left = (noise * noise - correction * correction).max(0.0);
        // The radius falls like one over the root of the number.
        let one = spread.radius(1, self.precision.probability);
        if one == 0.0 { 1.0 } else { one * one / left }
    }
}

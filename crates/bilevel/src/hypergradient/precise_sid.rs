//! SID until a requested precision is reached.
//!
//! The error of a mean over independent replicates is noise and bias. Noise falls with more replicates and is seen in
//! their spread. Bias does not, and has two sources that are measured by running companions *on the same samples*, so that
//! almost all noise cancels in the differences:
//!
//! * *what is not forgotten* of the starts. A companion begins after a quarter of the samples and averages over the same
//!   last ones. If the slowest part shrinks by `r` in that quarter, the run itself is off by at most `r/(1 - r)` times the
//!   difference; with a known contraction `q`, `r = (1 - eta (1 - q))^quarter`. The run is doubled until that is small.
//! * *the noise itself*. The lower level is not linear, so the mean over noisy `w` is not the value at their mean: with
//!   batches of `b` rows the estimate is off by `B/b + C/b^2` (Dieuleveut, Durmus, Bach, Annals of Statistics 2020, with the
//!   batch in the place of the step). A run on the pooled samples of two others has batches of `2b`; all that is linear in
//!   the noise cancels in `D1`, its distance from their mean. Adding `2 D1` removes `B` (Richardson), and with `D2` the same
//!   between `4b` and `2b`, `4/3 (D1 - 2 D2)` is what `C` leaves behind; the batch is doubled until that is small.
//!
//! The differences need few replicates. The noise is beaten down by fresh ones without companions. All iterates past the
//! burn-in are averaged (Polyak, Juditsky 1992), so that `R` replicates of `t` steps are as good as one of `R t`, and where
//! many more samples are needed than the trial took, replicates get longer instead of more: longer ones waste a smaller
//! part on forgetting. The number of rows of the data appears nowhere.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::precision::{PreciseHypergradient, Precision};
use super::sid::Streams;
use super::spread::{Spread, mean};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::Average;
use crate::lower::StochasticMap;
use crate::sample::{Batch, Sample};
use crate::status::Status;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Replicates whose pools are run too; a multiple of four.
const TRIALS: u64 = 12;
/// Those among them with a companion that begins late.
const LATE: u64 = 4;
/// Replicates of the result: at least, and where longer ones are better than more.
const REPLICATES: (u64, u64) = (8, 32);
/// Replicates grow to at most this many times the length of the trial's; beyond, little is wasted on forgetting.
const LONGER: f64 = 8.0;
/// Replicates between two looks at the error.
const ROUND: u64 = 16;
/// Part of the allowed error that each of the two biases may take.
const BIAS_SHARE: f64 = 0.15;
/// Part of the allowed error that the noise of the correction may take.
const CORRECTION_SHARE: f64 = 0.5;
/// First number of steps.
const FIRST_STEPS: usize = 256;
/// Doublings in a row after which what was not forgotten has grown, and the map is taken not to contract.
const GROWTHS: usize = 3;
/// Halvings of `eta` after divergence.
const RETREATS: usize = 10;
/// Rows of the upper sample as a part of those of one solve: at first, and within what bounds it is chosen.
const UPPER_PART: f64 = 1.0;
const UPPER_PARTS: (f64, f64) = (0.125, 16.0);
/// Rows of the cross sample as a part of those of one solve.
const CROSS_PART: f64 = 0.125;
/// Added to the number of a replicate for an upper sample of its own.
const OTHER_UPPER: u64 = 1 << 40;
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
}

impl Default for PreciseSid {
    fn default() -> Self {
        PreciseSid { batch: 64, eta: 0.5, contraction: None, seed: 0 }
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

/// Length of a replicate and what of it is averaged, its steps, its batches, and its upper sample for each row of a solve.
#[derive(Debug, Clone, Copy)]
struct Plan {
    burn_in: usize,
    averaged: usize,
    eta: f64,
    batch: usize,
    upper_part: f64,
}

/// What the trial found out.
struct Trial {
    plan: Plan,
    spread: Spread,
    /// `2 D1` of each pair of replicates.
    corrections: Vec<Vec<f64>>,
    bias: f64,
    /// What is left of the start, and of the noise after the correction.
    biases: [Vec<f64>; 2],
    settled: bool,
}

/// The problem and everything that stays the same.
struct Run<'a, M: ?Sized, U: ?Sized> {
    map: &'a M,
    upper: &'a U,
    lambda: &'a [f64],
    start: Option<&'a WarmStart>,
    settings: PreciseSid,
}

impl PreciseSid {
    /// Estimates `grad f(lambda)` to `precision`, from `start` (zeros without). `observer` sees every stage and may break
    /// the run off, which then ends with what it has.
    ///
    /// # Errors
    /// Input, for unusable settings; numeric, when solves diverge however small the steps; interrupted, when broken off
    /// before there was a first estimate.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&WarmStart>,
        precision: Precision,
        observer: &mut dyn FnMut(&Stage) -> ControlFlow<()>,
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
        let goal = Goal { bias: trial.bias, correction: &correction, precision: &precision };

        let mut wanted = goal.replicates(&trial.spread).max(REPLICATES.0 as f64);
        if wanted > REPLICATES.1 as f64 && trial.settled {
            let longer = plan.averaged as f64 * (wanted / REPLICATES.1 as f64).min(LONGER);
            let left = precision.max_rows.saturating_sub(work.rows) as f64 / REPLICATES.1 as f64;
            let rows_of_a_step = plan.batch as f64 * (2.0 + plan.upper_part + CROSS_PART);
            let most = (left / rows_of_a_step - plan.burn_in as f64).max(plan.averaged as f64);
            plan.averaged = longer.min(most).ceil() as usize;
            wanted *= trial.plan.averaged as f64 / plan.averaged as f64;
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
            let go_on = observer(&stage).is_continue();
            if error <= allowed && trial.settled && replicates as u64 >= REPLICATES.0 {
                status = Status::Converged;
                break spread;
            }
            wanted = goal.replicates(&spread).max(REPLICATES.0 as f64);
            let enough = !trial.settled && replicates as u64 >= REPLICATES.0;
            if !go_on || enough || work.rows + found[0].work.rows > precision.max_rows {
                break spread;
            }
        };

        let replicates = values(&found);
        let mut value = spread.mean.clone();
        vector::axpy(1.0, &correction.mean, &mut value);
        let objective = found.iter().map(|estimate| estimate.objective).sum::<f64>() / found.len() as f64;
        let mut precise = PreciseHypergradient {
            bias: trial.bias,
            error: goal.error(&spread),
            allowed: goal.allowed(&spread),
            settings: run.sid(&plan),
            replicates,
            corrections: trial.corrections,
            biases: trial.biases,
            estimate: Hypergradient { value, objective, std_error: None, status, work },
        };
        let errors = (0..lambda.len()).map(|j| precise.std_error_of(|replicate| replicate[j]).0).collect();
        precise.estimate.std_error = Some(errors);
        Ok(precise)
    }
}

/// The error of the sum of replicates' mean and correction, against what is allowed.
struct Goal<'a> {
    bias: f64,
    correction: &'a Spread,
    precision: &'a Precision,
}

impl Goal<'_> {
    fn allowed(&self, spread: &Spread) -> f64 {
        let mut value = spread.mean.clone();
        vector::axpy(1.0, &self.correction.mean, &mut value);
        let noise = spread.variance / spread.count as f64 + self.correction.variance / self.correction.count as f64;
        self.precision.allowed((vector::norm_squared(&value) - noise).max(0.0).sqrt())
    }

    fn error(&self, spread: &Spread) -> f64 {
        let probability = self.precision.probability;
        let noise = spread.radius(spread.count, probability);
        self.bias + noise.hypot(self.correction.radius(self.correction.count, probability))
    }

    /// Replicates like those of `spread` that make the error small enough.
    fn replicates(&self, spread: &Spread) -> f64 {
        let probability = self.precision.probability;
        let correction = self.correction.radius(self.correction.count, probability);
        let noise = PLANNED * (self.allowed(spread) - self.bias).max(0.0);
        let left = (noise * noise - correction * correction).max(0.0);
        // The radius falls like one over the root of the number.
        let one = spread.radius(1, probability);
        if one == 0.0 { 1.0 } else { one * one / left }
    }
}

impl Plan {
    fn steps(&self) -> usize {
        self.burn_in + self.averaged
    }

    fn doubled(&self) -> Self {
        Plan { burn_in: 2 * self.burn_in, averaged: 2 * self.averaged, ..*self }
    }
}

impl<M: StochasticMap + ?Sized, U: UpperObjective + ?Sized> Run<'_, M, U> {
    /// Finds a plan whose biases are small, and what is left of them.
    fn trial(
        &self,
        precision: &Precision,
        work: &mut Work,
        observer: &mut dyn FnMut(&Stage) -> ControlFlow<()>,
    ) -> Result<Trial> {
        let half = FIRST_STEPS / 2;
        let mut plan = Plan {
            burn_in: half,
            averaged: half,
            eta: self.settings.eta,
            batch: self.settings.batch,
            upper_part: UPPER_PART,
        };
        let mut retreats = 0;
        let (mut before_doubling, mut grown) = (f64::INFINITY, 0);
        loop {
            let before = work.rows;
            let (mut main, forgetting) = match self.forgetting(&plan, work) {
                Err(error) if error.is_numeric() && retreats < RETREATS => {
                    retreats += 1;
                    plan.eta /= 2.0;
                    continue;
                }
                found => found?,
            };
            let spread = Spread::of(&main);
            let allowed = precision.allowed(spread.signal_squared().sqrt());
            let limit = BIAS_SHARE * allowed;
            let mut start_left = mean(&forgetting);
            vector::scale(self.unforgotten(&plan), &mut start_left);
            let unforgotten = vector::norm(&start_left);
            let radius = |spread: &Spread| spread.radius(spread.count, precision.probability);
            let mut stage = Stage {
                steps: plan.steps(),
                replicates: main.len(),
                error: unforgotten + radius(&spread),
                allowed,
                rows: work.rows,
            };
            let go_on = observer(&stage).is_continue();
            // Twice the steps cost twice the rows.
            let affordable = |work: &Work| work.rows + 2 * (work.rows - before) <= precision.max_rows;
            let difference = vector::norm(&start_left) / self.unforgotten(&plan);
            grown = if difference > before_doubling { grown + 1 } else { 0 };
            before_doubling = difference;
            let hopeless = grown > GROWTHS || (!affordable(work) && unforgotten > vector::norm(&spread.mean));
            if unforgotten > limit && hopeless {
                let message = format!("after {} steps the solves still depend on where they start", plan.steps());
                return Err(Error::numeric(message).remedy(
                    "check that the map contracts (a smaller map_step, a larger penalty), or allow more rows",
                ));
            }
            if unforgotten > limit && go_on && affordable(work) {
                plan = plan.doubled();
                continue;
            }
            let others: Result<Vec<Hypergradient>> =
                (LATE..TRIALS).into_par_iter().map(|index| self.replicate(&plan, index)).collect();
            let others = others?;
            *work += others.iter().map(|estimate| estimate.work).sum();
            main.extend(values(&others));
            let mut spread = Spread::of(&main);
            let (corrections, rest) = self.pooling(&plan, &main, work)?;
            let noise_left = Spread::of(&rest);
            let rest = noise_left.signal_squared().sqrt();
            let correction = Spread::of(&corrections);
            let bias = unforgotten + rest;
            stage.replicates = main.len();
            stage.error = bias + radius(&spread).hypot(radius(&correction));
            stage.rows = work.rows;
            let go_on = observer(&stage).is_continue() && go_on;
            let noisy = radius(&correction) > CORRECTION_SHARE * allowed;
            let settled = unforgotten <= limit && rest <= limit && !noisy;
            if settled || !go_on || !affordable(work) {
                if settled {
                    (plan.upper_part, spread.variance) = self.upper_part(&plan, &main, &spread, work)?;
                }
                let biases = [start_left, noise_left.mean];
                return Ok(Trial { plan, spread, corrections, bias, biases, settled: settled && go_on });
            }
            // Either way twice the rows.
            if rest > limit {
                plan.batch *= 2;
            } else {
                plan = plan.doubled();
            }
        }
    }

    /// The trial's first replicates, and how far companions that begin late are from them.
    fn forgetting(&self, plan: &Plan, work: &mut Work) -> Result<Two> {
        let sid = self.sid(plan);
        let skipped = plan.burn_in / 2;
        let steps = plan.steps() - skipped;
        let average = Average::Suffix { fraction: plan.averaged as f64 / steps as f64 };
        let late = Sid { lower_steps: steps, linear_steps: steps, average, ..sid };
        let pairs: Result<Vec<(Hypergradient, Hypergradient)>> = (0..LATE)
            .into_par_iter()
            .map(|index| Ok((self.run(&sid, &[index], 0)?, self.run(&late, &[index], skipped)?)))
            .collect();
        let (main, late): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
        *work += main.iter().chain(&late).map(|estimate| estimate.work).sum();
        let main = values(&main);
        let distances = main.iter().zip(&late).map(|(main, late)| difference(&late.value, main)).collect();
        Ok((main, distances))
    }

    /// Bound on what a run has not forgotten, as a multiple of its distance from a companion that began late.
    fn unforgotten(&self, plan: &Plan) -> f64 {
        let gap = 1.0 - self.settings.contraction.unwrap_or(0.0);
        let shrunk = ((-plan.eta * gap).ln_1p() * (plan.burn_in / 2) as f64).exp();
        // Never below one: the difference itself is only an estimate.
        (shrunk / (1.0 - shrunk)).max(1.0)
    }

    /// `2 D1` of each pair and `4/3 (D1 - 2 D2)` of each four of the trial's replicates `main`.
    fn pooling(&self, plan: &Plan, main: &[Vec<f64>], work: &mut Work) -> Result<Two> {
        let sid = self.sid(plan);
        let pools: Vec<Vec<u64>> = [2, 4]
            .iter()
            .flat_map(|&size| (0..TRIALS / size).map(move |i| (i * size..(i + 1) * size).collect()))
            .collect();
        let pooled: Result<Vec<Hypergradient>> = pools.par_iter().map(|pool| self.run(&sid, pool, 0)).collect();
        let pooled = pooled?;
        *work += pooled.iter().map(|estimate| estimate.work).sum();
        let pooled = values(&pooled);
        let (pairs, fours) = pooled.split_at(main.len() / 2);
        // Where a batch of `size b` is from the mean of those of half of it.
        let steps = |larger: &[Vec<f64>], smaller: &[Vec<f64>]| -> Vec<Vec<f64>> {
            larger.iter().zip(smaller.chunks_exact(2)).map(|(pool, parts)| difference(pool, &mean(parts))).collect()
        };
        let (mut first, second) = (steps(pairs, main), steps(fours, pairs));
        let rest = second.iter().zip(first.chunks_exact(2)).map(|(second, first)| {
            let mut rest = mean(first);
            vector::axpy(-2.0, second, &mut rest);
            vector::scale(4.0 / 3.0, &mut rest);
            rest
        });
        let rest = rest.collect();
        first.iter_mut().for_each(|step| vector::scale(2.0, step));
        Ok((first, rest))
    }

    /// The upper sample, for each row of a solve, that gives the least variance for the rows visited, and the variance
    /// with it.
    ///
    /// The first replicates again with other upper samples tell the part `V_U/U` of the variance that comes from `U` upper
    /// rows; `V_T/T` is the rest, from `T` rows in each of two solves. Their sum over `2 T + U` rows is least where
    /// `U/T = sqrt(2 V_U/V_T)`.
    fn upper_part(&self, plan: &Plan, main: &[Vec<f64>], spread: &Spread, work: &mut Work) -> Result<(f64, f64)> {
        let sid = self.sid(plan);
        let (Batch::Rows(upper), solve) = (sid.upper_batch, (plan.steps() * plan.batch) as f64) else {
            return Ok((plan.upper_part, spread.variance));
        };
        let others: Result<Vec<Hypergradient>> =
            (0..LATE).into_par_iter().map(|index| self.run_on(&sid, &[index], 0, OTHER_UPPER)).collect();
        let others = others?;
        *work += others.iter().map(|estimate| estimate.work).sum();
        let distances = main.iter().zip(&others).map(|(main, other)| vector::distance_squared(main, &other.value));
        let from_upper = (0.5 * distances.sum::<f64>() / LATE as f64).min(0.99 * spread.variance);
        let (of_upper, of_solves) = (from_upper * upper as f64, (spread.variance - from_upper) * solve);
        let part = (2.0 * of_upper / of_solves).sqrt();
        let part = if part.is_finite() { part.clamp(UPPER_PARTS.0, UPPER_PARTS.1) } else { plan.upper_part };
        Ok((part, (of_solves + of_upper / part) / solve))
    }

    fn sid(&self, plan: &Plan) -> Sid {
        let (steps, rows) = (plan.steps(), (plan.steps() * plan.batch) as f64);
        let part = |part: f64| ((part * rows).ceil() as usize).max(1);
        let upper = part(plan.upper_part);
        Sid {
            average: Average::Suffix { fraction: plan.averaged as f64 / steps as f64 },
            cross_batch: Batch::Rows(part(CROSS_PART)),
            // A sample larger than the population is worse than the population.
            upper_batch: if upper < self.upper.size(&Sample::Full) { Batch::Rows(upper) } else { Batch::All },
            ..Sid::new(steps, plan.batch, StepSize::Constant { eta: plan.eta })
        }
    }

    fn run(&self, sid: &Sid, indices: &[u64], skipped: usize) -> Result<Hypergradient> {
        self.run_on(sid, indices, skipped, 0)
    }

    fn run_on(&self, sid: &Sid, indices: &[u64], skipped: usize, upper_offset: u64) -> Result<Hypergradient> {
        let streams = Streams { seed: self.settings.seed, indices, skipped, upper_offset };
        sid.estimate_on(self.map, self.upper, self.lambda, (self.start, &mut None), streams)
    }

    fn replicate(&self, plan: &Plan, index: u64) -> Result<Hypergradient> {
        self.run(&self.sid(plan), &[index], 0)
    }
}

/// Two sets of vectors.
type Two = (Vec<Vec<f64>>, Vec<Vec<f64>>);

fn values(found: &[Hypergradient]) -> Vec<Vec<f64>> {
    found.iter().map(|estimate| estimate.value.clone()).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

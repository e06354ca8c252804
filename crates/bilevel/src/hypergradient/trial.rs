//! The trial of a precise estimate: how long, with which steps and on which batches replicates are to be made.
//!
//! Bias does not fall with more replicates. It has two sources, measured by companions *on the same samples*, so that
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

use rayon::prelude::*;

use super::precise_sid::{PreciseSid, Stage};
use super::precision::{Precision, unsettled_bias};
use super::sid::{CROSS_PART, Streams};
use super::spread::{Spread, mean};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::Average;
use crate::lower::StochasticMap;
use crate::observer::Observer;
use crate::operator::Plain;
use crate::sample::{Batch, Sample};
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Replicates whose pools are run too; a multiple of four.
pub(super) const TRIALS: u64 = 12;
/// Those among them with a companion that begins late.
const LATE: u64 = 4;
/// Part of the allowed error that each of the two biases may take.
pub(super) const BIAS_SHARE: f64 = 0.15;
/// Part of the allowed error that the noise of the correction may take.
const CORRECTION_SHARE: f64 = 0.5;
/// First number of steps.
const FIRST_STEPS: usize = 256;
/// Doublings in a row after which what was not forgotten has grown, and the map is taken not to contract: where solves have
/// diverged before, and where not, since from a start at zero the hypergradient of a slow map grows like a power of the way for
/// some doublings. Where the contraction is known, they count once this part of the start should be all that is left.
const GROWTHS: (usize, usize) = (3, 5);
const SETTLING: f64 = 0.05;
/// Halvings of `eta` after divergence.
const RETREATS: usize = 10;
/// Rows of the upper sample as a part of those of one solve: at first, and within what bounds it is chosen.
const UPPER_PART: f64 = 1.0;
const UPPER_PARTS: (f64, f64) = (0.125, 16.0);
/// Added to the number of a replicate for an upper sample of its own.
const OTHER_UPPER: u64 = 1 << 40;

/// Length of a replicate and what of it is averaged, its steps, its batches, and its upper sample for each row of a solve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub burn_in: usize,
    pub averaged: usize,
    pub eta: f64,
    pub batch: usize,
    pub upper_part: f64,
}

/// What the trial found out.
pub(super) struct Trial {
    pub plan: Plan,
    pub spread: Spread,
    /// `2 D1` of each pair of replicates.
    pub corrections: Vec<Vec<f64>>,
    /// Norm of what is left of both biases; infinite where nothing bounds it.
    pub bias: f64,
    /// What is left of the start, and of the noise after the correction.
    pub biases: [Vec<f64>; 2],
    pub settled: bool,
    /// The observer broke it off.
    pub stopped: bool,
}

/// The problem and everything that stays the same.
pub(super) struct Run<'a, M: ?Sized, U: ?Sized> {
    pub map: &'a M,
    pub upper: &'a U,
    pub lambda: &'a [f64],
    pub start: Option<&'a WarmStart>,
    pub settings: PreciseSid,
}

impl Plan {
    pub(super) fn steps(&self) -> usize {
        self.burn_in + self.averaged
    }

    fn doubled(&self) -> Self {
        Plan { burn_in: 2 * self.burn_in, averaged: 2 * self.averaged, ..*self }
    }
}

impl<M: StochasticMap + ?Sized, U: UpperObjective + ?Sized> Run<'_, M, U> {
    /// Finds a plan whose biases are small, and what is left of them.
    pub(super) fn trial(
        &self,
        precision: &Precision,
        work: &mut Work,
        observer: &mut dyn Observer<Stage>,
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
        let mut retreat = |plan: &mut Plan, error: Error| {
            if !error.is_numeric() || retreats == RETREATS {
                return Err(error);
            }
            retreats += 1;
            plan.eta /= 2.0;
            Ok(())
        };
        let (mut before_doubling, mut grown) = (f64::INFINITY, 0);
        loop {
            let before = work.rows;
            let Forgetting { main, distances } = match self.forgetting(&plan, work) {
                Ok(found) => found,
                Err(error) => {
                    retreat(&mut plan, error)?;
                    continue;
                }
            };
            let spread = Spread::of(&main);
            let allowed = precision.allowed(spread.signal_squared().sqrt());
            let limit = BIAS_SHARE * allowed;
            let mut start_left = mean(&distances);
            let moved = vector::norm(&start_left);
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
            let go_on = observer.observe(&stage).is_continue();
            // Twice the steps cost twice the rows.
            let affordable = |work: &Work| work.rows + 2 * (work.rows - before) <= precision.max_rows;
            let noise = radius(&Spread::of(&distances));
            let early = self.settings.contraction.is_some() && self.remaining(&plan, plan.steps()) > SETTLING;
            grown = if moved > before_doubling.max(noise) && !early { grown + 1 } else { 0 };
            before_doubling = moved;
            let growths = if plan.eta < self.settings.eta { GROWTHS.0 } else { GROWTHS.1 };
            if unforgotten > limit && grown > growths {
                let message = format!("after {} steps the solves still depend on where they start", plan.steps());
                return Err(Error::numeric(message).remedy(
                    "check that the map contracts (that of a loss by a smaller map_step or a larger penalty)",
                ));
            }
            if unforgotten > limit && go_on && affordable(work) {
                plan = plan.doubled();
                continue;
            }
            let Noise { main, corrections, rest } = match self.noise(&plan, main, work) {
                Ok(found) => found,
                Err(error) => {
                    retreat(&mut plan, error)?;
                    continue;
                }
            };
            let mut spread = Spread::of(&main);
            let noise_left = Spread::of(&rest);
            let rest = noise_left.signal_squared().sqrt();
            let correction = Spread::of(&corrections);
            let bias = unforgotten + rest;
            stage.replicates = main.len();
            stage.error = bias + radius(&spread).hypot(radius(&correction));
            stage.rows = work.rows;
            let go_on = observer.observe(&stage).is_continue() && go_on;
            let noisy = radius(&correction) > CORRECTION_SHARE * allowed;
            let settled = unforgotten <= limit && rest <= limit && !noisy;
            if settled || !go_on || !affordable(work) {
                if settled {
                    (plan.upper_part, spread.variance) = self.upper_part(&plan, &main, &spread, work)?;
                }
                let biases = [start_left, noise_left.mean];
                // Without a contraction nothing says how slowly the rest is forgotten.
                let bias = match self.settings.contraction {
                    _ if settled => bias,
                    None if unforgotten > limit => f64::INFINITY,
                    _ => unsettled_bias(unforgotten, 0.0, spread.signal_squared().sqrt()) + rest,
                };
                return Ok(Trial {
                    plan,
                    spread,
                    corrections,
                    bias,
                    biases,
                    settled: settled && go_on,
                    stopped: !go_on,
                });
            }
            // Either way twice the rows.
            if rest > limit {
                plan.batch *= 2;
            } else {
                plan = plan.doubled();
            }
        }
    }

    /// Runs the first replicates and their companions.
    fn forgetting(&self, plan: &Plan, work: &mut Work) -> Result<Forgetting> {
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
        Ok(Forgetting { main, distances })
    }

    /// Bound on what a run has not forgotten, as a multiple of its distance from a companion that began late.
    fn unforgotten(&self, plan: &Plan) -> f64 {
        let shrunk = self.remaining(plan, plan.burn_in / 2);
        // Never below one: the difference itself is only an estimate.
        (shrunk / (1.0 - shrunk)).max(1.0)
    }

    /// Part of the start that is left after some steps; where the contraction is not known, that of a map that forgets at once.
    fn remaining(&self, plan: &Plan, steps: usize) -> f64 {
        let gap = 1.0 - self.settings.contraction.unwrap_or(0.0);
        ((-plan.eta * gap).ln_1p() * steps as f64).exp()
    }

    /// Adds the other replicates to the first ones, `main`, and runs the pools.
    fn noise(&self, plan: &Plan, mut main: Vec<Vec<f64>>, work: &mut Work) -> Result<Noise> {
        let others: Result<Vec<Hypergradient>> =
            (LATE..TRIALS).into_par_iter().map(|index| self.replicate(plan, index)).collect();
        let others = others?;
        *work += others.iter().map(|estimate| estimate.work).sum();
        main.extend(values(&others));
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
        let (mut first, second) = (steps(pairs, &main), steps(fours, pairs));
        let rest = second.iter().zip(first.chunks_exact(2)).map(|(second, first)| {
            let mut rest = mean(first);
            vector::axpy(-2.0, second, &mut rest);
            vector::scale(4.0 / 3.0, &mut rest);
            rest
        });
        let rest = rest.collect();
        first.iter_mut().for_each(|step| vector::scale(2.0, step));
        Ok(Noise { main, corrections: first, rest })
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

    pub(super) fn sid(&self, plan: &Plan) -> Sid {
        let (steps, rows) = (plan.steps(), (plan.steps() * plan.batch) as f64);
        let part = |part: f64| ((part * rows).ceil() as usize).max(1);
        let upper = part(plan.upper_part);
        Sid {
            average: Average::Suffix { fraction: plan.averaged as f64 / steps as f64 },
            cross_batch: Batch::Rows(part(CROSS_PART)),
            // A sample larger than the population is worse than the population.
            upper_batch: Batch::at_most(upper, self.upper.size(&Sample::Full)),
            ..Sid::new(steps, plan.batch, StepSize::Constant { eta: plan.eta })
        }
    }

    fn run(&self, sid: &Sid, indices: &[u64], skipped: usize) -> Result<Hypergradient> {
        self.run_on(sid, indices, skipped, 0)
    }

    fn run_on(&self, sid: &Sid, indices: &[u64], skipped: usize, upper_offset: u64) -> Result<Hypergradient> {
        let streams = Streams { seed: self.settings.seed, indices, skipped, upper_offset };
        sid.estimate_on(&Plain, self.map, self.upper, self.lambda, (self.start, &mut None), streams)
    }

    pub(super) fn replicate(&self, plan: &Plan, index: u64) -> Result<Hypergradient> {
        self.run(&self.sid(plan), &[index], 0)
    }
}

/// The trial's first replicates, and how far companions that begin late are from them.
struct Forgetting {
    main: Vec<Vec<f64>>,
    distances: Vec<Vec<f64>>,
}

/// The replicates of the trial, and what those on pooled samples tell.
struct Noise {
    main: Vec<Vec<f64>>,
    /// `2 D1` of each pair of replicates.
    corrections: Vec<Vec<f64>>,
    /// `4/3 (D1 - 2 D2)` of each four.
    rest: Vec<Vec<f64>>,
}

pub(super) fn values(found: &[Hypergradient]) -> Vec<Vec<f64>> {
    found.iter().map(|estimate| estimate.value.clone()).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

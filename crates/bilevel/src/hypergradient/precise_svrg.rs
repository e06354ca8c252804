//! SID with variance reduction until a requested precision is reached.
//!
//! Rounds: an exact look at both levels (`anchor.rs`), then a few chains of sampled steps from there, whose noise is a
//! fraction of the distance they go. Their mean is the next anchor. A round costs three passes and the short chains, and
//! brings the error down by a factor, so that a precision `eps` takes about `log 1/eps` rounds where the noise of plain
//! samples takes `1/eps^2` of them: the better choice where rows are few or the precision is high.
//!
//! The error bar costs nothing: chains from one anchor are independent given that anchor, so that their spread is the
//! noise of their mean; and what the steps of a round leave of the way, `r`, turns the way they went into an estimate of the
//! rest, `r/(1 - r)` times it. `v` goes after a target that moves with `w`, so that it is behind by more than that; how far the
//! target went in a round follows from the changes of `v` in this round and the one before (`docs/theory.md`, section 4). The
//! noise of `w` is so small by then that what it does to a nonlinear lower level, of second order, is far below the first.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;

use super::anchor::{Chain, ChainSettings, Levels};
use super::parts::{Sampled, check_sizes, cross_term};
use super::precise_sid::Stage;
use super::precision::{PreciseHypergradient, Precision, ROUNDING, unsettled_bias};
use super::spread::{Spread, mean};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::{Average, FixedPoint};
use crate::lower::StochasticMap;
use crate::operator::{Anchoring, ByRecomputing};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::status::Status;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Rounds at most; each that does not bring the error down is one of rounding.
const ROUNDS: usize = 60;
/// Rounds in a row that went farther than the one before, after which the map is taken not to contract, once this part of the
/// way should be all that is left: before, the hypergradient grows from a start at zero like a power of the way.
const GROWTHS: usize = 3;
const SETTLING: f64 = 0.05;
/// Halvings of `eta` after divergence, or where rounds go farther and farther and this part of that is noise.
const RETREATS: usize = 10;
const NOISY: f64 = 0.1;
/// More chains of one round, as a multiple, rather than another round.
const MORE: usize = 2;
/// How much of the allowed noise is planned to be used when there are to be more chains.
const PLANNED: f64 = 0.95;
/// Part of the steps of a chain whose iterates are averaged.
const AVERAGED: f64 = 0.4;
/// Added to the number of a round for a cross sample of its own.
const OTHER_CROSS: u64 = 1 << 40;

/// Settings of the estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreciseSvrg {
    /// Elements drawn at each step.
    pub batch: usize,
    /// Steps of a chain in either solve; doubled from round to round while they leave more than half of the way.
    pub steps: usize,
    /// Chains of a round; at least two.
    pub chains: usize,
    /// The step `eta`; it is halved where a solve diverges.
    pub eta: f64,
    /// The contraction `q` of the map: how much of the way a chain goes follows from it.
    pub contraction: f64,
    /// Seed of all samples.
    pub seed: u64,
}

impl PreciseSvrg {
    /// Estimates `grad f(lambda)` to `precision`, from `start` (zeros without). `observer` sees every round and may break the
    /// run off, which then ends with what it has.
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
        observer: &mut dyn FnMut(&Stage) -> ControlFlow<()>,
    ) -> Result<PreciseHypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.estimate_by(&ByRecomputing, map, upper, lambda, start, precision, observer)
    }

    /// [`estimate`](Self::estimate) with anchors used in a way that suits the map, such as
    /// [`ByRemembering`](crate::operator::ByRemembering), at half the cost of the steps.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    #[allow(clippy::too_many_arguments)]
    pub fn estimate_by<A, M, U>(
        &self,
        anchoring: &A,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&WarmStart>,
        precision: Precision,
        observer: &mut dyn FnMut(&Stage) -> ControlFlow<()>,
    ) -> Result<PreciseHypergradient>
    where
        A: Anchoring<M>,
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        precision.validate()?;
        self.validate()?;
        check_sizes(map.dims(), upper.dims(), lambda, start)?;
        let levels = Levels { anchoring, map, upper, lambda };
        let (mut eta, mut retreats, mut steps) = (self.eta, 0, self.steps);
        let mut point = start.cloned().unwrap_or_else(|| WarmStart::zeros(map.dims()));
        let mut work = Work::default();
        let mut passed = Passed::nothing(map.dims().w);
        let mut best = (f64::INFINITY, point.clone());
        for round in 1.. {
            let before = work.rows;
            let anchor = levels.anchor(point.clone())?;
            work += anchor.work;
            let looked = work.rows - before;
            let settings = self.chain(eta, steps, upper.size(&Sample::Full));
            let run = |count: Range<usize>| -> Result<Vec<Chain>> {
                let first = (round * MORE * self.chains) as u64;
                let indices = first + count.start as u64..first + count.end as u64;
                indices.into_par_iter().map(|index| levels.chain(&anchor, &settings, self.seed, index)).collect()
            };
            let mut chains = match run(0..self.chains) {
                Err(error) if error.is_numeric() && retreats < RETREATS => {
                    retreats += 1;
                    eta /= 2.0;
                    continue;
                }
                found => found?,
            };
            let left_of_way = self.left(eta, steps);
            let remaining = passed.remaining();
            let rows = (averaged(steps) * self.batch).min(map.size(&Sample::Full));
            let mut judge = |chains: &[Chain]| {
                // How far the target of `v` went, and what that is for the hypergradient.
                let reached = reached(chains);
                let target = passed.target(&reached.v, &anchor.point.v, left_of_way);
                let mut rngs = [Rng::stream(self.seed, Purpose::Cross, OTHER_CROSS + round as u64)];
                let sampled = Sampled { batch: Batch::Rows(rows), rngs: &mut rngs };
                let mut pulled = vec![0.0; lambda.len()];
                work += cross_term(map, &WarmStart { w: reached.w.clone(), v: target }, lambda, sampled, &mut pulled);
                let way = Way { anchor: &anchor.hypergradient, pulled: &pulled, left: left_of_way, remaining };
                (Round::of(chains, &way, &precision), reached)
            };
            let (mut found, mut reached) = judge(&chains);
            let rows: u64 = chains.iter().map(|chain| chain.estimate.work.rows).sum();
            let affordable = before + looked + MORE as u64 * rows <= precision.max_rows;
            if let Some(wanted) = found.enough(self.chains).filter(|_| affordable) {
                chains.extend(run(self.chains..wanted)?);
                (found, reached) = judge(&chains);
            }
            work += chains.iter().map(|chain| chain.estimate.work).sum();
            let Round { replicates, spread, left, way, bias, radius, allowed } = found;
            let error = bias + radius;
            passed.add(&reached.v, &anchor.point.v, left_of_way, way);
            let stage = Stage { steps, replicates: chains.len(), error, allowed, rows: work.rows };
            let go_on = observer(&stage).is_continue();
            let affordable = 2 * work.rows - before <= precision.max_rows;
            if passed.grown > GROWTHS && error > allowed {
                if radius < NOISY * way || retreats == RETREATS {
                    return Err(unsettled(round));
                }
                if go_on && affordable && round < ROUNDS {
                    // Samples expand what the map contracts: from the best point so far with smaller steps.
                    retreats += 1;
                    eta /= 2.0;
                    point = best.1.clone();
                    passed = Passed::nothing(map.dims().w);
                    continue;
                }
            }
            if error <= allowed || !go_on || !affordable || round >= ROUNDS {
                let status = if error <= allowed { Status::Converged } else { Status::StepLimit };
                let count = chains.len() as f64;
                let objective = chains.iter().map(|chain| chain.estimate.objective).sum::<f64>() / count;
                let nothing = vec![0.0; left.len()];
                // Of a round that was the last one too early, what noise does in second order may be no small thing.
                let second = if error <= allowed { 0.0 } else { spread.variance / vector::norm(&spread.mean) };
                let precise = PreciseHypergradient {
                    bias: bias + second,
                    error: error + second,
                    allowed,
                    settings: Sid {
                        average: settings.solver.average,
                        cross_batch: settings.cross_batch,
                        upper_batch: settings.upper_batch,
                        ..Sid::new(steps, self.batch, settings.solver.step)
                    },
                    anchors: round,
                    replicates,
                    corrections: Vec::new(),
                    biases: [left, nothing],
                    estimate: Hypergradient { value: spread.mean, objective, std_error: None, status, work },
                };
                return Ok(precise.with_std_errors());
            }
            let relative = error / vector::norm(&spread.mean);
            if relative < best.0 {
                best = (relative, reached.clone());
            }
            // Steps are cheap beside a look at everything, and so slow a map takes many.
            if left_of_way > 0.5 && 2 * work.rows - before + (work.rows - before - looked) <= precision.max_rows {
                steps *= 2;
            }
            point = reached;
        }
        unreachable!("the rounds are bounded")
    }

    fn validate(&self) -> Result<()> {
        if !(self.eta > 0.0 && self.eta <= 1.0) {
            return Err(Error::input(format!("eta = {} must be in (0, 1]", self.eta)));
        }
        if !(0.0..1.0).contains(&self.contraction) {
            return Err(Error::input(format!("contraction = {} must be at least 0 and below 1", self.contraction))
                .remedy("use a smaller map_step or a strongly convex lower level"));
        }
        if self.chains < 2 || self.steps == 0 || self.batch == 0 {
            return Err(Error::input("an error bar needs at least two chains of at least one step on one row"));
        }
        Ok(())
    }

    /// Samples of the upper level are as many rows as the averaged steps see, those of the cross derivative as large as a step's.
    fn chain(&self, eta: f64, steps: usize, upper_rows: usize) -> ChainSettings {
        let rows = averaged(steps) * self.batch;
        let step = StepSize::Constant { eta };
        let average = Average::Suffix { fraction: AVERAGED };
        ChainSettings {
            solver: FixedPoint { average, ..FixedPoint::sampled(steps, self.batch, step) },
            // Two evaluations of a sample against one of everything.
            upper_batch: if 2 * rows < upper_rows { Batch::Rows(rows) } else { Batch::All },
            cross_batch: Batch::Rows(self.batch),
        }
    }

    /// `r`, the mean over the averaged steps of what is left of the way after them.
    fn left(&self, eta: f64, steps: usize) -> f64 {
        let shrink = (1.0 - eta * (1.0 - self.contraction)).max(0.0);
        let averaged = averaged(steps);
        let sum: f64 = (steps - averaged + 1..=steps).map(|s| shrink.powf(s as f64)).sum();
        (sum / averaged as f64).min(1.0 - 1e-12)
    }
}

/// Steps of a chain whose iterates are averaged.
fn averaged(steps: usize) -> usize {
    ((steps as f64 * AVERAGED).ceil() as usize).max(1)
}

/// Where chains have come to on average.
fn reached(chains: &[Chain]) -> WarmStart {
    let part = |of: fn(&WarmStart) -> &Vec<f64>| {
        mean(&chains.iter().map(|chain| of(&chain.point).clone()).collect::<Vec<_>>())
    };
    WarmStart { w: part(|point| &point.w), v: part(|point| &point.v) }
}

/// The rounds that are over.
struct Passed {
    /// What they left of the way of `w`: the product of their `r`.
    product: f64,
    /// Sum of their `1 - r`.
    sum: f64,
    /// `r/(1 - r)` times the change of `v` in the last one: how far it stayed behind its target.
    behind: Vec<f64>,
    /// How far the hypergradient went in the last one, and how often in a row that was farther than before, where next to nothing
    /// of the way should be left.
    way: f64,
    grown: usize,
}

impl Passed {
    fn nothing(d: usize) -> Self {
        Passed { product: 1.0, sum: 0.0, behind: vec![0.0; d], way: f64::INFINITY, grown: 0 }
    }

    /// Part of the way of both solves that is left, where `v` was as far behind at first as `w` made it.
    fn remaining(&self) -> f64 {
        self.product * (1.0 + self.sum)
    }

    /// How far the target of `v` went in a round that brought it from `before` to `v` and leaves `left` of the way.
    fn target(&self, v: &[f64], before: &[f64], left: f64) -> Vec<f64> {
        v.iter()
            .zip(before)
            .zip(&self.behind)
            .map(|((v, before), behind)| (v - before) / (1.0 - left) - behind)
            .collect()
    }

    fn add(&mut self, v: &[f64], before: &[f64], left: f64, way: f64) {
        self.product *= left;
        self.sum += 1.0 - left;
        self.grown = if way > self.way && self.remaining() < SETTLING { self.grown + 1 } else { 0 };
        self.way = way;
        for ((behind, v), before) in self.behind.iter_mut().zip(v).zip(before) {
            *behind = (v - before) * left / (1.0 - left);
        }
    }
}

/// What turns the way that chains went into an estimate of the rest.
struct Way<'a> {
    /// The hypergradient at the anchor.
    anchor: &'a [f64],
    /// What the move of the target of `v` is for the hypergradient.
    pulled: &'a [f64],
    /// `r`, what the chains leave of the way.
    left: f64,
    /// Part of the whole way that was left before them.
    remaining: f64,
}

/// What the chains of a round tell.
struct Round {
    replicates: Vec<Vec<f64>>,
    spread: Spread,
    /// What is left of the way to the solution, by estimate.
    left: Vec<f64>,
    /// How far the mean of the chains is from the anchor.
    way: f64,
    /// Norm of what is left; infinite where nothing bounds it.
    bias: f64,
    /// Bound on the noise.
    radius: f64,
    allowed: f64,
}

impl Round {
    fn of(chains: &[Chain], way: &Way<'_>, precision: &Precision) -> Self {
        let replicates: Vec<Vec<f64>> = chains.iter().map(|chain| chain.estimate.value.clone()).collect();
        let spread = Spread::of(&replicates);
        let gone: Vec<f64> = spread.mean.iter().zip(way.anchor).map(|(a, b)| a - b).collect();
        let unforgotten = way.left / (1.0 - way.left);
        let mut left = gone.clone();
        vector::axpy(1.0, way.pulled, &mut left);
        vector::scale(unforgotten, &mut left);
        let gone = vector::norm(&gone);
        let first_order = unforgotten * (gone + vector::norm(way.pulled));
        let value = vector::norm(&spread.mean);
        // Whichever of the two bounds what a product of two solves hides.
        let bias = (first_order / (1.0 - way.remaining)).min(unsettled_bias(first_order, 0.0, value));
        let bias = if bias >= 0.0 { bias } else { f64::INFINITY } + ROUNDING * value;
        let radius = spread.radius(spread.count, precision.probability);
        let allowed = precision.allowed(spread.signal_squared().sqrt());
        Round { replicates, spread, left, way: gone, bias, radius, allowed }
    }

    /// Chains in all, at most `MORE chains`, whose mean should be good enough where that of these `chains` is not: cheaper
    /// than another look at all rows. The radius falls like one over the root of their number.
    fn enough(&self, chains: usize) -> Option<usize> {
        let ratio = self.radius / (PLANNED * (self.allowed - self.bias)).max(0.0);
        let wanted = chains as f64 * ratio * ratio;
        (self.bias + self.radius > self.allowed && wanted <= (MORE * chains) as f64).then(|| wanted.ceil() as usize)
    }
}

fn unsettled(round: usize) -> Error {
    Error::numeric(format!("after {round} rounds the solves do not settle"))
        .remedy("check that the map contracts: a smaller map_step, a larger penalty")
}

//! SID with variance reduction until a requested precision is reached.
//!
//! Rounds: an exact look at both levels (`anchor.rs`), then a few chains of sampled steps from there, whose noise is a
//! fraction of the distance they go. Their mean is the next anchor. A round costs three passes and the short chains, and
//! brings the error down by a factor, so that a precision `eps` takes about `log 1/eps` rounds where the noise of plain
//! samples takes `1/eps^2` of them: the better choice where rows are few or the precision is high.
//!
//! The error bar costs nothing: chains from one anchor are independent given that anchor, so that their spread is the
//! noise of their mean; and what the steps of a round leave of the way, `r`, turns the way they went into a bound on the
//! rest, `r/(1 - r)` times it. The noise of `w` is so small by then that what it does to a nonlinear lower level, of second
//! order, is far below the first.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;

use super::anchor::{Chain, ChainSettings, Levels};
use super::parts::check_sizes;
use super::precise_sid::Stage;
use super::precision::{PreciseHypergradient, Precision, unsettled_bias};
use super::spread::{Spread, mean};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::{Average, FixedPoint};
use crate::lower::StochasticMap;
use crate::operator::{Anchoring, ByRecomputing};
use crate::sample::{Batch, Sample};
use crate::status::Status;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Rounds at most; each that does not bring the error down is one of rounding.
const ROUNDS: usize = 60;
/// Rounds in a row that went farther than the one before, after which the map is taken not to contract.
const GROWTHS: usize = 3;
/// Halvings of `eta` after divergence.
const RETREATS: usize = 10;
/// More chains of one round, as a multiple, rather than another round.
const MORE: usize = 2;
/// How much of the allowed noise is planned to be used when there are to be more chains.
const PLANNED: f64 = 0.95;
/// Part of the steps of a chain whose iterates are averaged.
const AVERAGED: f64 = 0.4;

/// Settings of the estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreciseSvrg {
    /// Elements drawn at each step.
    pub batch: usize,
    /// Steps of a chain in either solve.
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
        let (mut eta, mut retreats) = (self.eta, 0);
        let mut point = start.cloned().unwrap_or_else(|| WarmStart::zeros(map.dims()));
        let mut work = Work::default();
        let (mut gone, mut grown) = (f64::INFINITY, 0);
        for round in 1.. {
            let before = work.rows;
            let anchor = levels.anchor(point.clone())?;
            work += anchor.work;
            let settings = self.chain(eta, upper.size(&Sample::Full));
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
            let unforgotten = self.unforgotten(eta);
            let mut found = Round::of(&chains, &anchor.hypergradient, unforgotten, &precision);
            let rows: u64 = chains.iter().map(|chain| chain.estimate.work.rows).sum();
            let affordable = work.rows + MORE as u64 * rows <= precision.max_rows;
            if let Some(wanted) = found.enough(self.chains).filter(|_| affordable) {
                chains.extend(run(self.chains..wanted)?);
                found = Round::of(&chains, &anchor.hypergradient, unforgotten, &precision);
            }
            work += chains.iter().map(|chain| chain.estimate.work).sum();
            let Round { replicates, spread, left, way, error, allowed } = found;
            let bias = vector::norm(&left);
            if !error.is_finite() {
                return Err(unsettled(round));
            }
            let stage = Stage { steps: self.steps, replicates: chains.len(), error, allowed, rows: work.rows };
            let go_on = observer(&stage).is_continue();
            grown = if way > gone { grown + 1 } else { 0 };
            gone = way;
            if grown > GROWTHS && error > allowed {
                return Err(unsettled(round));
            }
            let affordable = 2 * work.rows - before <= precision.max_rows;
            if error <= allowed || !go_on || !affordable || round >= ROUNDS {
                let status = if error <= allowed { Status::Converged } else { Status::StepLimit };
                let count = chains.len() as f64;
                let objective = chains.iter().map(|chain| chain.estimate.objective).sum::<f64>() / count;
                let nothing = vec![0.0; left.len()];
                // A round that was the last one too early may have gone but little of the way.
                let unsettled = unsettled_bias(bias, spread.variance, vector::norm(&spread.mean));
                let all = if error <= allowed { bias } else { unsettled };
                let precise = PreciseHypergradient {
                    bias: all,
                    error: error - bias + all,
                    allowed,
                    settings: Sid {
                        average: settings.solver.average,
                        cross_batch: settings.cross_batch,
                        upper_batch: settings.upper_batch,
                        ..Sid::new(self.steps, self.batch, settings.solver.step)
                    },
                    anchors: round,
                    replicates,
                    corrections: Vec::new(),
                    biases: [left, nothing],
                    estimate: Hypergradient { value: spread.mean, objective, std_error: None, status, work },
                };
                return Ok(precise.with_std_errors());
            }
            let part = |of: fn(&WarmStart) -> &Vec<f64>| {
                mean(&chains.iter().map(|chain| of(&chain.point).clone()).collect::<Vec<_>>())
            };
            point = WarmStart { w: part(|point| &point.w), v: part(|point| &point.v) };
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
    fn chain(&self, eta: f64, upper_rows: usize) -> ChainSettings {
        let rows = self.averaged() * self.batch;
        let step = StepSize::Constant { eta };
        let average = Average::Suffix { fraction: AVERAGED };
        ChainSettings {
            solver: FixedPoint { average, ..FixedPoint::sampled(self.steps, self.batch, step) },
            // Two evaluations of a sample against one of everything.
            upper_batch: if 2 * rows < upper_rows { Batch::Rows(rows) } else { Batch::All },
            cross_batch: Batch::Rows(self.batch),
        }
    }

    /// Steps of a chain whose iterates are averaged.
    fn averaged(&self) -> usize {
        ((self.steps as f64 * AVERAGED).ceil() as usize).max(1)
    }

    /// `r/(1 - r)`, `r` the mean over the averaged steps of what is left of the way after them.
    fn unforgotten(&self, eta: f64) -> f64 {
        let shrink = (1.0 - eta * (1.0 - self.contraction)).max(0.0);
        let averaged = self.averaged();
        let sum: f64 = (self.steps - averaged + 1..=self.steps).map(|s| shrink.powi(s as i32)).sum();
        let left = (sum / averaged as f64).min(1.0 - 1e-12);
        left / (1.0 - left)
    }
}

/// What the chains of a round tell.
struct Round {
    replicates: Vec<Vec<f64>>,
    spread: Spread,
    /// What is left of the way to the solution, by estimate.
    left: Vec<f64>,
    /// How far the mean of the chains is from the anchor.
    way: f64,
    error: f64,
    allowed: f64,
}

impl Round {
    fn of(chains: &[Chain], anchor: &[f64], unforgotten: f64, precision: &Precision) -> Self {
        let replicates: Vec<Vec<f64>> = chains.iter().map(|chain| chain.estimate.value.clone()).collect();
        let spread = Spread::of(&replicates);
        let mut left: Vec<f64> = spread.mean.iter().zip(anchor).map(|(a, b)| a - b).collect();
        let way = vector::norm(&left);
        vector::scale(unforgotten, &mut left);
        let error = vector::norm(&left) + spread.radius(spread.count, precision.probability);
        let allowed = precision.allowed(spread.signal_squared().sqrt());
        Round { replicates, spread, left, way, error, allowed }
    }

    /// Chains in all, at most `MORE chains`, whose mean should be good enough where that of these `chains` is not: cheaper
    /// than another look at all rows. The radius falls like one over the root of their number.
    fn enough(&self, chains: usize) -> Option<usize> {
        let bias = vector::norm(&self.left);
        let ratio = (self.error - bias) / (PLANNED * (self.allowed - bias)).max(0.0);
        let wanted = chains as f64 * ratio * ratio;
        (self.error > self.allowed && wanted <= (MORE * chains) as f64).then(|| wanted.ceil() as usize)
    }
}

fn unsettled(round: usize) -> Error {
    Error::numeric(format!("after {round} rounds the solves do not settle"))
        .remedy("check that the map contracts (a smaller map_step, a larger penalty), or take longer chains")
}

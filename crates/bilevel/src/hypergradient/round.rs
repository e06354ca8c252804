//! One round of SID with variance reduction: chains from an anchor, and what they tell of the error.

use std::ops::Range;

use rayon::prelude::*;

use super::WarmStart;
use super::anchor::{Anchor, Chain, ChainSettings, Levels};
use super::parts::{Sampled, cross_term};
use super::precision::{Precision, ROUNDING, unsettled_bias};
use super::spread::{Spread, mean};
use crate::error::Result;
use crate::fixed_point::{Average, FixedPoint};
use crate::lower::StochasticMap;
use crate::operator::Anchoring;
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// More chains of one round, as a multiple, rather than another round.
const MORE: usize = 2;
/// How much of the allowed noise is planned to be used when there are to be more chains.
const PLANNED: f64 = 0.95;
/// Part of the steps of a chain whose iterates are averaged.
const AVERAGED: f64 = 0.4;
/// Added to the number of a round for a cross sample of its own.
const OTHER_CROSS: u64 = 1 << 40;
/// Rounds that went farther than the one before count once this part of the way should be all that is left: before, the
/// hypergradient grows from a start at zero like a power of the way.
const SETTLING: f64 = 0.05;

/// How the chains of a round go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub batch: usize,
    pub steps: usize,
    pub eta: f64,
    /// That of the map.
    pub contraction: f64,
}

impl Pace {
    /// Steps of a chain whose iterates are averaged.
    fn averaged(self) -> usize {
        ((self.steps as f64 * AVERAGED).ceil() as usize).max(1)
    }

    /// `r`, the mean over the averaged steps of what they leave of the way.
    fn left(self) -> f64 {
        let shrink = (1.0 - self.eta * (1.0 - self.contraction)).max(0.0);
        let averaged = self.averaged();
        let sum: f64 = (self.steps - averaged + 1..=self.steps).map(|s| shrink.powf(s as f64)).sum();
        (sum / averaged as f64).min(1.0 - 1e-12)
    }

    /// Samples of the upper level are as many rows as the averaged steps see, those of the cross derivative as large as a step's.
    fn settings(self, upper_rows: usize) -> ChainSettings {
        let Pace { batch, .. } = self;
        let rows = self.averaged() * batch;
        let step = StepSize::Constant { eta: self.eta };
        let average = Average::Suffix { fraction: AVERAGED };
        ChainSettings {
            solver: FixedPoint { average, ..FixedPoint::sampled(self.steps, batch, step) },
            // Two evaluations of a sample against one of everything.
            upper_batch: if 2 * rows < upper_rows { Batch::Rows(rows) } else { Batch::All },
            cross_batch: Batch::Rows(batch),
        }
    }
}

/// Chains from one anchor.
pub(super) struct Round<'a, A: Anchoring<M>, M: StochasticMap + ?Sized, U: ?Sized> {
    levels: &'a Levels<'a, A, M, U>,
    anchor: Anchor<A::Kept>,
    pub settings: ChainSettings,
    /// `r`, what a chain leaves of the way.
    pub left: f64,
    /// Rows that the averaged steps of a chain see.
    rows: usize,
    number: usize,
    /// Number of its first sample, and the seed of all.
    first: u64,
    seed: u64,
}

impl<'a, A, M, U> Round<'a, A, M, U>
where
    A: Anchoring<M>,
    M: StochasticMap + ?Sized,
    U: UpperObjective + ?Sized,
{
    /// Looks at everything at `point`, from where `chains` of them are to go at first.
    pub fn from(
        levels: &'a Levels<'a, A, M, U>,
        point: &WarmStart,
        pace: Pace,
        (number, chains): (usize, usize),
        seed: u64,
    ) -> Result<Self> {
        let all = Sample::Full;
        Ok(Round {
            levels,
            anchor: levels.anchor(point.clone())?,
            settings: pace.settings(levels.upper.size(&all)),
            left: pace.left(),
            rows: (pace.averaged() * pace.batch).min(levels.map.size(&all)),
            number,
            first: (number * MORE * chains) as u64,
            seed,
        })
    }

    /// Cost of the look at everything.
    pub fn looked(&self) -> Work {
        self.anchor.work
    }

    /// Chains of these numbers; each has samples of its own.
    pub fn chains(&self, numbers: Range<usize>) -> Result<Vec<Chain>> {
        let indices = self.first + numbers.start as u64..self.first + numbers.end as u64;
        let chain = |index| self.levels.chain(&self.anchor, &self.settings, self.seed, index);
        indices.into_par_iter().map(chain).collect()
    }

    /// What `chains` tell, after the rounds that are `passed`, and more chains where these are enough and visit at most
    /// `rows_left` in all; with the cost of all of them.
    pub fn conclude(
        &self,
        mut chains: Vec<Chain>,
        passed: &Passed,
        precision: &Precision,
        rows_left: u64,
    ) -> Result<(Assessment, Work)> {
        let count = chains.len();
        let (mut found, mut work) = self.assess(&chains, passed, precision);
        let affordable = MORE as u64 * cost(&chains).rows <= rows_left;
        if let Some(wanted) = found.enough(count).filter(|_| affordable) {
            chains.extend(self.chains(count..wanted)?);
            let (better, again) = self.assess(&chains, passed, precision);
            found = better;
            work += again;
        }
        Ok((found, work + cost(&chains)))
    }

    /// What `chains` tell, and the cost of seeing how far the target of `v` went.
    fn assess(&self, chains: &[Chain], passed: &Passed, precision: &Precision) -> (Assessment, Work) {
        let Levels { map, lambda, .. } = *self.levels;
        let reached = reached(chains);
        let target = passed.target(&reached.v, &self.anchor.point.v, self.left);
        let mut rngs = [Rng::stream(self.seed, Purpose::Cross, OTHER_CROSS + self.number as u64)];
        let sampled = Sampled { batch: Batch::Rows(self.rows), rngs: &mut rngs };
        let mut pulled = vec![0.0; lambda.len()];
        let moved = WarmStart { w: reached.w.clone(), v: target };
        let work = cross_term(map, &moved, lambda, sampled, &mut pulled);
        let way =
            Way { anchor: &self.anchor.hypergradient, pulled: &pulled, left: self.left, remaining: passed.remaining() };
        (Assessment::of(chains, reached, &way, precision), work)
    }

    /// Counts this round, of which `assessment` tells, among those that are `passed`.
    pub fn pass(&self, assessment: &Assessment, passed: &mut Passed) {
        passed.add(&assessment.reached.v, &self.anchor.point.v, self.left, assessment.way);
    }
}

fn cost(chains: &[Chain]) -> Work {
    chains.iter().map(|chain| chain.estimate.work).sum()
}

/// Where chains have come to on average.
fn reached(chains: &[Chain]) -> WarmStart {
    let part = |of: fn(&WarmStart) -> &Vec<f64>| {
        mean(&chains.iter().map(|chain| of(&chain.point).clone()).collect::<Vec<_>>())
    };
    WarmStart { w: part(|point| &point.w), v: part(|point| &point.v) }
}

/// The rounds that are over.
pub(super) struct Passed {
    /// What they left of the way of `w`: the product of their `r`.
    product: f64,
    /// Sum of their `1 - r`.
    sum: f64,
    /// `r/(1 - r)` times the change of `v` in the last one: how far it stayed behind its target.
    behind: Vec<f64>,
    /// How far the hypergradient went in the last one.
    way: f64,
    /// How many in a row went farther than the one before, where next to nothing of the way should be left.
    pub grown: usize,
}

impl Passed {
    pub fn nothing(d: usize) -> Self {
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
pub(super) struct Assessment {
    /// Where they have come to on average.
    pub reached: WarmStart,
    pub replicates: Vec<Vec<f64>>,
    pub spread: Spread,
    /// Mean of the upper objective.
    pub objective: f64,
    /// What is left of the way to the solution, by estimate.
    pub left: Vec<f64>,
    /// How far the mean of the chains is from the anchor.
    pub way: f64,
    /// Norm of what is left; infinite where nothing bounds it.
    pub bias: f64,
    /// Bound on the noise.
    pub radius: f64,
    pub allowed: f64,
}

impl Assessment {
    fn of(chains: &[Chain], reached: WarmStart, way: &Way<'_>, precision: &Precision) -> Self {
        let replicates: Vec<Vec<f64>> = chains.iter().map(|chain| chain.estimate.value.clone()).collect();
        let objective = chains.iter().map(|chain| chain.estimate.objective).sum::<f64>() / chains.len() as f64;
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
        Assessment { reached, replicates, spread, objective, left, way: gone, bias, radius, allowed }
    }

    pub fn error(&self) -> f64 {
        self.bias + self.radius
    }

    pub fn is_precise(&self) -> bool {
        self.error() <= self.allowed
    }

    /// The error as a part of the value.
    pub fn relative_error(&self) -> f64 {
        self.error() / vector::norm(&self.spread.mean)
    }

    /// Chains in all, at most `MORE chains`, whose mean should be good enough where that of these `chains` is not: cheaper
    /// than another look at all rows. The radius falls like one over the root of their number.
    pub fn enough(&self, chains: usize) -> Option<usize> {
        let ratio = self.radius / (PLANNED * (self.allowed - self.bias)).max(0.0);
        let wanted = chains as f64 * ratio * ratio;
        (self.bias + self.radius > self.allowed && wanted <= (MORE * chains) as f64).then(|| wanted.ceil() as usize)
    }
}

//! One contestant on one budget.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::curve::{Checkpoint, Cost};
use super::judge::Judge;
use crate::algorithms::{Algorithm, Bilevel, Iterate, LowerLoss, Point, Settings, run};
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::lower::Curved;
use crate::row_sums::RowSumObjective;
use crate::sample::Batch;
use crate::stop::StopSignal;

/// A lower level that all algorithms can run on and the judge can solve.
pub trait Contested: Curved + LowerLoss {}

impl<L: Curved + LowerLoss> Contested for L {}

/// The problem of a race, and where everyone starts.
#[derive(Clone)]
pub struct Contest<'a> {
    /// The loss `g`.
    pub lower: &'a dyn Contested,
    /// The objective `E`.
    pub upper: &'a dyn RowSumObjective,
    /// The box of the hyperparameters.
    pub domain: &'a Domain,
    /// The start of all.
    pub start: Point,
}

impl std::fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contest")
            .field("dims", &self.lower.dims())
            .field("domain", &self.domain)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Contest<'_> {
    /// As the algorithms see it.
    pub fn problem(&self) -> Bilevel<'_> {
        Bilevel { lower: self.lower, upper: self.upper, domain: self.domain }
    }
}

/// Who competes: an algorithm with the parameters that are left free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contestant {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// First steps of `w`, `v` and `lambda`.
    pub steps: [f64; 3],
    /// Rows of each sample.
    pub batch: Batch,
    /// Seed of all samples.
    pub seed: u64,
}

/// What a contestant may spend; it stops when the first of them is spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Seconds, judging apart.
    pub seconds: f64,
    /// Rows visited.
    pub rows: f64,
    /// Iterations.
    pub iterations: usize,
}

impl Budget {
    /// Checks that it allows for something.
    ///
    /// # Errors
    /// Input.
    pub fn validate(&self) -> Result<()> {
        if self.seconds > 0.0 && self.rows > 0.0 && self.iterations > 0 {
            Ok(())
        } else {
            Err(Error::input("the budget of a race must be positive"))
        }
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, part: f64) -> Self {
        Budget {
            seconds: self.seconds * part,
            rows: self.rows * part,
            iterations: ((self.iterations as f64 * part) as usize).max(1),
        }
    }

    /// The part that is spent, 1 at the end.
    fn spent(&self, at: &Iterate<'_>) -> f64 {
        let by_time = at.elapsed.as_secs_f64() / self.seconds;
        by_time.max(at.work.rows as f64 / self.rows).max(at.iterations as f64 / self.iterations as f64)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The budget is spent.
    Finished,
    /// The budget is spent, and the value is clearly above that of the start.
    AboveStart,
    /// The iterates, or the value at them, were no numbers any more.
    Diverged,
}

/// The run of a contestant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub algorithm: Algorithm,
    /// First steps of `w`, `v` and `lambda`.
    pub steps: [f64; 3],
    /// Seed of the samples.
    pub seed: u64,
    /// Where it stood, from the start on.
    pub curve: Vec<Checkpoint>,
    /// How it ended.
    pub end: End,
}

impl Entry {
    /// The last value; infinite after divergence.
    pub fn value(&self) -> f64 {
        match self.end {
            End::Finished | End::AboveStart => self.curve.last().map_or(f64::INFINITY, |point| point.judgement.value),
            End::Diverged => f64::INFINITY,
        }
    }
}

/// A rise above the start that is more than the noise of a run which began at its optimum, as a part of the value and of how far
/// the run had come down.
const RISE: f64 = 0.1;

/// How a run ended that has spent its budget.
fn end_of(curve: &[Checkpoint]) -> End {
    let value = |point: &Checkpoint| point.judgement.value;
    let (Some(start), Some(last)) = (curve.first().map(value), curve.last().map(value)) else { return End::Finished };
    let lowest = curve.iter().map(value).fold(start, f64::min);
    match last - start > RISE * (start.abs() + start - lowest) {
        true => End::AboveStart,
        false => End::Finished,
    }
}

/// Iterations from one checkpoint to the next grow by this factor.
const SPACING: f64 = 1.25;

/// Seconds between two looks at whether the race was stopped.
const LOOK: f64 = 0.2;

/// How far the iterations are when the next look is due, at the rate so far.
fn next_look(at: &Iterate<'_>) -> usize {
    let pace = at.elapsed.as_secs_f64() / at.iterations.max(1) as f64;
    at.iterations + ((LOOK / pace.max(1e-9)) as usize).max(1)
}

/// Runs `contestant` on `budget`, with checkpoints at geometric distances and at the end.
///
/// # Errors
/// Input, for unusable settings; interrupted, once `stop` is raised. Divergence is no error but a result, and so is a rise.
pub fn compete(
    contest: &Contest<'_>,
    contestant: &Contestant,
    budget: &Budget,
    judge: &mut Judge<'_>,
    stop: &StopSignal,
) -> Result<Entry> {
    budget.validate()?;
    let Contestant { algorithm, steps, batch, seed } = *contestant;
    let settings = Settings::of(algorithm, steps, batch, seed);
    let mut curve = Vec::new();
    let (mut failure, mut interrupted, mut due) = (None, false, 0);
    let mut watch = |at: &Iterate<'_>| {
        interrupted = stop.is_raised();
        if interrupted {
            return ControlFlow::Break(());
        }
        if at.iterations < due && budget.spent(at) < 1.0 {
            return ControlFlow::Continue(due.min(next_look(at)));
        }
        match judge.judge(at.point) {
            Ok(judgement) => {
                let cost = Cost { iterations: at.iterations, seconds: at.elapsed.as_secs_f64(), work: at.work };
                curve.push(Checkpoint { cost, judgement });
            }
            Err(error) => {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        let spent = budget.spent(at);
        if spent >= 1.0 {
            return ControlFlow::Break(());
        }
        let next = ((at.iterations as f64 * SPACING) as usize).max(at.iterations + 1);
        // Not much beyond the end of the budget, at the rate so far.
        let last = (at.iterations as f64 / spent).ceil();
        let last = if last.is_finite() && at.iterations > 0 { (last as usize).max(at.iterations + 1) } else { next };
        due = next.min(last);
        ControlFlow::Continue(due.min(next_look(at)))
    };
    let ended = run(contest.problem(), &settings, contest.start.clone(), &mut watch);
    if interrupted {
        return Err(Error::interrupted());
    }
    let end = match (ended, failure) {
        (Ok(_), None) => end_of(&curve),
        (Err(error), _) | (Ok(_), Some(error)) if error.is_numeric() => End::Diverged,
        (Err(error), _) | (Ok(_), Some(error)) => return Err(error),
    };
    Ok(Entry { algorithm, steps, seed, curve, end })
}

//! One contestant on one budget.

use std::ops::ControlFlow;

use super::budget::Budget;
use super::curve::{Checkpoint, Cost};
use super::entry::{Contestant, End, Entry, end_of};
use super::judge::Judge;
use crate::algorithms::{Bilevel, Iterate, LowerLoss, Point, Settings, run};
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::lower::Curved;
use crate::row_sums::RowSumObjective;
use crate::sample::Batch;
use crate::stop::StopSignal;

/// A lower level that all algorithms can run on and the judge can solve.
pub trait Contested: Curved + LowerLoss {}

impl<L: Curved + LowerLoss> Contested for L {}

/// The problem of a race, and what is the same for everyone: a [`Bilevel`] whose lower level can be solved exactly, the start,
/// and the size of samples.
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
    /// Rows of each sample.
    pub batch: Batch,
}

impl std::fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contest")
            .field("dims", &self.lower.dims())
            .field("domain", &self.domain)
            .field("start", &self.start)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

impl Contest<'_> {
    /// As the algorithms see it.
    pub fn problem(&self) -> Bilevel<'_> {
        Bilevel { lower: self.lower, upper: self.upper, domain: self.domain }
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
    let settings = Settings::of(contestant.algorithm, contestant.steps, contest.batch, contestant.seed);
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
    Ok(Entry { screening_seconds: 0.0, contestant: *contestant, curve, end })
}

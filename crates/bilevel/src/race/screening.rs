//! Steps for everyone from one grid.
//!
//! Papers give rates and leave constants to the reader, so that a comparison is one of constants unless all contestants
//! choose them alike. Here: the first step of `w`, and the same for `v`, is the longest safe one of the problem times each of
//! `lower`; the first step of `lambda` is the one that moves no coordinate of the start by more than 1, times each of
//! `outer`. Each pair is tried on a part of the budget, and the one with the smallest value function races, or the next one
//! where it diverges or ends above its start.

use super::budget::Budget;
use super::contest::{Contest, compete};
use super::entry::{Contestant, Entry};
use super::judge::Judge;
use crate::algorithms::{Algorithm, FirstSteps};
use crate::diagnose::SampledCurvature;
use crate::error::{Error, Result};
use crate::hypergradient::Implicit;
use crate::newton::Newton;
use crate::stop::StopSignal;
use crate::vector;

/// How contestants come by their first steps. Algorithms that [find their own](Algorithm::finds_steps) need no grid.
#[derive(Debug, Clone, PartialEq)]
pub enum StepChoice {
    /// The same for all.
    Given(FirstSteps),
    /// Each from this grid, on a part of the budget; all seeds of an algorithm take what its first run has chosen.
    Screened(Grid),
}

impl Default for StepChoice {
    fn default() -> Self {
        StepChoice::Screened(Grid::default())
    }
}

/// Factors of the first steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Of the longest safe step of `w` and `v`.
    pub lower: Vec<f64>,
    /// Of the step that moves `lambda` by 1.
    pub outer: Vec<f64>,
    /// Part of the budget for each pair.
    pub part: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Grid { lower: vec![1.0, 0.25], outer: vec![1.0, 0.1, 0.01], part: 0.1 }
    }
}

impl Grid {
    /// Checks that there is something to try, and a part of the budget to try it on.
    ///
    /// # Errors
    /// Input.
    pub fn validate(&self) -> Result<()> {
        let are_steps =
            |factors: &[f64]| !factors.is_empty() && factors.iter().all(|factor| *factor > 0.0 && factor.is_finite());
        if are_steps(&self.lower) && are_steps(&self.outer) && self.part > 0.0 && self.part <= 1.0 {
            Ok(())
        } else {
            Err(Error::input("a grid of steps needs positive factors, and a part of the budget for each pair")
                .remedy("take Grid::default(), or a part between 0 and 1"))
        }
    }

    /// Its middle alone: the longest safe step of `w` and `v`, and a tenth of the step that moves `lambda` by 1. What an
    /// algorithm does with these is what it does without tuning.
    pub fn middle() -> Self {
        Grid { lower: vec![1.0], outer: vec![0.1], ..Grid::default() }
    }

    /// The steps of all pairs.
    ///
    /// # Errors
    /// Numeric, where the lower level cannot be solved at the start, or a product is not finite; interrupted, once `stop` is
    /// raised.
    pub(super) fn pairs(&self, contest: &Contest<'_>, seed: u64, stop: &StopSignal) -> Result<Vec<FirstSteps>> {
        let (lambda, start) = (contest.start.lambda(), contest.start.w());
        let mut solution = start.to_vec();
        Newton::default().minimize(contest.lower, lambda, &mut solution, None, stop)?;
        let mut u = vec![0.0; start.len()];
        let exact =
            Implicit::default().at_solution(contest.lower, contest.upper, &solution, lambda, &mut u, None, stop)?;
        let largest = vector::max_abs(&exact.value).max(f64::MIN_POSITIVE);
        let samples =
            SampledCurvature { margin: SampledCurvature::MARGIN, ..SampledCurvature::new(contest.batch, seed) };
        let (longest, _) = samples.longest_step_of_loss(contest.lower, &[start, &solution], lambda)?;
        let mut pairs = Vec::new();
        for lower in &self.lower {
            for outer in &self.outer {
                let lower = longest * lower;
                pairs.push(FirstSteps { lower, linear: lower, outer: outer / largest });
            }
        }
        Ok(pairs)
    }
}

/// The `pairs` by the value with which `algorithm` ends on its part of the `budget`, the lowest first, those that diverge last.
///
/// More than the first are of use where that one fails on the whole budget: a part may not show it, as penalties grow with
/// time, and the curvature of the lower level with them.
///
/// # Errors
/// Those of [`compete`].
pub(super) fn screen(
    contest: &Contest<'_>,
    algorithm: Algorithm,
    seed: u64,
    pairs: &[FirstSteps],
    budget: &Budget,
    stop: &StopSignal,
) -> Result<Vec<FirstSteps>> {
    let mut judge = Judge::new(contest).until(stop.clone());
    let mut entries: Vec<Entry> = Vec::new();
    for &steps in pairs {
        let contestant = Contestant { algorithm, steps, seed };
        entries.push(compete(contest, &contestant, budget, &mut judge, stop)?);
    }
    entries.sort_by(|a, b| a.value().total_cmp(&b.value()));
    Ok(entries.into_iter().map(|entry| entry.contestant.steps).collect())
}

//! The loop that all algorithms share: iterate, project, watch.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::adaptive::Adaptive;
use super::algorithm::Algorithm;
use super::field::Streams;
use super::first_order::{DynamicBarrier, Penalized};
use super::hoag::Inexact;
use super::point::Point;
use super::problem::Bilevel;
use super::recipe::Recipe;
use super::sampled::{InTurn, Together};
use super::scheme::{FirstSteps, Scheme, Steps};
use super::zeroth_order::ZerothOrder;
use crate::company::Paced;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::sample::Batch;
use crate::vector;
use crate::work::Work;

/// Iterations between two looks for iterates that are not finite.
const CHECK_EVERY: usize = 64;

/// An algorithm with its free parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What one iteration does.
    pub recipe: Recipe,
    /// How far it goes.
    pub steps: Steps,
    /// Rows of each sample.
    pub batch: Batch,
    /// Seed of all samples.
    pub seed: u64,
}

impl Settings {
    /// [`Algorithm::Auto`] as it is: no steps to choose.
    pub fn recommended(batch: Batch, seed: u64) -> Self {
        Self::of(Algorithm::Auto, FirstSteps::ONES, batch, seed)
    }

    /// `algorithm` with the exponents of its paper (on all rows with constant steps) and these first steps, which
    /// [`first_steps`](super::first_steps) finds.
    pub fn of(algorithm: Algorithm, first: FirstSteps, batch: Batch, seed: u64) -> Self {
        let exponents = if batch == Batch::All { [0.0; 3] } else { algorithm.exponents() };
        let steps = Steps::falling(first, exponents);
        Settings { recipe: algorithm.recipe(), steps, batch, seed }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
pub struct Iterate<'a> {
    /// Iterations made.
    pub iterations: usize,
    /// `(w, v, lambda)`.
    pub point: &'a Point,
    /// Work so far.
    pub work: Work,
    /// Time so far, without that of the observer.
    pub elapsed: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The last iterate.
    pub point: Point,
    /// Iterations made.
    pub iterations: usize,
    /// Work of the run.
    pub work: Work,
    /// Time of the run, without that of the observer.
    pub elapsed: Duration,
}

/// Runs an algorithm from `start`.
///
/// `observer` sees the start, and after that the iteration whose number it has returned last; it ends the run by
/// [`ControlFlow::Break`]. Its own time does not count. It is called on the thread of the caller; iterations may be made on
/// others, two at a time, unless the lower level [forbids it](crate::lower::StochasticLoss::is_parallel). The iterates are the
/// same.
///
/// # Errors
/// Input, for settings that make no sense; numeric, when the iterates grow beyond all bounds.
pub fn run(
    problem: Bilevel<'_>,
    settings: &Settings,
    start: Point,
    observer: &mut dyn for<'e> Observer<Iterate<'e>, usize>,
) -> Result<Outcome> {
    problem.validate()?;
    settings.recipe.validate()?;
    settings.steps.validate()?;
    settings.batch.validate("batch")?;
    if start.layout.0 != problem.dims() {
        return Err(Error::input(format!(
            "the start has the sizes {:?}, the problem {:?}",
            start.layout.0,
            problem.dims()
        )));
    }
    if !vector::all_finite(&start.x) {
        return Err(Error::input("the start holds NaN or infinity").remedy("begin with finite numbers"));
    }
    let mut scheme = scheme(problem, settings, &start)?;
    let mut paced = Paced::new(problem.lower.is_parallel());
    let mut point = start;
    problem.domain.project(point.lambda_mut());
    let (mut elapsed, mut next, mut t) = (Duration::ZERO, 0, 0);
    loop {
        if t == next {
            let work = scheme.work();
            match observer.observe(&Iterate { iterations: t, point: &point, work, elapsed }) {
                ControlFlow::Break(()) => return Ok(Outcome { point, iterations: t, work, elapsed }),
                ControlFlow::Continue(number) => next = number.max(t + 1),
            }
        }
        let clock = Instant::now();
        paced.run(t..next, |t| {
            scheme.iterate(t, &mut point)?;
            let made = t + 1;
            if (made.is_multiple_of(CHECK_EVERY) || made == next) && !vector::all_finite(&point.x) {
                return Err(Error::numeric(format!("the iterates are not finite after {made} iterations"))
                    .remedy("use smaller steps, or a larger batch"));
            }
            Ok(())
        })?;
        elapsed += clock.elapsed();
        t = next;
    }
}

fn scheme<'a>(problem: Bilevel<'a>, settings: &Settings, start: &Point) -> Result<Box<dyn Scheme + 'a>> {
    let Settings { recipe, steps, batch, seed } = *settings;
    let streams = Streams::new(seed);
    Ok(match recipe {
        Recipe::Together { adjoint, memory, outer_every } => {
            Box::new(Together::new(problem, adjoint, memory, outer_every, steps, batch, streams)?)
        }
        Recipe::InTurn { lower, adjoint, start: from } => {
            Box::new(InTurn::new(problem, lower, adjoint, from, steps, batch, streams, start))
        }
        Recipe::Penalized { lower_steps, initial, growth } => {
            Box::new(Penalized::new(problem, lower_steps, initial, growth, steps, batch, streams))
        }
        Recipe::DynamicBarrier { lower_steps, barrier } => {
            Box::new(DynamicBarrier::new(problem, lower_steps, barrier, steps, batch, streams))
        }
        Recipe::ZerothOrder { lower_steps, directions, smoothing } => {
            Box::new(ZerothOrder::new(problem, lower_steps, directions, smoothing, steps, batch, seed))
        }
        Recipe::Adaptive { memory } => Box::new(Adaptive::new(problem, memory, steps, batch, streams, seed)?),
        Recipe::Inexact { tolerance, decrease } => Box::new(Inexact::new(problem, tolerance, decrease, steps)),
    })
}

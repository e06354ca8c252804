//! A whole bilevel optimisation at a given budget: the second experiment of the paper (`docs/study.md`).
//!
//! Projected gradient steps on `lambda` with hypergradients of one method, both solves started where the last ones ended.
//! Methods are compared at the samples they took, so the loop ends when the budget is spent and not after a number of
//! steps.

use std::cell::RefCell;
use std::ops::ControlFlow;

use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::hypergradient::{Method, WarmStart};
use crate::lower::Symmetric;
use crate::optimize::{Iteration, Limits, OuterStep, ProjectedGradient};
use crate::row_sums::RowSums;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::work::Work;

/// How to descend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// How hypergradients are made.
    pub method: Method,
    /// The upper-level step.
    pub step: OuterStep,
    /// Samples of the lower level to spend, in passes over its rows.
    pub max_epochs: f64,
    /// Seed of all samples.
    pub seed: u64,
}

/// Where a descent stands after one hypergradient.
#[derive(Debug, Clone, Copy)]
pub struct DescentPoint<'a> {
    /// Number of the hypergradient, from 0.
    pub iteration: usize,
    /// Samples of the lower level so far, in passes over its rows.
    pub epochs: f64,
    /// Seconds spent on hypergradients so far.
    pub seconds: f64,
    /// The hyperparameters it was made at.
    pub lambda: &'a [f64],
    /// The lower variable it was made at.
    pub w: &'a [f64],
}

/// Descends from `start` until the budget is spent; `observe` sees every hypergradient, and its time is not counted.
///
/// `rows` of the lower level make an epoch.
///
/// # Errors
/// Those of the method at the start, or where smaller steps do not help; interrupted, once `stop` is raised.
pub fn descend<M: Symmetric + RowSums, U: UpperObjective + ?Sized>(
    (map, upper, rows): (&M, &U, usize),
    descent: &Descent,
    domain: &Domain,
    start: &[f64],
    stop: &StopSignal,
    mut observe: impl FnMut(&DescentPoint<'_>),
) -> Result<()> {
    let state = RefCell::new((WarmStart::zeros(map.dims()), 0u64, 0.0));
    let mut oracle = |lambda: &[f64], number: usize| {
        if stop.is_raised() {
            return Err(Error::interrupted());
        }
        let (point, samples, seconds) = &mut *state.borrow_mut();
        let clock = std::time::Instant::now();
        let estimate = descent.method.estimate(map, upper, lambda, Some(point), descent.seed, number as u64)?;
        *seconds += clock.elapsed().as_secs_f64();
        *samples += lower_samples(&descent.method, &estimate.work);
        Ok(estimate)
    };
    let limits = Limits { iterations: usize::MAX, ..Limits::default() };
    let loops = ProjectedGradient { step: descent.step, limits };
    let mut observer = |seen: &Iteration<'_>| {
        let (point, samples, seconds) = &*state.borrow();
        let epochs = *samples as f64 / rows as f64;
        let (iteration, lambda) = (seen.number, seen.lambda);
        observe(&DescentPoint { iteration, epochs, seconds: *seconds, lambda, w: &point.w });
        if epochs >= descent.max_epochs { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    loops.minimize(&mut oracle, domain, start, &mut observer)?;
    if stop.is_raised() { Err(Error::interrupted()) } else { Ok(()) }
}

/// Rows of the lower level in `work`: those of the map and of the linear system. The cross derivative of a method that visits
/// all rows is not counted.
pub(super) fn lower_samples(method: &Method, work: &Work) -> u64 {
    let uncounted = match method {
        Method::AidFixedPoint(_)
        | Method::AidConjugateGradient(_)
        | Method::AidNormalEquations(_)
        | Method::AidGmres(_)
        | Method::Nystrom(_) => work.cross_products,
        _ => 0,
    };
    work.lower_rows() - uncounted
}

//! The hypergradient of a whole problem against finite differences of `f(lambda) = E(w(lambda), lambda)`.
//!
//! Derivatives can be right one by one and the problem still be put together wrongly: a sign, a map whose products belong to
//! another map, an upper level over other variables. Here both levels are solved at `lambda +- h p`, to high accuracy and from
//! the same start, and nothing but values of `E` enters the difference.

use super::check::Check;
use super::taylor::Taylor;
use crate::error::{Error, Result};
use crate::fixed_point::{FixedPoint, LowerSolver, Workspace};
use crate::hypergradient::{AidFixedPoint, Implicit, WarmStart};
use crate::lower::{Curved, StochasticMap};
use crate::operator::LowerOperator;
use crate::sample::{Purpose, Rng, Sample};
use crate::status::Status;
use crate::upper::UpperObjective;

/// Relative residual to which levels given by maps are solved.
const SOLVED: f64 = 1e-13;

/// Settings of the comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SolvedDifference {
    /// Random directions `p` of norm one.
    pub directions: u64,
    /// Largest relative difference that passes.
    pub tolerance: f64,
    /// Steps that a level given by a map may take.
    pub steps: usize,
    /// Step of the differences and seed of the directions.
    pub taylor: Taylor,
}

impl Default for SolvedDifference {
    fn default() -> Self {
        SolvedDifference { directions: 3, tolerance: 1e-5, steps: 1_000_000, taylor: Taylor::default() }
    }
}

impl SolvedDifference {
    /// Any map: both equations by the fixed-point iteration on all rows.
    ///
    /// # Errors
    /// Numeric, when a solve fails or does not reach a residual that differences can be taken of.
    pub fn map<M, U>(&self, map: &M, upper: &U, lambda: &[f64]) -> Result<Vec<Check>>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let dims = map.dims();
        let mut start = WarmStart::zeros(dims);
        let method = AidFixedPoint { lower_steps: self.steps, linear_steps: self.steps, tolerance: SOLVED };
        let exact = solved(method.estimate(map, upper, lambda, Some(&mut start))?)?;
        let solver = FixedPoint::exact(self.steps, SOLVED);
        let mut workspace = Workspace::new(dims.w);
        let f = |lambda: &[f64]| {
            let mut w = start.w.clone();
            let mut operator = LowerOperator { map, lambda };
            solver
                .solve(&mut operator, &mut w, &mut Rng::stream(0, Purpose::Lower, 0), &mut workspace)
                .usable("lower level")?;
            Ok(upper.value(&w, lambda, &Sample::Full))
        };
        self.taylor.hypergradient(f, lambda, &exact, self.directions, self.tolerance)
    }

    /// A loss that knows its curvature, solved by `solver`, from zeros on.
    ///
    /// # Errors
    /// Numeric, when a solve fails.
    pub fn loss<U: UpperObjective + ?Sized>(
        &self,
        loss: &dyn Curved,
        upper: &U,
        lambda: &[f64],
        solver: &dyn LowerSolver,
    ) -> Result<Vec<Check>> {
        self.loss_from(WarmStart::zeros(loss.dims()), loss, upper, lambda, solver)
    }

    /// The same from another start.
    ///
    /// # Errors
    /// Numeric, when a solve fails.
    pub fn loss_from<U: UpperObjective + ?Sized>(
        &self,
        mut start: WarmStart,
        loss: &dyn Curved,
        upper: &U,
        lambda: &[f64],
        solver: &dyn LowerSolver,
    ) -> Result<Vec<Check>> {
        let exact = solved(Implicit::default().estimate(loss, upper, lambda, Some(&mut start), solver)?)?;
        let f = |lambda: &[f64]| {
            let mut w = start.w.clone();
            solver.solve(loss, lambda, &mut w)?.usable("lower level")?;
            Ok(upper.value(&w, lambda, &Sample::Full))
        };
        self.taylor.hypergradient(f, lambda, &exact, self.directions, self.tolerance)
    }
}

/// Residuals that rounding stopped are as good as solved; a limit of steps is not.
fn solved(estimate: crate::hypergradient::Hypergradient) -> Result<Vec<f64>> {
    match estimate.status {
        Status::StepLimit => Err(Error::numeric("the lower level was not solved within the allowed steps")
            .remedy("allow more steps, or check a better conditioned problem")),
        _ => Ok(estimate.value),
    }
}

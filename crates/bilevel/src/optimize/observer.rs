//! Observers of an upper-level loop: progress bars, traces, checkpoints, plots and callbacks are all this one thing.

use std::ops::ControlFlow;

use crate::work::Work;

/// Where a loop stands after evaluating one iterate.
#[derive(Debug, Clone, Copy)]
pub struct Iteration<'a> {
    /// Number of the iteration, from 0.
    pub number: usize,
    /// The objective at `lambda` (on the sample that was used).
    pub objective: f64,
    /// [`projected_gradient_norm`](crate::domain::Domain::projected_gradient_norm) at `lambda`.
    pub projected_gradient_norm: f64,
    /// The iterate.
    pub lambda: &'a [f64],
    /// Work since the start of the loop.
    pub work: Work,
    /// Wall-clock seconds since the start of the loop.
    pub seconds: f64,
}

/// Sees every iteration, and may stop the loop by [`ControlFlow::Break`]; what was reached so far is kept.
pub trait Observer {
    /// Called once an iteration.
    fn iteration(&mut self, iteration: &Iteration<'_>) -> ControlFlow<()>;
}

impl<F: FnMut(&Iteration<'_>) -> ControlFlow<()>> Observer for F {
    fn iteration(&mut self, iteration: &Iteration<'_>) -> ControlFlow<()> {
        self(iteration)
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn iteration(&mut self, _iteration: &Iteration<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

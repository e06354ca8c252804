//! What an upper-level loop tells of each iterate.

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

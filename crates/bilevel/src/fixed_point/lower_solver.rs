//! Deterministic solvers of a lower level that is a loss, as values a hypergradient can be given.

use crate::error::Result;
use crate::lower::Curved;
use crate::status::Info;

/// Finds `w(lambda) = argmin_w g(w, lambda)`, to its own tolerance.
pub trait LowerSolver: Sync {
    /// Starts at `w` and leaves the solution there.
    ///
    /// # Errors
    /// Numeric, when no usable solution was found (divergence, a loss that is not strongly convex).
    fn solve(&self, loss: &dyn Curved, lambda: &[f64], w: &mut [f64]) -> Result<Info>;
}

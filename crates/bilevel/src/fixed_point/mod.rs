//! Solvers of `x = T(x)`, `T = E[T_hat]`: one iteration for the lower level and for its adjoint system.

mod iteration;
mod lower_solver;

pub use iteration::{Average, FixedPoint, State, Workspace};
pub use lower_solver::LowerSolver;

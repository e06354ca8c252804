//! The stochastic bilevel algorithms of the literature, as recipes over one loop (`docs/algorithms.md`).
//!
//! With the lower level `w(lambda) = argmin_w g(w, lambda)` as a loss and the upper objective `E(w, lambda)`, all of them move
//! `x = (w, v, lambda)` along estimates of
//!
//! ```text
//! D_w = grad_w g,    D_v = (hess_w g) v - grad_w E,    D_lambda = grad_lambda E - (d/dlambda grad_w g)^T v,
//! ```
//!
//! whose common zero is a stationary point of `f(lambda) = E(w(lambda), lambda)`. Here `v` solves `(hess_w g) v = grad_w E`;
//! papers that write `(hess_w g) v = -grad_w E` and `D_lambda = grad_lambda E + (...)^T v` differ by the sign of `v` alone.
//!
//! What tells the algorithms apart is small, and is data: whether the three blocks move [together or in
//! turn](recipe::Recipe), how `v` comes about ([`Adjoint`]), what is [remembered](Memory) of earlier directions, and how fast
//! the steps shrink. A new algorithm is a new recipe, and comparisons compare algorithms and not programs.
//!
//! Five hundred iterations of SOBA on a quadratic, on samples of 16 rows:
//!
//! ```
//! use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Iterate, Point, Settings, run};
//! use bilevel::domain::Domain;
//! use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
//! use bilevel::sample::Batch;
//! use std::ops::ControlFlow;
//!
//! let quadratic = Quadratic::random(&QuadraticOptions { rows: 100, w: 5, lambda: 3, ..Default::default() });
//! let problem = Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &Domain::unbounded(3) };
//! let first = FirstSteps { lower: 0.2, linear: 0.2, outer: 0.01 };
//! let settings = Settings::of(Algorithm::Soba, first, Batch::Rows(16), 0);
//! let start = Point::new(&[0.0; 5], &[0.0; 5], &[0.0; 3]);
//! // Called at the start, and again at the iteration whose number it returns.
//! let mut watch = |at: &Iterate<'_>| match at.iterations {
//!     500 => ControlFlow::Break(()),
//!     _ => ControlFlow::Continue(500),
//! };
//! let end = run(problem, &settings, start, &mut watch)?;
//! assert!(quadratic.objective(end.point.lambda()) < quadratic.objective(&[0.0; 3]));
//! # Ok::<(), bilevel::Error>(())
//! ```

mod adaptive;
mod adjoint;
mod algorithm;
mod field;
mod first_order;
mod first_steps;
mod hoag;
mod memory;
mod point;
mod problem;
mod recipe;
mod run;
mod saga;
mod saga_memory;
mod sampled;
mod scheme;
mod zeroth_order;

pub use adjoint::Adjoint;
pub use algorithm::Algorithm;
pub use first_steps::first_steps;
pub use memory::{Blocks, Memory};
pub use point::Point;
pub use problem::{Bilevel, LowerLoss};
pub use recipe::{Count, Recipe, Start};
pub use run::{Iterate, Outcome, Settings, run};
pub use scheme::{FirstSteps, Steps};

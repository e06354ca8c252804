//! Small problems whose hypergradient is known, for tests of estimators.

use bilevel::lower::{Dims, GradientMap};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::problems::target::Target;
use bilevel::vector;

pub const LAMBDA: [f64; 4] = [0.3, -0.5, 0.8, 0.1];
/// Those of [`contraction`].
pub const DIMS: Dims = Dims { w: 8, lambda: 4 };

pub fn quadratic(noise: f64, ridge: f64) -> Quadratic {
    Quadratic::random(&QuadraticOptions { noise, ridge, upper_rows: 7, seed: 3, ..QuadraticOptions::default() })
}

/// The gradient-step map with the best step, and its contraction `q`.
pub fn gradient_map(problem: &Quadratic) -> (GradientMap<'_, Quadratic>, f64) {
    let (mu, l) = problem.curvature_bounds(&LAMBDA);
    (GradientMap { loss: problem, map_step: 2.0 / (l + mu) }, (l - mu) / (l + mu))
}

/// A linear map that contracts by 0.7, and an upper objective.
pub fn contraction(noise: f64) -> (LinearContraction, Target) {
    (LinearContraction::random(DIMS, 0.7, noise, 5), Target::random(DIMS, 1, 0.0, 0.2, 5))
}

#[track_caller]
pub fn assert_close(value: &[f64], exact: &[f64], tolerance: f64) {
    let error = vector::distance(value, exact) / vector::norm(exact);
    assert!(error <= tolerance, "relative error {error:e} above {tolerance:e}:\n{value:?}\n{exact:?}");
}

//! A reference and the library side by side, on the same streams of random numbers.

use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Iterate, Point, Settings, run};
use bilevel::domain::Domain;
use bilevel::sample::{Batch, Purpose, Rng};

use super::ridge::*;

/// The three blocks, and the streams that the library draws from.
pub struct Reference<'a> {
    pub ridge: &'a Ridge,
    pub w: Vector,
    pub v: Vector,
    pub l: Vector,
    pub lower: Rng,
    pub upper: Rng,
    pub linear: Rng,
}

impl<'a> Reference<'a> {
    pub fn new(ridge: &'a Ridge) -> Self {
        let stream = |purpose| Rng::stream(SEED, purpose, 0);
        let (lower, upper, linear) = (stream(Purpose::Lower), stream(Purpose::Upper), stream(Purpose::Linear));
        Reference { ridge, w: START[0], v: START[1], l: START[2], lower, upper, linear }
    }

    pub fn draw_lower(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.lower.below(ROWS)).collect()
    }

    pub fn draw_upper(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.upper.below(UPPER_ROWS)).collect()
    }

    pub fn draw_linear(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.linear.below(ROWS)).collect()
    }

    pub fn move_lambda(&mut self, step: f64, direction: &Vector) {
        for j in 0..D {
            self.l[j] = (self.l[j] - step * direction[j]).clamp(-BOX, BOX);
        }
    }
}

pub const START: [Vector; 3] = [[0.5, -0.3, 0.2], [0.1, 0.0, -0.2], [0.0, 0.2, -0.1]];

pub fn axpy(a: f64, x: &Vector, y: &mut Vector) {
    for j in 0..D {
        y[j] += a * x[j];
    }
}

pub fn minus(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|j| a[j] - b[j])
}

/// `(1 + t)^-exponent`, as a fraction of the first step.
pub fn fallen(t: usize, exponent: f64) -> f64 {
    (1.0 + t as f64).powf(-exponent)
}

/// Runs both for `iterations`, and compares all blocks after each.
pub fn compare(algorithm: Algorithm, batch: Batch, iterations: usize, step: impl Fn(usize, &mut Reference<'_>)) {
    let settings = Settings::of(algorithm, FirstSteps::from(STEPS), batch, SEED);
    compare_within(1e-10, algorithm, settings, iterations, step);
}

pub fn compare_within(
    tolerance: f64,
    algorithm: Algorithm,
    settings: Settings,
    iterations: usize,
    step: impl Fn(usize, &mut Reference<'_>),
) {
    let ridge = Ridge::new();
    let upper = Upper(&ridge);
    let domain = Domain::uniform(D, -BOX, BOX).unwrap();
    let problem = Bilevel { lower: &ridge, upper: &upper, domain: &domain };
    let mut reference = Reference::new(&ridge);
    let start = Point::new(&START[0], &START[1], &START[2]);
    let mut moved = 0.0;
    let mut watch = |at: &Iterate<'_>| {
        for (name, found, expected) in [
            ("w", at.point.w(), reference.w),
            ("v", at.point.v(), reference.v),
            ("lambda", at.point.lambda(), reference.l),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                let allowed = tolerance * (1.0 + expected.abs());
                assert!(
                    (found - expected).abs() <= allowed,
                    "{algorithm}, iteration {}: {name} {found} {expected}",
                    at.iterations
                );
            }
        }
        moved = dot(&minus(&reference.l, &START[2]), &minus(&reference.l, &START[2]));
        if at.iterations == iterations {
            return ControlFlow::Break(());
        }
        step(at.iterations, &mut reference);
        ControlFlow::Continue(at.iterations + 1)
    };
    run(problem, &settings, start, &mut watch).unwrap();
    assert!(moved > 1e-4, "{algorithm} has not moved");
}

/// Gradient, Hessian product less `grad_w E`, and outer direction of one sample of each level.
pub fn directions(ridge: &Ridge, at: [&[usize]; 2], w: &Vector, v: &Vector, l: &Vector) -> [Vector; 3] {
    let product = times(&hessian(&ridge.lower, at[0], l), v);
    let d_v = minus(&product, &upper_gradient(&ridge.upper, at[1], w));
    let d_lambda = minus(&upper_gradient_lambda(l), &cross(w, l, v));
    [gradient(&ridge.lower, at[0], w, l), d_v, d_lambda]
}

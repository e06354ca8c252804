//! Bounded L-BFGS on functions whose minimum is known, with and without active bounds.

use std::ops::ControlFlow;

use bilevel::domain::Domain;
use bilevel::observer::Silent;
use bilevel::optimize::{BoundedLbfgs, Evaluation, Iteration, Limits, OuterStep, ProjectedGradient, StopReason};
use bilevel::work::Work;
use bilevel::{Error, Result, vector};
use proptest::prelude::*;

fn evaluation(objective: f64, gradient: Vec<f64>) -> Result<Evaluation> {
    Ok(Evaluation::new(objective, gradient, Work::gradient(1)))
}

/// Rosenbrock's valley, lifted so that tolerances relative to the value make sense; minimum 1 at (1, 1).
fn rosenbrock(x: &[f64], _number: usize) -> Result<Evaluation> {
    let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
    evaluation(1.0 + a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
}

/// `1 + 1/2 sum_j c_j (x_j - t_j)^2`, turned by Householder reflections so that no axis is an eigenvector.
struct Quadratic {
    c: Vec<f64>,
    t: Vec<f64>,
}

impl Quadratic {
    fn reflect(&self, x: &mut [f64]) {
        let n = x.len() as f64;
        let mean = 2.0 * x.iter().sum::<f64>() / n;
        x.iter_mut().for_each(|x| *x -= mean);
    }

    fn evaluate(&self, x: &[f64]) -> Result<Evaluation> {
        let mut d: Vec<f64> = x.iter().zip(&self.t).map(|(x, t)| x - t).collect();
        self.reflect(&mut d);
        let value = 1.0 + 0.5 * d.iter().zip(&self.c).map(|(d, c)| c * d * d).sum::<f64>();
        d.iter_mut().zip(&self.c).for_each(|(d, c)| *d *= c);
        self.reflect(&mut d);
        evaluation(value, d)
    }
}

fn tight() -> BoundedLbfgs {
    BoundedLbfgs { iterations: 500, tolerance: 1e-9, stall: 0.0, ..BoundedLbfgs::default() }
}

#[test]
fn the_valley_of_rosenbrock() {
    let free = Domain::unbounded(2);
    let outcome = tight().minimize(&mut rosenbrock, &free, &[-1.2, 1.0], &mut Silent).unwrap();
    assert_eq!(outcome.reason, StopReason::Stationary);
    assert!(vector::distance(&outcome.lambda, &[1.0, 1.0]) < 1e-7, "{outcome:?}");
    assert!(outcome.iterations < 60, "{} iterations", outcome.iterations);
    assert!(outcome.work.gradients > outcome.iterations as u64, "trial points are counted");

    // x0 <= 1/2: the minimum is (1/2, 1/4), on the bound.
    let domain = Domain::bounded(vec![-2.0, -2.0], vec![0.5, 2.0]).unwrap();
    let outcome = tight().minimize(&mut rosenbrock, &domain, &[-1.2, 1.0], &mut Silent).unwrap();
    assert_eq!((outcome.reason, outcome.lambda[0]), (StopReason::Stationary, 0.5));
    assert!((outcome.lambda[1] - 0.25).abs() < 1e-8, "{outcome:?}");

    // Both bounds active: x0 >= 1.5, x1 <= 1.
    let domain = Domain::bounded(vec![1.5, -2.0], vec![3.0, 1.0]).unwrap();
    let outcome = tight().minimize(&mut rosenbrock, &domain, &[9.0, -9.0], &mut Silent).unwrap();
    assert_eq!((outcome.reason, outcome.lambda), (StopReason::Stationary, vec![1.5, 1.0]));
}

/// In a box no component of the projected gradient is larger than the box, however large the objective.
#[test]
fn the_unit_of_the_objective_does_not_matter() {
    let domain = Domain::uniform(2, -8.0, 8.0).unwrap();
    let minimize = |unit: f64| {
        let mut oracle = |x: &[f64], number| {
            let Evaluation { objective, gradient, .. } = rosenbrock(x, number)?;
            evaluation(unit * (1.0 + objective), gradient.iter().map(|g| unit * g).collect())
        };
        let lbfgs = BoundedLbfgs { stall: 0.0, ..BoundedLbfgs::default() };
        lbfgs.minimize(&mut oracle, &domain, &[-1.25, 1.0], &mut Silent).unwrap()
    };
    let one = minimize(1.0);
    assert!(vector::distance(&one.lambda, &[1.0, 1.0]) < 1e-4, "{one:?}");
    // Powers of two change no digit.
    for unit in [40, -40].map(|power| 2.0_f64.powi(power)) {
        assert_eq!((minimize(unit).lambda, minimize(unit).reason), (one.lambda.clone(), one.reason), "unit {unit:e}");
    }
}

#[test]
fn a_condition_number_of_ten_thousand() {
    let m = 30;
    let c: Vec<f64> = (0..m).map(|j| 10f64.powf(4.0 * j as f64 / (m - 1) as f64)).collect();
    let quadratic = Quadratic { c, t: (0..m).map(|j| (j as f64).sin()).collect() };
    let lbfgs = BoundedLbfgs { iterations: 1000, tolerance: 1e-5, ..tight() };
    let mut oracle = |x: &[f64], _| quadratic.evaluate(x);
    let outcome = lbfgs.minimize(&mut oracle, &Domain::unbounded(m), &vec![0.0; m], &mut Silent).unwrap();
    assert_eq!(outcome.reason, StopReason::Stationary);
    assert!(vector::distance(&outcome.lambda, &quadratic.t) < 1e-4, "{outcome:?}");
    // Gradient steps need about 1e4 ln(1e9) = 2e5, the method had 450 when this was written.
    assert!(outcome.iterations < 700, "{} iterations", outcome.iterations);
}

#[test]
fn agrees_with_projected_gradients_where_bounds_are_active() {
    let m = 6;
    let quadratic = Quadratic { c: vec![1.0, 2.0, 4.0, 8.0, 3.0, 1.5], t: vec![2.0, -3.0, 0.5, 0.1, -0.2, 4.0] };
    let domain = Domain::uniform(m, -1.0, 1.0).unwrap();
    let mut oracle = |x: &[f64], _| quadratic.evaluate(x);
    let outcome = tight().minimize(&mut oracle, &domain, &vec![0.0; m], &mut Silent).unwrap();
    let limits = Limits { iterations: 20_000, gradient_tolerance: 1e-10, ..Limits::default() };
    let gradients = ProjectedGradient { step: OuterStep::AdaGradNorm { outer_step: 1.0 }, limits };
    let slow = gradients.minimize(&mut oracle, &domain, &vec![0.0; m], &mut Silent).unwrap();
    assert_eq!((outcome.reason, slow.reason), (StopReason::Stationary, StopReason::Stationary));
    assert!(vector::distance(&outcome.lambda, &slow.lambda) < 1e-7, "{outcome:?}\n{slow:?}");
    assert!(outcome.lambda.iter().any(|x| x.abs() == 1.0), "a bound is active");
}

#[test]
fn failing_evaluations_shorten_the_step() {
    // Unusable where x0 > 1.02 or x1 < -0.1, and not finite where x1 > 3.
    let mut failures = 0;
    let mut oracle = |x: &[f64], number| {
        if x[0] > 1.02 || x[1] < -0.1 {
            failures += 1;
            return Err(Error::numeric("diverged"));
        }
        if x[1] > 3.0 {
            failures += 1;
            return evaluation(f64::NAN, vec![0.0, 0.0]);
        }
        rosenbrock(x, number)
    };
    let outcome = tight().minimize(&mut oracle, &Domain::unbounded(2), &[-1.2, 2.9], &mut Silent).unwrap();
    assert!(failures > 0, "the region was never entered");
    assert!(vector::distance(&outcome.lambda, &[1.0, 1.0]) < 1e-6, "{outcome:?}");
    // At the start a failure is an error, as is any that is not numeric.
    let mut always = |_: &[f64], _| -> Result<Evaluation> { Err(Error::numeric("diverged")) };
    let error = tight().minimize(&mut always, &Domain::unbounded(2), &[0.0; 2], &mut Silent).unwrap_err();
    assert!(error.is_numeric());
    let mut input = |x: &[f64], n| if n < 2 { rosenbrock(x, n) } else { Err(Error::input("wrong")) };
    let error = tight().minimize(&mut input, &Domain::unbounded(2), &[0.0; 2], &mut Silent).unwrap_err();
    assert!(error.is_input());
    for start in [vec![0.0; 3], vec![f64::NAN; 2]] {
        assert!(tight().minimize(&mut rosenbrock, &Domain::unbounded(2), &start, &mut Silent).unwrap_err().is_input());
    }
}

#[test]
fn endings_are_told_apart() {
    let domain = Domain::unbounded(2);
    let mut numbers = Vec::new();
    let mut objectives = Vec::new();
    let mut observer = |at: &Iteration<'_>| {
        numbers.push(at.number);
        objectives.push(at.objective);
        if at.number == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = tight().minimize(&mut rosenbrock, &domain, &[-1.2, 1.0], &mut observer).unwrap();
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::Interrupted, 4));
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert!(objectives.windows(2).all(|pair| pair[1] <= pair[0]), "{objectives:?}");
    assert_eq!(outcome.objective, objectives[4]);

    let limited = BoundedLbfgs { iterations: 3, ..tight() };
    let outcome = limited.minimize(&mut rosenbrock, &domain, &[-1.2, 1.0], &mut Silent).unwrap();
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::IterationLimit, 3));

    let stalling = BoundedLbfgs { stall: 0.5, ..tight() };
    let outcome = stalling.minimize(&mut rosenbrock, &domain, &[-1.2, 1.0], &mut Silent).unwrap();
    assert_eq!(outcome.reason, StopReason::Stalled);

    let mut later = |x: &[f64], n| if n < 5 { rosenbrock(x, n) } else { Err(Error::interrupted()) };
    let outcome = tight().minimize(&mut later, &domain, &[-1.2, 1.0], &mut Silent).unwrap();
    assert_eq!(outcome.reason, StopReason::Interrupted);
}

#[test]
fn a_largest_move_that_leads_nowhere_is_refused() {
    for largest_move in [0.0, -1.0, f64::NAN] {
        let method = BoundedLbfgs { largest_move, ..tight() };
        let error = method.minimize(&mut rosenbrock, &Domain::unbounded(2), &[0.0; 2], &mut Silent).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("largest move"), "{error}");
    }
}

#[test]
fn no_coordinate_moves_too_far_at_once() {
    let far = Quadratic { c: vec![1.0, 1e-3], t: vec![400.0, -900.0] };
    let mut oracle = |x: &[f64], _| far.evaluate(x);
    let mut last = vec![0.0; 2];
    let mut observer = |at: &Iteration<'_>| {
        let moved = at.lambda.iter().zip(&last).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved <= 3.0 + 1e-9, "moved by {moved}");
        last.copy_from_slice(at.lambda);
        ControlFlow::Continue(())
    };
    let lbfgs = BoundedLbfgs { iterations: 2000, ..tight() };
    let outcome = lbfgs.minimize(&mut oracle, &Domain::unbounded(2), &[0.0; 2], &mut observer).unwrap();
    assert!(vector::distance(&outcome.lambda, &far.t) < 1e-3, "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn convex_quadratics_in_boxes(
        c in prop::collection::vec(-1.0..2.0_f64, 2..9),
        seeds in prop::collection::vec((-3.0..3.0_f64, -2.0..1.0_f64, 0.0..2.0_f64, -4.0..4.0_f64), 9),
    ) {
        let m = c.len();
        let quadratic = Quadratic {
            c: c.iter().map(|c| 10f64.powf(*c)).collect(),
            t: seeds[..m].iter().map(|s| s.0).collect(),
        };
        let lower: Vec<f64> = seeds[..m].iter().map(|s| s.1).collect();
        let upper: Vec<f64> = seeds[..m].iter().map(|s| s.1 + s.2).collect();
        let domain = Domain::bounded(lower, upper).unwrap();
        let start: Vec<f64> = seeds[..m].iter().map(|s| s.3).collect();
        let mut inside = true;
        let mut oracle = |x: &[f64], _| {
            inside &= domain.contains(x);
            quadratic.evaluate(x)
        };
        let lbfgs = BoundedLbfgs { tolerance: 1e-7, ..tight() };
        let outcome = lbfgs.minimize(&mut oracle, &domain, &start, &mut Silent).unwrap();
        prop_assert!(inside);
        let at = quadratic.evaluate(&outcome.lambda).unwrap();
        prop_assert_eq!(at.objective, outcome.objective);
        let norm = domain.projected_gradient_norm(&outcome.lambda, &at.gradient);
        prop_assert!(norm <= 1e-5 * at.objective, "{:?} {norm:e} {:?}", outcome.reason, outcome);
    }
}

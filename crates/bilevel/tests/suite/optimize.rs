//! Upper-level loops on problems whose minimiser is known.

use std::ops::ControlFlow;

use bilevel::domain::Domain;
use bilevel::hypergradient::{AidFixedPoint, Sid, WarmStart};
use bilevel::lower::{GradientMap, StochasticLoss};
use bilevel::observer::Silent;
use bilevel::optimize::{
    BoundedLbfgs, Evaluation, Iteration, Limits, Outcome, OuterStep, ProjectedGradient, StopReason,
};
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::sample::Batch;
use bilevel::step_size::StepSize;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};

/// `f = 1/2 sum_j c_j (lambda_j - t_j)^2`.
fn bowl(lambda: &[f64], _number: usize) -> Result<Evaluation> {
    let (c, t) = ([1.0, 30.0, 0.1], [1.0, -2.0, 3.0]);
    let gradient: Vec<f64> = (0..3).map(|j| c[j] * (lambda[j] - t[j])).collect();
    let objective = 0.5 * (0..3).map(|j| gradient[j] * (lambda[j] - t[j])).sum::<f64>();
    Ok(Evaluation::new(objective, gradient, Work::gradient(5)))
}

fn rules() -> [OuterStep; 3] {
    [
        OuterStep::Scheduled(StepSize::Constant { eta: 0.06 }),
        OuterStep::AdaGradNorm { outer_step: 4.0 },
        OuterStep::adam(1.0),
    ]
}

fn minimize(step: OuterStep, limits: Limits, domain: &Domain) -> Outcome {
    ProjectedGradient { step, limits }.minimize(&mut bowl, domain, &[0.0; 3], &mut Silent).unwrap()
}

#[test]
fn every_rule_finds_the_minimum() {
    for step in rules() {
        let limits = Limits { iterations: 20_000, gradient_tolerance: 1e-6, ..Limits::default() };
        let outcome = minimize(step, limits, &Domain::unbounded(3));
        assert_eq!(outcome.reason, StopReason::Stationary, "{step:?}: {outcome:?}");
        assert!(vector::distance(&outcome.lambda, &[1.0, -2.0, 3.0]) < 2e-5);
        assert_eq!(outcome.work.gradients, 5 * outcome.iterations as u64);
    }
}

#[test]
fn every_rule_stays_in_the_box() {
    let domain = Domain::bounded(vec![-1.0, -1.0, f64::NEG_INFINITY], vec![0.5, f64::INFINITY, 10.0]).unwrap();
    for step in rules() {
        let limits = Limits { iterations: 20_000, gradient_tolerance: 1e-6, ..Limits::default() };
        let mut inside = true;
        let mut observer = |iteration: &Iteration<'_>| {
            inside &= domain.contains(iteration.lambda);
            ControlFlow::Continue(())
        };
        let loop_ = ProjectedGradient { step, limits };
        let outcome = loop_.minimize(&mut bowl, &domain, &[9.0, -9.0, 0.0], &mut observer).unwrap();
        assert!(inside && outcome.reason == StopReason::Stationary, "{step:?}: {outcome:?}");
        assert!(vector::distance(&outcome.lambda, &[0.5, -1.0, 3.0]) < 2e-5);
    }
}

#[test]
fn domains() {
    let domain = Domain::bounded(vec![0.0, f64::NEG_INFINITY], vec![1.0, 5.0]).unwrap();
    let mut lambda = [-3.0, 7.0];
    domain.project(&mut lambda);
    assert_eq!(lambda, [0.0, 5.0]);
    assert!(domain.contains(&lambda) && !domain.contains(&[0.5, f64::NAN]) && !domain.contains(&[0.5]));
    // At the bounds only the component that points inwards counts.
    assert_eq!(domain.projected_gradient_norm(&[0.0, 5.0], &[2.0, -3.0]), 0.0);
    assert_eq!(domain.projected_gradient_norm(&[0.0, 5.0], &[-2.0, -3.0]), 1.0);
    assert_eq!(domain.projected_gradient_norm(&[0.5, -1e9], &[0.0, 1e-9]), 1e-9);
    assert_eq!(Domain::unbounded(1).projected_gradient_norm(&[1e9], &[1e-9]), 1e-9);
    assert!(domain.projected_gradient_norm(&[0.5, 0.0], &[f64::NAN, 0.0]).is_nan());
    assert!(domain.projected_gradient_norm(&[f64::NAN, 0.0], &[1.0, 0.0]).is_nan());
    assert!(domain.projected_gradient_norm(&[0.5, f64::NEG_INFINITY], &[1.0, 0.0]).is_nan());
    // A step and its projection in one.
    for domain in [domain, Domain::uniform(2, -1.0, 1.0).unwrap(), Domain::unbounded(2)] {
        let (mut one, mut two) = ([0.5, -0.5], [0.5 - 2.0 * 3.0, -0.5 + 2.0 * 0.125]);
        domain.descend(2.0, &[3.0, -0.125], &mut one);
        domain.project(&mut two);
        assert_eq!(one, two);
    }
    for (low, high) in [(1.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, f64::INFINITY)] {
        assert!(Domain::uniform(2, low, high).is_err_and(|error| error.is_input()), "[{low}, {high}]");
    }
    assert!(Domain::bounded(vec![0.0], vec![]).is_err());
}

#[test]
fn stopping_reasons_are_told_apart_and_the_best_is_kept() {
    let step = OuterStep::Scheduled(StepSize::Constant { eta: 0.06 });
    let domain = Domain::unbounded(3);
    let limits = Limits { iterations: 7, ..Limits::default() };
    let outcome = minimize(step, limits, &domain);
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::IterationLimit, 7));

    let outcome = minimize(step, Limits { seconds: Some(0.0), ..limits }, &domain);
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::TimeLimit, 1), "one evaluation is always made");

    let limits = Limits { iterations: 100_000, patience: 20, improvement: 0.1, ..Limits::default() };
    // The objective falls to zero; a floor under it lets the loop stall.
    let mut lifted =
        |lambda: &[f64], number| bowl(lambda, number).map(|e| Evaluation { objective: e.objective + 1.0, ..e });
    let loop_ = ProjectedGradient { step, limits };
    let outcome = loop_.minimize(&mut lifted, &domain, &[0.0; 3], &mut Silent).unwrap();
    assert_eq!(outcome.reason, StopReason::Stalled);
    assert!(outcome.iterations < 2000);

    let mut observer = |iteration: &Iteration<'_>| {
        if iteration.number == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = loop_.minimize(&mut bowl, &domain, &[0.0; 3], &mut observer).unwrap();
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::Interrupted, 5));

    // Steps beyond 2/L: every iterate is worse than the last, and the start stays the best.
    let too_long = OuterStep::Scheduled(StepSize::Constant { eta: 0.1 });
    let outcome = minimize(too_long, Limits { iterations: 50, ..Limits::default() }, &domain);
    let start = bowl(&[0.0; 3], 0).unwrap().objective;
    assert_eq!((outcome.lambda, outcome.objective), (vec![0.0; 3], start));
}

/// Steps that are too long, and the trials of a line search: the last evaluation need not be the best.
#[test]
fn the_lower_variable_and_the_gradient_of_an_outcome_are_those_of_the_best() {
    let mut evaluated = Vec::new();
    let mut oracle = |lambda: &[f64], number| {
        evaluated.push(lambda.to_vec());
        let w = lambda.iter().map(|x| 2.0 * x).collect();
        bowl(lambda, number).map(|evaluation| evaluation.with_w(w))
    };
    let step = OuterStep::Scheduled(StepSize::Constant { eta: 0.1 });
    let limits = Limits { iterations: 8, ..Limits::default() };
    let domain = Domain::unbounded(3);
    let steps = ProjectedGradient { step, limits }.minimize(&mut oracle, &domain, &[0.5; 3], &mut Silent).unwrap();
    let lbfgs = BoundedLbfgs { iterations: 4, ..BoundedLbfgs::default() };
    let searched = lbfgs.minimize(&mut oracle, &domain, &[0.5; 3], &mut Silent).unwrap();
    for outcome in [&steps, &searched] {
        let best = bowl(&outcome.lambda, 0).unwrap();
        assert_eq!((&outcome.gradient, outcome.objective), (&best.gradient, best.objective));
        assert_eq!(outcome.w, Some(outcome.lambda.iter().map(|x| 2.0 * x).collect()));
    }
    assert_ne!(evaluated[7], steps.lambda, "the last step was no better");
    assert!(minimize(step, limits, &domain).w.is_none());
}

#[test]
fn failed_evaluations_are_retreated_from() {
    // Unusable beyond 1.5 in the first coordinate; the first steps go there.
    let mut failures = 0;
    let mut oracle = |lambda: &[f64], number| {
        if lambda[0] > 1.5 {
            failures += 1;
            return Err(Error::numeric("diverged"));
        }
        bowl(lambda, number)
    };
    let step = OuterStep::adam(3.0);
    let limits = Limits { iterations: 20_000, gradient_tolerance: 1e-6, ..Limits::default() };
    let loop_ = ProjectedGradient { step, limits };
    let outcome = loop_.minimize(&mut oracle, &Domain::unbounded(3), &[0.0; 3], &mut Silent).unwrap();
    assert!(failures > 0 && outcome.reason == StopReason::Stationary, "{failures} failures, {outcome:?}");

    let mut always = |_: &[f64], _| -> Result<Evaluation> { Err(Error::numeric("diverged")) };
    let error = loop_.minimize(&mut always, &Domain::unbounded(3), &[0.0; 3], &mut Silent).unwrap_err();
    assert!(error.is_numeric());
    let mut not_finite = |lambda: &[f64], n| bowl(lambda, n).map(|e| Evaluation { objective: f64::NAN, ..e });
    assert!(loop_.minimize(&mut not_finite, &Domain::unbounded(3), &[0.0; 3], &mut Silent).is_err());
    let mut later = |lambda: &[f64], n| if n < 3 { bowl(lambda, n) } else { Err(Error::interrupted()) };
    let outcome = loop_.minimize(&mut later, &Domain::unbounded(3), &[0.0; 3], &mut Silent).unwrap();
    assert_eq!((outcome.reason, outcome.iterations), (StopReason::Interrupted, 3));
}

#[test]
fn unusable_settings_are_refused() {
    let domain = Domain::unbounded(3);
    for step in [
        OuterStep::AdaGradNorm { outer_step: 0.0 },
        OuterStep::adam(f64::NAN),
        OuterStep::Adam { outer_step: 0.1, mean_decay: 1.0, square_decay: 0.9, decay: 0.0 },
        OuterStep::Scheduled(StepSize::Constant { eta: -1.0 }),
    ] {
        let loop_ = ProjectedGradient { step, limits: Limits::default() };
        let result = loop_.minimize(&mut bowl, &domain, &[0.0; 3], &mut Silent);
        assert!(result.is_err_and(|error| error.is_input()), "{step:?}");
    }
    let loop_ = ProjectedGradient { step: OuterStep::adam(0.1), limits: Limits::default() };
    assert!(loop_.minimize(&mut bowl, &domain, &[0.0; 2], &mut Silent).is_err());
    assert!(loop_.minimize(&mut bowl, &domain, &[f64::NAN; 3], &mut Silent).is_err());
}

/// The whole method: SID with everything sampled, decreasing steps above and below, against the minimum that exact
/// hypergradients find. Fixed seed; the bound leaves a factor of about five.
#[test]
fn bilevel_by_stochastic_hypergradients_reaches_the_optimum() {
    let problem = Quadratic::random(&QuadraticOptions { ridge: 0.2, upper_rows: 20, ..QuadraticOptions::default() });
    let start = vec![0.0; problem.dims().lambda];
    let (mu, l) = problem.curvature_bounds(&start);
    let map = GradientMap { loss: &problem, map_step: 2.0 / (l + mu) };
    let domain = Domain::uniform(start.len(), -2.0, 2.0).unwrap();

    let aid = AidFixedPoint { lower_steps: 300, linear_steps: 300, tolerance: 1e-10 };
    let mut point = WarmStart::zeros(problem.dims());
    let mut exact = |lambda: &[f64], _| aid.estimate(&map, problem.upper(), lambda, Some(&mut point));
    let limits = Limits { iterations: 2000, gradient_tolerance: 1e-7, ..Limits::default() };
    let loop_ = ProjectedGradient { step: OuterStep::AdaGradNorm { outer_step: 1.0 }, limits };
    let best = loop_.minimize(&mut exact, &domain, &start, &mut Silent).unwrap();
    assert_eq!(best.reason, StopReason::Stationary);

    let sid = Sid {
        cross_batch: Batch::Rows(16),
        upper_batch: Batch::Rows(4),
        ..Sid::new(30, 4, StepSize::Constant { eta: 0.1 })
    };
    let run = || {
        let mut point = WarmStart::zeros(problem.dims());
        let mut last = start.clone();
        let mut oracle = |lambda: &[f64], number: usize| {
            last.copy_from_slice(lambda);
            sid.estimate(&map, problem.upper(), lambda, Some(&mut point), 4, number as u64)
        };
        let limits = Limits { iterations: 600, ..Limits::default() };
        let step = OuterStep::Scheduled(StepSize::Decreasing { beta: 20.0, gamma: 40.0 });
        let outcome = ProjectedGradient { step, limits }.minimize(&mut oracle, &domain, &start, &mut Silent).unwrap();
        (last, outcome)
    };
    let (last, outcome) = run();
    let gap = problem.objective(&last) - problem.objective(&best.lambda);
    let start_gap = problem.objective(&start) - problem.objective(&best.lambda);
    assert!(gap < 0.02 * start_gap, "gap {gap:e} of {start_gap:e}");
    assert_eq!((last, outcome), run(), "seeds replay");
}

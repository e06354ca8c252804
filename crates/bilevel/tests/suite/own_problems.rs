//! Problems of a user's own: closures, and the Bellman equation, with every estimator and check.

use std::cell::Cell;
use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Point, Settings, first_steps, run};
use bilevel::diagnose::{GradientStep, NoiseEstimate, SolvedDifference, Taylor, Unbiased, ensure};
use bilevel::domain::Domain;
use bilevel::hypergradient::{AidConjugateGradient, AidFixedPoint, Implicit, Sid, SidSaga, replicate};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Dims, FirstOrder, GradientMap, StochasticLoss, StochasticMap};
use bilevel::newton::Newton;
use bilevel::problems::closures::{LambdaGradients, RowLoss, RowMap, RowObjective};
use bilevel::problems::policy_evaluation::PolicyEvaluation;
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::step_size::StepSize;
use bilevel::vector;

const N: usize = 700;
const DIMS: Dims = Dims { w: 3, lambda: 2 };
const LAMBDA: [f64; 2] = [-1.0, 0.3];
const W: [f64; 3] = [0.4, -0.7, 0.2];

fn data() -> (Vec<[f64; 3]>, Vec<f64>) {
    let mut rng = Rng::stream(1, Purpose::Start, 80);
    let x: Vec<[f64; 3]> = (0..N).map(|_| [rng.normal(), rng.normal(), rng.normal()]).collect();
    let y = x.iter().map(|x| vector::dot(x, &[1.0, -1.0, 0.5]) + rng.normal()).collect();
    (x, y)
}

/// `(x'w - y)^2/2 + exp(lambda_0)/2 |w|^2 + lambda_1 w_0 cos(w_1)/10`.
fn loss<'a>(x: &'a [[f64; 3]], y: &'a [f64]) -> RowLoss<'a, (), LambdaGradients<'a>> {
    RowLoss::builder(DIMS, N)
        .value(|i, w, l| {
            let r = vector::dot(&x[i], w) - y[i];
            0.5 * r * r + 0.5 * l[0].exp() * vector::norm_squared(w) + 0.1 * l[1] * w[0] * w[1].cos()
        })
        .gradient(|i, w, l, out| {
            let r = vector::dot(&x[i], w) - y[i];
            (0..3).for_each(|j| out[j] = r * x[i][j] + l[0].exp() * w[j]);
            out[0] += 0.1 * l[1] * w[1].cos();
            out[1] -= 0.1 * l[1] * w[0] * w[1].sin();
        })
        .hessian_product(|i, w, l, v, out| {
            let r = vector::dot(&x[i], v);
            (0..3).for_each(|j| out[j] = r * x[i][j] + l[0].exp() * v[j]);
            out[0] -= 0.1 * l[1] * w[1].sin() * v[1];
            out[1] -= 0.1 * l[1] * (w[1].sin() * v[0] + w[0] * w[1].cos() * v[1]);
        })
        .cross_product(|_, w, l, v, out| {
            out[0] = l[0].exp() * vector::dot(w, v);
            out[1] = 0.1 * (w[1].cos() * v[0] - w[0] * w[1].sin() * v[1]);
        })
        .gradient_lambda(|_, w, l, out| {
            out[0] = 0.5 * l[0].exp() * vector::norm_squared(w);
            out[1] = 0.1 * w[0] * w[1].cos();
        })
        .build()
        .unwrap()
}

/// `(x'w - y)^2/2 + lambda_1^2/20`, over other rows than the loss sees most.
fn objective<'a>(x: &'a [[f64; 3]], y: &'a [f64]) -> RowObjective<'a> {
    RowObjective::builder(DIMS, 100)
        .value(|i, w, l| 0.5 * (vector::dot(&x[i], w) - y[i]).powi(2) + 0.05 * l[1] * l[1])
        .gradients(|i, w, l, gw, gl| {
            let r = vector::dot(&x[i], w) - y[i];
            (0..3).for_each(|j| gw[j] = r * x[i][j]);
            gl.copy_from_slice(&[0.0, 0.1 * l[1]]);
            0.5 * r * r + 0.05 * l[1] * l[1]
        })
        .build()
        .unwrap()
}

/// A missing term makes the second derivatives above wrong and these checks fail; all estimators must agree with
/// the exact hypergradient, SID within 5 standard errors a component (error probability 6e-7 each) beside its truncation.
#[test]
fn closures_work_with_every_estimator_and_check() {
    let (x, y) = data();
    let (loss, upper) = (loss(&x, &y), objective(&x, &y));
    let map = GradientMap { loss: &loss, map_step: 0.5 };
    for zeta in [Sample::Full, Sample::Rows(vec![3, 3, 17]), Sample::Block(5..9)] {
        ensure(&Taylor::default().loss(&loss, &W, &LAMBDA, &zeta)).unwrap();
        ensure(&Taylor::default().map(&map, &W, &LAMBDA, &zeta)).unwrap();
    }
    ensure(&Taylor::default().curvature(&loss, &W, &LAMBDA)).unwrap();
    ensure(&Taylor::default().upper(&upper, &W, &LAMBDA, &Sample::Full)).unwrap();
    ensure(&Unbiased::default().map(&map, &W, &LAMBDA)).unwrap();
    ensure(&Unbiased::default().upper(&upper, &W, &LAMBDA)).unwrap();
    let difference = SolvedDifference { tolerance: 1e-6, ..SolvedDifference::default() };
    ensure(&difference.loss(&loss, &upper, &LAMBDA, &Newton::default()).unwrap()).unwrap();
    ensure(&difference.map(&map, &upper, &LAMBDA).unwrap()).unwrap();

    let exact = Implicit::default().estimate(&loss, &upper, &LAMBDA, None, &Newton::default()).unwrap().value;
    let fixed_point = AidFixedPoint { lower_steps: 10_000, linear_steps: 10_000, tolerance: 1e-12 };
    let cg = AidConjugateGradient {
        lower_steps: 10_000,
        lower_tolerance: 1e-12,
        linear: ConjugateGradient { steps: 100, tolerance: 1e-12 },
    };
    for estimate in
        [fixed_point.estimate(&map, &upper, &LAMBDA, None).unwrap(), cg.estimate(&map, &upper, &LAMBDA, None).unwrap()]
    {
        assert!(
            vector::distance(&estimate.value, &exact) < 1e-8 * vector::norm(&exact),
            "{:?} {exact:?}",
            estimate.value
        );
    }
    let sid = Sid { cross_batch: Batch::Rows(16), ..Sid::new(3000, 16, StepSize::Constant { eta: 0.05 }) };
    let mean = replicate(100, |index| sid.estimate(&map, &upper, &LAMBDA, None, 1, index)).unwrap();
    let errors = mean.std_error.as_ref().unwrap();
    for j in 0..2 {
        let allowed = 5.0 * errors[j] + 0.01 * vector::norm(&exact);
        assert!((mean.value[j] - exact[j]).abs() < allowed, "{mean:?} against {exact:?}");
    }
}

#[test]
fn a_wrong_closure_is_found() {
    let (x, y) = data();
    let right = objective(&x, &y);
    let wrong = RowMap::builder(DIMS, N)
        .apply(|i, w, l, out| (0..3).for_each(|j| out[j] = 0.5 * w[j] + l[0] * x[i][j] + l[1] * y[i]))
        .vjp_w(|_, _, _, v, out| (0..3).for_each(|j| out[j] = 0.5 * v[j]))
        .vjp_lambda(|i, _, _, v, out| out.copy_from_slice(&[vector::dot(&x[i], v), 0.0]))
        .build()
        .unwrap();
    let failed = |checks: &[bilevel::diagnose::Check]| checks.iter().filter(|check| !check.passed).count();
    assert_eq!(failed(&Taylor::default().map(&wrong, &W, &LAMBDA, &Sample::Full)), 1);
    assert!(failed(&SolvedDifference::default().map(&wrong, &right, &LAMBDA).unwrap()) > 0);
}

#[test]
fn a_missing_closure_is_named() {
    let build = RowMap::builder(DIMS, 5).apply(|_, _, _, _| {}).vjp_w(|_, _, _, _, _| {}).build();
    let error = build.err().unwrap();
    assert!(error.is_input() && error.to_string().contains("vjp_lambda"), "{error}");
    let empty =
        RowMap::builder(DIMS, 0).apply(|_, _, _, _| {}).vjp_w(|_, _, _, _, _| {}).vjp_lambda(|_, _, _, _, _| {});
    assert!(empty.build().is_err_and(|error| error.to_string().contains("0 rows")));
}

#[test]
fn passes_over_closures_do_not_depend_on_threads() {
    let (x, y) = data();
    let loss = loss(&x, &y);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = vec![0.0; 3];
        let value = pool.install(|| loss.gradient(&W, &LAMBDA, &Sample::Full, &mut out));
        (value.to_bits(), out.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn policy_evaluation_agrees_with_its_closed_form() {
    let dims = Dims { w: 12, lambda: 3 };
    let lambda = [0.7, -0.4, 1.1];
    let chain = PolicyEvaluation::random(dims, 4, 0.6, 0.3, 2);
    assert!((0.6..0.95).contains(&chain.contraction()), "{}", chain.contraction());
    let upper = Target::random(dims, 5, 0.4, 0.1, 3);
    let w = chain.solution(&lambda);
    let mut image = vec![0.0; 12];
    chain.apply(&w, &lambda, &Sample::Full, &mut image);
    assert!(vector::distance(&image, &w) < 1e-12 * vector::norm(&w));

    let point: Vec<f64> = (0..12).map(|i| (i as f64).sin()).collect();
    for zeta in [Sample::Full, Sample::Rows(vec![3, 17]), Sample::Seed(5)] {
        ensure(&Taylor::default().map(&chain, &point, &lambda, &zeta)).unwrap();
    }
    ensure(&Unbiased { samples: 20_000, ..Unbiased::default() }.map(&chain, &point, &lambda)).unwrap();
    ensure(&SolvedDifference::default().map(&chain, &upper, &lambda).unwrap()).unwrap();
    let noise = NoiseEstimate { batch: 1, samples: 500, seed: 1 }.estimate(&chain, &w, &lambda).unwrap();
    assert!(noise.m1 > 0.0 && noise.m2 == 0.0 && noise.sigma1 > 12.0 * 0.09 * 0.5, "{noise:?}");

    // Everything is linear: SID is unbiased but for its truncation. 5 standard errors a component: 6e-7 each.
    let exact = chain.hypergradient(&upper, &lambda);
    let sid = Sid::new(200, 2, StepSize::Constant { eta: 0.3 });
    let mean = replicate(200, |index| sid.estimate(&chain, &upper, &lambda, None, 4, index)).unwrap();
    let errors = mean.std_error.as_ref().unwrap();
    for j in 0..3 {
        assert!((mean.value[j] - exact[j]).abs() < 5.0 * errors[j], "{mean:?} against {exact:?}");
        assert!(errors[j] < 0.1 * vector::norm(&exact));
    }
}

#[test]
fn chains_that_are_none_are_refused() {
    let new = |p: &[f64], f: &[f64], gamma: f64| PolicyEvaluation::new(p.to_vec(), f.to_vec(), gamma, 0.0, 0);
    assert!(new(&[0.5, 0.5, 0.25, 0.75], &[1.0, 2.0], 0.9).is_ok());
    for (p, f, gamma) in [
        (&[0.5, 0.6, 0.25, 0.75][..], &[1.0, 2.0][..], 0.9),
        (&[1.5, -0.5, 0.25, 0.75], &[1.0, 2.0], 0.9),
        (&[0.5, 0.5, 1.0], &[1.0, 2.0], 0.9),
        (&[0.5, 0.5, 0.25, 0.75], &[1.0, 2.0, 3.0], 0.9),
        (&[0.5, 0.5, 0.25, 0.75], &[1.0, 2.0], 1.0),
    ] {
        assert!(new(p, f, gamma).unwrap_err().is_input());
    }
}

/// Every algorithm moves `lambda` on closures, and those without tuning find what the exact hypergradient calls stationary.
#[test]
fn closures_work_with_every_algorithm() {
    let (x, y) = data();
    let (loss, upper) = (loss(&x, &y), objective(&x, &y));
    let mut gradient = [0.0; 2];
    loss.gradient_lambda(&W, &LAMBDA, &Sample::Rows(vec![3, 8]), &mut gradient);
    let at = |l0: f64, l1: f64| loss.value(&W, &[l0, l1], &Sample::Rows(vec![3, 8]));
    let [a, b] = LAMBDA;
    let differences = [at(a + 1e-5, b) - at(a - 1e-5, b), at(a, b + 1e-5) - at(a, b - 1e-5)].map(|d| d / 2e-5);
    assert!(vector::distance(&gradient, &differences) < 1e-9, "{gradient:?} {differences:?}");

    let domain = Domain::uniform(2, -4.0, 2.0).unwrap();
    let problem = Bilevel { lower: &loss, upper: &upper, domain: &domain };
    let go = |algorithm: Algorithm, iterations: usize| {
        let first = if algorithm.finds_steps() { [1.0; 3] } else { [0.1; 3] };
        let settings = Settings::of(algorithm, FirstSteps::from(first), Batch::Rows(32), 0);
        let start = Point::new(&[0.0; 3], &[0.0; 3], &LAMBDA);
        let mut watch = |at: &bilevel::algorithms::Iterate<'_>| match at.iterations {
            n if n == iterations => ControlFlow::Break(()),
            _ => ControlFlow::Continue(iterations),
        };
        run(problem, &settings, start, &mut watch).unwrap().point.lambda().to_vec()
    };
    for algorithm in Algorithm::ALL {
        // Steps that are measured on the way begin after some looks.
        let iterations = if algorithm.finds_steps() { 500 } else { 8 };
        assert_ne!(go(algorithm, iterations), LAMBDA, "{algorithm}");
    }
    let found = go(Algorithm::Auto, 3000);
    let exact = Implicit::default().estimate(&loss, &upper, &found, None, &Newton::default()).unwrap().value;
    assert!(domain.projected_gradient_norm(&found, &exact) < 1e-3, "{found:?} {exact:?}");
}

/// The step of `lambda` moves its steepest coordinate by what was asked; those of `w` and `v` are half of the longest.
#[test]
fn first_steps_of_an_algorithm_follow_from_the_problem() {
    let (x, y) = data();
    let (loss, upper) = (loss(&x, &y), objective(&x, &y));
    let start = Point::new(&[0.0; 3], &[0.0; 3], &LAMBDA);
    let exact = Implicit::default().estimate(&loss, &upper, &LAMBDA, None, &Newton::default()).unwrap().value;
    for (batch, tolerance) in [(Batch::All, 1e-9), (Batch::Rows(32), 0.2)] {
        let (FirstSteps { lower, linear, outer }, work) = first_steps(&loss, &upper, &start, 0.1, (batch, 0)).unwrap();
        let longest = GradientStep::longest(&loss, &[0.0; 3], &LAMBDA, batch, 0).unwrap();
        assert_eq!([lower, linear], [0.5 * longest.map_step; 2]);
        assert!((outer * vector::max_abs(&exact) - 0.1).abs() < 0.1 * tolerance, "{outer} for {exact:?}");
        assert!(work.rows > longest.work.rows);
    }
}

/// `w/2 + lambda x_i` by row: its Jacobian in `w` is symmetric, and each row enters by its own image.
#[test]
fn maps_by_closures_serve_methods_that_need_rows_or_symmetry() {
    let (x, y) = data();
    let upper = objective(&x, &y);
    let map = RowMap::builder(DIMS, N)
        .apply(|i, w, l, out| (0..3).for_each(|j| out[j] = 0.5 * w[j] + l[0] * x[i][j] + l[1] * y[i]))
        .vjp_w(|_, _, _, v, out| (0..3).for_each(|j| out[j] = 0.5 * v[j]))
        .vjp_lambda(|i, _, _, v, out| out.copy_from_slice(&[vector::dot(&x[i], v), y[i] * v.iter().sum::<f64>()]))
        .build()
        .unwrap()
        .symmetric();
    let exact = AidFixedPoint { lower_steps: 200, linear_steps: 200, tolerance: 1e-13 };
    let exact = exact.estimate(&map, &upper, &LAMBDA, None).unwrap().value;
    let conjugate = AidConjugateGradient {
        lower_steps: 200,
        lower_tolerance: 1e-13,
        linear: ConjugateGradient { steps: 5, tolerance: 1e-12 },
    };
    let found = conjugate.estimate(&map, &upper, &LAMBDA, None).unwrap().value;
    assert!(vector::distance(&found, &exact) < 1e-10);
    let sid = Sid::new(3000, 64, StepSize::Constant { eta: 0.5 });
    let found = SidSaga { sid }.estimate(&map, &upper, &LAMBDA, None, 0, 0).unwrap().value;
    assert!(vector::distance(&found, &exact) < 1e-6 * vector::norm(&exact), "{found:?} {exact:?}");
    assert!(format!("{map:?}").contains("rows: 700"));
}

#[test]
fn steps_on_closures_do_not_evaluate_the_loss() {
    thread_local!(static VALUES: Cell<usize> = const { Cell::new(0) });
    let loss = RowLoss::builder(Dims { w: 1, lambda: 1 }, 10)
        .value(|_, w, _| {
            VALUES.set(VALUES.get() + 1);
            w[0] * w[0]
        })
        .gradient(|_, w, _, out| out[0] = 2.0 * w[0])
        .hessian_product(|_, _, _, v, out| out[0] = 2.0 * v[0])
        .cross_product(|_, _, _, _, out| out[0] = 0.0)
        .build()
        .unwrap();
    let (mut out, rows) = ([0.0], Sample::Rows(vec![1, 2, 3]));
    GradientMap { loss: &loss, map_step: 0.1 }.apply(&[1.0], &[0.0], &rows, &mut out);
    assert_eq!((out, VALUES.get()), ([0.8], 0));
    loss.gradient(&[1.0], &[0.0], &rows, &mut out);
    assert_eq!(VALUES.get(), 3);
}

#[test]
fn sampled_parts_of_an_estimate_follow_from_its_solves() {
    let sid = Sid::new(10, 8, StepSize::Constant { eta: 0.5 });
    let parts = |lower_rows, upper_rows| {
        let sid = sid.with_sampled_parts(lower_rows, upper_rows);
        (sid.cross_batch, sid.upper_batch)
    };
    assert_eq!(parts(700, 100), (Batch::Rows(10), Batch::Rows(80)));
    assert_eq!(parts(10, 80), (Batch::All, Batch::All));
}

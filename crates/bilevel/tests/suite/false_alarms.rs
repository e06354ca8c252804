//! What is no failure, and no success, is not taken for one.

use bilevel::domain::Domain;
use bilevel::fixed_point::FixedPoint;
use bilevel::hypergradient::{AidFixedPoint, AidGmres, Capable, Implicit, Method, Neumann, ReverseMode};
use bilevel::linear_system::Gmres;
use bilevel::lower::{Dims, GradientMap, StochasticMap};
use bilevel::newton::Newton;
use bilevel::observer::Silent;
use bilevel::optimize::{Evaluation, Limits, OuterStep, ProjectedGradient, StopReason};
use bilevel::problems::closures::{RowLoss, RowObjective};
use bilevel::problems::policy_evaluation::PolicyEvaluation;
use bilevel::sample::{Purpose, Rng};
use bilevel::status::Status;
use bilevel::step_size::StepSize;
use bilevel::work::Work;

/// All states go to the first, which has the reward: in the Euclidean norm the first steps grow by the root of their number.
#[test]
fn a_map_that_contracts_in_another_norm_may_grow_at_first() {
    let (states, discount) = (400, 0.95);
    let mut transitions = vec![0.0; states * states];
    transitions.iter_mut().step_by(states).for_each(|to_first| *to_first = 1.0);
    let mut features = vec![0.0; states];
    features[0] = 1.0;
    let map = PolicyEvaluation::new(transitions, features, discount, 0.0, 0).unwrap();
    // The value of the last state: 0.95 / (1 - 0.95).
    let upper = RowObjective::builder(map.dims(), 1)
        .value(|_, w, _| w[states - 1])
        .gradients(|_, w, _, gw, gl| {
            gw.fill(0.0);
            gw[states - 1] = 1.0;
            gl.fill(0.0);
            w[states - 1]
        })
        .build()
        .unwrap();
    let (steps, tolerance) = (500, 1e-9);
    let lower = FixedPoint::exact(steps, tolerance);
    let linear = Gmres { steps: 50, restart: 50, tolerance };
    let aid = AidFixedPoint { lower_steps: steps, linear_steps: steps, tolerance };
    for method in [
        Method::AidFixedPoint(aid),
        Method::AidGmres(AidGmres { lower_steps: steps, lower_tolerance: tolerance, linear }),
        Method::Neumann(Neumann { lower, ..Neumann::exact(steps, steps) }),
        Method::ReverseMode(ReverseMode::new(lower)),
    ] {
        let found = method.estimate_on(Capable::new(&map), &upper, &[1.0], None, 0, 0);
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", method.name())).value[0];
        assert!((found - 19.0).abs() < 1e-6, "{}: {found}", method.name());
    }
}

/// Rows `(x, y)` and `(x, -y)`: the solution is zero, and all residuals are rounding errors.
#[test]
fn rounding_errors_about_a_solution_at_zero_do_not_grow() {
    let dims = Dims { w: 3, lambda: 1 };
    for seed in 0..100 {
        let mut rng = Rng::stream(seed, Purpose::Start, 1);
        let mut rows: Vec<([f64; 3], f64)> = Vec::new();
        for _ in 0..50 {
            let (x, y) = ([0.0; 3].map(|_| rng.normal()), 100.0 * rng.normal());
            rows.extend([(x, y), (x, -y)]);
        }
        rng.shuffle(&mut rows);
        let rows = &rows;
        let along = |i: usize, v: &[f64]| (0..3).map(|j| rows[i].0[j] * v[j]).sum::<f64>();
        let loss = RowLoss::builder(dims, rows.len())
            .value(|i, w, _| 0.5 * (along(i, w) - rows[i].1).powi(2) + 0.5 * w.iter().map(|w| w * w).sum::<f64>())
            .gradient(|i, w, _, out| (0..3).for_each(|j| out[j] = (along(i, w) - rows[i].1) * rows[i].0[j] + w[j]))
            .hessian_product(|i, _, _, v, out| (0..3).for_each(|j| out[j] = along(i, v) * rows[i].0[j] + v[j]))
            .cross_product(|_, w, _, v, out| out[0] = (0..3).map(|j| w[j] * v[j]).sum())
            .build()
            .unwrap();
        let upper = first_of_w(dims);
        let aid = AidFixedPoint { lower_steps: 500, linear_steps: 500, tolerance: 1e-10 };
        let found = aid.estimate(&GradientMap { loss: &loss, map_step: 0.3 }, &upper, &[0.3], None);
        found.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // A map that goes nowhere is no contraction.
        let error = aid.estimate(&GradientMap { loss: &loss, map_step: 1e-300 }, &upper, &[0.3], None).unwrap_err();
        assert!(error.to_string().contains("contraction"), "{error}");
    }
}

fn first_of_w(dims: Dims) -> RowObjective<'static> {
    RowObjective::builder(dims, 4)
        .value(|_, w, _| w[0])
        .gradients(|_, w, _, gw, gl| {
            gw.fill(0.0);
            gw[0] = 1.0;
            gl.fill(0.0);
            w[0]
        })
        .build()
        .unwrap()
}

/// The smallest of all bilevel problems: `g = (w - 1.1 - lambda)^2 / 2`.
#[test]
fn newton_ends_where_the_least_loss_is_zero() {
    let dims = Dims { w: 1, lambda: 1 };
    let off = |w: &[f64], l: &[f64]| w[0] - 1.1 - l[0];
    let loss = RowLoss::builder(dims, 4)
        .value(|_, w, l| 0.5 * off(w, l).powi(2))
        .gradient(|_, w, l, out| out[0] = off(w, l))
        .hessian_product(|_, _, _, v, out| out[0] = v[0])
        .cross_product(|_, _, _, v, out| out[0] = -v[0])
        .build()
        .unwrap();
    let found = Implicit::default().estimate(&loss, &first_of_w(dims), &[0.3], None, &Newton::default()).unwrap();
    assert_eq!(found.status, Status::Converged);
    assert!((found.value[0] - 1.0).abs() < 1e-12 && found.work.rows < 200, "{found:?}");
}

/// `f = (lambda - 0.8)^2 / 2` on `[-1, 1]`, from the bound at the other end, with much noise.
#[test]
fn one_gradient_that_pushes_against_a_bound_is_no_end() {
    let domain = Domain::uniform(1, -1.0, 1.0).unwrap();
    let step = OuterStep::Scheduled(StepSize::Power { eta: 0.2, exponent: 0.6 });
    let limits = Limits { iterations: 1000, ..Limits::default() };
    for seed in 0..50 {
        let mut rng = Rng::stream(seed, Purpose::Start, 9);
        let mut oracle = |lambda: &[f64], _: usize| -> bilevel::Result<Evaluation> {
            let off = lambda[0] - 0.8;
            Ok(Evaluation::new(0.5 * off * off, vec![off + 2.0 * rng.normal()], Work::default()))
        };
        let found = ProjectedGradient { step, limits }.minimize(&mut oracle, &domain, &[-1.0], &mut Silent).unwrap();
        assert_eq!((found.reason, found.iterations), (StopReason::IterationLimit, 1000), "seed {seed}");
        assert!((found.lambda[0] - 0.8).abs() < 0.1, "seed {seed}: {found:?}");
    }
    // Many are.
    let mut pushed =
        |_: &[f64], _: usize| -> bilevel::Result<Evaluation> { Ok(Evaluation::new(1.0, vec![1.0], Work::default())) };
    let found = ProjectedGradient { step, limits }.minimize(&mut pushed, &domain, &[-1.0], &mut Silent).unwrap();
    assert!(found.reason == StopReason::Stationary && found.iterations < 50, "{found:?}");
}

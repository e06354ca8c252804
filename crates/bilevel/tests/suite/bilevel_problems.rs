//! Meta-learning, poisoning and the equilibrium network: derivatives, unbiased samples, closed forms.

use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Iterate, Point, Settings, run};
use bilevel::diagnose::{Taylor, Unbiased, ensure};
use bilevel::domain::Domain;
use bilevel::hypergradient::{Implicit, Sid};
use bilevel::lower::{Curved, FirstOrder, GradientMap, Jvp, JvpLambda, StochasticLoss, StochasticMap};
use bilevel::newton::Newton;
use bilevel::problems::LinearLoss;
use bilevel::problems::equilibrium::Equilibrium;
use bilevel::problems::meta_learning::{MetaLearning, MetaLearningOptions, Tasks};
use bilevel::problems::poisoning::{Aim, Poisoning, PoisoningOptions};
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::step_size::StepSize;
use bilevel::stop::StopSignal;
use bilevel::upper::UpperObjective;
use bilevel::vector;

fn normals(n: usize, index: u64) -> Vec<f64> {
    let mut rng = Rng::stream(4, Purpose::Start, index);
    (0..n).map(|_| 0.5 * rng.normal()).collect()
}

/// Derivatives on all rows and on samples, and unbiased samples of both levels.
fn check<L: Curved + FirstOrder>(lower: &L, upper: &dyn UpperObjective) {
    let dims = lower.dims();
    assert_eq!(dims, upper.dims());
    let (w, lambda) = (normals(dims.w, 0), normals(dims.lambda, 1));
    let taylor = Taylor::default();
    for zeta in [Sample::Full, Sample::Block(3..9), Sample::Rows(vec![0, 5, 5, 11])] {
        ensure(&taylor.loss(lower, &w, &lambda, &zeta)).unwrap();
        ensure(&taylor.upper(upper, &w, &lambda, &zeta)).unwrap();
        let mut gradient = vec![0.0; dims.lambda];
        lower.gradient_lambda(&w, &lambda, &zeta, &mut gradient);
        let value = |lambda: &[f64]| {
            let value = lower.value(&w, lambda, &zeta);
            (value, value.abs())
        };
        ensure(&[taylor.scalar("gradient_lambda", &lambda, value, &gradient)]).unwrap();
    }
    ensure(&taylor.curvature(lower, &w, &lambda)).unwrap();
    ensure(&Unbiased::default().map(&GradientMap { loss: lower, map_step: 0.1 }, &w, &lambda)).unwrap();
    ensure(&Unbiased::default().upper(upper, &w, &lambda)).unwrap();
    // The hypergradient against differences of f.
    let exact = |lambda: &[f64]| {
        let newton = Newton { tolerance: 1e-15, ..Newton::default() };
        Implicit::default().estimate(lower, upper, lambda, None, &newton)
    };
    let gradient = exact(&lambda).unwrap().value;
    let f = |lambda: &[f64]| exact(lambda).map(|found| found.objective);
    ensure(&taylor.hypergradient(f, &lambda, &gradient, 4, 1e-5).unwrap()).unwrap();
}

#[test]
fn meta_learning_is_differentiated_correctly() {
    for loss in [LinearLoss::Squared, LinearLoss::Logistic] {
        let options = MetaLearningOptions { tasks: 6, rows: 5, features: 3, loss, ..MetaLearningOptions::default() };
        let (lower, upper) = MetaLearning::random(&options).unwrap();
        check(&lower, &upper);
    }
}

#[test]
fn poisoning_is_differentiated_correctly() {
    for (loss, aim) in [(LinearLoss::Squared, Aim::Harm), (LinearLoss::Logistic, Aim::Mislead)] {
        let options = PoisoningOptions { rows: 20, features: 3, poisoned: 8, loss, aim, ..PoisoningOptions::default() };
        let (lower, upper) = Poisoning::random(&options).unwrap();
        check(&lower, &upper);
    }
}

/// The end of a run of so many iterations from zero.
fn end(problem: Bilevel<'_>, settings: &Settings, iterations: usize) -> Point {
    let dims = problem.dims();
    let zero = vec![0.0; dims.w];
    let start = Point::new(&zero, &zero, &vec![0.0; dims.lambda]);
    let mut watch = |at: &Iterate<'_>| match at.iterations {
        n if n == iterations => ControlFlow::Break(()),
        _ => ControlFlow::Continue(iterations),
    };
    run(problem, settings, start, &mut watch).unwrap().point
}

/// With the squared loss `w_k = (A_k + s I)^{-1} (b_k + s lambda)` and the best bias solves normal equations of its own, which
/// are set up here from the data of each task.
#[test]
fn the_best_bias_of_ridge_tasks_is_found() {
    const P: usize = 2;
    let strength = 0.7;
    let sizes = [3, 6, 4];
    let mut rng = Rng::stream(8, Purpose::Start, 2);
    let mut level = || {
        let (mut x, mut y, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for (task, size) in sizes.into_iter().enumerate() {
            for _ in 0..size {
                let row = [rng.normal(), rng.normal()];
                y.push(row[0] - 0.5 * row[1] + 0.3 * task as f64 * row[1] + 0.1 * rng.normal());
                x.extend(row);
                tasks.push(task as u32);
            }
        }
        (x, y, tasks)
    };
    let (train, valid) = (level(), level());
    // Normal equations of f: w_k = c_k + D_k lambda, with D_k = s (A_k + s I)^{-1}.
    let (mut normal, mut right) = ([[0.0; P]; P], [0.0; P]);
    for task in 0..sizes.len() {
        let of_task = |level: &(Vec<f64>, Vec<f64>, Vec<u32>)| {
            let rows: Vec<([f64; P], f64)> = (0..level.1.len())
                .filter(|&i| level.2[i] as usize == task)
                .map(|i| ([level.0[2 * i], level.0[2 * i + 1]], level.1[i]))
                .collect();
            rows
        };
        let (mut a, mut b) = ([[strength, 0.0], [0.0, strength]], [0.0; P]);
        let rows = of_task(&train);
        for (x, y) in &rows {
            for i in 0..P {
                b[i] += x[i] * y / rows.len() as f64;
                (0..P).for_each(|j| a[i][j] += x[i] * x[j] / rows.len() as f64);
            }
        }
        let det = a[0][0] * a[1][1] - a[0][1] * a[1][0];
        let inverse = [[a[1][1] / det, -a[0][1] / det], [-a[1][0] / det, a[0][0] / det]];
        let c = inverse.map(|row| row[0] * b[0] + row[1] * b[1]);
        for (x, y) in of_task(&valid) {
            // The margin is x'c + strength (inverse x)' lambda.
            let z: [f64; P] = std::array::from_fn(|i| strength * (inverse[0][i] * x[0] + inverse[1][i] * x[1]));
            let rest = y - x[0] * c[0] - x[1] * c[1];
            for i in 0..P {
                right[i] += z[i] * rest;
                (0..P).for_each(|j| normal[i][j] += z[i] * z[j]);
            }
        }
    }
    let det = normal[0][0] * normal[1][1] - normal[0][1] * normal[1][0];
    let best = [
        (normal[1][1] * right[0] - normal[0][1] * right[1]) / det,
        (normal[0][0] * right[1] - normal[1][0] * right[0]) / det,
    ];
    let tasks = |(x, y, tasks): (Vec<f64>, Vec<f64>, Vec<u32>)| {
        Tasks::new(x, P, y, tasks, sizes.len(), LinearLoss::Squared).unwrap()
    };
    let lower = MetaLearning::new(tasks(train), strength).unwrap();
    let upper = bilevel::problems::meta_learning::TaskRisk::new(tasks(valid));
    let found = Implicit::default().estimate(&lower, &upper, &best, None, &Newton::default()).unwrap();
    assert!(vector::norm(&found.value) < 1e-10, "{:?}", found.value);
    // And the algorithms find it, on all rows and on samples.
    let domain = Domain::unbounded(P);
    let problem = Bilevel { lower: &lower, upper: &upper, domain: &domain };
    let settings = Settings::recommended(Batch::Rows(4), 0);
    for settings in [settings, Settings::of(Algorithm::Soba, FirstSteps::from([0.3, 0.3, 0.05]), Batch::All, 0)] {
        let found = end(problem, &settings, 40_000);
        assert!(vector::distance(found.lambda(), &best) < 1e-6, "{settings:?} {:?} {best:?}", found.lambda());
    }
}

/// The attack stays in its box and does harm.
#[test]
fn poisoned_rows_do_harm_within_their_box() {
    let (lower, upper) = Poisoning::random(&PoisoningOptions { rows: 100, ..PoisoningOptions::default() }).unwrap();
    let m = lower.dims().lambda;
    let domain = Domain::uniform(m, -0.5, 0.5).unwrap();
    let problem = Bilevel { lower: &lower, upper: &upper, domain: &domain };
    let value = |lambda: &[f64]| {
        let mut w = vec![0.0; lower.dims().w];
        Newton::default().minimize(&lower, lambda, &mut w, None, &StopSignal::never()).unwrap();
        upper.value(&w, lambda, &Sample::Full)
    };
    let found = end(problem, &Settings::recommended(Batch::Rows(16), 0), 10_000);
    assert!(domain.contains(found.lambda()));
    let random: Vec<f64> = normals(m, 7).iter().map(|x| 0.5 * x.signum()).collect();
    let (clean, noise, attack) = (value(&vec![0.0; m]), value(&random), value(found.lambda()));
    assert!(attack < clean - 0.02 && attack < noise - 0.02, "{clean} {noise} {attack}");
}

#[test]
fn the_equilibrium_network_is_a_contraction_with_the_right_derivatives() {
    let (network, readout) = Equilibrium::random(12, 3, 4, 0).unwrap();
    let dims = network.dims();
    let domain = network.domain(0.8).unwrap();
    let (w, mut lambda) = (normals(dims.w, 0), normals(dims.lambda, 1));
    domain.project(&mut lambda);
    let taylor = Taylor::default();
    for zeta in [Sample::Full, Sample::Rows(vec![0, 5, 5, 11])] {
        ensure(&taylor.map(&network, &w, &lambda, &zeta)).unwrap();
        ensure(&taylor.upper(&readout, &w, &lambda, &zeta)).unwrap();
        // v' (J x) = (J' v)' x
        let (v, x, y) = (normals(dims.w, 3), normals(dims.w, 4), normals(dims.lambda, 5));
        let (mut forward, mut back) = (vec![0.0; dims.w], vec![0.0; dims.w]);
        network.jvp_w(&w, &lambda, &zeta, &x, &mut forward);
        network.vjp_w(&w, &lambda, &zeta, &v, &mut back);
        assert!((vector::dot(&v, &forward) - vector::dot(&back, &x)).abs() < 1e-11, "{zeta:?}");
        let mut back = vec![0.0; dims.lambda];
        network.jvp_lambda(&w, &lambda, &zeta, &y, &mut forward);
        network.vjp_lambda(&w, &lambda, &zeta, &v, &mut back);
        assert!((vector::dot(&v, &forward) - vector::dot(&back, &y)).abs() < 1e-11, "{zeta:?}");
    }
    ensure(&Unbiased::default().map(&network, &w, &lambda)).unwrap();
    // Two states approach each other by the contraction of the box at least.
    let other = normals(dims.w, 2);
    let (mut one, mut two) = (vec![0.0; dims.w], vec![0.0; dims.w]);
    network.apply(&w, &lambda, &Sample::Full, &mut one);
    network.apply(&other, &lambda, &Sample::Full, &mut two);
    assert!(vector::distance(&one, &two) <= 0.8 * vector::distance(&w, &other));
    // The hypergradient on all inputs against differences of f, and on samples against it.
    let solve = |lambda: &[f64]| {
        let (mut w, mut next) = (vec![0.0; dims.w], vec![0.0; dims.w]);
        for _ in 0..300 {
            network.apply(&w, lambda, &Sample::Full, &mut next);
            std::mem::swap(&mut w, &mut next);
        }
        w
    };
    let f = |lambda: &[f64]| Ok(readout.value(&solve(lambda), lambda, &Sample::Full));
    let all = Sid { batch: 12, ..Sid::new(300, 12, StepSize::Constant { eta: 1.0 }) };
    let aid = bilevel::hypergradient::AidFixedPoint { lower_steps: 300, linear_steps: 300, tolerance: 0.0 };
    let exact = aid.estimate(&network, &readout, &lambda, None).unwrap();
    ensure(&taylor.hypergradient(f, &lambda, &exact.value, 4, 1e-5).unwrap()).unwrap();
    let sampled = Sid { batch: 4, lower_steps: 3000, linear_steps: 3000, ..all };
    let sampled = Sid {
        lower_step: StepSize::Constant { eta: 0.25 },
        linear_step: StepSize::Decreasing { beta: 6.0, gamma: 24.0 },
        ..sampled
    };
    let mut mean = vec![0.0; dims.lambda];
    for index in 0..20 {
        let one = sampled.estimate(&network, &readout, &lambda, None, 0, index).unwrap();
        vector::axpy(1.0 / 20.0, &one.value, &mut mean);
    }
    let error = vector::distance(&mean, &exact.value) / vector::norm(&exact.value);
    assert!(error < 0.05, "{error}");
}

//! The generic solvers: fixed-point iteration and conjugate gradients, on good and on hopeless systems.

use bilevel::fixed_point::{Average, FixedPoint, Workspace};
use bilevel::linear_system::{CgWorkspace, ConjugateGradient, Preconditioner};
use bilevel::lower::{Dims, StochasticMap};
use bilevel::operator::{AdjointOperator, LowerOperator, RandomOperator};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::status::{Info, Status};
use bilevel::step_size::StepSize;
use bilevel::work::Work;
use bilevel::{vector, work};

/// `T(x) = a x + b`, coordinate by coordinate, with noise of standard deviation `noise`.
struct Affine {
    a: Vec<f64>,
    b: Vec<f64>,
    noise: f64,
}

impl RandomOperator for Affine {
    fn dim(&self) -> usize {
        self.a.len()
    }

    fn draw(&self, _batch: usize, rng: &mut Rng, sample: &mut Sample) {
        *sample = Sample::Seed(rng.bits());
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let mut rng = match sample {
            Sample::Seed(seed) => Some(Rng::stream(*seed, Purpose::Lower, 0)),
            _ => None,
        };
        for i in 0..x.len() {
            out[i] = self.a[i] * x[i] + self.b[i] + rng.as_mut().map_or(0.0, |rng| self.noise * rng.normal());
        }
        Work::gradient(1)
    }
}

fn solve(solver: &FixedPoint, operator: &mut dyn RandomOperator, x: &mut [f64], seed: u64) -> Info {
    solver.validate().unwrap();
    let mut workspace = Workspace::new(x.len());
    solver.solve(operator, x, &mut Rng::stream(seed, Purpose::Lower, 0), &mut workspace)
}

#[test]
fn exact_iteration_converges_to_the_closed_form() {
    let dims = Dims { w: 12, lambda: 3 };
    let map = LinearContraction::random(dims, 0.9, 0.5, 1);
    let lambda = [1.0, -2.0, 0.5];
    let mut w = vec![0.0; 12];
    let info = solve(&FixedPoint::exact(2000, 1e-14), &mut LowerOperator { map: &map, lambda: &lambda }, &mut w, 0);
    assert_eq!(info.status, Status::Converged);
    assert!(info.steps < 500 && info.residual.unwrap() < 1e-12, "{info:?}");
    assert!(vector::distance(&w, &map.solution(&lambda)) < 1e-11);

    let grad_w: Vec<f64> = (0..12).map(|i| f64::from(i) - 5.0).collect();
    let mut v = vec![0.0; 12];
    let mut operator = AdjointOperator { map: &map, w: &w, lambda: &lambda, grad_w: &grad_w };
    let info = solve(&FixedPoint::exact(2000, 1e-14), &mut operator, &mut v, 0);
    assert_eq!(info.status, Status::Converged);
    let exact = map.adjoint(&grad_w);
    assert!(vector::distance(&v, &exact) < 1e-11 * vector::norm(&exact));
}

#[test]
fn step_limit_is_a_status_and_work_is_counted() {
    let mut operator = Affine { a: vec![0.99; 3], b: vec![1.0; 3], noise: 0.0 };
    let info = solve(&FixedPoint::exact(10, 1e-9), &mut operator, &mut [0.0; 3], 0);
    assert_eq!((info.status, info.steps), (Status::StepLimit, 10));
    assert_eq!(info.work, Work { rows: 10, gradients: 10, ..Work::default() });
    assert!(info.usable("test").is_ok());
    assert_eq!(info.work.passes(4), 2.5);
    assert_eq!([info.work, info.work].into_iter().sum::<work::Work>().rows, 20);
}

#[test]
fn start_at_the_solution_converges_at_once() {
    let mut operator = Affine { a: vec![0.5; 2], b: vec![1.0; 2], noise: 0.0 };
    let mut x = [2.0, 2.0];
    let info = solve(&FixedPoint::exact(100, 1e-12), &mut operator, &mut x, 0);
    assert_eq!((info.status, info.steps, x), (Status::Converged, 1, [2.0, 2.0]));
}

/// The theory bounds `E|x_t - x*|^2`; the mean of 200 runs may exceed its expectation by a third with probability below
/// 1e-3 (relative standard deviation about 0.1).
#[test]
fn mean_square_errors_respect_the_bounds_of_the_theory() {
    let (q, noise, dim) = (0.8, 0.5, 3);
    let solution = 1.0 / (1.0 - q);
    let sigma1 = noise * noise * dim as f64;
    let initial = solution * solution * dim as f64;
    for step in [
        StepSize::Constant { eta: 0.1 },
        StepSize::Constant { eta: 1.0 },
        StepSize::decreasing_from_constants(q, 0.0).unwrap(),
    ] {
        for t in [20, 200, 2000] {
            let mse = (0..200)
                .map(|seed| {
                    let mut operator = Affine { a: vec![q; dim], b: vec![1.0; dim], noise };
                    let mut x = vec![0.0; dim];
                    solve(&FixedPoint::sampled(t, 1, step), &mut operator, &mut x, seed);
                    vector::distance_squared(&x, &vec![solution; dim])
                })
                .sum::<f64>()
                / 200.0;
            let bound = step.mse_bound(t, initial, q, sigma1, 0.0).unwrap();
            assert!(mse < 1.34 * bound, "{step:?}, t = {t}: {mse} above {bound}");
            assert!(mse > 1e-3 * bound, "{step:?}, t = {t}: {mse} far below {bound}, the bound says nothing");
        }
    }
}

#[test]
fn averages_are_means_of_the_iterates() {
    // x_s = 1 - 2^-s.
    let run = |average, steps| {
        let mut x = [0.0];
        let solver = FixedPoint { average, ..FixedPoint::exact(steps, 0.0) };
        solve(&solver, &mut Affine { a: vec![0.5], b: vec![0.5], noise: 0.0 }, &mut x, 0);
        x[0]
    };
    let iterate = |s: i32| 1.0 - 0.5_f64.powi(s);
    let mean = |range: std::ops::RangeInclusive<i32>| {
        let count = f64::from(range.end() - range.start() + 1);
        range.map(iterate).sum::<f64>() / count
    };
    assert!((run(Average::Last, 8) - iterate(8)).abs() < 1e-15);
    assert!((run(Average::All, 8) - mean(1..=8)).abs() < 1e-15);
    assert!((run(Average::Suffix { fraction: 0.25 }, 8) - mean(7..=8)).abs() < 1e-15);
    assert!((run(Average::Suffix { fraction: 1e-9 }, 8) - iterate(8)).abs() < 1e-15);
}

#[test]
fn init_step_terminate_are_the_loop() {
    let solver = FixedPoint::sampled(25, 1, StepSize::Constant { eta: 0.3 });
    let operator = || Affine { a: vec![0.5; 4], b: vec![1.0; 4], noise: 0.2 };
    let mut whole = [0.0; 4];
    solve(&solver, &mut operator(), &mut whole, 7);
    let (mut x, mut workspace) = ([0.0; 4], Workspace::new(4));
    let (mut rng, mut operator) = (Rng::stream(7, Purpose::Lower, 0), operator());
    let mut state = solver.init(&x, &mut workspace);
    while solver.terminate(&state).is_none() {
        solver.step(&mut operator, &mut x, &mut rng, &mut workspace, &mut state);
    }
    assert_eq!(x, whole);
}

#[test]
fn divergence_is_reported_early() {
    for (a, noise, solver, limit) in [
        (-1.5, 0.0, FixedPoint::exact(100_000, 1e-9), 10),
        (1.0 + 1e-3, 0.0, FixedPoint::exact(100_000, 1e-9), 3000),
        (-4.0, 0.1, FixedPoint::sampled(100_000, 1, StepSize::Constant { eta: 1.0 }), 20),
        (1.3, 0.1, FixedPoint::sampled(100_000, 1, StepSize::Constant { eta: 0.5 }), 200),
    ] {
        let mut operator = Affine { a: vec![a; 3], b: vec![1.0; 3], noise };
        let info = solve(&solver, &mut operator, &mut [0.0; 3], 0);
        assert!(!info.status.is_usable(), "a = {a}: {info:?}");
        assert!(info.steps < limit, "a = {a}: noticed after {} steps", info.steps);
        let message = info.usable("lower level").unwrap_err().to_string();
        assert!(
            message.contains("lower level") && message.contains("use a smaller") || message.contains("use smaller")
        );
    }
}

#[test]
fn slow_growth_within_the_step_limit_is_no_contraction() {
    let mut operator = Affine { a: vec![1.001; 3], b: vec![1.0; 3], noise: 0.0 };
    assert_eq!(solve(&FixedPoint::exact(100, 0.0), &mut operator, &mut [0.0; 3], 0).status, Status::NotContraction);
}

#[test]
fn non_finite_values_are_divergence() {
    for solver in [FixedPoint::exact(50, 1e-9), FixedPoint::sampled(50, 1, StepSize::Constant { eta: 0.1 })] {
        let mut bad_start = [0.0, f64::NAN];
        let mut operator = Affine { a: vec![0.5; 2], b: vec![1.0; 2], noise: 0.1 };
        let info = solve(&solver, &mut operator, &mut bad_start, 0);
        assert_eq!((info.status, info.steps), (Status::Diverged, 0));
        let mut operator = Affine { a: vec![0.5; 2], b: vec![1.0, f64::INFINITY], noise: 0.1 };
        let info = solve(&solver, &mut operator, &mut [0.0; 2], 0);
        assert_eq!(info.status, Status::Diverged);
        assert!(info.steps < 3);
    }
}

#[test]
fn noise_alone_is_not_divergence() {
    // Rare large steps: a contraction all the same.
    let mut operator = Affine { a: vec![0.999; 5], b: vec![0.0; 5], noise: 100.0 };
    let info =
        solve(&FixedPoint::sampled(20_000, 1, StepSize::Constant { eta: 0.5 }), &mut operator, &mut [1e-3; 5], 3);
    assert_eq!(info.status, Status::StepLimit);
}

#[test]
fn unusable_settings_are_refused() {
    let sampled = FixedPoint::sampled(10, 4, StepSize::Constant { eta: 0.5 });
    for solver in [
        FixedPoint { tolerance: 1e-3, ..sampled },
        FixedPoint { tolerance: f64::NAN, ..FixedPoint::exact(10, 0.0) },
        FixedPoint { batch: Batch::Rows(0), ..sampled },
        FixedPoint { step: StepSize::Decreasing { beta: 1.0, gamma: 0.0 }, ..sampled },
        FixedPoint { step: StepSize::Power { eta: 1.0, exponent: 1.5 }, ..sampled },
    ] {
        assert!(solver.validate().is_err_and(|error| error.is_input()), "{solver:?}");
    }
    assert!(StepSize::decreasing_from_constants(1.0, 0.0).is_err());
    assert!(StepSize::decreasing_from_constants(0.5, f64::NAN).is_err());
}

#[test]
fn theory_step_sizes() {
    let step = StepSize::decreasing_from_constants(0.5, 3.0).unwrap();
    assert_eq!(step.eta(0), 0.25);
    let StepSize::Decreasing { beta, gamma } = step else { panic!("{step:?}") };
    assert!(beta > 1.0 / (1.0 - 0.25) && gamma >= beta * 4.0 - 1e-12);
    let StepSize::Constant { eta } = StepSize::constant_for_error(0.5, 2.0, 0.0, 0.1).unwrap() else { panic!() };
    assert!((eta * 2.0 / 0.75 - 0.1).abs() < 1e-15);
    assert!(StepSize::Constant { eta: 0.5 }.mse_bound(10, 1.0, 0.5, 1.0, 2.0).is_none(), "eta above 1/(1 + sigma2)");
}

#[test]
fn steps_follow_from_the_requested_precision() {
    for step in [StepSize::Constant { eta: 0.01 }, StepSize::decreasing_from_constants(0.9, 1.0).unwrap()] {
        let bound = |t| step.mse_bound(t, 4.0, 0.9, 0.01, 1.0).unwrap();
        for mse in [3.0, 0.1, 0.01] {
            let t = step.steps_for(mse, 4.0, 0.9, 0.01, 1.0).unwrap();
            assert!(bound(t) <= mse && (t == 0 || bound(t - 1) > mse), "{step:?}: {t} steps for {mse}");
        }
    }
    // Below the floor of a constant step no number of steps suffices.
    assert_eq!(StepSize::Constant { eta: 0.1 }.steps_for(1e-9, 1.0, 0.5, 1.0, 0.0), None);
}

/// A dense symmetric matrix with the given eigenvalues, by a Householder reflection.
fn with_eigenvalues(eigenvalues: &[f64]) -> Vec<f64> {
    let n = eigenvalues.len();
    let mut rng = Rng::stream(4, Purpose::Start, 0);
    let u: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let scale = 2.0 / vector::norm_squared(&u);
    let q = |i: usize, k: usize| f64::from(u8::from(i == k)) - scale * u[i] * u[k];
    (0..n * n).map(|ij| (0..n).map(|k| q(ij / n, k) * eigenvalues[k] * q(ij % n, k)).sum()).collect()
}

fn cg(matrix: &[f64], b: &[f64], x: &mut [f64], solver: ConjugateGradient, precondition: bool) -> Info {
    let n = b.len();
    let diagonal: Vec<f64> = (0..n).map(|i| matrix[i * n + i]).collect();
    let product = |p: &[f64], out: &mut [f64]| {
        for (out, row) in out.iter_mut().zip(matrix.chunks_exact(n)) {
            *out = vector::dot(row, p);
        }
    };
    solver.solve(
        product,
        if precondition { Preconditioner::Diagonal(&diagonal) } else { Preconditioner::None },
        b,
        x,
        7,
        &mut CgWorkspace::new(n),
    )
}

#[test]
fn conjugate_gradients_solve_definite_systems() {
    let eigenvalues: Vec<f64> = (1..=30).map(|k| f64::from(k * k)).collect();
    let matrix = with_eigenvalues(&eigenvalues);
    let exact: Vec<f64> = (0..30).map(|i| (f64::from(i)).sin()).collect();
    let mut b = vec![0.0; 30];
    b.iter_mut().zip(matrix.chunks_exact(30)).for_each(|(b, row)| *b = vector::dot(row, &exact));
    for precondition in [false, true] {
        let mut x = vec![0.0; 30];
        let info = cg(&matrix, &b, &mut x, ConjugateGradient { steps: 100, tolerance: 1e-13 }, precondition);
        assert_eq!(info.status, Status::Converged, "{info:?}");
        assert!(vector::distance(&x, &exact) < 1e-9);
        assert!(info.steps <= 60 && info.residual.unwrap() <= 1e-13 * vector::norm(&b));
        assert_eq!(info.work.hessian_products % 7, 0);
        let again = cg(&matrix, &b, &mut x, ConjugateGradient { steps: 100, tolerance: 1e-13 }, precondition);
        assert_eq!((again.status, again.steps), (Status::Converged, 0), "a warm start at the solution");
    }
}

#[test]
fn conjugate_gradients_precondition() {
    let n = 200;
    let mut matrix = vec![0.0; n * n];
    for i in 0..n {
        matrix[i * n + i] = 1.0 + (i * i) as f64;
    }
    let mut steps = [0; 2];
    for precondition in [false, true] {
        let solver = ConjugateGradient { steps: 1000, tolerance: 1e-10 };
        steps[usize::from(precondition)] = cg(&matrix, &vec![1.0; n], &mut vec![0.0; n], solver, precondition).steps;
    }
    assert!(steps[1] <= 2 && steps[0] > 20, "{steps:?}");
}

#[test]
fn conjugate_gradients_name_what_is_wrong() {
    let solver = ConjugateGradient { steps: 500, tolerance: 1e-10 };
    let b = vec![1.0; 5];
    let run =
        |eigenvalues: &[f64], b: &[f64], solver| cg(&with_eigenvalues(eigenvalues), b, &mut [0.0; 5], solver, false);

    let info = run(&[1.0, 2.0, -0.5, 3.0, 4.0], &b, solver);
    assert_eq!(info.status, Status::NotContraction);
    assert!(info.usable("linear system").unwrap_err().to_string().contains("penalty"));
    assert_eq!(run(&[-1.0; 5], &b, solver).status, Status::NotContraction);

    let info = run(&[1.0, 2.0, 3.0, 4.0, 5.0], &b, ConjugateGradient { steps: 2, ..solver });
    assert_eq!((info.status, info.steps), (Status::StepLimit, 2));
    assert!(info.residual.unwrap() > 0.0);

    assert_eq!(run(&[1.0; 5], &[0.0; 5], solver).status, Status::Converged);
    assert_eq!(run(&[1.0; 5], &[1.0, 1.0, f64::NAN, 1.0, 1.0], solver).status, Status::Diverged);
    assert_eq!(run(&[1.0, 1.0, f64::NAN, 1.0, 1.0], &b, solver).status, Status::Diverged);

    // Condition number 1e14: a tolerance of 1e-15 is out of reach, and is not claimed.
    let info = run(&[1e-14, 1.0, 2.0, 3.0, 4.0], &b, ConjugateGradient { steps: 100_000, tolerance: 1e-17 });
    assert_eq!(info.status, Status::Stagnated, "{info:?}");
    assert!(info.steps < 10_000);
    assert!(ConjugateGradient { steps: 1, tolerance: -1.0 }.validate().is_err());
}

#[test]
fn indefinite_map_is_refused_by_fixed_point_too() {
    let map = LinearContraction::random(Dims { w: 6, lambda: 2 }, 1.3, 0.0, 2);
    assert_eq!(map.dims().w, 6);
    let mut operator = AdjointOperator { map: &map, w: &[0.0; 6], lambda: &[0.0; 2], grad_w: &[1.0; 6] };
    let q_spectral = solve(&FixedPoint::exact(2000, 1e-9), &mut operator, &mut [0.0; 6], 0);
    // Spectral norm above one does not exclude convergence (a smaller spectral radius), but then it must be true.
    if q_spectral.status.is_usable() {
        assert_eq!(q_spectral.status, Status::Converged);
    }
}

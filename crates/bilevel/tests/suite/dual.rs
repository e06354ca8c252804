//! Newton's method in the space of the rows against factorisations of the Hessian of the weights.

use crate::models::{Numbers, STORED, Stored, matrix, penalties};
use bilevel::data::{DesignMatrix, RowRanges};
use bilevel::dual::{DualNewton, DualSolver, parameters_of};
use bilevel::hypergradient::Implicit;
use bilevel::lower::{Curved, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Weighting};
use bilevel::sample::Sample;
use bilevel::status::Status;
use bilevel::stop::StopSignal;
use bilevel::upper::UpperObjective;
use bilevel::vector;

const N: usize = 60;
const P: usize = 90;
const STRICT: DualNewton = DualNewton { iterations: 100, steps: 500, products: usize::MAX, tolerance: 1e-13 };

fn numbers(seed: u64) -> Numbers {
    let mut numbers = Numbers::random(N, P, seed);
    // Mostly zeros, columns of very different frequency, one that is never used.
    for (i, x) in numbers.x.iter_mut().enumerate() {
        let (row, column) = (i / P, i % P);
        if (row * 7 + column * 3) % (2 + column / 4) != 0 || column == 11 {
            *x = 0.0;
        }
    }
    numbers
}

fn cases() -> impl Iterator<Item = (Loss, bool, Penalty)> {
    [Loss::Logistic, Loss::Softmax { classes: 3 }, Loss::Squared, Loss::Poisson].into_iter().flat_map(|loss| {
        [true, false]
            .into_iter()
            .flat_map(move |intercept| penalties(P, loss.outputs()).into_iter().map(move |p| (loss, intercept, p)))
    })
}

fn spread(penalty: &Penalty, shift: f64) -> Vec<f64> {
    (0..penalty.hyperparameters()).map(|j| [-4.0, -7.0, -2.0][j % 3] + shift).collect()
}

/// Rows 10..50 are fitted.
fn glm<'a>(
    design: &'a DesignMatrix,
    y: &'a [f64],
    weights: &'a [f64],
    loss: Loss,
    intercept: bool,
    p: &Penalty,
) -> Glm<'a> {
    let rows = RowRanges::new([10..30, 32..50]);
    let risk = EmpiricalRisk::new(design, y, rows, loss, intercept).weighted(Weighting::Rows(weights));
    Glm::new(risk, p.clone())
}

fn close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    let difference = vector::distance(a, b);
    assert!(difference <= tolerance * vector::norm(b), "{what}: {difference:e} of {:e}", vector::norm(b));
}

#[test]
fn minimum_and_adjoint_are_those_of_the_weights() {
    let numbers = numbers(3);
    for (loss, intercept, penalty) in cases() {
        let name = format!("{loss:?}, intercept {intercept}, {} penalties", penalty.hyperparameters());
        let design = matrix(&numbers.x, P, Stored::CsrF64);
        let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, intercept)], intercept);
        let glm = glm(&design, &y, &numbers.row_weights, loss, intercept, &penalty);
        let mut solver = DualSolver::new(&glm).unwrap();
        let d = glm.dims().w;
        let (mut w, mut direct) = (vec![0.0; d], vec![0.0; d]);
        // The second lambda starts from the solution for the first.
        for shift in [0.0, -0.5] {
            let lambda = spread(&penalty, shift);
            let minimum = solver.minimize(&glm, &lambda, STRICT, &StopSignal::never()).unwrap();
            assert_eq!(minimum.info.status, Status::Converged, "{name}");
            solver.parameters(&mut w);
            // From the rows as they are stored, without a solver.
            close(&parameters_of(&glm, &lambda, solver.point()), &w, 1e-14, &name);
            let newton = Newton { tolerance: 1e-20, ..Newton::default() };
            let reference = newton.minimize(&glm, &lambda, &mut direct, None, &StopSignal::never()).unwrap();
            close(&w, &direct, 1e-6, &name);
            assert!((minimum.value - reference.value).abs() <= 1e-10 * reference.value.abs(), "{name}");

            let upper = EmpiricalRisk::new(&design, &y, RowRanges::all(10), loss, intercept)
                .as_upper(penalty.hyperparameters());
            let mut v = vec![0.0; d];
            let value = upper.gradients(&w, &lambda, &Sample::Full, &mut v, &mut vec![0.0; lambda.len()]);
            let (info, change) = solver.adjoint(&glm, &mut v, 1e-9, 500, &StopSignal::never()).unwrap();
            assert_eq!(info.status, Status::Converged, "{name}");
            let mut expected = vec![0.0; d];
            let exact = Implicit::default()
                .at_solution(&glm, &upper, &direct, &lambda, &mut expected, None, &StopSignal::never())
                .unwrap();
            close(&v, &expected, 1e-5, &name);
            assert!((value + change - exact.objective).abs() <= 1e-9 * exact.objective.abs(), "{name}");
        }
    }
}

#[test]
fn the_change_of_the_value_makes_up_for_an_early_end() {
    let numbers = numbers(4);
    let loss = Loss::Softmax { classes: 3 };
    let design = matrix(&numbers.x, P, Stored::CsrF64);
    let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, true)], true);
    let glm = glm(&design, &y, &numbers.row_weights, loss, true, &Penalty::Shared);
    let upper = EmpiricalRisk::new(&design, &y, RowRanges::all(10), loss, true).as_upper(1);
    let evaluate = |tolerance: f64| {
        let mut solver = DualSolver::new(&glm).unwrap();
        let settings = DualNewton { tolerance, ..STRICT };
        solver.minimize(&glm, &[-4.0], settings, &StopSignal::never()).unwrap();
        let mut w = vec![0.0; glm.dims().w];
        solver.parameters(&mut w);
        let mut v = vec![0.0; w.len()];
        let value = upper.gradients(&w, &[-4.0], &Sample::Full, &mut v, &mut [0.0]);
        let (_, change) = solver.adjoint(&glm, &mut v, 1e-8, 500, &StopSignal::never()).unwrap();
        (value, value + change)
    };
    let (_, exact) = evaluate(1e-14);
    let (early, corrected) = evaluate(1e-2);
    assert!((early - exact).abs() > 1e-6, "{early} is no early end");
    assert!((corrected - exact).abs() < 0.1 * (early - exact).abs(), "{early} -> {corrected} -> {exact}");
}

/// A kernel with a few large eigenvalues and many small ones, where the diagonal of the Hessian says little.
#[test]
fn takes_a_fraction_of_the_products_of_the_weights() {
    let (n, p) = (400, 900);
    let mut x = Numbers::random(n, p, 8).x;
    for (i, x) in x.iter_mut().enumerate() {
        let (row, column) = (i / p, i % p);
        // Frequent features that differ little from row to row, and rare ones.
        *x = if column < 40 {
            1.0 + 0.3 * *x / (1.0 + column as f64)
        } else if (row * 31 + column * 17) % 97 < 3 {
            0.3 * *x
        } else {
            0.0
        };
    }
    let numbers = Numbers { x, n, p, ..Numbers::random(n, 1, 9) };
    let design = matrix(&numbers.x, p, Stored::CsrF64);
    let loss = Loss::Softmax { classes: 3 };
    let y: Vec<f64> = (0..n).map(|i| ((i * i + i / 7) % 3) as f64).collect();
    let glm = Glm::new(EmpiricalRisk::new(&design, &y, RowRanges::all(n), loss, true), Penalty::Shared);
    let lambda = [-12.0];
    let settings = DualNewton { iterations: 100, steps: 1000, products: usize::MAX, tolerance: 1e-8 };
    let dual = DualSolver::new(&glm).unwrap().minimize(&glm, &lambda, settings, &StopSignal::never()).unwrap();
    let direction = bilevel::newton::NewtonDirection::ConjugateGradients { steps: 10_000 };
    let newton = Newton { tolerance: 1e-8, direction, ..Newton::default() };
    let mut w = vec![0.0; glm.dims().w];
    let weights = newton.minimize(&glm, &lambda, &mut w, None, &StopSignal::never()).unwrap();
    assert_eq!(dual.info.status, Status::Converged);
    let (dual, weights) = (dual.info.work.hessian_products, weights.info.work.hessian_products);
    assert!(4 * dual < weights, "{dual} products against {weights}");
}

#[test]
fn starts_from_the_weights_of_a_similar_model() {
    let numbers = numbers(5);
    let loss = Loss::Softmax { classes: 3 };
    let design = matrix(&numbers.x, P, Stored::CsrF32);
    let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, true)], true);
    let glm = glm(&design, &y, &numbers.row_weights, loss, true, &Penalty::Shared);
    let mut cold = DualSolver::new(&glm).unwrap();
    let first = cold.minimize(&glm, &[-5.0], STRICT, &StopSignal::never()).unwrap();
    let mut w = vec![0.0; glm.dims().w];
    cold.parameters(&mut w);
    let mut warm = DualSolver::new(&glm).unwrap();
    warm.start_at(&w);
    let again = warm.minimize(&glm, &[-5.0], STRICT, &StopSignal::never()).unwrap();
    assert!(again.info.steps < first.info.steps, "{} iterations after {}", again.info.steps, first.info.steps);
}

#[test]
fn dense_rows_are_declined_and_a_raised_signal_is_heeded() {
    let numbers = numbers(6);
    let y = numbers.target(Loss::Logistic, &vec![0.2; numbers.parameters(Loss::Logistic, true)], true);
    for stored in STORED {
        let design = matrix(&numbers.x, P, stored);
        let glm = glm(&design, &y, &numbers.row_weights, Loss::Logistic, true, &Penalty::Shared);
        let solver = DualSolver::new(&glm);
        assert_eq!(solver.is_some(), matches!(stored, Stored::CsrF32 | Stored::CsrF64));
        if let Some(mut solver) = solver {
            let over = StopSignal::new(Some(std::time::Duration::ZERO), None);
            let error = solver.minimize(&glm, &[-3.0], STRICT, &over).map(|_| ()).unwrap_err();
            assert!(error.is_interrupted());
        }
    }
}

#[test]
fn the_curvature_of_the_weights_agrees() {
    // The same system, once by the solver and once by a product with the Hessian.
    let numbers = numbers(7);
    let design = matrix(&numbers.x, P, Stored::CsrF64);
    let loss = Loss::Softmax { classes: 3 };
    let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, true)], true);
    let penalty = Penalty::PerFeature { features: P };
    let glm = glm(&design, &y, &numbers.row_weights, loss, true, &penalty);
    let lambda = spread(&penalty, 0.0);
    let mut solver = DualSolver::new(&glm).unwrap();
    solver.minimize(&glm, &lambda, STRICT, &StopSignal::never()).unwrap();
    let mut w = vec![0.0; glm.dims().w];
    solver.parameters(&mut w);
    let b: Vec<f64> = (0..w.len()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 50.0).collect();
    let mut v = b.clone();
    solver.adjoint(&glm, &mut v, 1e-10, 500, &StopSignal::never()).unwrap();
    let mut image = vec![0.0; v.len()];
    glm.curvature(&w, &lambda).product(&v, &mut image);
    close(&image, &b, 1e-6, "H v");
}

#[test]
fn starts_from_the_point_of_some_of_its_rows() {
    let numbers = numbers(9);
    let loss = Loss::Softmax { classes: 3 };
    let design = matrix(&numbers.x, P, Stored::CsrF32);
    let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, true)], true);
    let mean = |rows| EmpiricalRisk::new(&design, &y, rows, loss, true);
    let (some, all) = (mean(RowRanges::new([0..20, 25..50])), mean(RowRanges::all(N)));
    let positions = all.positions_among(&some);
    assert_eq!(positions.iter().flatten().count(), 45);
    assert_eq!((positions[20], positions[25], positions[49]), (None, Some(20), Some(44)));
    let (fold, whole) = (Glm::new(some, Penalty::Shared), Glm::new(all, Penalty::Shared));
    let mut known = DualSolver::new(&fold).unwrap();
    known.minimize(&fold, &[-5.0], STRICT, &StopSignal::never()).unwrap();
    let mut cold = DualSolver::new(&whole).unwrap();
    let expected = cold.minimize(&whole, &[-5.0], STRICT, &StopSignal::never()).unwrap();
    let start = |settings| {
        let mut warm = DualSolver::new(&whole).unwrap();
        warm.start_from_rows(&whole, &[-5.0], known.point(), &positions);
        warm.minimize(&whole, &[-5.0], settings, &StopSignal::never()).unwrap()
    };
    let (first, last) = (start(DualNewton { iterations: 0, ..STRICT }), start(STRICT));
    let constant = whole.value(&whole.risk().null_parameters(), &[-5.0], &Sample::Full);
    assert!(first.value - expected.value < 0.5 * (constant - expected.value), "{} of {constant}", first.value);
    assert!((last.value - expected.value).abs() <= 1e-10 * expected.value, "{} {}", last.value, expected.value);
}

#[test]
fn a_state_can_be_returned_to_and_products_are_limited() {
    let numbers = numbers(10);
    let loss = Loss::Logistic;
    let design = matrix(&numbers.x, P, Stored::CsrF64);
    let y = numbers.target(loss, &vec![0.2; numbers.parameters(loss, true)], true);
    let glm = glm(&design, &y, &numbers.row_weights, loss, true, &Penalty::Shared);
    let mut solver = DualSolver::new(&glm).unwrap();
    let first = solver.minimize(&glm, &[-4.0], STRICT, &StopSignal::never()).unwrap();
    let state = solver.state();
    solver.minimize(&glm, &[-8.0], STRICT, &StopSignal::never()).unwrap();
    solver.restore(&state);
    let again = solver.minimize(&glm, &[-4.0], DualNewton { products: 1, ..STRICT }, &StopSignal::never()).unwrap();
    assert!(again.info.steps <= 1, "{} iterations", again.info.steps);
    assert!((again.value - first.value).abs() <= 1e-12 * first.value, "{} {}", again.value, first.value);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    // More rows and features than a task has.
    let (n, p) = (700, 1600);
    let mut numbers = Numbers::random(n, p, 11);
    numbers.x.iter_mut().enumerate().for_each(|(i, x)| {
        if (i / p * 31 + i % p * 17) % 53 != 0 {
            *x = 0.0;
        }
    });
    let loss = Loss::Softmax { classes: 3 };
    let design = matrix(&numbers.x, p, Stored::CsrF32);
    let y: Vec<f64> = (0..n).map(|i| ((i * i + i / 7) % 3) as f64).collect();
    let penalty = Penalty::PerFeature { features: p };
    let glm = Glm::new(EmpiricalRisk::new(&design, &y, RowRanges::all(n), loss, true), penalty.clone());
    let solve = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut solver = DualSolver::new(&glm).unwrap();
            let settings = DualNewton { tolerance: 1e-6, ..STRICT };
            for shift in [0.0, -1.0] {
                solver.minimize(&glm, &spread(&penalty, shift), settings, &StopSignal::never()).unwrap();
            }
            let mut w = vec![0.0; glm.dims().w];
            solver.parameters(&mut w);
            let mut v = w.clone();
            solver.adjoint(&glm, &mut v, 1e-3, 100, &StopSignal::never()).unwrap();
            (w, v)
        })
    };
    assert!(solve(1) == solve(2));
}

#[test]
fn goes_on_after_an_adjoint_that_was_cut_short() {
    let numbers = numbers(8);
    let design = matrix(&numbers.x, P, Stored::CsrF64);
    let y = numbers.target(Loss::Logistic, &vec![0.2; numbers.parameters(Loss::Logistic, true)], true);
    let glm = glm(&design, &y, &numbers.row_weights, Loss::Logistic, true, &Penalty::Shared);
    let mut solver = DualSolver::new(&glm).unwrap();
    solver.minimize(&glm, &[-3.0], STRICT, &StopSignal::never()).unwrap();
    let b: Vec<f64> = (0..glm.dims().w).map(|i| (i % 7) as f64 - 3.0).collect();
    let before = solver.state();
    let over = StopSignal::new(Some(std::time::Duration::ZERO), None);
    assert!(solver.adjoint(&glm, &mut b.clone(), 1e-10, 500, &over).unwrap_err().is_interrupted());
    solver.restore(&before);
    solver.minimize(&glm, &[-3.0], STRICT, &StopSignal::never()).unwrap();
    let (mut v, mut w) = (b.clone(), vec![0.0; b.len()]);
    solver.adjoint(&glm, &mut v, 1e-10, 500, &StopSignal::never()).unwrap();
    solver.parameters(&mut w);
    let mut image = vec![0.0; v.len()];
    glm.curvature(&w, &[-3.0]).product(&v, &mut image);
    close(&image, &b, 1e-6, "H v");
}

//! Newton's method on the bundled data: every loss from zero, both kinds of direction, and input that cannot work.

use crate::models::{Bundled, Numbers, Stored, matrix, penalties};
use bilevel::data::{DenseMatrix, DesignMatrix, RowRanges};
use bilevel::lower::StochasticLoss;
use bilevel::newton::{Newton, NewtonDirection};
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::status::Status;
use bilevel::stop::StopSignal;
use bilevel::vector;

/// Each loss with data it fits.
fn cases() -> Vec<(Loss, Bundled)> {
    let heart = || Bundled::read("heart_scale.gz", 270);
    let abalone = || Bundled::read("abalone_scale.bz2", 4177);
    vec![
        (Loss::Logistic, heart()),
        (Loss::Softmax { classes: 2 }, heart()),
        (Loss::Softmax { classes: 10 }, Bundled::read("pendigits.gz", 1000)),
        (Loss::SquaredHinge, heart()),
        (Loss::Squared, abalone()),
        (Loss::Huber { delta: 2.0 }, abalone()),
        (Loss::Huber { delta: 0.05 }, abalone()),
        (Loss::Poisson, abalone()),
    ]
}

fn gradient_norm(glm: &Glm<'_>, w: &[f64], lambda: &[f64]) -> f64 {
    let mut gradient = vec![0.0; w.len()];
    glm.gradient(w, lambda, &Sample::Full, &mut gradient);
    vector::norm(&gradient)
}

#[test]
fn reaches_the_minimum_of_every_loss_from_zero() {
    for (loss, data) in cases() {
        for intercept in [true, false] {
            for penalty in penalties(data.design.cols(), loss.outputs()) {
                let glm = Glm::new(data.risk(0..data.rows(), loss, intercept), penalty.clone());
                let lambda: Vec<f64> = (0..penalty.hyperparameters()).map(|j| [-4.0, -8.0, 1.0][j % 3]).collect();
                let mut found = Vec::new();
                for direction in [NewtonDirection::Factorized, NewtonDirection::ConjugateGradients { steps: 1000 }] {
                    let name = format!("{loss:?}, {penalty:?}, intercept {intercept}, {direction:?}");
                    let mut w = vec![0.0; glm.dims().w];
                    let start = gradient_norm(&glm, &w, &lambda);
                    // So strict that only rounding errors are left.
                    let newton = Newton { direction, tolerance: 1e-22, ..Newton::default() };
                    let minimum = newton
                        .minimize(&glm, &lambda, &mut w, None, &StopSignal::never())
                        .unwrap_or_else(|e| panic!("{name}: {e}"));
                    let ended = matches!(minimum.info.status, Status::Converged | Status::Stagnated);
                    assert!(ended, "{name}: {}", minimum.info.status);
                    assert!(minimum.info.steps <= 60, "{name}: {} iterations", minimum.info.steps);
                    let end = gradient_norm(&glm, &w, &lambda);
                    assert!(end <= 1e-11 * start.max(1.0), "{name}: gradient {start:e} -> {end:e}");
                    let value = glm.value(&w, &lambda, &Sample::Full);
                    assert!((minimum.value - value).abs() <= 1e-9 * value.abs(), "{name}");
                    found.push(w);
                }
                let difference = vector::distance(&found[0], &found[1]) / vector::norm(&found[0]);
                assert!(difference < 1e-8, "{loss:?}, {penalty:?}: directions disagree by {difference:e}");
            }
        }
    }
}

#[test]
fn the_default_tolerance_leaves_little() {
    for (loss, data) in cases() {
        let glm = Glm::new(data.risk(0..data.rows(), loss, true), Penalty::Shared);
        for direction in [NewtonDirection::Factorized, NewtonDirection::ConjugateGradients { steps: 1000 }] {
            let mut w = vec![0.0; glm.dims().w];
            let start = gradient_norm(&glm, &w, &[-5.0]);
            let newton = Newton { direction, ..Newton::default() };
            let info = newton.minimize(&glm, &[-5.0], &mut w, None, &StopSignal::never()).unwrap().info;
            assert_eq!(info.status, Status::Converged, "{loss:?}");
            let end = gradient_norm(&glm, &w, &[-5.0]);
            assert!(end <= 1e-8 * start.max(1.0), "{loss:?}, {direction:?}: gradient {start:e} -> {end:e}");
        }
    }
}

#[test]
fn a_warm_start_is_cheaper_and_ends_at_the_same_minimum() {
    let data = Bundled::read("heart_scale.gz", 270);
    let glm = Glm::new(data.risk(0..270, Loss::Logistic, true), Penalty::Shared);
    let mut w = vec![0.0; glm.dims().w];
    let cold = Newton::default().minimize(&glm, &[-4.0], &mut w, None, &StopSignal::never()).unwrap().info;
    let mut again = w.clone();
    let none = Newton::default().minimize(&glm, &[-4.0], &mut again, None, &StopSignal::never()).unwrap().info;
    assert!(none.steps <= 1 && vector::distance(&w, &again) <= 1e-8 * vector::norm(&w), "{}", none.steps);
    let warm = Newton::default().minimize(&glm, &[-4.1], &mut again, None, &StopSignal::never()).unwrap().info;
    assert!(warm.steps < cold.steps, "{} against {}", warm.steps, cold.steps);
    let mut direct = vec![0.0; w.len()];
    Newton::default().minimize(&glm, &[-4.1], &mut direct, None, &StopSignal::never()).unwrap();
    assert!(vector::distance(&direct, &again) <= 1e-9 * vector::norm(&direct));
}

#[test]
fn few_iterations_are_a_status_and_no_error() {
    let data = Bundled::read("heart_scale.gz", 270);
    let glm = Glm::new(data.risk(0..270, Loss::Logistic, true), Penalty::Shared);
    let newton = Newton { iterations: 1, ..Newton::default() };
    let mut w = vec![0.0; glm.dims().w];
    let info = newton.minimize(&glm, &[-4.0], &mut w, None, &StopSignal::never()).unwrap().info;
    assert_eq!((info.status, info.steps), (Status::StepLimit, 1));
}

#[test]
fn what_is_not_finite_is_an_error_with_a_remedy() {
    let mut numbers = Numbers::random(30, 4, 1);
    let y = numbers.target(Loss::Logistic, &[0.0; 4], false);
    let refused = |numbers: &Numbers, y: &[f64], loss: Loss, mut w: Vec<f64>| {
        let design = matrix(&numbers.x, 4, Stored::DenseF64);
        let glm = Glm::new(EmpiricalRisk::new(&design, y, RowRanges::all(30), loss, false), Penalty::Shared);
        for direction in [NewtonDirection::Factorized, NewtonDirection::ConjugateGradients { steps: 100 }] {
            let newton = Newton { direction, ..Newton::default() };
            let Err(error) = newton.minimize(&glm, &[-3.0], &mut w, None, &StopSignal::never()) else {
                panic!("{loss:?} was accepted")
            };
            assert!(error.is_numeric() && error.to_string().contains("; "), "{error}");
        }
    };
    refused(&numbers, &y, Loss::Logistic, vec![f64::NAN; 4]);
    refused(&numbers, &y, Loss::Poisson, vec![1e4; 4]);
    let mut broken = y.clone();
    broken[7] = f64::INFINITY;
    refused(&numbers, &broken, Loss::Squared, vec![0.0; 4]);
    numbers.x[5] = f64::NAN;
    refused(&numbers, &y, Loss::Logistic, vec![0.0; 4]);
}

/// 650 features of very different scales and 10 classes: too many parameters to factorise. Blocks of classes, from some of
/// the rows, show conjugate gradients the scales and the correlations.
#[test]
fn many_outputs_are_preconditioned_by_blocks() {
    let (n, p, classes) = (1500, 650, 10);
    let mut rng = Rng::stream(3, Purpose::Start, 0);
    let common: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let values: Vec<f32> =
        (0..n * p).map(|i| ((rng.normal() + 3.0 * common[i / p]) * (-((i % p) as f64) / 100.0).exp()) as f32).collect();
    let design = DesignMatrix::DenseF32(DenseMatrix::new(n, p, values));
    let y: Vec<f64> = (0..n).map(|i| ((i * 7919) % classes) as f64).collect();
    let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), Loss::Softmax { classes }, true);
    let glm = Glm::new(risk, Penalty::Shared);
    let lambda = [-7.0];
    let newton = Newton {
        direction: NewtonDirection::ConjugateGradients { steps: 2000 },
        tolerance: 1e-16,
        ..Newton::default()
    };
    let mut w = vec![0.0; glm.dims().w];
    let start = gradient_norm(&glm, &w, &lambda);
    let minimum = newton.minimize(&glm, &lambda, &mut w, None, &StopSignal::never()).unwrap();
    assert!(gradient_norm(&glm, &w, &lambda) <= 1e-7 * start, "{:?}", minimum.info);
    let products = minimum.info.work.hessian_products as f64 / n as f64;
    assert!(products < 400.0, "{products} products in {} iterations", minimum.info.steps);
}

/// Most rows are fitted with certainty: a few make up the Hessian, and are those that the blocks are made of. What all classes have
/// in common only the penalty holds.
#[test]
fn blocks_know_the_rows_that_count() {
    let (n, p, classes) = (6000, 650, 10);
    let mut rng = Rng::stream(4, Purpose::Start, 0);
    let values: Vec<f32> = (0..n * p).map(|_| rng.normal() as f32).collect();
    let truth: Vec<f64> = (0..p * classes).map(|_| rng.normal()).collect();
    let margin =
        |i: usize, c: usize| (0..p).map(|j| f64::from(values[i * p + j]) * truth[j * classes + c]).sum::<f64>();
    let y: Vec<f64> = (0..n)
        .map(|i| (0..classes).max_by(|&a, &b| margin(i, a).total_cmp(&margin(i, b))).unwrap_or(0) as f64)
        .collect();
    let design = DesignMatrix::DenseF32(DenseMatrix::new(n, p, values));
    let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), Loss::Softmax { classes }, true);
    let glm = Glm::new(risk, Penalty::PerClass { outputs: classes });
    let lambda: Vec<f64> = (0..classes).map(|c| -10.0 + 0.1 * c as f64).collect();
    let direction = NewtonDirection::ConjugateGradients { steps: 2000 };
    let newton = Newton { direction, tolerance: 1e-8, ..Newton::default() };
    let mut w = vec![0.0; glm.dims().w];
    let minimum = newton.minimize(&glm, &lambda, &mut w, None, &StopSignal::never()).unwrap();
    let products = minimum.info.work.hessian_products as f64 / n as f64;
    assert!(products < 350.0, "{products} products in {} iterations", minimum.info.steps);
}

/// Far from the minimum rows are certain and wrong, or their loss is beyond all measure: the Hessian says nothing of where it is.
#[test]
fn a_start_without_curvature_leads_to_the_minimum() {
    for (loss, name, rows, lambda, size) in [
        (Loss::Logistic, "heart_scale.gz", 270, -8.0, 500.0),
        (Loss::Logistic, "heart_scale.gz", 270, -14.0, -3000.0),
        (Loss::Softmax { classes: 10 }, "pendigits.gz", 500, -6.0, 100.0),
        (Loss::Poisson, "abalone_scale.bz2", 1000, -6.0, 12.0),
    ] {
        let data = Bundled::read(name, rows);
        let glm = Glm::new(data.risk(0..rows, loss, true), Penalty::Shared);
        let solve = |mut w: Vec<f64>| {
            let minimum = Newton::default().minimize(&glm, &[lambda], &mut w, None, &StopSignal::never());
            let minimum = minimum.unwrap_or_else(|error| panic!("{loss:?} from {size}: {error}"));
            assert_eq!(minimum.info.status, Status::Converged, "{loss:?} from {size}");
            w
        };
        let near = solve(vec![0.0; glm.dims().w]);
        let far = solve((0..glm.dims().w).map(|j| if j % 3 == 0 { size } else { 0.5 * size }).collect());
        let apart = vector::distance(&near, &far) / vector::norm(&near);
        assert!(apart < 1e-5, "{loss:?} from {size}: {apart}");
    }
}

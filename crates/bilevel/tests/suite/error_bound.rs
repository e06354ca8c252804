//! The error bound as one value: it holds where it is measured, is not too far off, and its inverse inverts it.
//!
//! Measured errors are means over independent replicates with fixed seeds; each may exceed the bound by 4 of its own standard
//! errors, which for a bound that just holds happens with probability 3e-5 a point.

use crate::models::Bundled;
use bilevel::diagnose::{ErrorBound, GlmBallOptions, GlmBounds, ProblemConstants};
use bilevel::fixed_point::{FixedPoint, LowerSolver};
use bilevel::hypergradient::{ExactLinear, Implicit, Sid};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Dims, GradientMap, StochasticMap};
use bilevel::newton::Newton;
use bilevel::problems::glm::{Glm, Loss, Penalty};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::target::Target;
use bilevel::sample::Batch;
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::vector;
use rayon::prelude::*;

const D: usize = 2;
const Q: f64 = 0.3;
const LAMBDA: [f64; 2] = [0.3, -0.5];

struct Known {
    map: LinearContraction,
    upper: Target,
    exact: Vec<f64>,
    bound: ErrorBound,
}

fn known(batch: usize) -> Known {
    let dims = Dims { w: D, lambda: LAMBDA.len() };
    let map = LinearContraction::random(dims, Q, 0.3, 5);
    let upper = Target::random(dims, 1, 0.0, 0.2, 5);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let size = vector::norm(&map.solution(&LAMBDA));
    let noise = map.noise_constants(&LAMBDA, batch);
    let constants = ProblemConstants::of_linear_contraction(&map, &upper, &LAMBDA, size, batch);
    let (mut grad_w, mut grad_lambda) = (vec![0.0; dims.w], vec![0.0; LAMBDA.len()]);
    upper.gradients(&map.solution(&LAMBDA), &LAMBDA, &bilevel::sample::Sample::Full, &mut grad_w, &mut grad_lambda);
    let bound = ErrorBound::decreasing(constants, (noise.sigma1, noise.sigma2), batch, size).unwrap();
    let bound = bound.with_upper_gradient(vector::norm(&grad_w));
    Known { map, upper, exact, bound }
}

/// Mean and standard error of `|g_hat - grad f|^2` over replicates.
fn measured<M: StochasticMap, U: UpperObjective>(
    bound: &ErrorBound,
    (map, upper, lambda, exact): (&M, &U, &[f64], &[f64]),
    (t, k, cross_batch): (usize, usize, Batch),
    replicates: u64,
) -> (f64, f64) {
    let sid = Sid {
        linear_steps: k,
        linear_step: bound.linear_step,
        cross_batch,
        ..Sid::new(t, bound.batch, bound.lower_step)
    };
    let one = |index| {
        let estimate = sid.estimate(map, upper, lambda, None, 17, index).unwrap();
        vector::distance_squared(&estimate.value, exact)
    };
    // Collected in order, so that the sum does not depend on the number of threads.
    let errors: Vec<f64> = (0..replicates).into_par_iter().map(one).collect();
    let n = replicates as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn the_bound_holds_on_a_grid_and_is_within_a_factor_of_100() {
    for batch in [1, 4] {
        let Known { map, upper, exact, bound } = known(batch);
        for bound in [bound, bound.with_constant_steps(0.5), bound.with_constant_steps(0.05)] {
            for (t, replicates) in [(10, 300), (100, 300), (1000, 100), (10_000, 12)] {
                let all = [Batch::All, Batch::Rows(16), Batch::Rows(1), Batch::Rows(256)];
                for cross_batch in all.into_iter().take(if t > 1000 { 2 } else { 4 }) {
                    let problem = (&map, &upper, &LAMBDA[..], &exact[..]);
                    let (mse, error) = measured(&bound, problem, (t, t, cross_batch), replicates);
                    let limit = bound.hypergradient_mse(t, t, cross_batch).unwrap();
                    let place = format!("{:?}, batch {batch}, t = {t}, {cross_batch:?}", bound.lower_step);
                    println!("{place}: bound/measured = {:.1}", limit / mse);
                    assert!(mse < limit + 4.0 * error, "{place}: {mse:e} +- {error:e} above {limit:e}");
                    if t >= 1000 {
                        assert!(limit < 100.0 * mse, "{place}: {limit:e} is more than 100 times {mse:e}");
                    }
                }
            }
            // The two solves need not be equally long.
            for (t, k) in [(10, 1000), (1000, 10)] {
                let (mse, error) =
                    measured(&bound, (&map, &upper, &LAMBDA[..], &exact[..]), (t, k, Batch::Rows(4)), 100);
                let limit = bound.hypergradient_mse(t, k, Batch::Rows(4)).unwrap();
                assert!(mse < limit + 4.0 * error, "t = {t}, k = {k}: {mse:e} +- {error:e} above {limit:e}");
            }
        }
    }
}

/// `rho(t)` and `sigma(k)` bound what they say, not only their sum.
#[test]
fn parts_of_the_bound_hold_by_themselves() {
    let Known { map, bound, .. } = known(1);
    let w = map.solution(&LAMBDA);
    for t in [10, 300] {
        let solver = FixedPoint::sampled(t, 1, bound.lower_step);
        let one = |index: u64| {
            let mut x = vec![0.0; D];
            let mut operator = bilevel::operator::LowerOperator { map: &map, lambda: &LAMBDA };
            let mut rng = bilevel::sample::Rng::stream(3, bilevel::sample::Purpose::Lower, index);
            let mut workspace = bilevel::fixed_point::Workspace::new(D);
            solver.solve(&mut operator, &mut x, &mut rng, &mut workspace);
            vector::distance_squared(&x, &w)
        };
        let mse = (0..200).map(one).sum::<f64>() / 200.0;
        let limit = bound.lower_mse(t).unwrap();
        assert!(mse < limit && limit < 100.0 * mse, "t = {t}: {mse:e} against {limit:e}");
    }
    assert!(
        (bound.lower_mse(0).unwrap() - bound.lower_start).abs() < 1e-12
            || bound.lower_mse(0).unwrap() > bound.lower_start
    );
    assert!(bound.linear_mse(0).unwrap() >= bound.constants.adjoint_bound().powi(2) * (1.0 - 1e-12));
}

#[test]
fn plans_meet_the_error_at_nearly_the_least_cost() {
    let Known { map, upper, exact, bound } = known(2);
    for mse in [10.0, 1.0, 0.1, 1e-3, 1e-6] {
        let plan = bound.plan(mse).unwrap();
        let (t, k, j) = (plan.lower_steps, plan.linear_steps, plan.cross_batch);
        assert!(plan.bound <= mse, "{plan:?}");
        assert_eq!(plan.bound, bound.hypergradient_mse(t, k, Batch::Rows(j)).unwrap());
        assert_eq!(plan.samples, 2.0 * (t + k) as f64 + j as f64);
        // No plan on a grid around it is more than a hundredth (and two steps) cheaper.
        let factors: Vec<f64> = (-20..=20).map(|i| 1.2_f64.powi(i)).collect();
        for fk in &factors {
            for fj in &factors {
                let (k, j) = ((k as f64 * fk) as usize, ((j as f64 * fj) as usize).max(1));
                let budget = 0.99 * plan.samples - 8.0 - 2.0 * k as f64 - j as f64;
                if budget > 0.0 {
                    let t = (budget / 2.0) as usize;
                    assert!(
                        bound.hypergradient_mse(t, k, Batch::Rows(j)).unwrap() > mse,
                        "{plan:?} against {t}, {k}, {j}"
                    );
                }
            }
        }
    }
    // What was planned is reached: the bound is a bound.
    let plan = bound.plan(0.5).unwrap();
    let parts = (plan.lower_steps, plan.linear_steps, Batch::Rows(plan.cross_batch));
    let (mse, error) = measured(&bound, (&map, &upper, &LAMBDA[..], &exact[..]), parts, 40);
    assert!(mse < 0.5 + 4.0 * error, "{mse}");
    // A quarter of the error costs about four times as much.
    let ratio = bound.plan(2.5e-5).unwrap().samples / bound.plan(1e-4).unwrap().samples;
    assert!((3.5..4.5).contains(&ratio), "{ratio}");
}

#[test]
fn unreachable_errors_are_refused_with_a_remedy() {
    let bound = known(1).bound;
    let constant = bound.with_constant_steps(0.5);
    let floor = constant.floor().unwrap();
    assert!(floor > 0.0 && bound.floor().unwrap() < 1e-12);
    let error = constant.plan(0.9 * floor).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("smaller steps"), "{error}");
    let plan = constant.plan(1.2 * floor).unwrap();
    assert!(plan.bound <= 1.2 * floor && plan.samples.is_finite(), "{plan:?}");
    assert!(bound.plan(0.0).is_err() && bound.plan(f64::NAN).is_err());
    let lawless = ErrorBound { lower_step: StepSize::Constant { eta: 2.0 }, ..bound };
    assert!(lawless.lower_mse(10).is_none() && lawless.plan(1.0).is_err());
}

/// The noise of a linear contraction in closed form against samples is in `diagnose.rs`; here the norms.
#[test]
fn norms_of_a_linear_contraction() {
    let map = known(1).map;
    assert!((map.contraction() - Q).abs() < 1e-12);
    let frobenius: f64 = (0..D)
        .map(|i| {
            let unit: Vec<f64> = (0..D).map(|j| f64::from(u8::from(i == j))).collect();
            let mut row = vec![0.0; LAMBDA.len()];
            map.vjp_lambda(&[0.0; D], &LAMBDA, &bilevel::sample::Sample::Full, &unit, &mut row);
            vector::norm_squared(&row)
        })
        .sum::<f64>()
        .sqrt();
    assert!(map.cross_norm() <= frobenius && map.cross_norm() >= frobenius / 2.0);
}

/// On real data with constants from formulas alone the bound holds; how loose it is is printed, not bounded.
#[test]
fn the_bound_holds_on_ridge_and_logistic_regression() {
    for (loss, name, rows) in [(Loss::Logistic, "heart_scale.gz", 270), (Loss::Squared, "abalone_scale.bz2", 600)] {
        let data = Bundled::read(name, rows);
        let fitted = 2 * rows / 3;
        let penalty = Penalty::PerFeature { features: data.design.cols() };
        let m = penalty.hyperparameters();
        let lower = Glm::new(data.risk(0..fitted, loss, false), penalty);
        let upper = data.risk(fitted..rows, loss, false).as_upper(m);
        let lambda: Vec<f64> = (0..m).map(|j| -0.5 + 0.3 * (j as f64).sin()).collect();
        let mut w = vec![0.0; m];
        Newton::default().solve(&lower, &lambda, &mut w).unwrap();
        let linear = ExactLinear::ConjugateGradient(ConjugateGradient { steps: 1000, tolerance: 1e-12 });
        let exact = Implicit { linear }.estimate(&lower, &upper, &lambda, None, &Newton::default()).unwrap().value;

        let map_step = GlmBounds::best_map_step(&lower, &upper, &w, &lambda).unwrap();
        let radius = 2.0 * vector::norm(&w);
        let options = GlmBallOptions { map_step, batch: 1, radius, steps: 100, seed: 0 };
        let (constants, noise) = GlmBounds::around(&lower, &upper, &w, &lambda, &options).unwrap().constants().unwrap();
        let bound = ErrorBound::decreasing(constants, noise, 1, vector::norm(&w)).unwrap();
        let map = GradientMap { loss: &lower, map_step };
        let (mut grad_w, mut grad_lambda) = (vec![0.0; m], vec![0.0; m]);
        upper.gradients(&w, &lambda, &bilevel::sample::Sample::Full, &mut grad_w, &mut grad_lambda);
        let bound = bound.with_upper_gradient(vector::norm(&grad_w));
        for bound in [bound, bound.with_constant_steps(0.5)] {
            for t in [30, 1000, 10_000] {
                let (mse, error) = measured(&bound, (&map, &upper, &lambda, &exact), (t, t, Batch::All), 20);
                let limit = bound.hypergradient_mse(t, t, Batch::All).unwrap();
                println!(
                    "{name}, q = {:.3}, t = {t}: {mse:.2e} against {limit:.2e}, {:.0} times",
                    constants.contraction,
                    limit / mse
                );
                assert!(mse < limit + 4.0 * error, "{name}, t = {t}: {mse:e} +- {error:e} above {limit:e}");
            }
        }
    }
}

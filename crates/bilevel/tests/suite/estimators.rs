//! Every hypergradient estimator against closed forms.
//!
//! Random tests have fixed seeds; where a bound could fail by chance, its probability of error is stated for the choice
//! of another seed.

use crate::closed_forms::{LAMBDA, assert_close, contraction, gradient_map, quadratic};
use bilevel::diagnose::{NoiseEstimate, ProblemConstants};
use bilevel::fixed_point::{Average, FixedPoint, LowerSolver, Workspace};
use bilevel::hypergradient::{
    AidConjugateGradient, AidFixedPoint, ExactLinear, Hypergradient, Implicit, Method, Sid, SidSaga, SidSvrg,
    WarmStart, replicate,
};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curved, Dims, GradientMap, StochasticLoss, StochasticMap};
use bilevel::operator::LowerOperator;
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::quadratic::Quadratic;
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::status::{Info, Status};
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::vector;
use bilevel::work::Work;
use rayon::prelude::*;

/// Mean over replicates of `|g_hat - grad f|^2`.
fn mse(sid: &Sid, problem: &Quadratic, map: &GradientMap<'_, Quadratic>, replicates: u64) -> f64 {
    let exact = problem.hypergradient(&LAMBDA);
    let error = |index| {
        let estimate = sid.estimate(map, problem.upper(), &LAMBDA, None, 11, index).unwrap();
        vector::distance_squared(&estimate.value, &exact)
    };
    // Collected in order, so that the sum does not depend on the number of threads.
    let errors: Vec<f64> = (0..replicates).into_par_iter().map(error).collect();
    errors.iter().sum::<f64>() / replicates as f64
}

#[test]
fn closed_forms_agree_with_finite_differences() {
    for ridge in [0.0, 0.3] {
        let problem = quadratic(0.5, ridge);
        let gradient = problem.hypergradient(&LAMBDA);
        for j in 0..LAMBDA.len() {
            let shifted = |h: f64| {
                let mut lambda = LAMBDA;
                lambda[j] += h;
                problem.objective(&lambda)
            };
            let h = 1e-4;
            let difference = (shifted(h) - shifted(-h)) / (2.0 * h);
            assert!((difference - gradient[j]).abs() < 1e-7, "component {j}: {difference} against {}", gradient[j]);
        }
    }
}

#[test]
fn aid_fixed_point_is_exact() {
    let aid = AidFixedPoint { lower_steps: 500, linear_steps: 500, tolerance: 1e-13 };
    for ridge in [0.0, 0.3] {
        let problem = quadratic(0.5, ridge);
        let (map, _) = gradient_map(&problem);
        let estimate = aid.estimate(&map, problem.upper(), &LAMBDA, None).unwrap();
        assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
        assert!((estimate.objective - problem.objective(&LAMBDA)).abs() < 1e-10);
        assert_eq!(estimate.status, Status::Converged);
        assert!(estimate.work.gradients > 0 && estimate.work.gradients < 500 * 100);
    }
    let (map, upper) = contraction(0.3);
    let estimate = aid.estimate(&map, &upper, &LAMBDA, None).unwrap();
    assert_close(&estimate.value, &map.hypergradient(&upper, &LAMBDA), 1e-10);
}

#[test]
fn aid_conjugate_gradient_is_exact() {
    let aid = AidConjugateGradient {
        lower_steps: 500,
        lower_tolerance: 1e-13,
        linear: ConjugateGradient { steps: 30, tolerance: 1e-13 },
    };
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let estimate = aid.estimate(&map, problem.upper(), &LAMBDA, None).unwrap();
    assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
    assert_eq!(estimate.status, Status::Converged);
    assert!(estimate.work.hessian_products <= 15 * 100, "{:?}", estimate.work);
}

/// A lower solver for the tests: many exact gradient steps.
struct GradientSteps;

impl LowerSolver for GradientSteps {
    fn solve(&self, loss: &dyn Curved, lambda: &[f64], w: &mut [f64]) -> bilevel::Result<Info> {
        let loss: &dyn StochasticLoss = loss;
        let map = GradientMap { loss, map_step: 0.7 };
        let mut rng = Rng::stream(0, Purpose::Lower, 0);
        let mut workspace = Workspace::new(w.len());
        let solver = FixedPoint::exact(1000, 1e-14);
        Ok(solver.solve(&mut LowerOperator { map: &map, lambda }, w, &mut rng, &mut workspace))
    }
}

#[test]
fn implicit_differentiation_is_exact_by_either_linear_solver() {
    let cg = ConjugateGradient { steps: 100, tolerance: 1e-12 };
    let problem = quadratic(0.5, 0.3);
    for linear in [ExactLinear::Factorize(cg), ExactLinear::ConjugateGradient(cg)] {
        let mut start = WarmStart::zeros(problem.dims());
        let estimate =
            Implicit { linear }.estimate(&problem, problem.upper(), &LAMBDA, Some(&mut start), &GradientSteps).unwrap();
        assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
        assert_close(&start.w, &problem.solution(&LAMBDA), 1e-10);
        assert_close(&start.v, &problem.adjoint(&LAMBDA, 1.0), 1e-10);
        assert_eq!(estimate.status, Status::Converged);
        assert_eq!(estimate.work.factorizations, u64::from(matches!(linear, ExactLinear::Factorize(_))));
    }
}

#[test]
fn sid_without_noise_is_the_batch_method() {
    let problem = quadratic(0.0, 0.3);
    let (map, _) = gradient_map(&problem);
    let sid = Sid::new(300, 1, StepSize::Constant { eta: 1.0 });
    let estimate = sid.estimate(&map, problem.upper(), &LAMBDA, None, 1, 0).unwrap();
    assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
    assert_eq!(estimate.status, Status::StepLimit);
    let upper_rows = 7;
    assert_eq!(
        estimate.work,
        Work {
            rows: 700 + upper_rows,
            gradients: 300 + upper_rows,
            hessian_products: 300,
            cross_products: 100,
            upper_rows,
            factorizations: 0
        }
    );
}

/// Theory, section 4: with decreasing steps and exact `d2Phi` the mean-square error is O(1/t). From t = 500 to 8000 it
/// falls 16-fold; each mean of 48 replicates has relative standard deviation about 0.15, so the ratio lies within a factor
/// of 2 of 16 with error probability below 0.002.
#[test]
fn decreasing_steps_fall_like_one_over_t() {
    let problem = quadratic(0.5, 0.2);
    let (map, q) = gradient_map(&problem);
    let step = StepSize::decreasing_from_constants(q, 4.0).unwrap();
    let early = mse(&Sid::new(500, 4, step), &problem, &map, 48);
    let late = mse(&Sid::new(8000, 4, step), &problem, &map, 48);
    let ratio = early / late;
    assert!((8.0..32.0).contains(&ratio), "{early:e} / {late:e} = {ratio}");
}

/// Theory, section 3: the floor of constant steps is proportional to `eta`, and more steps do not lower it. Bounds as above.
#[test]
fn constant_steps_stay_on_a_floor_proportional_to_eta() {
    let problem = quadratic(0.5, 0.2);
    let (map, _) = gradient_map(&problem);
    let floor = |eta, t| mse(&Sid::new(t, 4, StepSize::Constant { eta }), &problem, &map, 48);
    let (large, longer, small) = (floor(0.16, 600), floor(0.16, 2400), floor(0.02, 4800));
    assert!((0.5..2.0).contains(&(large / longer)), "more steps moved the floor: {large:e}, {longer:e}");
    let ratio = longer / small;
    assert!((4.0..16.0).contains(&ratio), "{longer:e} / {small:e} = {ratio}");
}

/// Theory, section 4, third term: the error of a sampled `d2Phi` falls like `1/J` once both solves are accurate.
#[test]
fn sampled_cross_derivative_adds_variance_like_one_over_j() {
    let (map, upper) = contraction(0.3);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let mse = |rows| {
        let step = StepSize::decreasing_from_constants(0.7, 2.0).unwrap();
        let sid = Sid { cross_batch: Batch::Rows(rows), ..Sid::new(3000, 4, step) };
        let error = |index| {
            let estimate = sid.estimate(&map, &upper, &LAMBDA, None, 2, index).unwrap();
            vector::distance_squared(&estimate.value, &exact)
        };
        (0..100).map(error).sum::<f64>() / 100.0
    };
    let ratio = mse(2) / mse(16);
    assert!((4.0..16.0).contains(&ratio), "ratio {ratio}");
}

/// Theory, section 4, on a map and an objective whose constants are known: every derivative is constant in `w`, so
/// `nu1 = nu2 = mu2 = 0` and `mu1 = 1`. The solves' bounds hold for their noise constants; the whole must respect the
/// bound of the whole, with slack for the mean of 100 replicates (error probability far below 1e-3, since the bound is
/// several times the error).
#[test]
fn error_respects_the_bound_of_the_theory() {
    let (map, upper) = contraction(0.2);
    let (w, exact) = (map.solution(&LAMBDA), map.hypergradient(&upper, &LAMBDA));
    let noise = NoiseEstimate { batch: 1, samples: 2000, seed: 1 }.estimate(&map, &w, &LAMBDA).unwrap();
    let (mut grad_w, mut grad_lambda) = (vec![0.0; 8], vec![0.0; 4]);
    upper.gradients(&w, &LAMBDA, &Sample::Full, &mut grad_w, &mut grad_lambda);
    let mut l_phi_squared = 0.0;
    for i in 0..8 {
        let mut row = vec![0.0; 4];
        let unit: Vec<f64> = (0..8).map(|j| f64::from(u8::from(i == j))).collect();
        map.vjp_lambda(&w, &LAMBDA, &Sample::Full, &unit, &mut row);
        l_phi_squared += vector::norm_squared(&row);
    }
    let constants = ProblemConstants {
        contraction: 0.7,
        mu1: 1.0,
        l_e: 1.5 * vector::norm(&grad_w),
        l_phi: l_phi_squared.sqrt(),
        m1: noise.m1,
        m2: noise.m2,
        ..ProblemConstants::default()
    };
    let (sigma1, sigma2) = constants.linear_noise();
    for t in [100, 1000] {
        let lower_step = StepSize::decreasing_from_constants(0.7, noise.sigma2).unwrap();
        let linear_step = StepSize::decreasing_from_constants(0.7, sigma2).unwrap();
        let lower_mse = lower_step.mse_bound(t, vector::norm_squared(&w), 0.7, noise.sigma1, noise.sigma2).unwrap();
        let start = constants.adjoint_bound().powi(2);
        let linear_mse = linear_step.mse_bound(t, start, 0.7, sigma1, sigma2).unwrap();
        for cross_batch in [Batch::All, Batch::Rows(4)] {
            let sid = Sid { linear_step, cross_batch, ..Sid::new(t, 1, lower_step) };
            let error = |index| {
                let estimate = sid.estimate(&map, &upper, &LAMBDA, None, 3, index).unwrap();
                vector::distance_squared(&estimate.value, &exact)
            };
            let mse = (0..100).map(error).sum::<f64>() / 100.0;
            let bound = constants.hypergradient_mse(lower_mse, linear_mse, cross_batch);
            assert!(mse < bound, "t = {t}, {cross_batch:?}: {mse:e} above {bound:e}");
            // A worst case over all problems with these constants: loose, but of the right order in t.
            assert!(mse > 1e-6 * bound, "t = {t}, {cross_batch:?}: {mse:e} is far too small for the bound {bound:e}");
        }
    }
}

/// The three parts use independent samples, so on linear maps the estimate is biased by its truncation alone: with
/// everything sampled the mean of 400 replicates agrees with the closed form within 5 standard errors in every
/// component (error probability 4 * 6e-7).
#[test]
fn error_bar_covers_the_truth() {
    let (map, upper) = contraction(0.3);
    let upper_rows = Target::random(Dims { w: 8, lambda: 4 }, 20, 0.5, 0.2, 6);
    let sid = Sid {
        cross_batch: Batch::Rows(2),
        upper_batch: Batch::Rows(1),
        ..Sid::new(150, 2, StepSize::Constant { eta: 0.2 })
    };
    for upper in [&upper, &upper_rows] {
        let exact = map.hypergradient(upper, &LAMBDA);
        let mean = replicate(400, |index| sid.estimate(&map, upper, &LAMBDA, None, 9, index)).unwrap();
        let std_error = mean.std_error.unwrap();
        for j in 0..4 {
            let z = (mean.value[j] - exact[j]) / std_error[j];
            assert!(z.abs() < 5.0, "component {j}: {} +- {} against {}", mean.value[j], std_error[j], exact[j]);
            assert!(std_error[j] < 0.1 * vector::norm(&exact), "the error bar {} says nothing", std_error[j]);
        }
    }
}

#[test]
fn averaging_lowers_the_floor_of_constant_steps() {
    let problem = quadratic(0.5, 0.2);
    let (map, _) = gradient_map(&problem);
    let sid = Sid::new(2000, 4, StepSize::Constant { eta: 0.16 });
    let last = mse(&sid, &problem, &map, 24);
    let averaged = mse(&Sid { average: Average::Suffix { fraction: 0.5 }, ..sid }, &problem, &map, 24);
    assert!(averaged < 0.1 * last, "{averaged:e} against {last:e}");
}

#[test]
fn seeds_replay_bit_for_bit_and_differ() {
    let problem = quadratic(0.5, 0.2);
    let (map, _) = gradient_map(&problem);
    let sid = Sid {
        cross_batch: Batch::Rows(8),
        upper_batch: Batch::Rows(3),
        ..Sid::new(40, 2, StepSize::Constant { eta: 0.1 })
    };
    let run = |seed, index| sid.estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
    assert_eq!(run(1, 2), run(1, 2));
    assert_ne!(run(1, 2).value, run(1, 3).value);
    assert_ne!(run(1, 2).value, run(2, 2).value);
    let many = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| replicate(16, |index| Ok(run(1, index))).unwrap())
    };
    assert_eq!(many(1), many(3));
}

#[test]
fn methods_are_values() {
    let problem = quadratic(0.0, 0.2);
    let (map, _) = gradient_map(&problem);
    let (steps, tolerance) = (300, 1e-13);
    let methods = [
        Method::Sid(Sid::new(steps, 1, StepSize::Constant { eta: 1.0 })),
        Method::SidSvrg(SidSvrg { sid: Sid::new(steps, 1, StepSize::Constant { eta: 1.0 }), period: 10 }),
        // What is remembered is old: steps up to a half of what a plain solve bears are safe.
        Method::SidSaga(SidSaga { sid: Sid::new(20 * steps, 1, StepSize::Constant { eta: 0.4 }) }),
        Method::AidFixedPoint(AidFixedPoint { lower_steps: steps, linear_steps: steps, tolerance }),
        Method::AidConjugateGradient(AidConjugateGradient {
            lower_steps: steps,
            lower_tolerance: tolerance,
            linear: ConjugateGradient { steps, tolerance },
        }),
    ];
    for method in methods {
        let estimate = method.estimate(&map, problem.upper(), &LAMBDA, None, 0, 0).unwrap();
        assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
    }
    assert_eq!(methods.map(|method| method.name()), ["SID", "SID-SVRG", "SID-SAGA", "AID-FP", "AID-CG"]);
}

#[test]
fn warm_start_continues_where_the_last_estimate_ended() {
    let problem = quadratic(0.0, 0.2);
    let (map, _) = gradient_map(&problem);
    let sid = Sid::new(20, 1, StepSize::Constant { eta: 1.0 });
    let mut start = WarmStart::zeros(problem.dims());
    let estimates: Vec<Hypergradient> =
        (0..2).map(|i| sid.estimate(&map, problem.upper(), &LAMBDA, Some(&mut start), 1, i).unwrap()).collect();
    let exact = problem.hypergradient(&LAMBDA);
    let error = |i: usize| vector::distance(&estimates[i].value, &exact);
    assert!(error(1) < 1e-2 * error(0), "{} then {}", error(0), error(1));
    assert_close(&start.w, &problem.solution(&LAMBDA), 1e-3);
    assert_close(&start.v, &problem.adjoint(&LAMBDA, map.map_step), 1e-3);
}

#[test]
fn a_map_that_does_not_contract_is_an_error_with_a_remedy() {
    let problem = quadratic(0.3, 0.0);
    let map = GradientMap { loss: &problem, map_step: 2.5 };
    let mut start = WarmStart { w: vec![0.5; 10], v: vec![0.25; 10] };
    let untouched = start.clone();

    let aid = AidFixedPoint { lower_steps: 1000, linear_steps: 1000, tolerance: 1e-10 };
    let error = aid.estimate(&map, problem.upper(), &LAMBDA, Some(&mut start)).unwrap_err();
    assert!(error.is_numeric(), "{error}");
    assert!(error.to_string().contains("lower level") && error.to_string().contains("smaller map_step"), "{error}");

    let sid = Sid::new(2000, 2, StepSize::Constant { eta: 1.0 });
    let error = sid.estimate(&map, problem.upper(), &LAMBDA, Some(&mut start), 1, 1).unwrap_err();
    assert!(error.is_numeric() && error.to_string().contains("smaller steps"), "{error}");
    assert_eq!(start, untouched, "an error must leave the warm start alone");

    // Spectral norm 4 puts the spectral radius above 1 too, so that no norm makes the map contract.
    let (q_above_one, upper) = (LinearContraction::random(Dims { w: 8, lambda: 4 }, 4.0, 0.0, 5), contraction(0.0).1);
    assert!(aid.estimate(&q_above_one, &upper, &LAMBDA, None).is_err_and(|error| error.is_numeric()));
}

#[test]
fn non_finite_arguments_and_wrong_sizes_are_input_errors() {
    let problem = quadratic(0.3, 0.0);
    let (map, _) = gradient_map(&problem);
    let sid = Sid::new(10, 2, StepSize::Constant { eta: 0.1 });
    let run = |sid: &Sid, lambda: &[f64], start| sid.estimate(&map, problem.upper(), lambda, start, 1, 0);
    let mut short = WarmStart { w: vec![0.0; 3], v: vec![0.0; 10] };
    let mut not_finite = WarmStart { w: vec![f64::NAN; 10], v: vec![0.0; 10] };
    let failures = [
        run(&sid, &[f64::NAN, 0.0, 0.0, 0.0], None),
        run(&sid, &LAMBDA[..3], None),
        run(&sid, &LAMBDA, Some(&mut short)),
        run(&sid, &LAMBDA, Some(&mut not_finite)),
        run(&Sid { batch: 0, ..sid }, &LAMBDA, None),
        run(&Sid { cross_batch: Batch::Rows(0), ..sid }, &LAMBDA, None),
        run(&Sid { lower_step: StepSize::Constant { eta: -0.1 }, ..sid }, &LAMBDA, None),
        run(&Sid { average: Average::Suffix { fraction: 0.0 }, ..sid }, &LAMBDA, None),
    ];
    for (i, failure) in failures.into_iter().enumerate() {
        assert!(failure.is_err_and(|error| error.is_input()), "case {i}");
    }
}

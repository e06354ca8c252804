//! Estimators that differ in the linear system: normal equations, GMRES, Neumann series, mixtures, low rank.
//!
//! Random tests have fixed seeds; where a bound could fail by chance, its probability of error is stated for the choice of
//! another seed.

use crate::closed_forms::{DIMS, LAMBDA, assert_close, contraction, gradient_map, quadratic};
use bilevel::fixed_point::FixedPoint;
use bilevel::hypergradient::{
    AidFixedPoint, AidGmres, AidNormalEquations, Capable, ForwardMode, Hypergradient, Method, MixedFixedPoint, Neumann,
    Nystrom, SeriesLength, Sid, SidSaga, WarmStart, replicate,
};
use bilevel::linear_system::{Gmres, NormalEquations};
use bilevel::lower::{Dims, GradientMap, JvpLambda, StochasticMap};
use bilevel::problems::closures::{RowLoss, RowMap};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::policy_evaluation::PolicyEvaluation;
use bilevel::problems::quadratic::Quadratic;
use bilevel::problems::scaled::Scaled;
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::status::Status;
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::vector;

/// At the solution of the lower level, with nothing left to do there.
fn solved(w: Vec<f64>) -> (FixedPoint, WarmStart) {
    (FixedPoint::exact(0, 0.0), WarmStart { v: vec![0.0; w.len()], w })
}

/// Within 5 standard errors in every component: error probability 6e-7 each.
#[track_caller]
fn assert_mean(mean: &Hypergradient, exact: &[f64]) {
    let errors = mean.std_error.as_ref().unwrap();
    for j in 0..exact.len() {
        let z = (mean.value[j] - exact[j]) / errors[j];
        assert!(z.abs() < 5.0, "component {j}: {} +- {} against {}", mean.value[j], errors[j], exact[j]);
        assert!(errors[j] < 0.1 * vector::norm(exact), "the error bar {} says nothing", errors[j]);
    }
}

fn normal_equations(steps: usize) -> AidNormalEquations {
    let linear = NormalEquations { steps, tolerance: 1e-12 };
    AidNormalEquations { lower_steps: 500, lower_tolerance: 1e-13, linear }
}

fn gmres(steps: usize, restart: usize) -> AidGmres {
    AidGmres { lower_steps: 500, lower_tolerance: 1e-13, linear: Gmres { steps, restart, tolerance: 1e-12 } }
}

#[test]
fn solvers_for_maps_without_symmetry_are_exact() {
    let (map, upper) = contraction(0.3);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let chain = PolicyEvaluation::random(DIMS, 3, 0.7, 0.3, 2);
    let on_chain = chain.hypergradient(&upper, &LAMBDA);
    let found = [
        (normal_equations(200).estimate(&map, &upper, &LAMBDA, None), &exact),
        (gmres(200, 20).estimate(&map, &upper, &LAMBDA, None), &exact),
        (gmres(200, 3).estimate(&map, &upper, &LAMBDA, None), &exact),
        (normal_equations(200).estimate(&chain, &upper, &LAMBDA, None), &on_chain),
        (gmres(200, 20).estimate(&chain, &upper, &LAMBDA, None), &on_chain),
    ];
    for (case, (estimate, exact)) in found.into_iter().enumerate() {
        let estimate = estimate.unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert_close(&estimate.value, exact, 1e-10);
        assert_eq!(estimate.status, Status::Converged, "case {case}");
    }
    // Symmetric maps have the capability for nothing.
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let estimate = normal_equations(200).estimate(&map, problem.upper(), &LAMBDA, None).unwrap();
    assert_close(&estimate.value, &problem.hypergradient(&LAMBDA), 1e-10);
}

#[test]
fn krylov_spaces_end_after_as_many_steps_as_dimensions() {
    let (map, upper) = contraction(0.0);
    let (w, exact) = (map.solution(&LAMBDA), map.hypergradient(&upper, &LAMBDA));
    // Eight directions and the product that proves it; the exact mean counts as one row.
    let estimate = gmres(8, 8).estimate(&map, &upper, &LAMBDA, Some(&mut solved(w.clone()).1)).unwrap();
    assert_close(&estimate.value, &exact, 1e-10);
    assert!(estimate.work.hessian_products <= 9, "{:?}", estimate.work);
    let estimate = normal_equations(9).estimate(&map, &upper, &LAMBDA, Some(&mut solved(w.clone()).1)).unwrap();
    assert_close(&estimate.value, &exact, 1e-10);
    assert!(estimate.work.hessian_products <= 2 * 9 + 3, "{:?}", estimate.work);
    // On the way it is ahead of the fixed-point iteration: the least over polynomials of a degree against one of them.
    for k in 2..8 {
        let aid = AidFixedPoint { lower_steps: 1, linear_steps: k, tolerance: 0.0 };
        let residual = |start: &WarmStart| {
            let (mut grad_w, mut unused, mut image) = (vec![0.0; 8], vec![0.0; 4], vec![0.0; 8]);
            upper.gradients(&w, &LAMBDA, &Sample::Full, &mut grad_w, &mut unused);
            map.vjp_w(&w, &LAMBDA, &Sample::Full, &start.v, &mut image);
            (0..8).map(|i| (start.v[i] - image[i] - grad_w[i]).powi(2)).sum::<f64>().sqrt()
        };
        let (mut one, mut other) = (solved(w.clone()).1, solved(w.clone()).1);
        aid.estimate(&map, &upper, &LAMBDA, Some(&mut one)).unwrap();
        let linear = Gmres { steps: k, restart: k, tolerance: 0.0 };
        let few = AidGmres { lower_steps: 1, lower_tolerance: 0.0, linear };
        let estimate = few.estimate(&map, &upper, &LAMBDA, Some(&mut other)).unwrap();
        assert_eq!(estimate.status, Status::StepLimit);
        assert!(residual(&other) <= residual(&one) * (1.0 + 1e-9), "{k}: {} {}", residual(&other), residual(&one));
    }
}

/// `Phi = (w_0/2, w_1) + lambda_0 (1, 0)`: nothing determines `w_1`.
#[test]
fn a_singular_system_is_an_error_and_not_a_number() {
    let dims = Dims { w: 2, lambda: 1 };
    let map = RowMap::builder(dims, 1)
        .apply(|_, w, l, out| out.copy_from_slice(&[0.5 * w[0] + l[0], w[1]]))
        .vjp_w(|_, _, _, v, out| out.copy_from_slice(&[0.5 * v[0], v[1]]))
        .vjp_lambda(|_, _, _, v, out| out[0] = v[0])
        .forward(
            |_, _, _, x, out| out.copy_from_slice(&[0.5 * x[0], x[1]]),
            |_, _, _, x, out| out.copy_from_slice(&[x[0], 0.0]),
        )
        .build()
        .unwrap();
    let upper = Target::random(dims, 1, 0.0, 0.2, 5);
    for result in
        [normal_equations(50).estimate(&map, &upper, &[0.4], None), gmres(50, 10).estimate(&map, &upper, &[0.4], None)]
    {
        let error = result.unwrap_err();
        assert!(error.is_numeric() && error.to_string().contains("linear system"), "{error}");
    }
    let bad = NormalEquations { steps: 5, tolerance: 1.0 };
    let bad = AidNormalEquations { lower_steps: 5, lower_tolerance: 0.0, linear: bad };
    assert!(bad.estimate(&map, &upper, &[0.4], None).is_err_and(|error| error.is_input()));
    assert!(gmres(5, 0).estimate(&map, &upper, &[0.4], None).is_err_and(|error| error.is_input()));
}

#[test]
fn exact_neumann_series_is_the_fixed_point_iteration_and_falls_like_the_contraction() {
    let problem = quadratic(0.5, 0.3);
    let (map, q) = gradient_map(&problem);
    for k in [1, 2, 7] {
        let neumann = Neumann::exact(30, k).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0).unwrap();
        let aid = AidFixedPoint { lower_steps: 30, linear_steps: k, tolerance: 0.0 };
        let picard = aid.estimate(&map, problem.upper(), &LAMBDA, None).unwrap();
        assert_close(&neumann.value, &picard.value, 1e-13);
        assert_eq!(picard.work.hessian_products - neumann.work.hessian_products, 100, "the first product is with zero");
    }
    // |v - v_K| = |(I - eta A)^K v| <= (1 - eta (1 - q))^K |v|, and the hypergradient adds one product with d2Phi.
    let exact = problem.hypergradient(&LAMBDA);
    let v = problem.adjoint(&LAMBDA, map.map_step);
    for eta in [1.0, 0.5] {
        let mut last = f64::INFINITY;
        for k in [5, 10, 20, 40] {
            let (lower, mut start) = solved(problem.solution(&LAMBDA));
            let length = SeriesLength::Fixed { terms: k };
            let series = Neumann::new(lower, length, eta, Batch::All);
            let estimate = series.estimate(&map, problem.upper(), &LAMBDA, Some(&mut start), 0, 0).unwrap();
            let bound = (1.0 - eta * (1.0 - q)).powi(k as i32) * vector::norm(&v);
            let missing = vector::distance(&start.v, &v);
            assert!(missing <= bound * (1.0 + 1e-9), "eta {eta}, {k} terms: {missing:e} above {bound:e}");
            assert!(missing > 1e-3 * bound, "eta {eta}, {k} terms: far too good for the bound");
            let error = vector::distance(&estimate.value, &exact);
            assert!(error < 0.8 * last, "{error} after {last}");
            last = error;
        }
    }
}

/// All lengths on samples: the mean of a product of independent samples is the product of the means.
#[test]
fn random_lengths_change_the_variance_and_geometric_ones_remove_the_bias() {
    let (map, upper) = contraction(0.3);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let mean = |length, seed| {
        let (lower, start) = solved(map.solution(&LAMBDA));
        let series = Neumann { cross_batch: Batch::Rows(2), ..Neumann::new(lower, length, 1.0, Batch::Rows(2)) };
        let one = |index| series.estimate(&map, &upper, &LAMBDA, Some(&mut start.clone()), seed, index);
        replicate(2000, one).unwrap()
    };
    let (lower, mut start) = solved(map.solution(&LAMBDA));
    let truncated = Neumann::new(lower, SeriesLength::Fixed { terms: 2 }, 1.0, Batch::All);
    let truncated = truncated.estimate(&map, &upper, &LAMBDA, Some(&mut start), 0, 0).unwrap().value;
    let fixed = mean(SeriesLength::Fixed { terms: 2 }, 1);
    let uniform = mean(SeriesLength::Uniform { terms: 2 }, 2);
    let geometric = mean(SeriesLength::Geometric { survival: 0.8 }, 3);
    assert_mean(&fixed, &truncated);
    assert_mean(&uniform, &truncated);
    assert_mean(&geometric, &exact);
    let spread = |mean: &Hypergradient| vector::norm(mean.std_error.as_ref().unwrap());
    assert!(spread(&fixed) < spread(&uniform), "one term for all varies more");
    // A bias that the error bar excludes by far.
    let bias = vector::distance(&fixed.value, &exact);
    assert!(bias > 10.0 * spread(&fixed), "bias {bias} beside an error bar of {}", spread(&fixed));
    // A product of 2 elements; half of it on average; survival/(1 - survival) = 4 of them, to a few percent.
    assert_eq!(fixed.work.hessian_products, 2000 * 2);
    let per = |mean: &Hypergradient| mean.work.hessian_products as f64 / 4000.0;
    assert!((per(&uniform) - 0.5).abs() < 0.1 && (per(&geometric) - 4.0).abs() < 0.5);
}

#[test]
fn series_refuse_what_cannot_converge() {
    let problem = quadratic(0.5, 0.3);
    let map = GradientMap { loss: &problem, map_step: 2.5 };
    let (lower, _) = solved(vec![]);
    let run = |series: Neumann, map: &GradientMap<'_, Quadratic>| {
        series.estimate(map, problem.upper(), &LAMBDA, None, 0, 0).unwrap_err()
    };
    let length = SeriesLength::Fixed { terms: 2000 };
    let error = run(Neumann::new(lower, length, 1.0, Batch::All), &map);
    assert!(error.is_numeric() && error.to_string().contains("smaller map_step"), "{error}");
    assert!(run(Neumann::new(lower, length, 1.0, Batch::Rows(2)), &map).is_numeric());
    let mixed = MixedFixedPoint::plain(lower, 2000, 2, 0.5);
    assert!(mixed.estimate(&map, problem.upper(), &LAMBDA, None, 0, 0).is_err_and(|error| error.is_numeric()));
    for (length, eta, batch) in [
        (SeriesLength::Fixed { terms: 0 }, 1.0, 2),
        (SeriesLength::Uniform { terms: 0 }, 1.0, 2),
        (SeriesLength::Geometric { survival: 1.0 }, 1.0, 2),
        (length, 0.0, 2),
        (length, 1.5, 2),
        (length, 1.0, 0),
    ] {
        assert!(run(Neumann::new(lower, length, eta, Batch::Rows(batch)), &map).is_input());
    }
    for mixing in [0.0, 1.1, f64::NAN] {
        let mixed = MixedFixedPoint::plain(lower, 5, 2, mixing);
        assert!(mixed.estimate(&map, problem.upper(), &LAMBDA, None, 0, 0).is_err_and(|error| error.is_input()));
    }
}

/// `d1Phi_hat^T` on one sample as a matrix, column after column.
fn jacobian(map: &LinearContraction, w: &[f64], zeta: &Sample) -> Vec<Vec<f64>> {
    (0..8)
        .map(|j| {
            let unit: Vec<f64> = (0..8).map(|i| f64::from(u8::from(i == j))).collect();
            let mut column = vec![0.0; 8];
            map.vjp_w(w, &LAMBDA, zeta, &unit, &mut column);
            column
        })
        .collect()
}

fn times(columns: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    columns.iter().zip(x).for_each(|(column, x)| vector::axpy(*x, column, &mut out));
    out
}

/// Mixed FP, its recursion for `z` solved: `z_k = sum_{j<k} (1-a)^{k-1-j} ((1-a) u_j + a n_j)` with `u_j = Y_{j-1} .. Y_0 c` and
/// `n_j = sum_{i<=j} Y_{j-1} .. Y_i c`, each product formed from scratch.
#[test]
fn mixed_fixed_point_is_the_mixture_of_both_sums() {
    let (map, upper) = contraction(0.3);
    let (w, k, batch, a) = (map.solution(&LAMBDA), 9, 3, 0.3);
    let (mut c, mut unused) = (vec![0.0; 8], vec![0.0; 4]);
    upper.gradients(&w, &LAMBDA, &Sample::Full, &mut c, &mut unused);
    let mut rng = Rng::stream(7, Purpose::Linear, 4);
    let mut sample = Sample::Full;
    let factors: Vec<_> = (0..k)
        .map(|_| {
            map.draw(batch, &mut rng, &mut sample);
            jacobian(&map, &w, &sample)
        })
        .collect();
    let product = |range: std::ops::Range<usize>| factors[range].iter().fold(c.clone(), |x, y| times(y, &x));
    let mut expected = vec![0.0; 8];
    for j in 0..k {
        let weight = (1.0_f64 - a).powi((k - 1 - j) as i32);
        vector::axpy(weight * (1.0 - a), &product(0..j), &mut expected);
        (0..=j).for_each(|i| vector::axpy(weight * a, &product(i..j), &mut expected));
    }
    let (lower, mut start) = solved(w.clone());
    let mixed = MixedFixedPoint::plain(lower, k, batch, a);
    let estimate = mixed.estimate(&map, &upper, &LAMBDA, Some(&mut start), 7, 4).unwrap();
    assert_close(&start.v, &expected, 1e-13);
    assert_eq!(estimate.work.hessian_products, (2 * k * batch) as u64);

    // With a = 1 the sum follows the Neumann iteration one step behind.
    let (lower, mut start) = solved(w);
    MixedFixedPoint::plain(lower, k, batch, 1.0).estimate(&map, &upper, &LAMBDA, Some(&mut start), 7, 4).unwrap();
    let mut newest_last = c.clone();
    for y in &factors[..k - 1] {
        newest_last = times(y, &newest_last);
        vector::axpy(1.0, &c, &mut newest_last);
    }
    assert_close(&start.v, &newest_last, 1e-13);
}

#[test]
fn mixed_fixed_point_converges_and_varies_less_than_the_neumann_iteration() {
    let (map, upper) = contraction(0.4);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let (lower, start) = solved(map.solution(&LAMBDA));
    let all = MixedFixedPoint { batch: Batch::All, ..MixedFixedPoint::plain(lower, 200, 1, 0.2) };
    let estimate = all.estimate(&map, &upper, &LAMBDA, Some(&mut start.clone()), 0, 0).unwrap();
    assert_close(&estimate.value, &exact, 1e-12);

    let mse = |mixed: MixedFixedPoint| {
        let error = |index| {
            let estimate = mixed.estimate(&map, &upper, &LAMBDA, Some(&mut start.clone()), 2, index).unwrap();
            vector::distance_squared(&estimate.value, &exact)
        };
        (0..100).map(error).sum::<f64>() / 100.0
    };
    let (neumann, mixed) =
        (mse(MixedFixedPoint::plain(lower, 150, 1, 1.0)), mse(MixedFixedPoint::plain(lower, 150, 1, 0.05)));
    assert!(mixed < 0.3 * neumann, "Mixed FP {mixed:e}, Neumann {neumann:e}");
    // Steps beta/(gamma + s): an error that falls like 1/k. Sixteen times the steps divide it by sixteen; means of 100 have
    // a relative standard error near 0.12, so a factor outside of 8 to 32 has error probability below 1e-4.
    let decreasing = StepSize::Decreasing { beta: 10.0, gamma: 20.0 };
    let at = |k| mse(MixedFixedPoint::krasnoselskii_mann(lower, k, 1, 0.3, decreasing));
    let ratio = at(125) / at(2000);
    assert!((8.0..32.0).contains(&ratio), "ratio {ratio}");
}

#[test]
fn nystrom_inverts_what_its_columns_span() {
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let exact = problem.hypergradient(&LAMBDA);
    let run = |nystrom: &Nystrom, start: &mut WarmStart, index| {
        nystrom.estimate(&map, problem.upper(), &LAMBDA, Some(start), 1, index)
    };
    let (lower, start) = solved(problem.solution(&LAMBDA));
    // All columns: A itself, and the damping is the only error.
    let estimate = run(&Nystrom::new(lower, 10, 1e-10), &mut start.clone(), 0).unwrap();
    assert_close(&estimate.value, &exact, 1e-8);
    assert_eq!(estimate.work.hessian_products, 10 * 100);
    let rho = 0.2;
    let mut damped = start.clone();
    run(&Nystrom::new(lower, 99, rho), &mut damped, 0).unwrap();
    let (mut c, mut unused, mut image) = (vec![0.0; 10], vec![0.0; 4], vec![0.0; 10]);
    problem.upper().gradients(&damped.w, &LAMBDA, &Sample::Full, &mut c, &mut unused);
    map.vjp_w(&damped.w, &LAMBDA, &Sample::Full, &damped.v, &mut image);
    let left: Vec<f64> = (0..10).map(|i| (1.0 + rho) * damped.v[i] - image[i]).collect();
    assert_close(&left, &c, 1e-11);
    // Some columns K: an A_k that agrees with A on them, so that rows K of (A_k + rho I) v = c hold with A in place of A_k.
    let mut some = start.clone();
    run(&Nystrom::new(lower, 4, rho), &mut some, 3).unwrap();
    map.vjp_w(&some.w, &LAMBDA, &Sample::Full, &some.v, &mut image);
    let held = (0..10).filter(|&i| ((1.0 + rho) * some.v[i] - image[i] - c[i]).abs() < 1e-11).count();
    assert_eq!(held, 4);
    for bad in [Nystrom::new(lower, 0, 0.1), Nystrom::new(lower, 3, 0.0), Nystrom::new(lower, 3, f64::NAN)] {
        assert!(run(&bad, &mut start.clone(), 0).is_err_and(|error| error.is_input()));
    }
}

#[test]
fn the_estimator_of_bsgm_is_sid_with_minibatches_everywhere() {
    let (map, _) = contraction(0.3);
    let upper = Target::random(DIMS, 20, 0.5, 0.2, 6);
    let (lower, linear) = (StepSize::Constant { eta: 0.2 }, StepSize::Constant { eta: 0.3 });
    let bsgm = Sid::bsgm((80, 60), 2, 5, lower, linear);
    let estimate = bsgm.estimate(&map, &upper, &LAMBDA, None, 1, 0).unwrap();
    assert_eq!((estimate.work.gradients, estimate.work.hessian_products, estimate.work.cross_products), (165, 120, 5));
    let mean = replicate(400, |index| bsgm.estimate(&map, &upper, &LAMBDA, None, 1, index)).unwrap();
    assert_mean(&mean, &map.hypergradient(&upper, &LAMBDA));
}

/// A method that is a value asks a map what it can do, and says what is missing.
#[test]
fn methods_by_name_ask_for_capabilities() {
    let (map, upper) = contraction(0.0);
    let exact = map.hypergradient(&upper, &LAMBDA);
    let lower = FixedPoint::exact(200, 1e-12);
    let run = |method: Method, map| method.estimate_on(map, &upper, &LAMBDA, None, 0, 0);
    let plain = Capable::new(&map);
    for method in [Method::AidNormalEquations(normal_equations(50)), Method::ForwardMode(ForwardMode::new(lower))] {
        let error = run(method, plain).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("needs products with d1Phi"), "{error}");
        assert_close(&run(method, plain.jvp_lambda(&map)).unwrap().value, &exact, 1e-9);
    }
    let saga = Method::SidSaga(SidSaga { sid: Sid::new(5, 1, StepSize::Constant { eta: 0.1 }) });
    assert!(run(saga, plain).unwrap_err().to_string().contains("SID-SAGA needs a map that is a mean over rows"));
    let nystrom = Method::Nystrom(Nystrom::new(lower, 8, 1e-9));
    assert!(run(nystrom, plain).unwrap_err().to_string().contains("symmetric"));
    assert_close(&run(Method::AidGmres(gmres(50, 50)), plain).unwrap().value, &exact, 1e-9);
    let text = serde_json::to_string(&nystrom).unwrap();
    assert!(text.starts_with("{\"nystrom\":") && serde_json::from_str::<Method>(&text).unwrap() == nystrom, "{text}");
}

/// `v' (J x) = (J' v)' x`, on everything and on samples, for every map that has both.
#[test]
fn products_with_jacobians_agree_with_those_of_their_transposes() {
    let (map, _) = contraction(0.3);
    let chain = PolicyEvaluation::random(DIMS, 3, 0.7, 0.3, 2);
    let problem = quadratic(0.5, 0.3);
    let (gradient, _) = gradient_map(&problem);
    fn check<M: JvpLambda>(map: &M, zetas: &[Sample]) {
        let Dims { w: d, lambda: m } = map.dims();
        let mut rng = Rng::stream(1, Purpose::Start, 0);
        let mut normal = |length: usize| -> Vec<f64> { (0..length).map(|_| rng.normal()).collect() };
        let (w, v, x, y) = (normal(d), normal(d), normal(d), normal(m));
        for zeta in zetas {
            let (mut jx, mut jv) = (vec![0.0; d], vec![0.0; d]);
            map.jvp_w(&w, &LAMBDA, zeta, &x, &mut jx);
            map.vjp_w(&w, &LAMBDA, zeta, &v, &mut jv);
            assert!((vector::dot(&v, &jx) - vector::dot(&jv, &x)).abs() < 1e-12, "{zeta:?}");
            let mut jv = vec![0.0; m];
            map.jvp_lambda(&w, &LAMBDA, zeta, &y, &mut jx);
            map.vjp_lambda(&w, &LAMBDA, zeta, &v, &mut jv);
            assert!((vector::dot(&v, &jx) - vector::dot(&jv, &y)).abs() < 1e-12, "{zeta:?}");
        }
    }
    let samples = [Sample::Full, Sample::Rows(vec![3, 17]), Sample::Block(5..9)];
    check(&map, &samples);
    check(&chain, &samples);
    check(&gradient, &samples);
    let scale: Vec<f64> = (0..10).map(|i| 0.5 + 0.1 * f64::from(i)).collect();
    let scaled = Scaled { inner: &problem, scale: &scale[..] };
    check(&GradientMap { loss: &scaled, map_step: 0.3 }, &samples);
    let closures = RowMap::builder(DIMS, 20)
        .apply(|_, _, _, _| {})
        .vjp_w(|i, w, _, v, out| (0..8).for_each(|j| out[j] = w[j] * v[(i + j) % 8]))
        .vjp_lambda(|i, _, l, v, out| (0..4).for_each(|j| out[j] = l[j] * v[(i + j) % 8]))
        .forward(
            |i, w, _, x, out| (0..8).for_each(|j| out[(i + j) % 8] = w[j] * x[j]),
            |i, _, l, x, out| {
                out.fill(0.0);
                (0..4).for_each(|j| out[(i + j) % 8] = l[j] * x[j]);
            },
        )
        .build()
        .unwrap();
    check(&closures, &samples);
    let loss = RowLoss::builder(DIMS, 20)
        .value(|_, _, _| 0.0)
        .gradient(|_, _, _, out| out.fill(0.0))
        .hessian_product(|i, w, _, v, out| (0..8).for_each(|j| out[j] = w[(i + j) % 8] * v[j]))
        .cross_product(|i, _, l, v, out| (0..4).for_each(|j| out[j] = l[j] * v[(i + j) % 8]))
        .cross_jvp(|i, _, l, x, out| {
            out.fill(0.0);
            (0..4).for_each(|j| out[(i + j) % 8] = l[j] * x[j]);
        })
        .build()
        .unwrap();
    check(&GradientMap { loss: &loss, map_step: 0.3 }, &samples);
}

//! Differentiating the iterates: backwards, forwards, through the last steps alone, and by differences of runs.
//!
//! Random tests have fixed seeds; where a bound could fail by chance, its probability of error is stated for the choice of
//! another seed.

use crate::closed_forms::{LAMBDA, assert_close, contraction, gradient_map, quadratic};
use bilevel::fixed_point::{Average, FixedPoint, Workspace};
use bilevel::hypergradient::{ForwardMode, Hypergradient, ReverseMode, TruncatedReverse, WarmStart, ZerothOrder};
use bilevel::lower::{Dims, GradientMap, StochasticMap};
use bilevel::operator::LowerOperator;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::vector;

const SAMPLES: (u64, u64) = (3, 1);

/// Sampled steps of both kinds, and exact ones.
fn iterations(steps: usize) -> [FixedPoint; 3] {
    [
        FixedPoint::sampled(steps, 3, StepSize::Constant { eta: 0.3 }),
        FixedPoint::sampled(steps, 2, StepSize::Decreasing { beta: 4.0, gamma: 8.0 }),
        FixedPoint::exact(steps, 0.0),
    ]
}

/// `w_t(lambda)` on the samples of an estimate.
fn iterate<M: StochasticMap>(solver: &FixedPoint, map: &M, lambda: &[f64]) -> Vec<f64> {
    let mut w = vec![0.0; map.dims().w];
    let mut rng = Rng::stream(SAMPLES.0, Purpose::Lower, SAMPLES.1);
    let mut workspace = Workspace::new(w.len());
    solver.solve(&mut LowerOperator { map, lambda }, &mut w, &mut rng, &mut workspace);
    w
}

fn reverse<M: StochasticMap, U: UpperObjective>(solver: FixedPoint, map: &M, upper: &U) -> Hypergradient {
    ReverseMode::new(solver).estimate(map, upper, &LAMBDA, None, SAMPLES.0, SAMPLES.1).unwrap()
}

/// The remainder of Taylor's formula falls like `h^2` along every direction, and central differences agree to 1e-6.
#[test]
fn reverse_mode_is_the_derivative_of_the_iterate_that_was_computed() {
    fn check<M: StochasticMap, U: UpperObjective>(map: &M, upper: &U) {
        for solver in iterations(23) {
            let estimate = reverse(solver, map, upper);
            let f = |lambda: &[f64]| upper.value(&iterate(&solver, map, lambda), lambda, &Sample::Full);
            assert!((estimate.objective - f(&LAMBDA)).abs() < 1e-14);
            let size = vector::norm(&estimate.value);
            let mut rng = Rng::stream(1, Purpose::Start, 0);
            for _ in 0..3 {
                let u: Vec<f64> = (0..4).map(|_| rng.normal()).collect();
                let slope = vector::dot(&u, &estimate.value);
                let at = |h: f64| f(&LAMBDA.iter().zip(&u).map(|(l, u)| l + h * u).collect::<Vec<_>>());
                let central = (at(1e-4) - at(-1e-4)) / 2e-4;
                assert!((central - slope).abs() < 1e-6 * size, "{solver:?}: {central} against {slope}");
                let remainder = |h: f64| (at(h) - f(&LAMBDA) - h * slope).abs();
                let order = (remainder(1e-2) / remainder(1e-3)).log10();
                assert!((1.9..2.1).contains(&order), "{solver:?}: remainder of order {order}");
            }
        }
    }
    let problem = quadratic(0.5, 0.3);
    check(&gradient_map(&problem).0, problem.upper());
    let (map, upper) = contraction(0.3);
    check(&map, &upper);
}

#[test]
fn forward_mode_is_reverse_mode() {
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let (linear, upper) = contraction(0.3);
    for solver in iterations(23) {
        let forward = ForwardMode { upper_batch: Batch::Rows(3), ..ForwardMode::new(solver) };
        let reverse = ReverseMode { upper_batch: Batch::Rows(3), ..ReverseMode::new(solver) };
        let (seed, index) = SAMPLES;
        let there = reverse.estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
        let here = forward.estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
        assert_close(&here.value, &there.value, 1e-12);
        assert_eq!((here.status, here.objective), (there.status, there.objective));
        assert_eq!(here.work.hessian_products, 4 * there.work.hessian_products);
        let there = reverse.estimate(&linear, &upper, &LAMBDA, None, seed, index).unwrap();
        let here = forward.estimate(&linear, &upper, &LAMBDA, None, seed, index).unwrap();
        assert_close(&here.value, &there.value, 1e-12);
    }
}

/// The recursion of the module documentation with every iterate kept.
fn reference<M: StochasticMap, U: UpperObjective>(solver: &FixedPoint, window: usize, map: &M, upper: &U) -> Vec<f64> {
    let Dims { w: d, lambda: m } = map.dims();
    let mut rng = Rng::stream(SAMPLES.0, Purpose::Lower, SAMPLES.1);
    let (mut w, mut image, mut visited) = (vec![0.0; d], vec![0.0; d], Vec::new());
    for s in 0..solver.steps {
        let mut zeta = Sample::Full;
        if let Batch::Rows(rows) = solver.batch {
            map.draw(rows, &mut rng, &mut zeta);
        }
        map.apply(&w, &LAMBDA, &zeta, &mut image);
        visited.push((w.clone(), zeta));
        (0..d).for_each(|i| w[i] += solver.step.eta(s) * (image[i] - w[i]));
    }
    let (mut a, mut g, mut cross) = (vec![0.0; d], vec![0.0; m], vec![0.0; m]);
    upper.gradients(&w, &LAMBDA, &Sample::Full, &mut a, &mut g);
    for (s, (w, zeta)) in visited.iter().enumerate().rev().take(window) {
        let eta = solver.step.eta(s);
        map.vjp_lambda(w, &LAMBDA, zeta, &a, &mut cross);
        vector::axpy(eta, &cross, &mut g);
        map.vjp_w(w, &LAMBDA, zeta, &a, &mut image);
        (0..d).for_each(|i| a[i] = (1.0 - eta) * a[i] + eta * image[i]);
    }
    g
}

/// Windows on either side of the distances between the iterates that are kept, and of the number of steps.
#[test]
fn recomputed_iterates_are_the_ones_that_were_computed() {
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let (seed, index) = SAMPLES;
    for steps in [1, 2, 37] {
        for solver in iterations(steps) {
            let whole = ReverseMode::new(solver).estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
            assert_close(&whole.value, &reference(&solver, steps, &map, problem.upper()), 1e-13);
            for window in [1, 2, 3, 6, 7, 10, 30, 36, 37, 100] {
                let truncated = TruncatedReverse { reverse: ReverseMode::new(solver), window };
                let found = truncated.estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
                assert_close(&found.value, &reference(&solver, window, &map, problem.upper()), 1e-13);
                let products = window.min(steps)
                    * map.size(&Sample::Full).min(match solver.batch {
                        Batch::All => 100,
                        Batch::Rows(rows) => rows,
                    });
                assert_eq!(found.work.hessian_products, products as u64);
                if window >= steps {
                    assert_eq!(found.value, whole.value, "a window of {window} steps is all {steps}");
                }
            }
        }
    }
}

/// Theory, section 7.1: on the exact mean the error falls like `t q^t`, that of a window `K` like `q^K`.
#[test]
fn errors_fall_like_the_contraction() {
    let problem = quadratic(0.5, 0.3);
    let (map, q) = gradient_map(&problem);
    let exact = problem.hypergradient(&LAMBDA);
    let error = |t: usize| vector::distance(&reverse(FixedPoint::exact(t, 0.0), &map, problem.upper()).value, &exact);
    let scaled: Vec<f64> = [10, 20, 40].iter().map(|&t| error(t) / (t as f64 * q.powi(t as i32))).collect();
    assert!(scaled.iter().all(|c| (scaled[0] / 4.0..4.0 * scaled[0]).contains(c)), "{scaled:?}");
    let far = FixedPoint::exact(120, 0.0);
    let truncated = |window| {
        let method = TruncatedReverse { reverse: ReverseMode::new(far), window };
        let estimate = method.estimate(&map, problem.upper(), &LAMBDA, None, 0, 0).unwrap();
        vector::distance(&estimate.value, &exact) / q.powi(window as i32)
    };
    let scaled = [5, 10, 20, 40].map(truncated);
    assert!(scaled.iter().all(|c| (scaled[0] / 4.0..4.0 * scaled[0]).contains(c)), "{scaled:?}");
    // Stopped by a tolerance, the iterate that was reached is differentiated.
    let early = reverse(FixedPoint::exact(10_000, 1e-6), &map, problem.upper());
    let t = early.work.hessian_products as usize / 100;
    assert!(t < 100 && early.status == bilevel::status::Status::Converged);
    assert_close(&early.value, &reverse(FixedPoint::exact(t, 0.0), &map, problem.upper()).value, 1e-15);
    // A warm start at the solution leaves the error of the derivative alone.
    let mut start = WarmStart { w: problem.solution(&LAMBDA), v: vec![0.5; 10] };
    let method = ReverseMode::new(FixedPoint::exact(20, 0.0));
    let warm = method.estimate(&map, problem.upper(), &LAMBDA, Some(&mut start), 0, 0).unwrap();
    assert!(vector::distance(&warm.value, &exact) < error(20));
    assert!(start.v == vec![0.5; 10] && vector::distance(&start.w, &problem.solution(&LAMBDA)) < 1e-12);
}

/// One direction gives `(u'g) u` with the `g` of reverse mode, up to a term of the order of the smoothing.
#[test]
fn differences_tend_to_reverse_mode_as_the_smoothing_vanishes() {
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let (seed, index) = SAMPLES;
    for solver in iterations(23) {
        let (mut unused, mut direct) = (vec![0.0; 10], vec![0.0; 4]);
        let w = iterate(&solver, &map, &LAMBDA);
        problem.upper().gradients(&w, &LAMBDA, &Sample::Full, &mut unused, &mut direct);
        let mut indirect = reverse(solver, &map, problem.upper()).value;
        vector::axpy(-1.0, &direct, &mut indirect);
        let mut normals = Rng::stream(seed, Purpose::Start, index);
        let u: Vec<f64> = (0..4).map(|_| normals.normal()).collect();
        let mut expected = direct;
        vector::axpy(vector::dot(&u, &indirect), &u, &mut expected);
        let error = |smoothing| {
            let method = ZerothOrder::new(solver, 1, smoothing);
            let found = method.estimate(&map, problem.upper(), &LAMBDA, None, seed, index).unwrap();
            vector::distance(&found.value, &expected)
        };
        let errors = [1e-2, 1e-3, 1e-4].map(error);
        assert!((8.0..12.0).contains(&(errors[0] / errors[1])), "{solver:?}: {errors:?}");
        assert!((8.0..12.0).contains(&(errors[1] / errors[2])), "{solver:?}: {errors:?}");
    }
}

/// Over many directions the mean is the gradient, within 5 of the standard errors it claims (6e-7 for each component).
#[test]
fn the_mean_over_directions_is_the_gradient_and_its_error_bar_is_right() {
    let problem = quadratic(0.5, 0.3);
    let (map, _) = gradient_map(&problem);
    let solver = FixedPoint::exact(10, 0.0);
    let exact = reverse(solver, &map, problem.upper()).value;
    let method = ZerothOrder::new(solver, 2000, 1e-5);
    let found = method.estimate(&map, problem.upper(), &LAMBDA, None, 5, 0).unwrap();
    let errors = found.std_error.unwrap();
    for j in 0..4 {
        assert!((found.value[j] - exact[j]).abs() < 5.0 * errors[j], "{:?} {errors:?} {exact:?}", found.value);
        assert!(errors[j] < 0.1 * vector::norm(&exact));
    }
    assert_eq!(found.work.gradients, 2001 * 10 * 100 + 7);
    // Where the iterates are sampled too, the spread over directions is not all of it, and none is claimed.
    let sampled = ZerothOrder::new(iterations(5)[0], 3, 1e-5);
    assert!(sampled.estimate(&map, problem.upper(), &LAMBDA, None, 5, 0).unwrap().std_error.is_none());
}

#[test]
fn unusable_settings_and_divergence_are_errors() {
    let problem = quadratic(0.5, 0.3);
    let map = GradientMap { loss: &problem, map_step: 2.5 };
    let solver = FixedPoint::exact(1000, 0.0);
    let is_numeric = |result: bilevel::Result<Hypergradient>| result.unwrap_err().to_string().contains("lower level");
    assert!(is_numeric(ReverseMode::new(solver).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0)));
    assert!(is_numeric(ForwardMode::new(solver).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0)));
    assert!(is_numeric(ZerothOrder::new(solver, 1, 1e-3).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0)));
    let averaged = FixedPoint { average: Average::All, ..iterations(10)[0] };
    let truncated = |window| TruncatedReverse { reverse: ReverseMode::new(solver), window };
    for (case, result) in [
        ReverseMode::new(averaged).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0),
        truncated(0).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0),
        ZerothOrder::new(solver, 0, 1e-3).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0),
        ZerothOrder::new(solver, 1, 0.0).estimate(&map, problem.upper(), &LAMBDA, None, 0, 0),
        ForwardMode::new(solver).estimate(&map, problem.upper(), &LAMBDA[..3], None, 0, 0),
        ReverseMode { upper_batch: Batch::Rows(0), ..ReverseMode::new(solver) }.estimate(
            &map,
            problem.upper(),
            &LAMBDA,
            None,
            0,
            0,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(result.is_err_and(|error| error.is_input()), "case {case}");
    }
}

//! The checks themselves: right problems pass, problems made wrong on purpose fail, constants agree with closed forms.

use std::sync::Mutex;

use bilevel::diagnose::{
    Check, Contraction, GradientStep, NoiseEstimate, SampledCurvature, Taylor, Unbiased, ensure, lanczos,
    loss_constants,
};
use bilevel::lower::{Curved, Dims, FirstOrder, GradientMap, StochasticLoss, StochasticMap};
use bilevel::problems::closures::{RowLoss, RowMap};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::stop::StopSignal;
use bilevel::upper::UpperObjective;
use bilevel::vector;

const LAMBDA: [f64; 3] = [0.3, -0.5, 0.8];
const W: [f64; 5] = [0.5, -1.0, 0.2, 0.7, -0.1];

fn quadratic() -> Quadratic {
    let options = QuadraticOptions { w: 5, lambda: 3, rows: 40, upper_rows: 9, ridge: 0.3, ..Default::default() };
    Quadratic::random(&options)
}

fn samples() -> [Sample; 3] {
    [Sample::Full, Sample::Rows(vec![3, 3, 17]), Sample::Block(5..9)]
}

/// `sum_j exp(lambda_{j mod m}) cosh(w_j) + 1/2 (sum_j w_j)^2`: no derivative vanishes; parts can be made wrong.
#[derive(Default)]
struct Cosh {
    gradient_error: f64,
    value_error: f64,
    hessian_error: f64,
    cross_error: f64,
    lambda_error: f64,
    directions_error: [f64; 3],
    forgets_a_term: bool,
}

impl StochasticLoss for Cosh {
    fn dims(&self) -> Dims {
        Dims { w: 5, lambda: 3 }
    }

    fn draw(&self, _batch: usize, _rng: &mut Rng, sample: &mut Sample) {
        *sample = Sample::Full;
    }

    fn size(&self, _zeta: &Sample) -> usize {
        1
    }

    fn value(&self, w: &[f64], lambda: &[f64], _zeta: &Sample) -> f64 {
        let total: f64 = w.iter().sum();
        (0..5).map(|j| lambda[j % 3].exp() * w[j].cosh()).sum::<f64>() + 0.5 * total * total
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let total: f64 = w.iter().sum();
        for j in 0..5 {
            out[j] = (1.0 + self.gradient_error) * (lambda[j % 3].exp() * w[j].sinh() + total);
        }
        self.value(w, lambda, zeta) + self.value_error
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let total: f64 = if self.forgets_a_term { 0.0 } else { v.iter().sum() };
        for j in 0..5 {
            out[j] = (1.0 + self.hessian_error) * (lambda[j % 3].exp() * w[j].cosh() * v[j] + total);
        }
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for j in 0..5 {
            out[j % 3] += (1.0 + self.cross_error) * lambda[j % 3].exp() * w[j].sinh() * v[j];
        }
    }

    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let [gradient, hessian_product, cross_product] = out;
        self.gradient(w, lambda, zeta, gradient);
        self.hessian_product(w, lambda, zeta, v, hessian_product);
        self.cross_product(w, lambda, zeta, v, cross_product);
        for (block, error) in [gradient, hessian_product, cross_product].into_iter().zip(self.directions_error) {
            vector::scale(1.0 + error, block);
        }
    }
}

impl FirstOrder for Cosh {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, out: &mut [f64]) {
        out.fill(0.0);
        for j in 0..5 {
            out[j % 3] += (1.0 + self.lambda_error) * lambda[j % 3].exp() * w[j].cosh();
        }
    }
}

fn names(checks: &[Check], passed: bool) -> Vec<&str> {
    checks.iter().filter(|check| check.passed == passed).map(|check| &check.name[..]).collect()
}

#[test]
fn right_derivatives_pass_with_slope_two() {
    for seed in 0..20 {
        let taylor = Taylor { seed, ..Taylor::default() };
        let checks = taylor.loss(&Cosh::default(), &W, &LAMBDA, &Sample::Full);
        ensure(&checks).unwrap();
        for check in checks.iter().filter(|check| !check.name.contains("value")) {
            // A slope of 3 is right as well, where the second derivative along a direction is small.
            assert!(check.measure.is_some_and(|slope| (1.8..3.2).contains(&slope)), "{check}");
        }
    }
}

#[test]
fn one_coordinate_is_enough() {
    for seed in 0..10 {
        let taylor = Taylor { seed, ..Taylor::default() };
        let run =
            |error: f64| taylor.scalar("sin", &[0.7], |x| (x[0].sin(), x[0].sin().abs()), &[0.7_f64.cos() + error]);
        assert!(run(0.0).passed && !run(1e-5).passed && !run(-1e-3).passed);
        assert!(taylor.scalar("constant", &[0.7], |_| (3.0, 3.0), &[0.0]).passed);
        assert!(!taylor.scalar("constant", &[0.7], |_| (3.0, 3.0), &[1e-3]).passed);
        assert!(!taylor.scalar("pole", &[0.0], |x| (1.0 / x[0], 1.0), &[1.0]).passed);
    }
}

#[test]
fn problems_of_the_library_pass() {
    let problem = quadratic();
    let contraction = LinearContraction::random(Dims { w: 5, lambda: 3 }, 0.8, 0.4, 2);
    let target = Target::random(Dims { w: 5, lambda: 3 }, 6, 0.5, 0.3, 1);
    let map = GradientMap { loss: &problem, map_step: 0.8 };
    for seed in 0..5 {
        let taylor = Taylor { seed, ..Taylor::default() };
        for zeta in samples() {
            ensure(&taylor.loss(&problem, &W, &LAMBDA, &zeta)).unwrap();
            ensure(&taylor.map(&map, &W, &LAMBDA, &zeta)).unwrap();
            ensure(&taylor.map(&contraction, &W, &LAMBDA, &zeta)).unwrap();
        }
        ensure(&taylor.map(&contraction, &W, &LAMBDA, &Sample::Seed(77))).unwrap();
        ensure(&taylor.curvature(&problem, &W, &LAMBDA)).unwrap();
        for xi in [Sample::Full, Sample::Rows(vec![2, 2, 5])] {
            ensure(&taylor.upper(&target, &W, &LAMBDA, &xi)).unwrap();
        }
    }
    ensure(&Unbiased::default().map(&map, &W, &LAMBDA)).unwrap();
    ensure(&Unbiased::default().map(&contraction, &W, &LAMBDA)).unwrap();
    ensure(&Unbiased::default().upper(&target, &W, &LAMBDA)).unwrap();
}

#[test]
fn wrong_derivatives_fail_and_only_they() {
    let fails = |loss: Cosh, expected: &[&str]| {
        for seed in 0..10 {
            let checks = Taylor { seed, ..Taylor::default() }.loss(&loss, &W, &LAMBDA, &Sample::Full);
            assert_eq!(names(&checks, false), expected, "seed {seed}: {checks:?}");
            assert!(ensure(&checks).is_err_and(|error| error.to_string().contains(expected[0])));
        }
    };
    for error in [-2.0, 0.5, 1e-3, -1e-5] {
        fails(Cosh { hessian_error: error, ..Cosh::default() }, &["hessian_product"]);
        fails(Cosh { cross_error: error, ..Cosh::default() }, &["cross_product"]);
    }
    fails(Cosh { forgets_a_term: true, ..Cosh::default() }, &["hessian_product"]);
    fails(Cosh { value_error: 1e-6, ..Cosh::default() }, &["value returned by gradient"]);
    // A wrong gradient is also what the second derivatives are then compared with.
    fails(Cosh { gradient_error: 1e-4, ..Cosh::default() }, &["gradient", "hessian_product", "cross_product"]);
}

#[test]
fn wrong_derivatives_in_lambda_and_wrong_directions_fail() {
    for seed in 0..10 {
        let taylor = Taylor { seed, ..Taylor::default() };
        let in_lambda = |lambda_error: f64| {
            taylor.gradient_lambda(&Cosh { lambda_error, ..Cosh::default() }, &W, &LAMBDA, &Sample::Full)
        };
        assert!(in_lambda(0.0).passed, "{}", in_lambda(0.0));
        for error in [-2.0, 0.5, 1e-3, -1e-5] {
            assert!(!in_lambda(error).passed, "{}", in_lambda(error));
        }
        let directions = |directions_error: [f64; 3]| {
            taylor.directions(&Cosh { directions_error, ..Cosh::default() }, &W, &LAMBDA, &Sample::Full)
        };
        assert!(directions([0.0; 3]).passed);
        for errors in [[1e-6, 0.0, 0.0], [0.0, -1e-6, 0.0], [0.0, 0.0, 1e-6]] {
            assert!(!directions(errors).passed, "{errors:?}");
        }
    }
}

#[test]
fn a_jacobian_that_is_not_symmetric_is_found() {
    let problem = quadratic();
    let symmetric = GradientMap { loss: &problem, map_step: 0.8 };
    for seed in 0..10 {
        let taylor = Taylor { seed, ..Taylor::default() };
        assert!(taylor.symmetric(&symmetric, &W, &LAMBDA).passed);
        for twist in [1.0, 1e-6] {
            let map = RowMap::builder(Dims { w: 2, lambda: 1 }, 3)
                .apply(|_, w, _, out| out.copy_from_slice(&[0.5 * w[0] + twist * w[1], 0.5 * w[1] - twist * w[0]]))
                .vjp_w(|_, _, _, v, out| out.copy_from_slice(&[0.5 * v[0] - twist * v[1], twist * v[0] + 0.5 * v[1]]))
                .vjp_lambda(|_, _, _, _, out| out[0] = 0.0)
                .build()
                .unwrap();
            ensure(&taylor.map(&map, &[0.3, 0.2], &[1.0], &Sample::Full)).unwrap();
            let check = taylor.symmetric(&map, &[0.3, 0.2], &[1.0]);
            assert!(!check.passed && check.name == "symmetric", "{check}");
        }
    }
}

/// A map whose `vjp_w` is `d1Phi v` instead of `d1Phi' v`, or whose minibatches are weighted wrongly.
struct Wrong<'a> {
    map: &'a LinearContraction,
    untransposed: bool,
    sample_weight: f64,
}

impl StochasticMap for Wrong<'_> {
    fn dims(&self) -> Dims {
        self.map.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.map.size(zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.map.apply(w, lambda, zeta, out);
        if *zeta != Sample::Full {
            vector::scale(self.sample_weight, out);
        }
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        if self.untransposed {
            let mut at_zero = vec![0.0; v.len()];
            self.map.apply(&vec![0.0; v.len()], lambda, zeta, &mut at_zero);
            self.map.apply(v, lambda, zeta, out);
            vector::axpy(-1.0, &at_zero, out);
        } else {
            self.map.vjp_w(w, lambda, zeta, v, out);
        }
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.map.vjp_lambda(w, lambda, zeta, v, out);
    }
}

#[test]
fn a_missing_transpose_and_a_biased_sample_are_found() {
    let map = LinearContraction::random(Dims { w: 5, lambda: 3 }, 0.8, 0.4, 2);
    let untransposed = Wrong { map: &map, untransposed: true, sample_weight: 1.0 };
    assert_eq!(names(&Taylor::default().map(&untransposed, &W, &LAMBDA, &Sample::Full), false), ["vjp_w"]);
    let biased = Wrong { map: &map, untransposed: false, sample_weight: 1.1 };
    assert_eq!(names(&Unbiased::default().map(&biased, &W, &LAMBDA), false), ["apply"]);
}

#[test]
fn hypergradients_are_compared_with_finite_differences() {
    let problem = quadratic();
    let gradient = problem.hypergradient(&LAMBDA);
    let run = |gradient: &[f64]| {
        let f = |lambda: &[f64]| Ok(problem.objective(lambda));
        Taylor::default().hypergradient(f, &LAMBDA, gradient, 3, 1e-7).unwrap()
    };
    ensure(&run(&gradient)).unwrap();
    let wrong: Vec<f64> = gradient.iter().map(|g| 1.001 * g).collect();
    assert!(ensure(&run(&wrong)).is_err());
}

#[test]
fn the_curvature_of_samples_is_that_of_the_steepest() {
    let (problem, seed) = (quadratic(), 7);
    let largest = |sample: &Sample| {
        let product = |v: &[f64], out: &mut [f64]| problem.hessian_product(&W, &LAMBDA, sample, v, out);
        lanczos(product, W.len(), W.len(), seed).unwrap().largest
    };
    let mut sample = Sample::Full;
    let mut of = |number: u64| {
        problem.draw(3, &mut Rng::stream(seed, Purpose::Start, number), &mut sample);
        largest(&sample)
    };
    let steepest = (4..12).map(&mut of).fold(0.0, f64::max);
    let looked = SampledCurvature { samples: 4..12, products: W.len(), ..SampledCurvature::new(Batch::Rows(3), seed) };
    let (found, work) = looked.of_loss(&problem, &W, &LAMBDA).unwrap();
    assert!((found - steepest).abs() < 1e-9 * steepest, "{found}, not {steepest}");
    assert_eq!((work.rows, work.hessian_products), (8 * 5 * 3, 8 * 5 * 3));
    let map = GradientMap { loss: &problem, map_step: 0.25 };
    let (of_map, _) = looked.of_map(&map, &W, &LAMBDA).unwrap();
    assert!((of_map - 0.25 * steepest).abs() < 1e-9 * steepest, "{of_map}, not a quarter of {steepest}");
    // Everything is one sample.
    let all = SampledCurvature { batch: Batch::All, ..looked };
    let (found, work) = all.of_loss(&problem, &W, &LAMBDA).unwrap();
    assert!((found - largest(&Sample::Full)).abs() < 1e-9 * found);
    assert_eq!(work.rows, 5 * 40);
}

#[test]
fn the_longest_step_keeps_a_margin_to_the_steepest_sample() {
    let (problem, seed) = (quadratic(), 7);
    let samples = SampledCurvature { margin: 1.5, ..SampledCurvature::new(Batch::Rows(3), seed) };
    let (largest, once) = samples.of_loss(&problem, &W, &LAMBDA).unwrap();
    let (step, twice) = samples.longest_step_of_loss(&problem, &[&W, &W], &LAMBDA).unwrap();
    assert_eq!((step, twice.rows), (1.0 / (1.5 * largest), 2 * once.rows));
    // The same of a map, whose steps are at most 1.
    for map_step in [1.0, 1e-3] {
        let map = GradientMap { loss: &problem, map_step };
        let (relative, _) = samples.longest_step_of_map(&map, &[&W], &LAMBDA).unwrap();
        assert!((relative - (step / map_step).min(1.0)).abs() < 1e-9, "{relative} of {map_step}, not {step}");
    }
    let flat = RowLoss::builder(Dims { w: 1, lambda: 1 }, 5)
        .value(|_, w, _| w[0])
        .gradient(|_, _, _, out| out[0] = 1.0)
        .hessian_product(|_, _, _, _, out| out[0] = 0.0)
        .cross_product(|_, _, _, _, out| out[0] = 0.0)
        .build()
        .unwrap();
    let error = samples.longest_step_of_loss(&flat, &[&[0.0]], &[0.0]).unwrap_err();
    assert!(error.is_numeric() && error.to_string().contains("convex"), "{error}");
}

#[test]
fn a_gradient_step_is_measured_with_its_contraction() {
    let problem = quadratic();
    let (mu, l) = problem.curvature_bounds(&LAMBDA);
    let step = GradientStep::measured(&problem, &W, &LAMBDA, Batch::All, 1).unwrap();
    assert!((step.map_step * l - 1.0 / 1.02).abs() < 1e-9, "{step:?} with L = {l}");
    let q = step.contraction.unwrap();
    assert!((q - (1.0 - step.map_step * mu)).abs() < 1e-9, "{step:?} with mu = {mu}");
    let Contraction { q: of_map, .. } = Contraction::of(&step.map(&problem), &W, &LAMBDA, 50, 2).unwrap();
    assert!((of_map - q).abs() < 1e-6, "{of_map} against {step:?}");
    // Minibatches are steeper than the mean; what was measured of the mean stays the same.
    let sampled = GradientStep::longest(&problem, &W, &LAMBDA, Batch::Rows(3), 1).unwrap();
    assert!(sampled.map_step < step.map_step && sampled.contraction.is_none());
    assert_eq!(sampled.work.rows, 8 * 5 * 3);
    let sampled = sampled.with_contraction(&problem, &W, &LAMBDA, 1).unwrap();
    assert!((sampled.contraction.unwrap() - (1.0 - sampled.map_step * mu)).abs() < 1e-9);
    assert_eq!(sampled.work.rows, 8 * 5 * 3 + 5 * 40);
    // Nothing contracts a direction of no curvature.
    let bent = RowLoss::builder(Dims { w: 2, lambda: 1 }, 5)
        .value(|_, w, _| 0.5 * w[0] * w[0])
        .gradient(|_, w, _, out| out.copy_from_slice(&[w[0], 0.0]))
        .hessian_product(|_, _, _, v, out| out.copy_from_slice(&[v[0], 0.0]))
        .cross_product(|_, _, _, _, out| out[0] = 0.0)
        .build()
        .unwrap();
    let step = GradientStep::measured(&bent, &[0.0; 2], &[0.0], Batch::Rows(2), 0).unwrap();
    assert!((step.map_step - 1.0 / 1.2).abs() < 1e-12 && step.contraction.is_none(), "{step:?}");
}

#[test]
fn lanczos_finds_both_ends() {
    let n = 300;
    let eigenvalue = |i: usize| {
        if i == 0 {
            0.01
        } else if i == n - 1 {
            7.0
        } else {
            1.0 + i as f64 / n as f64
        }
    };
    let product = |v: &[f64], out: &mut [f64]| (0..n).for_each(|i| out[i] = eigenvalue(i) * v[i]);
    let spectrum = lanczos(product, n, 60, 1).unwrap();
    assert!((spectrum.smallest - 0.01).abs() < 1e-8 && (spectrum.largest - 7.0).abs() < 1e-8, "{spectrum:?}");
    assert!(spectrum.products < 60, "both ends stand apart, {spectrum:?}");
    // Two distinct eigenvalues: exact after two steps. One: after one.
    for (kinds, products) in [(2, 2), (1, 1)] {
        let product = |v: &[f64], out: &mut [f64]| (0..n).for_each(|i| out[i] = (1 + i % kinds) as f64 * v[i]);
        let spectrum = lanczos(product, n, 60, 1).unwrap();
        assert_eq!(spectrum.products, products);
        assert!((spectrum.largest - kinds as f64).abs() < 1e-10 && (spectrum.smallest - 1.0).abs() < 1e-10);
    }
    assert!(lanczos(|_, out| out.fill(f64::NAN), 3, 3, 0).is_err_and(|error| error.is_numeric()));
}

#[test]
fn constants_of_a_quadratic_agree_with_its_eigenvalues() {
    let problem = quadratic();
    let (mu, l) = problem.curvature_bounds(&LAMBDA);
    for steps in [3, 50] {
        let constants = loss_constants(&*problem.curvature(&W, &LAMBDA), 5, 40, steps, 1).unwrap();
        if steps == 50 {
            assert!((constants.mu - mu).abs() < 1e-10 && (constants.l - l).abs() < 1e-10, "{constants:?}");
            assert!((constants.contraction - (l - mu) / (l + mu)).abs() < 1e-10);
            let map = GradientMap { loss: &problem, map_step: constants.map_step };
            let Contraction { q, .. } = Contraction::of(&map, &W, &LAMBDA, 50, 2).unwrap();
            assert!((q - constants.contraction).abs() < 1e-6, "{q} against {constants:?}");
        } else {
            assert!((constants.mu - mu).abs() <= constants.mu_error + 1e-9 && constants.l_error > 0.0, "{constants:?}");
            assert_eq!(constants.work.factorizations, 1);
        }
    }
    let contraction = LinearContraction::random(Dims { w: 12, lambda: 3 }, 0.83, 0.4, 2);
    let Contraction { q, work, .. } = Contraction::of(&contraction, &[0.1; 12], &LAMBDA, 50, 2).unwrap();
    assert!((q - 0.83).abs() < 1e-6, "{q}");
    assert!(work.gradients == 2 * work.hessian_products && work.gradients > 0);
}

/// The noise of a linear contraction is `noise (u z'w + u y'lambda + a)` with vectors of norm one on average, so `m1` is
/// `noise^2 / d` and `m2` as much, and the variance at `w` is `noise^2 ((|w|^2/d + |lambda|^2/m) + 1)`. 4000 samples give
/// each within 15 per cent (more than five standard deviations of a mean of such products).
#[test]
fn noise_constants_agree_with_closed_forms() {
    let dims = Dims { w: 6, lambda: 3 };
    let map = LinearContraction::random(dims, 0.8, 0.5, 2);
    let w = map.solution(&LAMBDA);
    let noise = NoiseEstimate { batch: 1, samples: 4000, seed: 3 }.estimate(&map, &w, &LAMBDA).unwrap();
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.15, "{found} against {expected}");
    near(noise.sigma1, 0.25 * (vector::norm_squared(&w) / 6.0 + vector::norm_squared(&LAMBDA) / 3.0 + 1.0));
    near(noise.m1, 0.25 / 6.0);
    near(noise.m2, 0.25 / 6.0);
    // |w - w*|^2 <= |Phi(w) - w|^2/(1 - q)^2 bounds sigma2 from above by m1-like terms; it must not be zero either.
    assert!(noise.sigma2 > 0.0 && noise.sigma2 < 10.0, "{noise:?}");
    let larger = NoiseEstimate { batch: 8, samples: 4000, seed: 3 }.estimate(&map, &w, &LAMBDA).unwrap();
    near(larger.sigma1, noise.sigma1 / 8.0);
    assert!(noise.work.rows > 4000 && larger.work.rows > 4 * noise.work.rows);
    assert!(NoiseEstimate { batch: 0, samples: 1, seed: 0 }.estimate(&map, &w, &LAMBDA).is_err());
}

#[test]
fn an_indefinite_loss_is_named() {
    struct Indefinite;
    impl bilevel::lower::Curvature for Indefinite {
        fn product(&self, v: &[f64], out: &mut [f64]) {
            out.copy_from_slice(v);
            out[0] *= -1.0;
        }
        fn diagonal(&self, out: &mut [f64]) {
            out.fill(1.0);
        }
        fn factorize(&self, _: &StopSignal) -> Option<bilevel::Result<Box<dyn bilevel::lower::Factorization>>> {
            None
        }
    }
    let error = loss_constants(&Indefinite, 4, 1, 10, 0).unwrap_err();
    assert!(error.is_numeric() && error.to_string().contains("penalty"), "{error}");
}

#[test]
fn upper_objectives_made_wrong_fail() {
    struct Doubled(Target);
    impl UpperObjective for Doubled {
        fn dims(&self) -> Dims {
            self.0.dims()
        }
        fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
            self.0.draw(batch, rng, sample);
        }
        fn size(&self, xi: &Sample) -> usize {
            self.0.size(xi)
        }
        fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
            self.0.value(w, lambda, xi)
        }
        fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, gw: &mut [f64], gl: &mut [f64]) -> f64 {
            let value = self.0.gradients(w, lambda, xi, gw, gl);
            vector::scale(2.0, gl);
            value
        }
    }
    let upper = Doubled(Target::random(Dims { w: 5, lambda: 3 }, 6, 0.5, 0.3, 1));
    assert_eq!(names(&Taylor::default().upper(&upper, &W, &LAMBDA, &Sample::Full), false), ["grad_lambda"]);
}

/// A map whose first samples come from a corner of the population, as if by bad luck.
struct Unlucky<'a> {
    map: &'a LinearContraction,
    /// Draws that are unlucky.
    until: usize,
    drawn: Mutex<Vec<Sample>>,
}

impl StochasticMap for Unlucky<'_> {
    fn dims(&self) -> Dims {
        self.map.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
        let mut drawn = self.drawn.lock().unwrap();
        drawn.push(sample.clone());
        if drawn.len() <= self.until {
            *sample = Sample::Seed(7);
        }
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.map.size(zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.map.apply(w, lambda, zeta, out);
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.map.vjp_w(w, lambda, zeta, v, out);
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.map.vjp_lambda(w, lambda, zeta, v, out);
    }
}

#[test]
fn one_unlucky_set_of_samples_fails_no_check() {
    let map = LinearContraction::random(Dims { w: 5, lambda: 3 }, 0.8, 0.4, 2);
    let test = Unbiased { samples: 200, ..Unbiased::default() };
    let run = |until| {
        let unlucky = Unlucky { map: &map, until, drawn: Mutex::default() };
        let checks = test.map(&unlucky, &W, &LAMBDA);
        let failed: Vec<String> = names(&checks, false).into_iter().map(String::from).collect();
        (failed, unlucky.drawn.into_inner().unwrap())
    };
    let (failed, drawn) = run(0);
    assert!(failed.is_empty() && drawn.len() == 600);
    assert!(drawn[..200] != drawn[200..400] && drawn[..200] != drawn[400..], "comparisons share their samples");
    let (failed, drawn) = run(200);
    assert!(failed.is_empty() && drawn.len() == 800, "{failed:?}");
    assert_eq!(run(400).0, ["apply"]);
}

#[test]
fn a_function_that_bends_far_below_the_first_step_is_judged_there() {
    // As with a feature in units of 1e9.
    let softplus = |error: f64| {
        let value = |x: &[f64]| {
            let margin = 1e9 * x[0];
            let value = margin.max(0.0) + (-margin.abs()).exp().ln_1p();
            (value, value)
        };
        let derivative = 1e9 / (1.0 + (-0.2_f64).exp());
        Taylor::default().scalar("softplus", &[2e-10], value, &[(1.0 + error) * derivative])
    };
    assert!(softplus(0.0).passed, "{}", softplus(0.0));
    assert!(!softplus(1e-4).passed, "{}", softplus(1e-4));
}

#[test]
fn a_hypergradient_that_is_small_beside_its_objective_is_not_taken_for_wrong() {
    let check = |scale: f64| {
        let f = |lambda: &[f64]| Ok(0.3 + 1e-10 * lambda[0].sin());
        let checks = Taylor::default().hypergradient(f, &[0.4], &[scale * 1e-10 * 0.4_f64.cos()], 3, 1e-5).unwrap();
        checks.into_iter().all(|check| check.passed)
    };
    assert!(check(1.0));
    assert!(!check(-1.0) && !check(1.01));
}

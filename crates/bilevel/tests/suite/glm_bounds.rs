//! Formulas for the constants of a generalised linear model against what is found by trying.

use crate::models::{LOSSES, Numbers, Stored, matrix};
use bilevel::diagnose::{
    Contraction, GlmBallOptions, GlmBounds, NoiseEstimate, describe_direction, lanczos_vectors, loss_constants,
};
use bilevel::fixed_point::LowerSolver;
use bilevel::lower::{Curved, Dims, GradientMap, StochasticLoss, StochasticMap};
use bilevel::newton::Newton;
use bilevel::problems::glm::{Glm, Loss};
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::upper::UpperObjective;
use bilevel::vector;

const RADIUS: f64 = 0.7;
const MAP_STEP: f64 = 0.3;

fn direction(length: usize, rng: &mut Rng) -> Vec<f64> {
    let mut u: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
    let norm = vector::norm(&u);
    vector::scale(1.0 / norm, &mut u);
    u
}

/// Every bound is at least what it bounds at random points of the ball and random directions, for each loss, with and
/// without intercept and row weights; and the sharpest of those found is not a hundredth of it.
#[test]
fn bounds_are_bounds() {
    for (loss, intercept, weighted) in LOSSES.into_iter().flat_map(|loss| [(loss, false, false), (loss, true, true)]) {
        let numbers = Numbers::random(60, 4, 3);
        let design = matrix(&numbers.x, 4, Stored::CsrF64);
        let point = numbers.point(loss, intercept);
        let target = numbers.target(loss, &point, intercept);
        let rows = bilevel::data::RowRanges::new([0..25, 30..60]);
        let risk = || {
            bilevel::problems::glm::EmpiricalRisk::new(&design, &target, rows.clone(), loss, intercept)
                .weighted(numbers.weighting(weighted))
        };
        for penalty in numbers.penalties(loss) {
            let lambda = numbers.lambda(&penalty);
            let m = lambda.len();
            let lower = Glm::new(risk(), penalty);
            let upper = risk().as_upper(m);
            let d = lower.dims().w;
            let mut w = vec![0.0; d];
            Newton::default().solve(&lower, &lambda, &mut w).unwrap();
            let options = GlmBallOptions { map_step: MAP_STEP, batch: 1, radius: RADIUS, steps: 50, seed: 0 };
            let found = GlmBounds::around(&lower, &upper, &w, &lambda, &options).unwrap();
            let place = format!("{loss:?}, {lambda:?}, intercept {intercept}: {found:?}");
            let map = GradientMap { loss: &lower, map_step: MAP_STEP };

            let mut rng = Rng::stream(1, Purpose::Start, 70);
            let (mut l, mut mu, mut nu1, mut nu2, mut mu1, mut l_e, mut l_phi) =
                (0.0_f64, f64::INFINITY, 0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
            for _ in 0..20 {
                let inside = |rng: &mut Rng| {
                    let mut x = w.clone();
                    vector::axpy(RADIUS * rng.uniform(), &direction(d, rng), &mut x);
                    x
                };
                let (a, b) = (inside(&mut rng), inside(&mut rng));
                let distance = vector::distance(&a, &b);
                let constants = loss_constants(&*lower.curvature(&a, &lambda), d, 55, 50, 0).unwrap();
                (l, mu) = (l.max(constants.l), mu.min(constants.mu));
                let v = direction(d, &mut rng);
                let product = |w: &[f64], lambda_side: bool| {
                    let mut out = vec![0.0; if lambda_side { m } else { d }];
                    match lambda_side {
                        true => map.vjp_lambda(w, &lambda, &Sample::Full, &v, &mut out),
                        false => map.vjp_w(w, &lambda, &Sample::Full, &v, &mut out),
                    }
                    out
                };
                nu1 = nu1.max(vector::distance(&product(&a, false), &product(&b, false)) / distance);
                nu2 = nu2.max(vector::distance(&product(&a, true), &product(&b, true)) / distance);
                l_phi = l_phi.max(vector::norm(&product(&a, true)));
                let gradient = |w: &[f64]| {
                    let (mut grad_w, mut grad_lambda) = (vec![0.0; d], vec![0.0; m]);
                    upper.gradients(w, &lambda, &Sample::Full, &mut grad_w, &mut grad_lambda);
                    grad_w
                };
                mu1 = mu1.max(vector::distance(&gradient(&a), &gradient(&b)) / distance);
                l_e = l_e.max(vector::norm(&gradient(&a)));
            }
            let slack = 1.0 + 1e-9;
            assert!(l <= slack * found.l && found.mu.is_none_or(|bound| mu >= bound / slack), "{l} {mu}, {place}");
            assert!(found.nu1.is_none_or(|bound| nu1 <= slack * bound + 1e-12), "{nu1}, {place}");
            assert_eq!(found.nu1.is_none(), matches!(loss, Loss::Huber { .. } | Loss::SquaredHinge));
            for (tried, bound) in [(nu2, found.nu2), (mu1, found.mu1), (l_e, found.l_e), (l_phi, found.l_phi)] {
                assert!(tried <= slack * bound, "{tried} above {bound}, {place}");
                assert!(loss == Loss::Poisson || tried > 0.01 * bound, "{tried} far below {bound}, {place}");
            }
            // Single rows are drawn independently, so that the formulas for the noise are bounds as they stand; sampled
            // variances of 2000 rows are within a fifth of theirs (five standard deviations of bounded variables).
            let noise = NoiseEstimate { batch: 1, samples: 2000, seed: 5 }.estimate(&map, &w, &lambda).unwrap();
            assert!(noise.m1 <= 1.2 * found.m1, "{noise:?}, {place}");
            assert!(
                noise.sigma1 <= 1.2 * found.sigma1 / 2.0 + 1e-12 && noise.sigma1 > 0.3 * found.sigma1 / 2.0,
                "{noise:?}, {place}"
            );
            assert_eq!(noise.m2, 0.0);
        }
    }
}

#[test]
fn what_has_no_formula_says_so() {
    let numbers = Numbers::random(40, 3, 1);
    let design = matrix(&numbers.x, 3, Stored::DenseF64);
    let ask = |loss: Loss, intercept: bool, map_step: f64| {
        let w = numbers.point(loss, intercept);
        let target = numbers.target(loss, &w, intercept);
        let risk = || {
            let rows = bilevel::data::RowRanges::all(40);
            bilevel::problems::glm::EmpiricalRisk::new(&design, &target, rows, loss, intercept)
        };
        let lower = Glm::new(risk(), bilevel::problems::glm::Penalty::Shared);
        let options = GlmBallOptions { map_step, batch: 2, radius: 0.1, steps: 20, seed: 0 };
        GlmBounds::around(&lower, &risk().as_upper(1), &w, &[0.0], &options).and_then(|bounds| bounds.constants())
    };
    assert!(ask(Loss::Logistic, false, 0.3).is_ok() && ask(Loss::Squared, true, 0.3).is_ok());
    for (loss, intercept, map_step, word) in [
        (Loss::Logistic, true, 0.3, "intercept"),
        (Loss::Logistic, false, 30.0, "map_step"),
        (Loss::SquaredHinge, false, 0.3, "jumps"),
        (Loss::Logistic, false, 0.0, "positive"),
    ] {
        let error = ask(loss, intercept, map_step).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_map_that_does_not_contract_is_named_with_its_direction() {
    /// Contracts everywhere but along the coordinates 2 and 4, in shares of 64 and 36 per cent.
    struct Stretched;
    impl StochasticMap for Stretched {
        fn dims(&self) -> Dims {
            Dims { w: 6, lambda: 1 }
        }
        fn draw(&self, _batch: usize, _rng: &mut Rng, sample: &mut Sample) {
            *sample = Sample::Full;
        }
        fn size(&self, _zeta: &Sample) -> usize {
            10
        }
        fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
            self.vjp_w(w, lambda, zeta, w, out);
        }
        fn vjp_w(&self, _w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
            let along = 0.8 * v[2] - 0.6 * v[4];
            out.iter_mut().zip(v).for_each(|(out, v)| *out = 0.5 * v);
            out[2] += (lambda[0] - 0.5) * 0.8 * along;
            out[4] -= (lambda[0] - 0.5) * 0.6 * along;
        }
        fn vjp_lambda(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, _v: &[f64], out: &mut [f64]) {
            out.fill(0.0);
        }
    }
    let names = |i: usize| format!("x{i}");
    let found = Contraction::of(&Stretched, &[0.1; 6], &[1.25], 20, 1).unwrap();
    assert!((found.q - 1.25).abs() < 1e-6, "{found:?}");
    let error = found.ensure(names).unwrap_err();
    let text = error.to_string();
    assert!(error.is_numeric() && text.contains("mainly x2 (64 %), x4 (36 %)") && text.contains("map_step"), "{text}");
    assert!(!text.contains('\n'));
    let fine = Contraction::of(&Stretched, &[0.1; 6], &[0.9], 20, 1).unwrap();
    assert!(fine.ensure(names).is_ok() && fine.main_coordinates()[0].0 == 2);
    assert_eq!(fine.work.gradients, 2 * fine.work.hessian_products);

    let contraction = LinearContraction::random(Dims { w: 9, lambda: 2 }, 0.83, 0.0, 4);
    let found = Contraction::of(&contraction, &[0.1; 9], &[0.0; 2], 30, 1).unwrap();
    assert!((found.q - 0.83).abs() < 1e-6, "{}", found.q);
}

#[test]
fn extreme_vectors_belong_to_the_extreme_values() {
    let product = |v: &[f64], out: &mut [f64]| (0..5).for_each(|i| out[i] = [3.0, -1.0, 0.5, 7.0, 2.0][i] * v[i]);
    let (spectrum, vectors) = lanczos_vectors(product, 5, 10, 1).unwrap();
    assert!((spectrum.largest - 7.0).abs() < 1e-12 && (spectrum.smallest + 1.0).abs() < 1e-12);
    assert!((vectors.largest[3].abs() - 1.0).abs() < 1e-9 && (vectors.smallest[1].abs() - 1.0).abs() < 1e-9);
    assert_eq!(describe_direction(&vectors.largest, |i| format!("c{i}")), "mainly c3 (100 %)");
}

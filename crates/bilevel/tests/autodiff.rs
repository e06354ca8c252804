//! Problems whose derivatives come from automatic differentiation, against those written by hand.
#![cfg(feature = "autodiff")]

use bilevel::diagnose::{SolvedDifference, Taylor, Unbiased, ensure};
use bilevel::hypergradient::{AidFixedPoint, Implicit, Sid};
use bilevel::lower::{Dims, FirstOrder, GradientMap, JvpLambda, StochasticLoss, StochasticMap};
use bilevel::newton::Newton;
use bilevel::problems::autodiff::{self, Var};
use bilevel::sample::Sample;
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::vector;

const DIMS: Dims = Dims { w: 2, lambda: 2 };
const X: [[f64; 2]; 4] = [[1.0, 0.5], [-0.3, 1.2], [0.7, -0.9], [1.5, 0.1]];
const Y: [f64; 4] = [1.0, 0.0, 0.0, 1.0];
const W: [f64; 2] = [0.3, -0.2];
const LAMBDA: [f64; 2] = [-1.0, 0.4];

/// Logistic loss with a penalty a weight: every derivative is known.
fn logistic(i: usize, w: &[Var], lambda: &[Var]) -> Var {
    let margin = w[0] * X[i][0] + w[1] * X[i][1];
    let penalty: Var = w.iter().zip(lambda).map(|(w, l)| 0.5 * l.exp() * w.powi(2)).sum();
    margin.exp().ln_1p() - Y[i] * margin + penalty
}

fn judge(i: usize, w: &[Var], lambda: &[Var]) -> Var {
    (w[0] * X[i][0] - w[1] * X[i][1] - Y[i]).powi(2) * 0.5 + 0.05 * lambda[1] * lambda[1]
}

#[test]
fn derivatives_agree_with_those_by_hand() {
    let loss = autodiff::loss(DIMS, 4, logistic).unwrap();
    let v = [0.6, -1.1];
    let (mut gradient, mut hessian, mut cross) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    loss.gradient(&W, &LAMBDA, &Sample::Rows(vec![1]), &mut gradient);
    loss.hessian_product(&W, &LAMBDA, &Sample::Rows(vec![1]), &v, &mut hessian);
    loss.cross_product(&W, &LAMBDA, &Sample::Rows(vec![1]), &v, &mut cross);
    let mut of_lambda = [0.0; 2];
    loss.gradient_lambda(&W, &LAMBDA, &Sample::Rows(vec![1]), &mut of_lambda);
    let p = 1.0 / (1.0 + (-vector::dot(&X[1], &W)).exp());
    for j in 0..2 {
        let strength = LAMBDA[j].exp();
        assert!((gradient[j] - ((p - Y[1]) * X[1][j] + strength * W[j])).abs() < 1e-14);
        let along = p * (1.0 - p) * vector::dot(&X[1], &v);
        assert!((hessian[j] - (along * X[1][j] + strength * v[j])).abs() < 1e-14);
        assert!((cross[j] - strength * W[j] * v[j]).abs() < 1e-14);
        assert!((of_lambda[j] - 0.5 * strength * W[j] * W[j]).abs() < 1e-14);
    }
}

#[test]
fn estimators_and_checks_work() {
    let loss = autodiff::loss(DIMS, 4, logistic).unwrap();
    let upper = autodiff::objective(DIMS, 4, judge).unwrap();
    let map = GradientMap { loss: &loss, map_step: 0.8 };
    for zeta in [Sample::Full, Sample::Rows(vec![2, 0])] {
        ensure(&Taylor::default().loss(&loss, &W, &LAMBDA, &zeta)).unwrap();
        ensure(&Taylor::default().upper(&upper, &W, &LAMBDA, &zeta)).unwrap();
    }
    ensure(&Unbiased::default().map(&map, &W, &LAMBDA)).unwrap();
    ensure(&SolvedDifference::default().loss(&loss, &upper, &LAMBDA, &Newton::default()).unwrap()).unwrap();
    let exact = Implicit::default().estimate(&loss, &upper, &LAMBDA, None, &Newton::default()).unwrap().value;
    let sid = Sid::new(20_000, 1, StepSize::Decreasing { beta: 20.0, gamma: 40.0 });
    let sampled = sid.estimate(&map, &upper, &LAMBDA, None, 1, 0).unwrap().value;
    assert!(vector::distance(&sampled, &exact) < 0.1 * vector::norm(&exact), "{sampled:?} against {exact:?}");
}

/// The map is traced anew at each evaluation: on either side of a branch the derivative is that of its own side.
#[test]
fn maps_may_branch() {
    let map = autodiff::map(DIMS, 3, |i, w: &[Var], lambda: &[Var], out: &mut [Var]| {
        out[0] = if w[0] > w[1] { 0.3 * w[0] + lambda[0] } else { 0.1 * w[1] * w[1] - lambda[0] };
        out[1] = (w[0] * 0.2).tanh() + lambda[1] * (i as f64) + w[1].max(Var::from(0.0)) * 0.1;
    })
    .unwrap();
    for w in [[0.9, 0.2], [0.2, 0.9], [0.2, -0.9]] {
        ensure(&Taylor { step: 0.05, ..Taylor::default() }.map(&map, &w, &LAMBDA, &Sample::Full)).unwrap();
    }
    let mut out = [0.0; 2];
    map.vjp_w(&[0.9, 0.2], &LAMBDA, &Sample::Rows(vec![1]), &[1.0, 0.0], &mut out);
    assert_eq!(out, [0.3, 0.0]);
    map.vjp_w(&[0.2, 0.9], &LAMBDA, &Sample::Rows(vec![1]), &[1.0, 0.0], &mut out);
    assert!((out[1] - 0.18).abs() < 1e-15 && out[0] == 0.0);

    let linear = autodiff::map(DIMS, 3, |i, w: &[Var], lambda: &[Var], out: &mut [Var]| {
        out[0] = 0.5 * w[1] + lambda[0] * (i as f64);
        out[1] = 0.3 * w[0] + lambda[1];
    })
    .unwrap();
    let upper = autodiff::objective(DIMS, 4, judge).unwrap();
    ensure(&SolvedDifference::default().map(&linear, &upper, &LAMBDA).unwrap()).unwrap();
    let method = AidFixedPoint { lower_steps: 1000, linear_steps: 1000, tolerance: 1e-12 };
    assert!(method.estimate(&linear, &upper, &LAMBDA, None).is_ok());
}

#[test]
fn forward_products_are_those_of_the_transposes_turned_around() {
    let loss = autodiff::loss(DIMS, 4, |i, w: &[Var], l: &[Var]| {
        (w[0] * X[i][0] + w[1] * l[1]).sin() + 0.5 * l[0].exp() * w[0] * w[1]
    })
    .unwrap();
    let map = autodiff::map(DIMS, 3, |i, w: &[Var], l: &[Var], out: &mut [Var]| {
        out[0] = (w[0] * 0.3 + w[1] * l[0]).sin();
        out[1] = w[0] * w[1] * 0.1 + l[1].exp() * (i as f64) * w[0];
    })
    .unwrap();
    fn check<M: JvpLambda>(map: &M) {
        let (x, v) = ([0.6, -1.1], [0.8, 0.3]);
        for zeta in [Sample::Full, Sample::Rows(vec![2, 0])] {
            let (mut jx, mut jv) = ([0.0; 2], [0.0; 2]);
            map.jvp_w(&W, &LAMBDA, &zeta, &x, &mut jx);
            map.vjp_w(&W, &LAMBDA, &zeta, &v, &mut jv);
            assert!((vector::dot(&v, &jx) - vector::dot(&jv, &x)).abs() < 1e-14, "{jx:?} {jv:?}");
            map.jvp_lambda(&W, &LAMBDA, &zeta, &x, &mut jx);
            map.vjp_lambda(&W, &LAMBDA, &zeta, &v, &mut jv);
            assert!((vector::dot(&v, &jx) - vector::dot(&jv, &x)).abs() < 1e-14, "{jx:?} {jv:?}");
            assert!(vector::norm(&jx) > 0.1);
        }
    }
    check(&map);
    check(&GradientMap { loss: &loss, map_step: 0.8 });
}

#[test]
fn numbers_and_variables_mix() {
    let objective = autodiff::objective(DIMS, 1, |_, w: &[Var], l: &[Var]| {
        let mut sum = 2.0 - w[0] / 3.0;
        sum += w[1].sin() * w[1].cos();
        sum *= 1.5;
        sum -= (l[0].exp_m1() + l[1].abs().sqrt()) / w[1].powi(2);
        -sum.min(Var::from(100.0))
    })
    .unwrap();
    ensure(&Taylor { step: 0.05, ..Taylor::default() }.upper(&objective, &W, &LAMBDA, &Sample::Full)).unwrap();
    let value = objective.value(&W, &LAMBDA, &Sample::Full);
    let plain = 1.5 * (2.0 - W[0] / 3.0 + W[1].sin() * W[1].cos())
        - (LAMBDA[0].exp_m1() + LAMBDA[1].abs().sqrt()) / W[1].powi(2);
    assert!((value + plain).abs() < 1e-12);
}

//! A loss of one's own, tuned: robust regression with two penalties, chosen by the rows that do not fit.
//!
//! `cargo run --release --example own_loss`
//!
//! ```text
//! g(w, lambda) = mean over the first rows of ln cosh(x'w - y) + 1/2 sum_j exp(lambda_h(j)) w_j^2,
//! E(w) = mean over the others of ln cosh(x'w - y).
//! ```
//!
//! Inputs 0, 1, 2 explain most of `y` and share the penalty `h = 0`, the others that of `h = 1`. Outliers in `y` are why the
//! loss is not the squared one. Written by hand are one row's value and its derivatives; everything else is here already.

use bilevel::Result;
use bilevel::diagnose::{SolvedDifference, Taylor, ensure};
use bilevel::domain::Domain;
use bilevel::hypergradient::{Implicit, WarmStart};
use bilevel::lower::Dims;
use bilevel::newton::Newton;
use bilevel::optimize::{BoundedLbfgs, Evaluation, Iteration};
use bilevel::problems::closures::{RowLoss, RowObjective};
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::vector::dot;
use std::ops::ControlFlow;

const DIMS: Dims = Dims { w: 15, lambda: 2 };
const FIT: usize = 40;
const JUDGE: usize = 200;

fn penalty_of(input: usize) -> usize {
    usize::from(input >= 3)
}

fn ln_cosh(r: f64) -> f64 {
    r.abs() + (-2.0 * r.abs()).exp().ln_1p() - 2f64.ln()
}

fn main() -> Result<()> {
    let mut rng = Rng::stream(0, Purpose::Start, 0);
    let x: Vec<Vec<f64>> = (0..FIT + JUDGE).map(|_| (0..DIMS.w).map(|_| rng.normal()).collect()).collect();
    let truth: Vec<f64> = (0..DIMS.w).map(|j| [2.0, 0.1][penalty_of(j)] * rng.normal()).collect();
    let noise = |i: usize| if i.is_multiple_of(10) { 10.0 } else { 0.5 };
    let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| dot(x, &truth) + noise(i) * rng.normal()).collect();
    let residual = |i: usize, w: &[f64]| dot(&x[i], w) - y[i];

    let lower = RowLoss::builder(DIMS, FIT)
        .value(|i, w, lambda| {
            let penalty = |j: usize| lambda[penalty_of(j)].exp() * w[j] * w[j];
            ln_cosh(residual(i, w)) + 0.5 * (0..DIMS.w).map(penalty).sum::<f64>()
        })
        .gradient(|i, w, lambda, out| {
            let slope = residual(i, w).tanh();
            (0..DIMS.w).for_each(|j| out[j] = slope * x[i][j] + lambda[penalty_of(j)].exp() * w[j]);
        })
        .hessian_product(|i, w, lambda, v, out| {
            let curved = residual(i, w).cosh().powi(-2) * dot(&x[i], v);
            (0..DIMS.w).for_each(|j| out[j] = curved * x[i][j] + lambda[penalty_of(j)].exp() * v[j]);
        })
        .cross_product(|_, w, lambda, v, out| {
            out.fill(0.0);
            (0..DIMS.w).for_each(|j| out[penalty_of(j)] += lambda[penalty_of(j)].exp() * w[j] * v[j]);
        })
        .build()?;
    let upper = RowObjective::builder(DIMS, JUDGE)
        .value(|i, w, _| ln_cosh(residual(FIT + i, w)))
        .gradients(|i, w, _, grad_w, grad_lambda| {
            let r = residual(FIT + i, w);
            (0..DIMS.w).for_each(|j| grad_w[j] = r.tanh() * x[FIT + i][j]);
            grad_lambda.fill(0.0);
            ln_cosh(r)
        })
        .build()?;

    // Are the derivatives those of the values, and is the hypergradient that of the whole?
    let (start, newton) = ([-2.0, -2.0], Newton::default());
    let somewhere: Vec<f64> = (0..DIMS.w).map(|_| rng.normal()).collect();
    ensure(&Taylor::default().loss(&lower, &somewhere, &start, &Sample::Full))?;
    ensure(&Taylor::default().upper(&upper, &somewhere, &start, &Sample::Full))?;
    ensure(&SolvedDifference::default().loss(&lower, &upper, &start, &newton)?)?;

    // Hypergradients by implicit differentiation, each solve from where the last one ended.
    let mut warm = WarmStart::zeros(DIMS);
    let mut oracle = |lambda: &[f64], _: usize| -> Result<Evaluation> {
        let found = Implicit::default().estimate(&lower, &upper, lambda, Some(&mut warm), &newton)?;
        Ok(Evaluation::from(found).with_w(warm.w.clone()))
    };
    let domain = Domain::uniform(DIMS.lambda, -12.0, 6.0)?;
    println!("{:>9} {:>11} {:>22}", "iteration", "E", "penalties");
    let mut print = |seen: &Iteration<'_>| {
        let [first, second] = [0, 1].map(|h| seen.lambda[h].exp());
        println!("{:>9} {:>11.6} {first:>11.3e} {second:>10.3e}", seen.number, seen.objective);
        ControlFlow::Continue(())
    };
    let tuned = BoundedLbfgs::default().minimize(&mut oracle, &domain, &start, &mut print)?;

    println!("\n{}\n\n{:>9} {:>11} {:>11}", tuned.reason, "input", "weight", "truth");
    for (j, (weight, truth)) in tuned.w.iter().flatten().zip(&truth).enumerate() {
        println!("{j:>9} {weight:>11.3} {truth:>11.3}");
    }
    Ok(())
}

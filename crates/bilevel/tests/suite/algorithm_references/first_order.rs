//! No second derivatives, and exact solves with falling tolerances.

use bilevel::algorithms::{Algorithm, FirstSteps, Recipe, Settings};
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::upper::UpperObjective;

use super::harness::*;
use super::ridge::*;

/// Kwon et al. 2023, algorithm 1, with `y` of the paper in the second block: it minimises `E + s g`, its step is that of the
/// second block divided by `s`.
#[test]
fn f2sa() {
    compare(Algorithm::F2sa, Batch::Rows(BATCH), 50, |t, r| {
        let s = (1.0 + t as f64).powf(1.0 / 7.0);
        if t == 0 {
            r.v = r.w;
        }
        for _ in 0..10 {
            let i = r.draw_lower();
            let d = gradient(&r.ridge.lower, &i, &r.w, &r.l);
            axpy(-STEPS[0] * fallen(t, 4.0 / 7.0), &d, &mut r.w);
            let (i, j) = (r.draw_lower(), r.draw_upper());
            let (g, e) = (gradient(&r.ridge.lower, &i, &r.v, &r.l), upper_gradient(&r.ridge.upper, &j, &r.v));
            let step = STEPS[1] * fallen(t, 4.0 / 7.0) / s;
            axpy(-step, &std::array::from_fn(|k| e[k] + s * g[k]), &mut r.v);
        }
        r.draw_lower();
        r.draw_upper();
        let (there, here) = (gradient_lambda(&r.v, &r.l), gradient_lambda(&r.w, &r.l));
        let e = upper_gradient_lambda(&r.l);
        let d = std::array::from_fn(|k| e[k] + s * (there[k] - here[k]));
        r.move_lambda(STEPS[2] * fallen(t, 5.0 / 7.0), &d);
    });
}

/// Ye et al. 2022, algorithm 1: `theta^(T)` by ten lower steps, then both along `grad E + c grad q`.
#[test]
fn bome() {
    compare(Algorithm::Bome, Batch::Rows(BATCH), 50, |_, r| {
        r.v = r.w;
        for _ in 0..10 {
            let i = r.draw_lower();
            let d = gradient(&r.ridge.lower, &i, &r.v, &r.l);
            axpy(-STEPS[0], &d, &mut r.v);
        }
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let q_w = gradient(&r.ridge.lower, &i, &r.w, &r.l);
        let q_l = minus(&gradient_lambda(&r.w, &r.l), &gradient_lambda(&r.v, &r.l));
        let (e_w, e_l) = (upper_gradient(&r.ridge.upper, &j, &r.w), upper_gradient_lambda(&r.l));
        let size = dot(&q_w, &q_w) + dot(&q_l, &q_l);
        let c = ((0.5 * size - dot(&e_w, &q_w) - dot(&e_l, &q_l)) / size).max(0.0);
        axpy(-STEPS[2], &std::array::from_fn(|k| e_w[k] + c * q_w[k]), &mut r.w);
        r.move_lambda(STEPS[2], &std::array::from_fn(|k| e_l[k] + c * q_l[k]));
    });
}

/// Sow, Ji, Liang 2022, algorithm 1.
#[test]
fn pzobo() {
    let normals = std::cell::RefCell::new(Rng::stream(SEED, Purpose::Start, 0));
    compare(Algorithm::Pzobo, Batch::Rows(BATCH), 50, |_, r| {
        let mu = 1e-2;
        let samples: Vec<_> = (0..10).map(|_| r.draw_lower()).collect();
        let j = r.draw_upper();
        let descend = |mut w: Vector, l: &Vector| {
            for i in &samples {
                let d = gradient(&r.ridge.lower, i, &w, l);
                axpy(-STEPS[0], &d, &mut w);
            }
            w
        };
        let u: Vector = std::array::from_fn(|_| normals.borrow_mut().normal());
        let shifted = std::array::from_fn(|k| r.l[k] + mu * u[k]);
        let (end, other) = (descend(r.w, &r.l), descend(r.w, &shifted));
        let delta = minus(&other, &end).map(|x| x / mu);
        let along = dot(&delta, &upper_gradient(&r.ridge.upper, &j, &end));
        let e = upper_gradient_lambda(&r.l);
        r.w = end;
        r.move_lambda(STEPS[2], &std::array::from_fn(|k| e[k] + along * u[k]));
    });
}

/// `h x = b`, by Gaussian elimination.
fn solve(mut h: [Vector; D], mut b: Vector) -> Vector {
    for k in 0..D {
        for i in k + 1..D {
            let factor = h[i][k] / h[k][k];
            (k..D).for_each(|j| h[i][j] -= factor * h[k][j]);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..D).rev() {
        let rest: f64 = (k + 1..D).map(|j| h[k][j] * b[j]).sum();
        b[k] = (b[k] - rest) / h[k][k];
    }
    b
}

/// Pedregosa 2016, algorithm 1, with tolerances so small that the reference may solve directly.
#[test]
fn hoag() {
    let settings = Settings::of(Algorithm::Hoag, FirstSteps::from([1.0, 1.0, 2.0]), Batch::All, SEED);
    let settings = Settings { recipe: Recipe::Inexact { tolerance: 1e-12, decrease: 0.999 }, ..settings };
    // The factor of the step; lambda, value and gradient of the last point that was accepted.
    type State = (f64, Option<(Vector, f64, Vector)>);
    let state: std::cell::RefCell<State> = std::cell::RefCell::new((1.0, None));
    compare_within(1e-7, Algorithm::Hoag, settings, 40, |_, r| {
        let all = [(0..ROWS).collect::<Vec<_>>(), (0..UPPER_ROWS).collect()];
        let (factor, accepted) = &mut *state.borrow_mut();
        let h = hessian(&r.ridge.lower, &all[0], &r.l);
        r.w = solve(h, gradient(&r.ridge.lower, &all[0], &[0.0; D], &r.l).map(|x| -x));
        let value = Upper(r.ridge).value(&r.w, &r.l, &Sample::Full);
        if let Some((before, best, d)) = *accepted
            && value > best + 1e-6 * best
        {
            *factor *= 0.5;
            r.l = before;
            return r.move_lambda(*factor * 2.0, &d);
        }
        r.v = solve(h, upper_gradient(&r.ridge.upper, &all[1], &r.w));
        let d = minus(&upper_gradient_lambda(&r.l), &cross(&r.w, &r.l, &r.v));
        if let Some((_, _, last)) = *accepted {
            if dot(&last, &d) < 0.0 {
                *factor *= 0.5;
            } else if dot(&d, &d) < dot(&last, &last) {
                *factor *= 1.05;
            }
        }
        *accepted = Some((r.l, value, d));
        r.move_lambda(*factor * 2.0, &d);
    });
}

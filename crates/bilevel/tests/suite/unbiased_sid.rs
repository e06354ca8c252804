//! SID by a random number of levels: no bias where SID has one.

use bilevel::fixed_point::Average;
use bilevel::hypergradient::{AidFixedPoint, Hypergradient, Sid, UnbiasedSid, WarmStart, replicate};
use bilevel::lower::Dims;
use bilevel::problems::closures::{RowMap, RowObjective};
use bilevel::sample::{Batch, Purpose, Rng};
use bilevel::step_size::StepSize;
use bilevel::vector;

const N: usize = 40;
const LAMBDA: [f64; 2] = [0.4, -0.3];
const DIMS: Dims = Dims { w: 2, lambda: 2 };

fn noise() -> Vec<[f64; 2]> {
    let mut rng = Rng::stream(4, Purpose::Start, 0);
    (0..N).map(|_| [rng.normal(), rng.normal()]).collect()
}

/// Curved in `w`, so that noise in the iterates shifts their mean:
/// `Phi_i = (0.6 sin w_0 + lambda_0, 0.3 cos(w_0 + w_1) + lambda_1^2) + e_i`.
fn map(e: &[[f64; 2]]) -> RowMap<'_> {
    RowMap::builder(DIMS, N)
        .apply(|i, w, l, out| {
            out[0] = 0.6 * w[0].sin() + l[0] + e[i][0];
            out[1] = 0.3 * (w[0] + w[1]).cos() + l[1] * l[1] + e[i][1];
        })
        .vjp_w(|_, w, _, v, out| {
            let (a, b) = (0.6 * w[0].cos(), -0.3 * (w[0] + w[1]).sin());
            out[0] = a * v[0] + b * v[1];
            out[1] = b * v[1];
        })
        .vjp_lambda(|_, _, l, v, out| out.copy_from_slice(&[v[0], 2.0 * l[1] * v[1]]))
        .build()
        .unwrap()
}

fn objective() -> RowObjective<'static> {
    RowObjective::builder(DIMS, 1)
        .value(|_, w, _| 0.5 * (w[0] - 1.0).powi(2) + 0.5 * (w[1] + 1.0).powi(2))
        .gradients(|_, w, _, grad_w, grad_lambda| {
            grad_w.copy_from_slice(&[w[0] - 1.0, w[1] + 1.0]);
            grad_lambda.fill(0.0);
            0.5 * (w[0] - 1.0).powi(2) + 0.5 * (w[1] + 1.0).powi(2)
        })
        .build()
        .unwrap()
}

/// Distances of the mean from `exact` in standard errors, the largest of any component.
fn worst(mean: &Hypergradient, exact: &[f64]) -> f64 {
    let errors = mean.std_error.as_ref().unwrap();
    (0..exact.len()).map(|j| (mean.value[j] - exact[j]).abs() / errors[j]).fold(0.0, f64::max)
}

/// The mean of 8000 is within 4 of its standard errors in either component (error probability 6e-5 each, a little more for the
/// tails that weights make heavy). Plain SID on no fewer rows, with the same steps, is off by 10 and more.
#[test]
fn levels_remove_the_bias_that_plain_sid_keeps() {
    let e = noise();
    let (map, upper) = (map(&e), objective());
    let aid = AidFixedPoint { lower_steps: 1000, linear_steps: 1000, tolerance: 1e-13 };
    let exact = aid.estimate(&map, &upper, &LAMBDA, None).unwrap().value;
    let sid = Sid::new(8, 1, StepSize::Constant { eta: 0.5 });
    let unbiased = UnbiasedSid::new(Sid { cross_batch: Batch::Rows(1), ..sid });
    let mean = replicate(8000, |index| unbiased.estimate(&map, &upper, &LAMBDA, None, 2, index)).unwrap();
    let z = worst(&mean, &exact);
    assert!(z < 4.0, "{z} standard errors: {mean:?} against {exact:?}");
    assert!(vector::norm(mean.std_error.as_ref().unwrap()) < 0.05 * vector::norm(&exact), "{mean:?}");

    let longer = Sid { lower_steps: 24, linear_steps: 24, cross_batch: Batch::Rows(1), ..sid };
    let count = mean.work.rows / 50;
    let plain = replicate(count as usize, |index| longer.estimate(&map, &upper, &LAMBDA, None, 2, index)).unwrap();
    assert!(plain.work.rows >= mean.work.rows * 95 / 100, "{} and {} rows", plain.work.rows, mean.work.rows);
    let z = worst(&plain, &exact);
    assert!(z > 10.0, "plain SID has no bias to remove: {z} standard errors");
}

#[test]
fn estimates_replay_and_leave_the_start_of_level_zero() {
    let e = noise();
    let (map, upper) = (map(&e), objective());
    let unbiased = UnbiasedSid::new(Sid::new(8, 1, StepSize::Constant { eta: 0.5 }));
    let run = |seed, index| {
        let mut start = WarmStart::zeros(DIMS);
        (unbiased.estimate(&map, &upper, &LAMBDA, Some(&mut start), seed, index).unwrap(), start)
    };
    assert_eq!(run(1, 2), run(1, 2));
    assert_ne!(run(1, 2).0.value, run(1, 3).0.value);
    assert!(run(1, 2).1.w != [0.0; 2]);
    // Level 0 and three runs of level 1 or more: 16 + 2 * 32 + 2 * 16 products and evaluations at least.
    assert!(run(1, 2).0.work.hessian_products >= 8 + 2 * 16 + 2 * 8);
}

#[test]
fn settings_under_which_noise_would_not_cancel_are_refused() {
    let e = noise();
    let (map, upper) = (map(&e), objective());
    let sid = Sid::new(8, 1, StepSize::Constant { eta: 0.5 });
    let decreasing = StepSize::Decreasing { beta: 2.0, gamma: 4.0 };
    for unbiased in [
        UnbiasedSid::new(Sid { lower_step: decreasing, ..sid }),
        UnbiasedSid::new(Sid { linear_step: decreasing, ..sid }),
        UnbiasedSid::new(Sid { average: Average::All, ..sid }),
        UnbiasedSid::new(Sid { linear_steps: 9, ..sid }),
        UnbiasedSid { sid, decay: 0.5 },
        UnbiasedSid { sid, decay: 0.2 },
    ] {
        assert!(unbiased.estimate(&map, &upper, &LAMBDA, None, 0, 0).is_err_and(|error| error.is_input()));
    }
}

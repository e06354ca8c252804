//! Adjoints by series on samples, or carried by steps of their own; directions with memory on top.

use bilevel::algorithms::Algorithm;
use bilevel::sample::Batch;

use super::harness::*;
use super::ridge::*;

/// `step sum_{q=0}^{Q} prod_{i<=q} (I - step H_i) b`, a term after the other, each by its own product of matrices.
fn series(ridge: &Ridge, samples: &[Vec<usize>], l: &Vector, b: &Vector) -> Vector {
    let mut sum = [0.0; D];
    for q in 0..=samples.len() {
        let mut term = *b;
        for at in &samples[..q] {
            let h = times(&hessian(&ridge.lower, at, l), &term);
            axpy(-STEPS[1], &h, &mut term);
        }
        axpy(STEPS[1], &term, &mut sum);
    }
    sum
}

/// The last term alone, times the length of the series: Ghadimi, Wang 2018, equation 3.10.
fn random_term(ridge: &Ridge, samples: &[Vec<usize>], l: &Vector, b: &Vector, terms: usize) -> Vector {
    let mut term = *b;
    for at in samples {
        let h = times(&hessian(&ridge.lower, at, l), &term);
        axpy(-STEPS[1], &h, &mut term);
    }
    term.map(|x| STEPS[1] * terms as f64 * x)
}

const TERMS: usize = 10;

/// Lower steps, then `v` afresh, then `lambda`: BSA, TTSA, StocBiO.
fn in_turn(
    r: &mut Reference<'_>,
    (count, lower, outer): (usize, f64, f64),
    adjoint: impl Fn(&mut Reference<'_>, &Vector) -> Vector,
) {
    for _ in 0..count {
        let i = r.draw_lower();
        let d = gradient(&r.ridge.lower, &i, &r.w, &r.l);
        axpy(-lower, &d, &mut r.w);
    }
    let j = r.draw_upper();
    r.draw_lower();
    let b = upper_gradient(&r.ridge.upper, &j, &r.w);
    r.v = adjoint(r, &b);
    let d = minus(&upper_gradient_lambda(&r.l), &cross(&r.w, &r.l, &r.v));
    r.move_lambda(outer, &d);
}

fn drawn_term(r: &mut Reference<'_>, b: &Vector) -> Vector {
    let term = r.linear.below(TERMS);
    let samples: Vec<_> = (0..TERMS).map(|_| r.draw_linear()).collect();
    random_term(r.ridge, &samples[..term], &r.l, b, TERMS)
}

fn whole_series(r: &mut Reference<'_>, b: &Vector) -> Vector {
    let samples: Vec<_> = (0..TERMS).map(|_| r.draw_linear()).collect();
    series(r.ridge, &samples, &r.l, b)
}

#[test]
fn bsa() {
    compare(Algorithm::Bsa, Batch::Rows(BATCH), 40, |t, r| {
        let count = (1.0 + t as f64).sqrt().ceil() as usize;
        in_turn(r, (count, STEPS[0] * fallen(t, 0.5), STEPS[2] * fallen(t, 0.5)), drawn_term);
    });
}

#[test]
fn ttsa() {
    compare(Algorithm::Ttsa, Batch::Rows(BATCH), 50, |t, r| {
        in_turn(r, (1, STEPS[0] * fallen(t, 0.4), STEPS[2] * fallen(t, 0.6)), drawn_term);
    });
}

#[test]
fn stocbio() {
    compare(Algorithm::StocBio, Batch::Rows(BATCH), 30, |_, r| in_turn(r, (10, STEPS[0], STEPS[2]), whole_series));
}

/// Arbel, Mairal 2022, algorithm 1; Grazzi et al. 2023, algorithm 1 (from a cold start): one sample of the upper objective
/// for the linear system and the outer direction.
fn carried(r: &mut Reference<'_>, count: usize) {
    for _ in 0..count {
        let i = r.draw_lower();
        let d = gradient(&r.ridge.lower, &i, &r.w, &r.l);
        axpy(-STEPS[0], &d, &mut r.w);
    }
    let j = r.draw_upper();
    let b = upper_gradient(&r.ridge.upper, &j, &r.w);
    for _ in 0..count {
        let i = r.draw_lower();
        let d = minus(&times(&hessian(&r.ridge.lower, &i, &r.l), &r.v), &b);
        axpy(-STEPS[1], &d, &mut r.v);
    }
    r.draw_lower();
    let d = minus(&upper_gradient_lambda(&r.l), &cross(&r.w, &r.l, &r.v));
    r.move_lambda(STEPS[2], &d);
}

#[test]
fn amigo() {
    compare(Algorithm::Amigo, Batch::Rows(BATCH), 40, |_, r| carried(r, 10));
}

#[test]
fn bsgm() {
    compare(Algorithm::Bsgm, Batch::Rows(BATCH), 40, |t, r| {
        (r.w, r.v) = (START[0], START[1]);
        carried(r, (1.0 + t as f64).sqrt().ceil() as usize);
    });
}

type Adjoints = fn(&Ridge, &[Vec<usize>], &Vector, &Vector) -> Vector;

/// `D_w` and the outer direction with `v` by a series on these samples.
fn with_series(
    ridge: &Ridge,
    at: [&[usize]; 2],
    samples: &[Vec<usize>],
    adjoint: Adjoints,
    w: &Vector,
    l: &Vector,
) -> [Vector; 2] {
    let v = adjoint(ridge, samples, l, &upper_gradient(&ridge.upper, at[1], w));
    [gradient(&ridge.lower, at[0], w, l), minus(&upper_gradient_lambda(l), &cross(w, l, &v))]
}

/// STORM on both directions (Khanduri et al. 2021, equations 10 and 11; Yang, Ji, Liang 2021, algorithm 1): weights like
/// the square of the outer step.
fn storm(algorithm: Algorithm, adjoint: Adjoints, random: bool) {
    let last = std::cell::RefCell::new(([[0.0; D]; 2], [[0.0; D]; 2]));
    compare(algorithm, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let term = if random { r.linear.below(TERMS) } else { TERMS };
        let samples: Vec<_> = (0..TERMS).map(|_| r.draw_linear()).collect();
        let samples = &samples[..term];
        let mut d = with_series(r.ridge, [&i, &j], samples, adjoint, &r.w, &r.l);
        if t > 0 {
            let (before, [w, l]) = *last.borrow();
            let there = with_series(r.ridge, [&i, &j], samples, adjoint, &w, &l);
            let keep = 1.0 - fallen(t, 1.0 / 3.0).powi(2);
            for k in 0..2 {
                axpy(keep, &minus(&before[k], &there[k]), &mut d[k]);
            }
        }
        *last.borrow_mut() = (d, [r.w, r.l]);
        axpy(-STEPS[0] * fallen(t, 1.0 / 3.0), &d[0], &mut r.w);
        r.move_lambda(STEPS[2] * fallen(t, 1.0 / 3.0), &d[1]);
    });
}

#[test]
fn sustain() {
    storm(Algorithm::Sustain, |ridge, samples, l, b| random_term(ridge, samples, l, b, TERMS), true);
}

#[test]
fn mrbo() {
    storm(Algorithm::Mrbo, series, false);
}

/// Yang, Ji, Liang 2021, algorithm 2: `lambda` moves alone, then three lower steps follow; all rows once in a pass over
/// the rows of both levels.
#[test]
fn vrbo() {
    let period = (ROWS + UPPER_ROWS).div_ceil(BATCH);
    let last = std::cell::RefCell::new(([[0.0; D]; 2], [[0.0; D]; 2]));
    compare(Algorithm::Vrbo, Batch::Rows(BATCH), 48, |t, r| {
        let d = if t % period == 0 {
            (0..TERMS).for_each(|_| drop(r.draw_linear()));
            let all = (0..ROWS).collect::<Vec<_>>();
            let upper = (0..UPPER_ROWS).collect::<Vec<_>>();
            with_series(r.ridge, [&all, &upper], &vec![all.clone(); TERMS], series, &r.w, &r.l)
        } else {
            let (i, j) = (r.draw_lower(), r.draw_upper());
            let samples: Vec<_> = (0..TERMS).map(|_| r.draw_linear()).collect();
            let (mut d, [w, l]) = *last.borrow();
            let here = with_series(r.ridge, [&i, &j], &samples, series, &r.w, &r.l);
            let there = with_series(r.ridge, [&i, &j], &samples, series, &w, &l);
            for k in 0..2 {
                axpy(1.0, &minus(&here[k], &there[k]), &mut d[k]);
            }
            d
        };
        *last.borrow_mut() = (d, [r.w, r.l]);
        if t % 4 == 0 {
            r.move_lambda(STEPS[2], &d[1]);
        } else {
            axpy(-STEPS[0], &d[0], &mut r.w);
        }
    });
}

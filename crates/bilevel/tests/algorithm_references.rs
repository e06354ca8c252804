//! Each recipe against a slow reference that is written from the formulas of its paper: dense matrices, plain loops, the
//! same samples, iterate by iterate.
//!
//! The problem is a ridge regression with one log-penalty a weight, so that the Hessian depends on `lambda` and the cross
//! derivative on `w`. References know nothing of the library but its streams of random numbers, which they replay.

// Formulas are written with the indices of the papers.
#![allow(clippy::needless_range_loop)]

use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, Bilevel, Iterate, Point, Recipe, Settings, run};
use bilevel::domain::Domain;
use bilevel::lower::{Dims, FirstOrder, StochasticLoss};
use bilevel::row_sums::{RowSumLoss, RowSumObjective};
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::upper::UpperObjective;

const D: usize = 3;
const ROWS: usize = 12;
const UPPER_ROWS: usize = 7;
const BATCH: usize = 4;
const SEED: u64 = 11;
/// First steps of `w`, `v` and `lambda`.
const STEPS: [f64; 3] = [0.3, 0.25, 0.2];
/// Weight of `1/2 |lambda|^2` in the upper objective.
const REG: f64 = 0.1;
/// Half the width of the box, narrow enough to be felt.
const BOX: f64 = 0.5;

type Vector = [f64; D];

/// Rows `(x, y)` of both levels.
struct Ridge {
    lower: Vec<(Vector, f64)>,
    upper: Vec<(Vector, f64)>,
}

impl Ridge {
    fn new() -> Self {
        let mut rng = Rng::stream(5, Purpose::Start, 0);
        let mut rows = |n: usize| (0..n).map(|_| (std::array::from_fn(|_| rng.normal()), rng.normal())).collect();
        Ridge { lower: rows(ROWS), upper: rows(UPPER_ROWS) }
    }
}

fn indices(sample: &Sample, n: usize) -> Vec<usize> {
    let mut rows = Vec::new();
    sample.for_each_row(n, |row| rows.push(row));
    rows
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `grad_w g` on these rows.
fn gradient(rows: &[(Vector, f64)], at: &[usize], w: &Vector, l: &Vector) -> Vector {
    let mut out = [0.0; D];
    for &i in at {
        let (x, y) = rows[i];
        for j in 0..D {
            out[j] += (dot(&x, w) - y) * x[j] / at.len() as f64;
        }
    }
    for j in 0..D {
        out[j] += l[j].exp() * w[j];
    }
    out
}

/// `hess_w g` on these rows, as a matrix.
fn hessian(rows: &[(Vector, f64)], at: &[usize], l: &Vector) -> [Vector; D] {
    let mut h = [[0.0; D]; D];
    for j in 0..D {
        for k in 0..D {
            h[j][k] = at.iter().map(|&i| rows[i].0[j] * rows[i].0[k]).sum::<f64>() / at.len() as f64;
        }
        h[j][j] += l[j].exp();
    }
    h
}

fn times(h: &[Vector; D], v: &Vector) -> Vector {
    std::array::from_fn(|j| dot(&h[j], v))
}

/// `(d/dlambda grad_w g)^T v`.
fn cross(w: &Vector, l: &Vector, v: &Vector) -> Vector {
    std::array::from_fn(|j| l[j].exp() * w[j] * v[j])
}

/// `grad_lambda g`.
fn gradient_lambda(w: &Vector, l: &Vector) -> Vector {
    std::array::from_fn(|j| 0.5 * l[j].exp() * w[j] * w[j])
}

/// `grad_w E` on these rows.
fn upper_gradient(rows: &[(Vector, f64)], at: &[usize], w: &Vector) -> Vector {
    let mut out = [0.0; D];
    for &i in at {
        let (x, y) = rows[i];
        for j in 0..D {
            out[j] += (dot(&x, w) - y) * x[j] / at.len() as f64;
        }
    }
    out
}

fn upper_gradient_lambda(l: &Vector) -> Vector {
    l.map(|l| REG * l)
}

fn vector(x: &[f64]) -> Vector {
    x.try_into().unwrap()
}

impl RowSumLoss for Ridge {}

impl StochasticLoss for Ridge {
    fn dims(&self) -> Dims {
        Dims { w: D, lambda: D }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        *sample = drawn(ROWS, batch, rng);
    }

    fn size(&self, zeta: &Sample) -> usize {
        indices(zeta, ROWS).len()
    }

    fn value(&self, w: &[f64], l: &[f64], zeta: &Sample) -> f64 {
        let at = indices(zeta, ROWS);
        let squares: f64 = at.iter().map(|&i| (dot(&self.lower[i].0, w) - self.lower[i].1).powi(2)).sum();
        let penalty: f64 = (0..D).map(|j| 0.5 * l[j].exp() * w[j] * w[j]).sum();
        0.5 * squares / at.len() as f64 + penalty
    }

    fn gradient(&self, w: &[f64], l: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        out.copy_from_slice(&gradient(&self.lower, &indices(zeta, ROWS), &vector(w), &vector(l)));
        self.value(w, l, zeta)
    }

    fn hessian_product(&self, _w: &[f64], l: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&times(&hessian(&self.lower, &indices(zeta, ROWS), &vector(l)), &vector(v)));
    }

    fn cross_product(&self, w: &[f64], l: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&cross(&vector(w), &vector(l), &vector(v)));
    }
}

impl FirstOrder for Ridge {
    fn gradient_lambda(&self, w: &[f64], l: &[f64], _zeta: &Sample, out: &mut [f64]) {
        out.copy_from_slice(&gradient_lambda(&vector(w), &vector(l)));
    }
}

/// The upper level of a [`Ridge`].
struct Upper<'a>(&'a Ridge);

impl RowSumObjective for Upper<'_> {}

impl UpperObjective for Upper<'_> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        *sample = drawn(UPPER_ROWS, batch, rng);
    }

    fn size(&self, xi: &Sample) -> usize {
        indices(xi, UPPER_ROWS).len()
    }

    fn value(&self, w: &[f64], l: &[f64], xi: &Sample) -> f64 {
        let at = indices(xi, UPPER_ROWS);
        let squares: f64 = at.iter().map(|&i| (dot(&self.0.upper[i].0, w) - self.0.upper[i].1).powi(2)).sum();
        0.5 * squares / at.len() as f64 + 0.5 * REG * dot(l, l)
    }

    fn gradients(&self, w: &[f64], l: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        grad_w.copy_from_slice(&upper_gradient(&self.0.upper, &indices(xi, UPPER_ROWS), &vector(w)));
        grad_lambda.copy_from_slice(&upper_gradient_lambda(&vector(l)));
        self.value(w, l, xi)
    }
}

fn drawn(n: usize, batch: usize, rng: &mut Rng) -> Sample {
    Sample::Rows((0..batch).map(|_| rng.below(n) as u32).collect())
}

/// The three blocks, and the streams that the library draws from.
struct Reference<'a> {
    ridge: &'a Ridge,
    w: Vector,
    v: Vector,
    l: Vector,
    lower: Rng,
    upper: Rng,
    linear: Rng,
}

impl<'a> Reference<'a> {
    fn new(ridge: &'a Ridge) -> Self {
        let stream = |purpose| Rng::stream(SEED, purpose, 0);
        let (lower, upper, linear) = (stream(Purpose::Lower), stream(Purpose::Upper), stream(Purpose::Linear));
        Reference { ridge, w: START[0], v: START[1], l: START[2], lower, upper, linear }
    }

    fn draw_lower(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.lower.below(ROWS)).collect()
    }

    fn draw_upper(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.upper.below(UPPER_ROWS)).collect()
    }

    fn draw_linear(&mut self) -> Vec<usize> {
        (0..BATCH).map(|_| self.linear.below(ROWS)).collect()
    }

    fn move_lambda(&mut self, step: f64, direction: &Vector) {
        for j in 0..D {
            self.l[j] = (self.l[j] - step * direction[j]).clamp(-BOX, BOX);
        }
    }
}

const START: [Vector; 3] = [[0.5, -0.3, 0.2], [0.1, 0.0, -0.2], [0.0, 0.2, -0.1]];

fn axpy(a: f64, x: &Vector, y: &mut Vector) {
    for j in 0..D {
        y[j] += a * x[j];
    }
}

fn minus(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|j| a[j] - b[j])
}

/// `(1 + t)^-exponent`, as a fraction of the first step.
fn fallen(t: usize, exponent: f64) -> f64 {
    (1.0 + t as f64).powf(-exponent)
}

/// Runs both for `iterations`, and compares all blocks after each.
fn compare(algorithm: Algorithm, batch: Batch, iterations: usize, step: impl Fn(usize, &mut Reference<'_>)) {
    let settings = Settings::of(algorithm, STEPS, batch, SEED);
    compare_within(1e-10, algorithm, settings, iterations, step);
}

fn compare_within(
    tolerance: f64,
    algorithm: Algorithm,
    settings: Settings,
    iterations: usize,
    step: impl Fn(usize, &mut Reference<'_>),
) {
    let ridge = Ridge::new();
    let upper = Upper(&ridge);
    let domain = Domain::uniform(D, -BOX, BOX).unwrap();
    let problem = Bilevel { lower: &ridge, upper: &upper, domain: &domain };
    let mut reference = Reference::new(&ridge);
    let start = Point::new(&START[0], &START[1], &START[2]);
    let mut moved = 0.0;
    let mut watch = |at: &Iterate<'_>| {
        for (name, found, expected) in [
            ("w", at.point.w(), reference.w),
            ("v", at.point.v(), reference.v),
            ("lambda", at.point.lambda(), reference.l),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                let allowed = tolerance * (1.0 + expected.abs());
                assert!(
                    (found - expected).abs() <= allowed,
                    "{algorithm}, iteration {}: {name} {found} {expected}",
                    at.iterations
                );
            }
        }
        moved = dot(&minus(&reference.l, &START[2]), &minus(&reference.l, &START[2]));
        if at.iterations == iterations {
            return ControlFlow::Break(());
        }
        step(at.iterations, &mut reference);
        ControlFlow::Continue(at.iterations + 1)
    };
    run(problem, &settings, start, &mut watch).unwrap();
    assert!(moved > 1e-4, "{algorithm} has not moved");
}

/// Gradient, Hessian product less `grad_w E`, and outer direction of one sample of each level.
fn directions(ridge: &Ridge, at: [&[usize]; 2], w: &Vector, v: &Vector, l: &Vector) -> [Vector; 3] {
    let product = times(&hessian(&ridge.lower, at[0], l), v);
    let d_v = minus(&product, &upper_gradient(&ridge.upper, at[1], w));
    let d_lambda = minus(&upper_gradient_lambda(l), &cross(w, l, v));
    [gradient(&ridge.lower, at[0], w, l), d_v, d_lambda]
}

/// Dagreou et al. 2022, algorithm 1.
#[test]
fn soba() {
    compare(Algorithm::Soba, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        axpy(-STEPS[0] * fallen(t, 0.4), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.4), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.6), &d_l);
    });
}

/// Chen, Xiao, Balasubramanian 2023: the weight of the average falls like the outer step.
#[test]
fn ma_soba() {
    let average = std::cell::Cell::new([0.0; D]);
    compare(Algorithm::MaSoba, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        let weight = fallen(t, 0.5);
        let before = average.get();
        let d: Vector = std::array::from_fn(|k| (1.0 - weight) * before[k] + weight * d_l[k]);
        average.set(d);
        axpy(-STEPS[0] * fallen(t, 0.5), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.5), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.5), &d);
    });
}

/// Li, Gu, Huang 2022: the outer direction corrected by what the same sample says of the last point.
#[test]
fn fsla() {
    let last = std::cell::RefCell::new(([0.0; D], [[0.0; D]; 3]));
    compare(Algorithm::Fsla, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        let mut d = d_l;
        if t > 0 {
            let (before, [w, v, l]) = *last.borrow();
            let there = directions(r.ridge, [&i, &j], &w, &v, &l)[2];
            axpy(1.0 - fallen(t, 0.5), &minus(&before, &there), &mut d);
        }
        *last.borrow_mut() = (d, [r.w, r.v, r.l]);
        axpy(-STEPS[0] * fallen(t, 0.5), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.5), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.5), &d);
    });
}

/// Fixed blocks of rows with their places; the last one is smaller.
fn blocks(n: usize) -> Vec<Vec<usize>> {
    (0..n).step_by(BATCH).map(|start| (start..(start + BATCH).min(n)).collect()).collect()
}

/// Dagreou et al. 2022, section 3.2: every sum over rows has a table of its own.
#[test]
fn saba() {
    type Tables = (Vec<[Vector; 3]>, Vec<[Vector; 2]>);
    let tables: std::cell::RefCell<Tables> = Default::default();
    compare(Algorithm::Saba, Batch::Rows(BATCH), 50, |_, r| {
        let lower = |at: &[usize], r: &Reference<'_>| {
            let product = times(&hessian(&r.ridge.lower, at, &r.l), &r.v);
            [gradient(&r.ridge.lower, at, &r.w, &r.l), product, cross(&r.w, &r.l, &r.v)]
        };
        let upper =
            |at: &[usize], r: &Reference<'_>| [upper_gradient(&r.ridge.upper, at, &r.w), upper_gradient_lambda(&r.l)];
        let (lower_blocks, upper_blocks) = (blocks(ROWS), blocks(UPPER_ROWS));
        let (lower_table, upper_table) = &mut *tables.borrow_mut();
        if lower_table.is_empty() {
            *lower_table = lower_blocks.iter().map(|at| lower(at, r)).collect();
            *upper_table = upper_blocks.iter().map(|at| upper(at, r)).collect();
        }
        let i = r.lower.below(ROWS) / BATCH;
        let j = r.upper.below(UPPER_ROWS) / BATCH;
        let (fresh, upper_fresh) = (lower(&lower_blocks[i], r), upper(&upper_blocks[j], r));
        let estimate = |k: usize, c: usize| {
            let mean: f64 = lower_table.iter().zip(&lower_blocks).map(|(e, at)| e[k][c] * at.len() as f64).sum::<f64>()
                / ROWS as f64;
            fresh[k][c] - lower_table[i][k][c] + mean
        };
        let upper_estimate = |k: usize, c: usize| {
            let mean: f64 = upper_table.iter().zip(&upper_blocks).map(|(e, at)| e[k][c] * at.len() as f64).sum::<f64>()
                / UPPER_ROWS as f64;
            upper_fresh[k][c] - upper_table[j][k][c] + mean
        };
        let d_w: Vector = std::array::from_fn(|c| estimate(0, c));
        let d_v: Vector = std::array::from_fn(|c| estimate(1, c) - upper_estimate(0, c));
        let d_l: Vector = std::array::from_fn(|c| upper_estimate(1, c) - estimate(2, c));
        (lower_table[i], upper_table[j]) = (fresh, upper_fresh);
        axpy(-STEPS[0], &d_w, &mut r.w);
        axpy(-STEPS[1], &d_v, &mut r.v);
        r.move_lambda(STEPS[2], &d_l);
    });
}

/// Dagreou et al. 2024, algorithm 1, without the ball: all rows once in half a pass over the rows of both levels.
#[test]
fn srba() {
    let period = (ROWS + UPPER_ROWS).div_ceil(2 * BATCH);
    let last = std::cell::RefCell::new(([[0.0; D]; 3], [[0.0; D]; 3]));
    compare(Algorithm::Srba, Batch::Rows(BATCH), 50, |t, r| {
        let all = [(0..ROWS).collect::<Vec<_>>(), (0..UPPER_ROWS).collect()];
        let d = if t % period == 0 {
            directions(r.ridge, [&all[0], &all[1]], &r.w, &r.v, &r.l)
        } else {
            let (i, j) = (r.draw_lower(), r.draw_upper());
            let (mut d, [w, v, l]) = *last.borrow();
            let here = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
            let there = directions(r.ridge, [&i, &j], &w, &v, &l);
            for k in 0..3 {
                axpy(1.0, &minus(&here[k], &there[k]), &mut d[k]);
            }
            d
        };
        *last.borrow_mut() = (d, [r.w, r.v, r.l]);
        axpy(-STEPS[0], &d[0], &mut r.w);
        axpy(-STEPS[1], &d[1], &mut r.v);
        r.move_lambda(STEPS[2], &d[2]);
    });
}

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
    let settings = Settings::of(Algorithm::Hoag, [1.0, 1.0, 2.0], Batch::All, SEED);
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

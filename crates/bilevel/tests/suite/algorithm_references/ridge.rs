//! The problem, and its formulas.

use bilevel::lower::{Dims, FirstOrder, StochasticLoss};
use bilevel::row_sums::{RowSumLoss, RowSumObjective};
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::upper::UpperObjective;

pub const D: usize = 3;
pub const ROWS: usize = 12;
pub const UPPER_ROWS: usize = 7;
pub const BATCH: usize = 4;
pub const SEED: u64 = 11;
/// First steps of `w`, `v` and `lambda`.
pub const STEPS: [f64; 3] = [0.3, 0.25, 0.2];
/// Weight of `1/2 |lambda|^2` in the upper objective.
pub const REG: f64 = 0.1;
/// Half the width of the box, narrow enough to be felt.
pub const BOX: f64 = 0.5;

pub type Vector = [f64; D];

/// Rows `(x, y)` of both levels.
pub struct Ridge {
    pub lower: Vec<(Vector, f64)>,
    pub upper: Vec<(Vector, f64)>,
}

impl Ridge {
    pub fn new() -> Self {
        let mut rng = Rng::stream(5, Purpose::Start, 0);
        let mut rows = |n: usize| (0..n).map(|_| (std::array::from_fn(|_| rng.normal()), rng.normal())).collect();
        Ridge { lower: rows(ROWS), upper: rows(UPPER_ROWS) }
    }
}

pub fn indices(sample: &Sample, n: usize) -> Vec<usize> {
    let mut rows = Vec::new();
    sample.for_each_row(n, |row| rows.push(row));
    rows
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `grad_w g` on these rows.
pub fn gradient(rows: &[(Vector, f64)], at: &[usize], w: &Vector, l: &Vector) -> Vector {
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
pub fn hessian(rows: &[(Vector, f64)], at: &[usize], l: &Vector) -> [Vector; D] {
    let mut h = [[0.0; D]; D];
    for j in 0..D {
        for k in 0..D {
            h[j][k] = at.iter().map(|&i| rows[i].0[j] * rows[i].0[k]).sum::<f64>() / at.len() as f64;
        }
        h[j][j] += l[j].exp();
    }
    h
}

pub fn times(h: &[Vector; D], v: &Vector) -> Vector {
    std::array::from_fn(|j| dot(&h[j], v))
}

/// `(d/dlambda grad_w g)^T v`.
pub fn cross(w: &Vector, l: &Vector, v: &Vector) -> Vector {
    std::array::from_fn(|j| l[j].exp() * w[j] * v[j])
}

/// `grad_lambda g`.
pub fn gradient_lambda(w: &Vector, l: &Vector) -> Vector {
    std::array::from_fn(|j| 0.5 * l[j].exp() * w[j] * w[j])
}

/// `grad_w E` on these rows.
pub fn upper_gradient(rows: &[(Vector, f64)], at: &[usize], w: &Vector) -> Vector {
    let mut out = [0.0; D];
    for &i in at {
        let (x, y) = rows[i];
        for j in 0..D {
            out[j] += (dot(&x, w) - y) * x[j] / at.len() as f64;
        }
    }
    out
}

pub fn upper_gradient_lambda(l: &Vector) -> Vector {
    l.map(|l| REG * l)
}

pub fn vector(x: &[f64]) -> Vector {
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
pub struct Upper<'a>(pub &'a Ridge);

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

pub fn drawn(n: usize, batch: usize, rng: &mut Rng) -> Sample {
    Sample::Rows((0..batch).map(|_| rng.below(n) as u32).collect())
}

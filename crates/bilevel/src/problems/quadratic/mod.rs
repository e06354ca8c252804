//! Strongly convex quadratic lower level with everything known in closed form: the yardstick of every estimator.
//!
//! ```text
//! g_i(w, lambda) = 1/2 w' A_i w - b_i' w - w' B_i lambda + ridge/2 sum_j exp(lambda_{j mod m}) w_j^2,
//! g = (1/n) sum_i g_i,    A, b, B the means of A_i, b_i, B_i.
//! ```
//!
//! The rows are `A_i = A + noise S_i` and so on with centred symmetric `S_i`, so a minibatch gradient map is unbiased with
//! both additive and multiplicative noise, and a single `A_i` need not be positive definite. `ridge > 0` makes the Hessian
//! depend on `lambda` and the cross derivative on `w`, as a per-feature penalty does.
//!
//! A row is a matrix, so that reading the rows is most of the work: they are kept in single precision. All arithmetic, and
//! the means, which are those of the numbers that are kept, are in double precision.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};

use super::{draw_rows, for_each_row, sample_size, target::Target};
use crate::error::{Error, Result};
use crate::lower::{CrossJvp, Curvature, Curved, Dims, Factorization, FirstOrder, StochasticLoss};
use crate::row_sums::RowSumLoss;
use crate::sample::{Purpose, Rng, Sample};
use crate::simd::vectorize;
use crate::upper::UpperObjective;
use crate::vector;

/// Sizes and difficulty of a random [`Quadratic`].
#[derive(Debug, Clone, Copy)]
pub struct QuadraticOptions {
    /// Rows `n` of the finite sum.
    pub rows: usize,
    /// Length `d` of `w`.
    pub w: usize,
    /// Length `m` of `lambda`.
    pub lambda: usize,
    /// Rows of the upper objective; 1 makes it deterministic.
    pub upper_rows: usize,
    /// Condition number of `A`, whose eigenvalues spread evenly over `[1/condition, 1]`.
    pub condition: f64,
    /// Size of the differences between rows, relative to the means.
    pub noise: f64,
    /// Weight of the `lambda`-dependent part of the Hessian.
    pub ridge: f64,
    /// Weight of `1/2 |lambda|^2` in the upper objective.
    pub reg: f64,
    /// Seed of all of it.
    pub seed: u64,
}

impl Default for QuadraticOptions {
    fn default() -> Self {
        QuadraticOptions {
            rows: 100,
            w: 10,
            lambda: 4,
            upper_rows: 1,
            condition: 5.0,
            noise: 0.5,
            ridge: 0.0,
            reg: 0.1,
            seed: 0,
        }
    }
}

/// The loss `g` of the module documentation, with the upper objective [`Target`] beside it.
#[derive(Debug, Clone)]
pub struct Quadratic {
    dims: Dims,
    ridge: f64,
    /// Row `i`: `A_i` (d x d, symmetric), then `b_i` (d), then `B_i'` (m x d, row-major).
    rows: Vec<f32>,
    mean: Vec<f64>,
    upper: Target,
}

/// Runs the body with the coefficients of each row of the sample and its weight, or once with those of the mean.
macro_rules! visit {
    ($quadratic:ident, $zeta:expr, |$weight:ident, $coefficients:ident| $body:expr) => {
        if *$zeta == Sample::Full {
            let ($weight, $coefficients) = (1.0, &$quadratic.mean[..]);
            $body
        } else {
            let $weight = 1.0 / $quadratic.size($zeta) as f64;
            let length = $quadratic.mean.len();
            for_each_row($zeta, $quadratic.rows(), |i| {
                let $coefficients = &$quadratic.rows[i * length..(i + 1) * length];
                $body
            });
        }
    };
}

impl Quadratic {
    /// A random problem.
    pub fn random(options: &QuadraticOptions) -> Self {
        let QuadraticOptions { rows: n, w: d, lambda: m, condition, noise, .. } = *options;
        assert!(n > 0 && d > 0 && m > 0 && condition >= 1.0, "impossible sizes: {options:?}");
        let dims = Dims { w: d, lambda: m };
        let mut rng = Rng::stream(options.seed, Purpose::Start, 1000);
        let length = d * d + d + d * m;

        let q = Mat::from_fn(d, d, |_, _| rng.normal()).qr().compute_Q();
        let mu = 1.0 / condition;
        let eigenvalue = |k: usize| if d == 1 { 1.0 } else { mu + (1.0 - mu) * k as f64 / (d - 1) as f64 };
        let scaled = Mat::from_fn(d, d, |i, k| q[(i, k)] * eigenvalue(k));
        let a = &scaled * q.transpose();

        let mut rows = vec![0.0; n * length];
        for row in rows.chunks_exact_mut(length) {
            let size = noise / (d as f64).sqrt();
            for i in 0..d {
                for j in 0..=i {
                    row[i * d + j] = size * rng.normal();
                    row[j * d + i] = row[i * d + j];
                }
            }
            row[d * d..].iter_mut().for_each(|x| *x = size * rng.normal());
        }
        let mut centre = vec![0.0; length];
        rows.chunks_exact(length).for_each(|row| vector::axpy(1.0 / n as f64, row, &mut centre));
        let size = (d as f64).sqrt().recip();
        let wanted: Vec<f64> = (0..length)
            .map(|k| if k < d * d { 0.5 * (a[(k / d, k % d)] + a[(k % d, k / d)]) } else { size * rng.normal() })
            .collect();
        let mut mean = vec![0.0; length];
        for row in rows.chunks_exact_mut(length) {
            vector::axpy(-1.0, &centre, row);
            vector::axpy(1.0, &wanted, row);
            let of_lambda = row[d * d + d..].to_vec();
            (0..d * m).for_each(|k| row[d * d + d + k % m * d + k / m] = of_lambda[k]);
            row.iter_mut().for_each(|x| *x = f64::from(*x as f32));
            vector::axpy(1.0 / n as f64, row, &mut mean);
        }
        let rows = rows.iter().map(|&x| x as f32).collect();
        let upper = Target::random(dims, options.upper_rows, noise, options.reg, options.seed);
        Quadratic { dims, ridge: options.ridge, rows, mean, upper }
    }

    /// The upper objective.
    pub fn upper(&self) -> &Target {
        &self.upper
    }

    /// The number of rows `n` of the lower level.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.mean.len()
    }

    /// Smallest and largest eigenvalue of the Hessian, `(mu, L)`.
    pub fn curvature_bounds(&self, lambda: &[f64]) -> (f64, f64) {
        let h = self.hessian(lambda);
        let values = h.self_adjoint_eigenvalues(Side::Lower).expect("a symmetric matrix has eigenvalues");
        (values[0], values[values.len() - 1])
    }

    /// `w(lambda)`.
    pub fn solution(&self, lambda: &[f64]) -> Vec<f64> {
        let d = self.dims.w;
        let mut w = self.mean[d * d..d * d + d].to_vec();
        add_combination(&self.mean[d * d + d..], lambda, 1.0, &mut w);
        self.llt(lambda).solve_in_place(&mut w);
        w
    }

    /// `v` with `map_step H v = grad1 E(w(lambda), lambda)`, the adjoint of the gradient-step map.
    pub fn adjoint(&self, lambda: &[f64], map_step: f64) -> Vec<f64> {
        let mut v = vec![0.0; self.dims.w];
        let mut unused = vec![0.0; self.dims.lambda];
        self.upper.gradients(&self.solution(lambda), lambda, &Sample::Full, &mut v, &mut unused);
        self.llt(lambda).solve_in_place(&mut v);
        vector::scale(1.0 / map_step, &mut v);
        v
    }

    /// `f(lambda) = E(w(lambda), lambda)`.
    pub fn objective(&self, lambda: &[f64]) -> f64 {
        self.upper.value(&self.solution(lambda), lambda, &Sample::Full)
    }

    /// `grad f(lambda) = grad2 E - (d/dlambda grad_w g)' H^{-1} grad1 E`.
    pub fn hypergradient(&self, lambda: &[f64]) -> Vec<f64> {
        let w = self.solution(lambda);
        let u = self.adjoint(lambda, 1.0);
        let mut grad_w = vec![0.0; self.dims.w];
        let mut gradient = vec![0.0; self.dims.lambda];
        self.upper.gradients(&w, lambda, &Sample::Full, &mut grad_w, &mut gradient);
        let mut cross = vec![0.0; self.dims.lambda];
        self.cross_product(&w, lambda, &Sample::Full, &u, &mut cross);
        vector::axpy(-1.0, &cross, &mut gradient);
        gradient
    }

    fn hessian(&self, lambda: &[f64]) -> Mat<f64> {
        let d = self.dims.w;
        Mat::from_fn(d, d, |i, j| self.mean[i * d + j] + if i == j { self.penalty(lambda, i) } else { 0.0 })
    }

    fn llt(&self, lambda: &[f64]) -> Cholesky {
        Cholesky(self.hessian(lambda).llt(Side::Lower).expect("the quadratic is strongly convex"))
    }

    fn penalty(&self, lambda: &[f64], j: usize) -> f64 {
        if self.ridge == 0.0 { 0.0 } else { self.ridge * lambda[j % self.dims.lambda].exp() }
    }

    /// Takes `b + B lambda` from `A w`, in `gradient`, and adds the penalty; returns `g`. The rows are visited once more, for
    /// another part of them.
    fn close(&self, w: &[f64], lambda: &[f64], zeta: &Sample, gradient: &mut [f64]) -> f64 {
        let d = self.dims.w;
        let quadratic = vector::dot(w, gradient);
        visit!(self, zeta, |weight, row| {
            add_combination(&row[d * d..d * d + d], &[1.0], -weight, gradient);
            add_combination(&row[d * d + d..], lambda, -weight, gradient);
        });
        let mut value = vector::dot(w, gradient) - 0.5 * quadratic;
        for (j, (gradient, w)) in gradient.iter_mut().zip(w).enumerate() {
            let penalty = self.penalty(lambda, j) * w;
            value += 0.5 * penalty * w;
            *gradient += penalty;
        }
        value
    }
}

/// Numbers of a sum that are kept in registers.
const LANES: usize = 32;

/// `out += weight * sum_j x_j row_j` for a row-major matrix: with a symmetric one its product with `x`.
fn add_combination<T: Copy + Into<f64>>(matrix: &[T], x: &[f64], weight: f64, out: &mut [f64]) {
    let width = out.len();
    vectorize(
        #[inline(always)]
        || {
            let (blocks, rest) = out.as_chunks_mut::<LANES>();
            let done = blocks.len() * LANES;
            for (block, out) in blocks.iter_mut().enumerate() {
                let mut sums = [0.0; LANES];
                for (x, row) in x.iter().zip(matrix.chunks_exact(width)) {
                    let row: &[T; LANES] = row[block * LANES..].first_chunk().expect("a whole block");
                    for lane in 0..LANES {
                        sums[lane] += x * row[lane].into();
                    }
                }
                for lane in 0..LANES {
                    out[lane] += weight * sums[lane];
                }
            }
            for (x, row) in x.iter().zip(matrix.chunks_exact(width)) {
                for (out, &entry) in rest.iter_mut().zip(&row[done..]) {
                    *out += weight * x * entry.into();
                }
            }
        },
    );
}

/// `out_j += weight * row_j^T x` for a row-major matrix.
fn add_product<T: Copy + Into<f64>>(matrix: &[T], x: &[f64], weight: f64, out: &mut [f64]) {
    vectorize(
        #[inline(always)]
        || {
            for (out, row) in out.iter_mut().zip(matrix.chunks_exact(x.len())) {
                *out += weight * dot(row, x);
            }
        },
    );
}

#[inline(always)]
fn dot<T: Copy + Into<f64>>(row: &[T], x: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((blocks, rest), (x_blocks, x_rest)) = (row.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    for (row, x) in blocks.iter().zip(x_blocks) {
        for lane in 0..LANES {
            sums[lane] += row[lane].into() * x[lane];
        }
    }
    let mut total = sums.iter().sum::<f64>();
    for (&entry, x) in rest.iter().zip(x_rest) {
        total += entry.into() * x;
    }
    total
}

impl StochasticLoss for Quadratic {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        draw_rows(self.rows(), batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        sample_size(self.rows(), zeta)
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.gradient(w, lambda, zeta, &mut vec![0.0; w.len()])
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let d = self.dims.w;
        out.fill(0.0);
        visit!(self, zeta, |weight, row| add_combination(&row[..d * d], w, weight, out));
        self.close(w, lambda, zeta, out)
    }

    fn hessian_product(&self, _w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let d = self.dims.w;
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.penalty(lambda, j) * v[j];
        }
        visit!(self, zeta, |weight, row| add_combination(&row[..d * d], v, weight, out));
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let (d, m) = (self.dims.w, self.dims.lambda);
        out.fill(0.0);
        for j in 0..d {
            out[j % m] += self.penalty(lambda, j) * w[j] * v[j];
        }
        visit!(self, zeta, |weight, row| add_product(&row[d * d + d..], v, -weight, out));
    }

    /// In one visit: rows are long, and reading them is most of the work.
    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let [gradient, hessian_product, cross_product] = out;
        let (d, m) = (self.dims.w, self.dims.lambda);
        gradient.fill(0.0);
        cross_product.fill(0.0);
        for j in 0..d {
            let penalty = self.penalty(lambda, j);
            hessian_product[j] = penalty * v[j];
            cross_product[j % m] += penalty * w[j] * v[j];
        }
        visit!(self, zeta, |weight, row| {
            add_combination(&row[..d * d], w, weight, gradient);
            add_combination(&row[..d * d], v, weight, hessian_product);
            add_product(&row[d * d + d..], v, -weight, cross_product);
        });
        self.close(w, lambda, zeta, gradient);
    }
}

impl FirstOrder for Quadratic {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.cross_product(w, lambda, zeta, w, out);
        for (j, w) in w.iter().enumerate() {
            out[j % lambda.len()] -= 0.5 * self.penalty(lambda, j) * w * w;
        }
    }
}

impl CrossJvp for Quadratic {
    fn cross_jvp(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        let (d, m) = (self.dims.w, self.dims.lambda);
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.penalty(lambda, j) * w[j] * x[j % m];
        }
        visit!(self, zeta, |weight, row| add_combination(&row[d * d + d..], x, -weight, out));
    }
}

impl RowSumLoss for Quadratic {}

impl Curved for Quadratic {
    fn curvature<'a>(&'a self, _w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(QuadraticCurvature { hessian: self.hessian(lambda) })
    }
}

struct QuadraticCurvature {
    hessian: Mat<f64>,
}

impl Curvature for QuadraticCurvature {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        // The Hessian is symmetric, so its columns, which lie together in memory, are its rows.
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.hessian.col(j).iter().zip(v).map(|(h, v)| h * v).sum();
        }
    }

    fn diagonal(&self, out: &mut [f64]) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.hessian[(j, j)];
        }
    }

    fn factorize(&self) -> Option<Result<Box<dyn Factorization>>> {
        Some(match self.hessian.llt(Side::Lower) {
            Ok(llt) => Ok(Box::new(Cholesky(llt))),
            Err(_) => Err(Error::numeric("the Hessian of the quadratic is not positive definite")),
        })
    }
}

struct Cholesky(Llt<f64>);

impl Factorization for Cholesky {
    fn solve_in_place(&self, b: &mut [f64]) {
        let d = b.len();
        self.0.solve_in_place(faer::MatMut::from_column_major_slice_mut(b, d, 1));
    }
}

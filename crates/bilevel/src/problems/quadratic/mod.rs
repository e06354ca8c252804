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
//! A row is a matrix, so that reading the rows is most of the work: they are kept in single precision, and each is visited
//! once. All arithmetic, and the means, which are those of the numbers that are kept, are in double precision.

mod coefficients;
mod sums;
mod visit;

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, Par, Side};

use self::coefficients::Layout;
use self::visit::{MixedFactors, Products};
use super::target::Target;
use crate::error::{Error, Result};
use crate::lower::{CrossJvp, Curvature, Curved, Dims, Factorization, FirstOrder, StochasticLoss};
use crate::row_sums::RowSumLoss;
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::stop::StopSignal;
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
    layout: Layout,
    ridge: f64,
    /// The coefficients of row `i`, one after the other.
    rows: Vec<f32>,
    mean: Vec<f64>,
    upper: Target,
}

impl Quadratic {
    /// A random problem.
    pub fn random(options: &QuadraticOptions) -> Self {
        let QuadraticOptions { rows: n, w: d, lambda: m, condition, noise, .. } = *options;
        assert!(n > 0 && d > 0 && m > 0 && condition >= 1.0, "impossible sizes: {options:?}");
        let dims = Dims { w: d, lambda: m };
        let mut rng = Rng::stream(options.seed, Purpose::Start, 1000);
        let length = d * d + d + d * m;

        let q = orthonormal(Mat::from_fn(d, d, |_, _| rng.normal()));
        let mu = 1.0 / condition;
        let eigenvalue = |k: usize| if d == 1 { 1.0 } else { mu + (1.0 - mu) * k as f64 / (d - 1) as f64 };
        let scaled = Mat::from_fn(d, d, |i, k| q[(i, k)] * eigenvalue(k));
        let mut a = Mat::zeros(d, d);
        matmul(&mut a, Accum::Replace, &scaled, q.transpose(), 1.0, Par::Seq);

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
        let layout = Layout { d, m };
        let (mut packed, mut mean) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
        let mut kept: Vec<f32> = Vec::with_capacity(n * layout.len());
        for row in rows.chunks_exact_mut(length) {
            vector::axpy(-1.0, &centre, row);
            vector::axpy(1.0, &wanted, row);
            row.iter_mut().for_each(|x| *x = f64::from(*x as f32));
            for i in 0..d {
                (0..=i).for_each(|j| layout.set_symmetric(&mut packed, i, j, row[i * d + j]));
                layout.set_mixed(&mut packed, i, 0, row[d * d + i]);
                (0..m).for_each(|k| layout.set_mixed(&mut packed, i, 1 + k, row[d * d + d + i * m + k]));
            }
            vector::axpy(1.0 / n as f64, &packed, &mut mean);
            kept.extend(packed.iter().map(|&x| x as f32));
        }
        let upper = Target::random(dims, options.upper_rows, noise, options.reg, options.seed);
        Quadratic { layout, ridge: options.ridge, rows: kept, mean, upper }
    }

    /// The upper objective.
    pub fn upper(&self) -> &Target {
        &self.upper
    }

    /// The number of rows `n` of the lower level.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.layout.len()
    }

    /// Smallest and largest eigenvalue of the Hessian, `(mu, L)`.
    pub fn curvature_bounds(&self, lambda: &[f64]) -> (f64, f64) {
        let h = self.hessian(lambda);
        let values = h.self_adjoint_eigenvalues(Side::Lower).expect("a symmetric matrix has eigenvalues");
        (values[0], values[values.len() - 1])
    }

    /// `w(lambda)`.
    pub fn solution(&self, lambda: &[f64]) -> Vec<f64> {
        let mut w = vec![0.0; self.layout.d];
        let mixed = MixedFactors { of_b: 1.0, lambda, x: &[] };
        self.visit(&Sample::Full, [], Some(mixed), |products: Products<'_, 0>| products.subtract_plain(&mut w));
        vector::scale(-1.0, &mut w);
        self.llt(lambda).solve_in_place(&mut w);
        w
    }

    /// `v` with `map_step H v = grad1 E(w(lambda), lambda)`, the adjoint of the gradient-step map.
    pub fn adjoint(&self, lambda: &[f64], map_step: f64) -> Vec<f64> {
        let mut v = vec![0.0; self.layout.d];
        let mut unused = vec![0.0; self.layout.m];
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
        let mut grad_w = vec![0.0; self.layout.d];
        let mut gradient = vec![0.0; self.layout.m];
        self.upper.gradients(&w, lambda, &Sample::Full, &mut grad_w, &mut gradient);
        let mut cross = vec![0.0; self.layout.m];
        self.cross_product(&w, lambda, &Sample::Full, &u, &mut cross);
        vector::axpy(-1.0, &cross, &mut gradient);
        gradient
    }

    fn hessian(&self, lambda: &[f64]) -> Mat<f64> {
        let Layout { d, .. } = self.layout;
        Mat::from_fn(d, d, |i, j| {
            self.layout.symmetric(&self.mean, i, j) + if i == j { self.penalty(lambda, i) } else { 0.0 }
        })
    }

    fn llt(&self, lambda: &[f64]) -> Cholesky {
        Cholesky(self.hessian(lambda).llt(Side::Lower).expect("the quadratic is strongly convex"))
    }

    fn penalty(&self, lambda: &[f64], j: usize) -> f64 {
        if self.ridge == 0.0 { 0.0 } else { self.ridge * lambda[j % self.layout.m].exp() }
    }

    /// Adds `factor` times the penalty's part of the gradient at `w`, which is its Hessian times `w`.
    fn add_penalty(&self, factor: f64, lambda: &[f64], w: &[f64], out: &mut [f64]) {
        if self.ridge != 0.0 {
            out.iter_mut().zip(w).enumerate().for_each(|(j, (out, w))| *out += factor * self.penalty(lambda, j) * w);
        }
    }

    /// Adds `factor` times the penalty's part of the cross product.
    fn add_penalty_cross(&self, factor: f64, w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        if self.ridge != 0.0 {
            let parts = w.iter().zip(v).enumerate();
            parts.for_each(|(j, (w, v))| out[j % lambda.len()] += factor * self.penalty(lambda, j) * w * v);
        }
    }
}

impl StochasticLoss for Quadratic {
    fn dims(&self) -> Dims {
        Dims { w: self.layout.d, lambda: self.layout.m }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows(), batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.rows())
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.gradient(w, lambda, zeta, &mut vec![0.0; w.len()])
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let mut quadratic = 0.0;
        self.visit(zeta, [w], Some(MixedFactors { of_b: 1.0, lambda, x: &[] }), |products| {
            products.put_symmetric(0, out);
            self.add_penalty(1.0, lambda, w, out);
            quadratic = vector::dot(w, out);
            products.subtract_plain(out);
        });
        vector::dot(w, out) - 0.5 * quadratic
    }

    fn hessian_product(&self, _w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.visit(zeta, [v], None, |products| products.put_symmetric(0, out));
        self.add_penalty(1.0, lambda, v, out);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let mixed = MixedFactors { of_b: 0.0, lambda, x: v };
        self.visit(zeta, [], Some(mixed), |products: Products<'_, 0>| products.put_cross(out));
        self.add_penalty_cross(1.0, w, lambda, v, out);
    }

    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let [gradient, hessian_product, cross_product] = out;
        self.visit(zeta, [w, v], Some(MixedFactors { of_b: 1.0, lambda, x: v }), |products| {
            products.put_directions([&mut *gradient, &mut *hessian_product, &mut *cross_product]);
        });
        self.add_penalty(1.0, lambda, w, gradient);
        self.add_penalty(1.0, lambda, v, hessian_product);
        self.add_penalty_cross(1.0, w, lambda, v, cross_product);
    }

    /// All products are linear, so those with the differences are enough.
    fn directions_change(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        zeta: &Sample,
        v: [&[f64]; 2],
        out: [&mut [f64]; 3],
    ) {
        let [gradient, hessian_product, cross_product] = out;
        let [change_w, change_lambda, change_v] = [w, lambda, v].map(|[here, there]| {
            let mut change = here.to_vec();
            vector::axpy(-1.0, there, &mut change);
            change
        });
        let mixed = MixedFactors { of_b: 0.0, lambda: &change_lambda, x: &change_v };
        self.visit(zeta, [&change_w, &change_v], Some(mixed), |products| {
            products.put_directions([&mut *gradient, &mut *hessian_product, &mut *cross_product]);
        });
        for (factor, at) in [(1.0, 0), (-1.0, 1)] {
            self.add_penalty(factor, lambda[at], w[at], gradient);
            self.add_penalty(factor, lambda[at], v[at], hessian_product);
            self.add_penalty_cross(factor, w[at], lambda[at], v[at], cross_product);
        }
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
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.penalty(lambda, j) * w[j] * x[j % x.len()];
        }
        let mixed = MixedFactors { of_b: 0.0, lambda: x, x: &[] };
        self.visit(zeta, [], Some(mixed), |products: Products<'_, 0>| products.subtract_plain(out));
    }
}

impl RowSumLoss for Quadratic {}

impl Curved for Quadratic {
    fn curvature<'a>(&'a self, _w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(QuadraticCurvature { hessian: self.hessian(lambda) })
    }
}

/// The columns made orthonormal, each against those before it, twice over (Giraud, Langou, Rozloznik 2005). On one thread, so that
/// a random problem does not depend on how many there are.
fn orthonormal(mut q: Mat<f64>) -> Mat<f64> {
    for k in 0..q.ncols() {
        for before in (0..k).chain(0..k) {
            let product: f64 = q.col(before).iter().zip(q.col(k).iter()).map(|(a, b)| a * b).sum();
            for i in 0..q.nrows() {
                q[(i, k)] -= product * q[(i, before)];
            }
        }
        let inverse = 1.0 / q.col(k).norm_l2();
        (0..q.nrows()).for_each(|i| q[(i, k)] *= inverse);
    }
    q
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

    fn factorize(&self, _stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
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

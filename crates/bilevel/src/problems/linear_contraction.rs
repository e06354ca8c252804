//! A random linear contraction that is no gradient step: `Phi(w, lambda) = M w + C lambda + c`, `M` not symmetric.
//!
//! What holds for it cannot lean on symmetry by accident: a product with `M` where one with `M'` is due gives wrong numbers
//! here. The noise is simulated: sample element `s` adds
//!
//! ```text
//! noise ( u_s (z_s' w) + u_s (y_s' lambda) + a_s )
//! ```
//!
//! with independent normal `u, z, y, a` of norm about 1, hence unbiased with additive and multiplicative noise in every
//! product. Elements are numbered, each number seeds its element, and [`Sample::Full`] is the exact mean, without noise.

use std::ops::Range;

use faer::Mat;
use faer::linalg::solvers::{PartialPivLu, Solve};

use crate::lower::{Dims, Jvp, JvpLambda, StochasticMap};
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::upper::UpperObjective;
use crate::vector;

/// The map `Phi` of the module documentation.
#[derive(Debug, Clone)]
pub struct LinearContraction {
    dims: Dims,
    m: Mat<f64>,
    c: Mat<f64>,
    offset: Vec<f64>,
    noise: f64,
    seed: u64,
}

/// What [`LinearContraction::noise_constants`] returns; symbols as in the theory, section 3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContractionNoise {
    /// `E|Phi_hat(w) - Phi(w)|^2 <= sigma1 + sigma2 |Phi(w) - w|^2` for a batch.
    pub sigma1: f64,
    /// See `sigma1`.
    pub sigma2: f64,
    /// `E|(d1Phi_hat - d1Phi)^T v|^2 = m1 |v|^2` for a batch.
    pub m1: f64,
    /// `E|(d2Phi_hat - d2Phi)^T v|^2 = m2 |v|^2` for a single element.
    pub m2: f64,
}

impl LinearContraction {
    /// A random map of spectral norm exactly `contraction`, with noise of relative size `noise`.
    ///
    /// `contraction >= 1` is allowed, so that a solver's refusal can be tried.
    pub fn random(dims: Dims, contraction: f64, noise: f64, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, Purpose::Start, 1002);
        let size = (dims.w as f64).sqrt().recip();
        let mut m = Mat::from_fn(dims.w, dims.w, |_, _| rng.normal());
        let norm = largest_singular_value(&m);
        m *= faer::Scale(contraction / norm);
        let c = Mat::from_fn(dims.w, dims.lambda, |_, _| size * rng.normal());
        let offset = (0..dims.w).map(|_| size * rng.normal()).collect();
        LinearContraction { dims, m, c, offset, noise, seed }
    }

    /// `w(lambda) = (I - M)^{-1} (C lambda + c)`.
    pub fn solution(&self, lambda: &[f64]) -> Vec<f64> {
        let mut w = self.offset.clone();
        self.add_columns(&self.c, lambda, &mut w);
        let d = w.len();
        self.lu(false).solve_in_place(faer::MatMut::from_column_major_slice_mut(&mut w, d, 1));
        w
    }

    /// `v = (I - M')^{-1} grad_w`.
    pub fn adjoint(&self, grad_w: &[f64]) -> Vec<f64> {
        let mut v = grad_w.to_vec();
        let d = v.len();
        self.lu(true).solve_in_place(faer::MatMut::from_column_major_slice_mut(&mut v, d, 1));
        v
    }

    /// `grad f(lambda) = grad2 E + C' v` for an upper objective over the same variables.
    pub fn hypergradient(&self, upper: &impl UpperObjective, lambda: &[f64]) -> Vec<f64> {
        let mut grad_w = vec![0.0; self.dims.w];
        let mut gradient = vec![0.0; self.dims.lambda];
        upper.gradients(&self.solution(lambda), lambda, &Sample::Full, &mut grad_w, &mut gradient);
        let v = self.adjoint(&grad_w);
        for (j, g) in gradient.iter_mut().enumerate() {
            *g += column_dot(&self.c, j, &v);
        }
        gradient
    }

    /// The contraction `q = |M|`, the spectral norm.
    pub fn contraction(&self) -> f64 {
        largest_singular_value(&self.m)
    }

    /// `L_Phi = |C|`, the spectral norm of `d2Phi`.
    pub fn cross_norm(&self) -> f64 {
        largest_singular_value(&self.c)
    }

    /// Constants of the noise at `lambda` for batches of `batch` elements, in closed form.
    ///
    /// With `E|u|^2 = E|a|^2 = 1`, `E(z'w)^2 = |w|^2/d` and `E(y'lambda)^2 = |lambda|^2/m`, all independent, the variance of
    /// an element at `w` is `noise^2 (|w|^2/d + |lambda|^2/m + 1)`. From `|w|^2 <= 2 |w*|^2 + 2 |w - w*|^2` and
    /// `|w - w*| <= |Phi(w) - w|/(1 - q)` follow `sigma1` and `sigma2`. Likewise `E|z (u'v)|^2 = |v|^2/d = E|y (u'v)|^2`.
    pub fn noise_constants(&self, lambda: &[f64], batch: usize) -> ContractionNoise {
        let (d, m) = (self.dims.w as f64, self.dims.lambda as f64);
        let one = self.noise * self.noise;
        let gap = 1.0 - self.contraction();
        let at_solution = 2.0 * vector::norm_squared(&self.solution(lambda)) / d;
        ContractionNoise {
            sigma1: one / batch as f64 * (at_solution + vector::norm_squared(lambda) / m + 1.0),
            sigma2: 2.0 * one / (batch as f64 * d * gap * gap),
            m1: one / (batch as f64 * d),
            m2: one / d,
        }
    }

    fn lu(&self, transposed: bool) -> PartialPivLu<f64> {
        let d = self.dims.w;
        let entry = |i: usize, j: usize| f64::from(u8::from(i == j)) - self.m[if transposed { (j, i) } else { (i, j) }];
        Mat::from_fn(d, d, entry).partial_piv_lu()
    }

    /// `out += matrix x`.
    fn add_columns(&self, matrix: &Mat<f64>, x: &[f64], out: &mut [f64]) {
        for (j, &x) in x.iter().enumerate() {
            for (out, &a) in out.iter_mut().zip(matrix.col(j).iter()) {
                *out += a * x;
            }
        }
    }

    /// Calls `visit(weight, normal)` for every element of a sample; `normal()` yields its numbers `u, z, y, a` in turn.
    fn for_each_noise(&self, zeta: &Sample, mut visit: impl FnMut(f64, &mut dyn FnMut() -> f64)) {
        let mut one = |element: u64, weight: f64| {
            let mut rng = Rng::stream(self.seed, Purpose::Lower, element);
            visit(weight * self.noise, &mut || rng.normal());
        };
        let weight = 1.0 / self.size(zeta) as f64;
        match zeta {
            Sample::Full => {}
            Sample::Seed(element) => one(*element, weight),
            Sample::Rows(rows) => rows.iter().for_each(|&element| one(u64::from(element), weight)),
            Sample::Block(Range { start, end }) => (*start..*end).for_each(|element| one(element as u64, weight)),
        }
    }

    /// The vectors `(u, z, y, a)` of one element, each of norm about 1.
    fn element(&self, normal: &mut dyn FnMut() -> f64) -> [Vec<f64>; 4] {
        let Dims { w: d, lambda: m } = self.dims;
        [d, d, m, d].map(|length| (0..length).map(|_| normal() / (length as f64).sqrt()).collect())
    }
}

fn largest_singular_value(matrix: &Mat<f64>) -> f64 {
    matrix.singular_values().expect("a finite matrix has singular values")[0]
}

fn column_dot(matrix: &Mat<f64>, j: usize, x: &[f64]) -> f64 {
    matrix.col(j).iter().zip(x).map(|(a, x)| a * x).sum()
}

impl StochasticMap for LinearContraction {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(u32::MAX as usize, batch, rng, sample);
    }

    /// The exact mean counts as one element.
    fn size(&self, zeta: &Sample) -> usize {
        // A seed is one draw, too.
        zeta.rows_in(1).max(1)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        out.copy_from_slice(&self.offset);
        self.add_columns(&self.m, w, out);
        self.add_columns(&self.c, lambda, out);
        self.for_each_noise(zeta, |weight, normal| {
            let [u, z, y, a] = self.element(normal);
            vector::axpy(weight * (vector::dot(&z, w) + vector::dot(&y, lambda)), &u, out);
            vector::axpy(weight, &a, out);
        });
    }

    fn vjp_w(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = column_dot(&self.m, j, v);
        }
        self.for_each_noise(zeta, |weight, normal| {
            let [u, z, ..] = self.element(normal);
            vector::axpy(weight * vector::dot(&u, v), &z, out);
        });
    }

    fn vjp_lambda(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = column_dot(&self.c, j, v);
        }
        self.for_each_noise(zeta, |weight, normal| {
            let [u, _, y, _] = self.element(normal);
            vector::axpy(weight * vector::dot(&u, v), &y, out);
        });
    }
}

impl Jvp for LinearContraction {
    fn jvp_w(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_columns(&self.m, x, out);
        self.for_each_noise(zeta, |weight, normal| {
            let [u, z, ..] = self.element(normal);
            vector::axpy(weight * vector::dot(&z, x), &u, out);
        });
    }
}

impl JvpLambda for LinearContraction {
    fn jvp_lambda(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_columns(&self.c, x, out);
        self.for_each_noise(zeta, |weight, normal| {
            let [u, _, y, _] = self.element(normal);
            vector::axpy(weight * vector::dot(&y, x), &u, out);
        });
    }
}

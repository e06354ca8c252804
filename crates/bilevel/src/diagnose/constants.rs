//! The constants of the theory for a given problem: `mu`, `L`, the contraction `q` and the best map step.

use super::lanczos::lanczos;
use crate::error::{Error, Result};
use crate::lower::Curvature;
use crate::stop::StopSignal;
use crate::vector;
use crate::work::Work;

/// Curvature of a loss around one point, and what follows from it (theory, section 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossConstants {
    /// Smallest eigenvalue of the Hessian.
    pub mu: f64,
    /// Norm of the residual behind `mu`; where it is not small, `mu` is an upper estimate.
    pub mu_error: f64,
    /// Largest eigenvalue `L` of the Hessian.
    pub l: f64,
    /// Norm of the residual behind `l`; where it is not small, `l` is a lower estimate.
    pub l_error: f64,
    /// The best step of the gradient map, `2/(L + mu)`.
    pub map_step: f64,
    /// Contraction of the gradient map with that step, `(L - mu)/(L + mu)`.
    pub contraction: f64,
    /// Cost: `rows` a product, and a factorisation where the problem offers one.
    pub work: Work,
}

/// Extreme eigenvalues of a Hessian of size `dim` by at most `steps` Lanczos steps, each a product over `rows` rows.
///
/// Small eigenvalues are hard to reach by products with `H`, so where `H` can be factorised `mu` comes from products with
/// `H^{-1}`.
///
/// # Errors
/// Numeric, when `H` is not finite or not positive definite.
pub fn loss_constants(
    curvature: &dyn Curvature,
    dim: usize,
    rows: usize,
    steps: usize,
    seed: u64,
) -> Result<LossConstants> {
    let spectrum = lanczos(|v, out| curvature.product(v, out), dim, steps, seed)?;
    let mut work = Work::hessian_product(rows * spectrum.products);
    let (mut mu, mut mu_error) = (spectrum.smallest, spectrum.smallest_error);
    if mu_error > 1e-6 * mu.abs()
        && let Some(factorization) = curvature.factorize(&StopSignal::never())
    {
        let factorization = factorization?;
        work += Work { rows: rows as u64, factorizations: 1, ..Work::default() };
        let solve = |v: &[f64], out: &mut [f64]| {
            out.copy_from_slice(v);
            factorization.solve_in_place(out);
        };
        let inverse = lanczos(solve, dim, steps, seed)?;
        mu = 1.0 / inverse.largest;
        mu_error = mu * inverse.largest_error / inverse.largest;
    }
    if mu <= 0.0 {
        return Err(Error::numeric(format!("the Hessian has the eigenvalue {mu:e}, it is not positive definite"))
            .remedy("make the lower level strongly convex, for example with a larger penalty"));
    }
    let l = spectrum.largest;
    let (map_step, contraction) = best_gradient_step(mu, l);
    Ok(LossConstants { mu, mu_error, l, l_error: spectrum.largest_error, map_step, contraction, work })
}

/// The gradient step that contracts most for `mu I <= H <= L I`, `2/(L + mu)`, and its contraction `(L - mu)/(L + mu)`.
pub fn best_gradient_step(mu: f64, l: f64) -> (f64, f64) {
    (2.0 / (l + mu), (l - mu) / (l + mu))
}

/// Central differences of vector functions at one point.
pub(super) struct Difference<'a> {
    x: &'a [f64],
    h: f64,
    moved: Vec<f64>,
    below: Vec<f64>,
}

impl<'a> Difference<'a> {
    pub fn new(x: &'a [f64]) -> Self {
        let h = f64::EPSILON.cbrt() * (1.0 + vector::norm(x));
        Difference { x, h, moved: vec![0.0; x.len()], below: Vec::new() }
    }

    /// `out = (f(x + h u) - f(x - h u))/(2 h)` with `h` scaled to the length of `u`; linear in `u`.
    pub fn along(&mut self, u: &[f64], out: &mut [f64], f: impl Fn(&[f64], &mut [f64])) {
        let norm = vector::norm(u);
        if norm == 0.0 {
            return out.fill(0.0);
        }
        let h = self.h / norm;
        self.below.resize(out.len(), 0.0);
        self.moved.copy_from_slice(self.x);
        vector::axpy(-h, u, &mut self.moved);
        f(&self.moved, &mut self.below);
        self.moved.copy_from_slice(self.x);
        vector::axpy(h, u, &mut self.moved);
        f(&self.moved, out);
        vector::axpy(-1.0, &self.below, out);
        vector::scale(0.5 / h, out);
    }
}

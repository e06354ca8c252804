//! Conjugate gradients on the normal equations, for matrices that are neither symmetric nor definite.
//!
//! `A x = b` is solved as `A' A x = A' b` without ever forming `A' A` (CGLS: Hestenes, Stiefel 1952; Bjorck 1996, chapter
//! 7). The residual falls at every step, like `((kappa - 1)/(kappa + 1))^k` with the condition number `kappa` of `A`
//! itself, so a system that conjugate gradients could solve takes about the square of their steps here, two products each.
//! In exchange there is no matrix but a singular one that it cannot solve, and that one it recognises: a residual that
//! vanishes under `A'` and not by itself is reported as [`Status::NotContraction`].

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::status::{Info, Status};
use crate::vector;
use crate::work::Work;

/// Steps without a noticeably smaller residual after which rounding is taken to have the upper hand.
const PATIENCE: usize = 200;
/// Restarts from the true residual before giving up.
const RESTARTS: usize = 3;
/// `|A' r| / (|A| |r|)` below which `r` is as good as orthogonal to the range of `A`.
const ORTHOGONAL: f64 = 1e-13;

/// Settings of the solve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NormalEquations {
    /// Largest number of steps, of two products each.
    pub steps: usize,
    /// Stop when `|b - A x| <= tolerance |b|`. Zero: make all steps.
    pub tolerance: f64,
}

impl NormalEquations {
    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.tolerance >= 0.0 && self.tolerance < 1.0 {
            Ok(())
        } else {
            Err(Error::input(format!("tolerance = {} of the linear system must be in [0, 1)", self.tolerance)))
        }
    }

    /// Solves `A x = b` from the start `x`; `product(p, out)` sets `out = A p` and `transposed(p, out)` sets `out = A' p`.
    ///
    /// `rows_per_product` is the work of either. The returned residual is the true `|b - A x|` after convergence, and the
    /// recursive one otherwise.
    pub fn solve(
        &self,
        mut product: impl FnMut(&[f64], &mut [f64]),
        mut transposed: impl FnMut(&[f64], &mut [f64]),
        b: &[f64],
        x: &mut [f64],
        rows_per_product: usize,
    ) -> Info {
        assert_eq!(b.len(), x.len(), "lengths of the system differ");
        let zeros = || vec![0.0; b.len()];
        let (mut r, mut s, mut p, mut image) = (zeros(), zeros(), zeros(), zeros());
        let (mut products, mut steps) = (0, 0);
        let info = |status, steps, residual: f64, products: usize| Info {
            status,
            steps,
            residual: Some(residual),
            work: Work::hessian_product(products * rows_per_product),
        };
        let b_norm = vector::norm(b);
        if !(b_norm.is_finite() && vector::all_finite(x)) {
            return info(Status::Diverged, 0, f64::NAN, 0);
        }
        if b_norm == 0.0 {
            x.fill(0.0);
            return info(Status::Converged, 0, 0.0, 0);
        }
        let target = self.tolerance * b_norm;
        let (mut last_true, mut largest) = (f64::INFINITY, 0.0_f64);
        for restart in 0..=RESTARTS {
            if restart == 0 && x.iter().all(|&x| x == 0.0) {
                r.copy_from_slice(b);
            } else {
                product(x, &mut image);
                products += 1;
                vector::subtract(b, &image, &mut r);
            }
            let mut size = vector::norm(&r);
            if !size.is_finite() {
                return info(Status::Diverged, steps, size, products);
            }
            if size <= target {
                return info(Status::Converged, steps, size, products);
            }
            if size > 0.5 * last_true {
                return info(Status::Stagnated, steps, size, products);
            }
            last_true = size;
            transposed(&r, &mut s);
            products += 1;
            p.copy_from_slice(&s);
            let mut gamma = vector::norm_squared(&s);
            let (mut best, mut since_best) = (size, 0);
            while size > target && since_best < PATIENCE {
                if steps == self.steps {
                    return info(Status::StepLimit, steps, size, products);
                }
                // At rounding level the residual may do that although the matrix is sound.
                if gamma.sqrt() <= ORTHOGONAL * largest * size || gamma == 0.0 {
                    let exhausted = size <= 1e3 * f64::EPSILON * b_norm;
                    let status = if exhausted { Status::Stagnated } else { Status::NotContraction };
                    return info(status, steps, size, products);
                }
                product(&p, &mut image);
                let curvature = vector::norm_squared(&image);
                largest = largest.max((curvature / vector::norm_squared(&p)).sqrt());
                if curvature == 0.0 || !(curvature.is_finite() && gamma.is_finite()) {
                    let status = if curvature == 0.0 { Status::NotContraction } else { Status::Diverged };
                    return info(status, steps, size, products + 1);
                }
                let length = gamma / curvature;
                vector::axpy(length, &p, x);
                vector::axpy(-length, &image, &mut r);
                transposed(&r, &mut s);
                products += 2;
                let next = vector::norm_squared(&s);
                vector::xpby(&s, next / gamma, &mut p);
                gamma = next;
                steps += 1;
                size = vector::norm(&r);
                if size < (1.0 - 1e-9) * best {
                    (best, since_best) = (size, 0);
                } else {
                    since_best += 1;
                }
            }
            if self.tolerance == 0.0 {
                let status = if size == 0.0 { Status::Converged } else { Status::Stagnated };
                return info(status, steps, size, products);
            }
        }
        info(Status::Stagnated, steps, last_true, products)
    }
}

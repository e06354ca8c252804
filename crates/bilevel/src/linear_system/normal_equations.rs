//! Conjugate gradients on the normal equations, for matrices that are neither symmetric nor definite.
//!
//! `A x = b` is solved as `A' A x = A' b` without ever forming `A' A` (CGLS: Hestenes, Stiefel 1952; Bjorck 1996, chapter
//! 7). The residual falls at every step, like `((kappa - 1)/(kappa + 1))^k` with the condition number `kappa` of `A`
//! itself, so a system that conjugate gradients could solve takes about the square of their steps here, two products each.
//! In exchange there is no matrix but a singular one that it cannot solve, and that one it recognises: a residual that
//! vanishes under `A'` and not by itself is reported as [`Status::NotContraction`].

use serde::{Deserialize, Serialize};

use super::residual::{TrueResidual, check_tolerance, report, worked_out};
use crate::error::Result;
use crate::status::{Info, Status};
use crate::vector;

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
        check_tolerance(self.tolerance)
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
        let zeros = || vec![0.0; b.len()];
        let (mut r, mut s, mut p, mut image) = (zeros(), zeros(), zeros(), zeros());
        let (mut products, mut steps) = (0, 0);
        let end = |end, steps, products| report(end, steps, products, rows_per_product);
        let mut truth = match TrueResidual::new(b, x, self.tolerance, 0.5) {
            Ok(truth) => truth,
            Err(at) => return end(at, 0, 0),
        };
        let mut largest = 0.0_f64;
        for _ in 0..=RESTARTS {
            let mut size = match truth.at(x, &mut product, &mut image, &mut r, &mut products) {
                Ok(size) => size,
                Err(at) => return end(at, steps, products),
            };
            transposed(&r, &mut s);
            products += 1;
            p.copy_from_slice(&s);
            let mut gamma = vector::norm_squared(&s);
            let (mut best, mut since_best) = (size, 0);
            while size > truth.target && since_best < PATIENCE {
                if steps == self.steps {
                    return end((Status::StepLimit, size), steps, products);
                }
                if gamma.sqrt() <= ORTHOGONAL * largest * size || gamma == 0.0 {
                    return end(truth.breakdown(size), steps, products);
                }
                product(&p, &mut image);
                let curvature = vector::norm_squared(&image);
                largest = largest.max((curvature / vector::norm_squared(&p)).sqrt());
                if curvature == 0.0 || !(curvature.is_finite() && gamma.is_finite()) {
                    let status = if curvature == 0.0 { Status::NotContraction } else { Status::Diverged };
                    return end((status, size), steps, products + 1);
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
                return end(worked_out(size), steps, products);
            }
        }
        end((Status::Stagnated, truth.last), steps, products)
    }
}

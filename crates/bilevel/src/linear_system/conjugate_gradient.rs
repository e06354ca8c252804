//! Preconditioned conjugate gradients that say when they cannot work.
//!
//! A system `A x = b` with a matrix that is not positive definite has directions `p' A p <= 0`; going on along them gives
//! numbers without meaning, so the solve stops there with [`Status::NotContraction`]. The recursive residual drifts away
//! from the true one, so convergence is only reported after the true residual was computed.

use serde::{Deserialize, Serialize};

use super::residual::{TrueResidual, check_tolerance, report, worked_out};
use crate::error::Result;
use crate::lower::Factorization;
use crate::status::{Info, Status};
use crate::stop::StopSignal;
use crate::vector;

/// Steps without a smaller residual after which rounding is taken to have the upper hand.
const PATIENCE: usize = 200;
/// Restarts from the true residual before giving up.
const RESTARTS: usize = 3;

/// Settings of the solve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConjugateGradient {
    /// Largest number of steps.
    pub steps: usize,
    /// Stop when `|b - A x| <= tolerance |b|`. Zero: make all steps.
    pub tolerance: f64,
}

/// An approximate inverse of the matrix, applied once a step.
#[derive(Clone, Copy)]
pub enum Preconditioner<'a> {
    /// The identity.
    None,
    /// Division by positive numbers near `A_jj`.
    Diagonal(&'a [f64]),
    /// A factorisation of a nearby matrix.
    Factorized(&'a dyn Factorization),
}

impl std::fmt::Debug for Preconditioner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Preconditioner::None => f.write_str("None"),
            Preconditioner::Diagonal(diagonal) => f.debug_tuple("Diagonal").field(diagonal).finish(),
            Preconditioner::Factorized(_) => f.write_str("Factorized(..)"),
        }
    }
}

/// Memory of a solve, kept by the caller.
#[derive(Debug, Clone)]
pub struct CgWorkspace {
    residual: Vec<f64>,
    preconditioned: Vec<f64>,
    direction: Vec<f64>,
    image: Vec<f64>,
}

impl CgWorkspace {
    /// Memory for systems of size `dim`.
    pub fn new(dim: usize) -> Self {
        let zeros = vec![0.0; dim];
        CgWorkspace { residual: zeros.clone(), preconditioned: zeros.clone(), direction: zeros.clone(), image: zeros }
    }
}

impl ConjugateGradient {
    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        check_tolerance(self.tolerance)
    }

    /// Solves `A x = b` from the start `x`; `product(p, out)` sets `out = A p`.
    ///
    /// `rows_per_product` is the work of
    /// one product, in rows. The returned residual is the true `|b - A x|` after convergence, and the recursive one
    /// otherwise.
    pub fn solve(
        &self,
        product: impl FnMut(&[f64], &mut [f64]),
        preconditioner: Preconditioner<'_>,
        b: &[f64],
        x: &mut [f64],
        rows_per_product: usize,
        workspace: &mut CgWorkspace,
    ) -> Info {
        let never = StopSignal::never();
        match self.solve_until(product, preconditioner, b, x, rows_per_product, workspace, &never) {
            Ok(info) => info,
            Err(_) => unreachable!("nothing asks to stop"),
        }
    }

    /// [`ConjugateGradient::solve`] that looks at `stop` before each product.
    ///
    /// # Errors
    /// Interrupted, once `stop` is raised; `x` is then the last iterate.
    #[allow(clippy::too_many_arguments)]
    pub fn solve_until(
        &self,
        mut product: impl FnMut(&[f64], &mut [f64]),
        preconditioner: Preconditioner<'_>,
        b: &[f64],
        x: &mut [f64],
        rows_per_product: usize,
        workspace: &mut CgWorkspace,
        stop: &StopSignal,
    ) -> Result<Info> {
        assert_eq!(b.len(), workspace.residual.len(), "lengths of the system differ");
        let CgWorkspace { residual: r, preconditioned: z, direction: p, image } = workspace;
        let mut products = 0;
        let mut steps = 0;
        let end = |end, steps, products| Ok(report(end, steps, products, rows_per_product));
        let mut truth = match TrueResidual::new(b, x, self.tolerance, 0.5) {
            Ok(truth) => truth,
            Err(at) => return end(at, 0, 0),
        };
        for _ in 0..=RESTARTS {
            stop.check()?;
            let mut size = match truth.at(x, &mut product, image, r, &mut products) {
                Ok(size) => size,
                Err(at) => return end(at, steps, products),
            };
            precondition(preconditioner, r, z);
            p.copy_from_slice(z);
            let mut rz = vector::dot(r, z);
            let (mut best, mut since_best) = (size, 0);
            while size > truth.target && since_best < PATIENCE {
                if steps == self.steps {
                    return end((Status::StepLimit, size), steps, products);
                }
                stop.check()?;
                product(p, image);
                products += 1;
                let curvature = vector::dot(p, image);
                if !(curvature.is_finite() && rz.is_finite()) {
                    return end((Status::Diverged, size), steps, products);
                }
                if curvature <= 0.0 || rz <= 0.0 {
                    return end(truth.breakdown(size), steps, products);
                }
                let length = rz / curvature;
                vector::axpy(length, p, x);
                vector::axpy(-length, image, r);
                precondition(preconditioner, r, z);
                let next = vector::dot(r, z);
                vector::xpby(z, next / rz, p);
                rz = next;
                steps += 1;
                size = vector::norm(r);
                if size < best {
                    (best, since_best) = (size, 0);
                } else {
                    since_best += 1;
                }
                if rz == 0.0 {
                    break;
                }
            }
            if self.tolerance == 0.0 {
                return end(worked_out(size), steps, products);
            }
        }
        end((Status::Stagnated, truth.last), steps, products)
    }
}

fn precondition(preconditioner: Preconditioner<'_>, r: &[f64], z: &mut [f64]) {
    match preconditioner {
        Preconditioner::None => z.copy_from_slice(r),
        Preconditioner::Diagonal(diagonal) => z.iter_mut().zip(r).zip(diagonal).for_each(|((z, r), d)| *z = r / d),
        Preconditioner::Factorized(factorization) => {
            z.copy_from_slice(r);
            factorization.solve_in_place(z);
        }
    }
}

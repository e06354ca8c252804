//! What all solves of this folder begin with: settings that make sense, systems that need no step, and the true residual.

use crate::error::{Error, Result};
use crate::status::{Info, Status};
use crate::vector;
use crate::work::Work;

/// Refuses tolerances outside `[0, 1)`.
pub(super) fn check_tolerance(tolerance: f64) -> Result<()> {
    if (0.0..1.0).contains(&tolerance) {
        Ok(())
    } else {
        Err(Error::input(format!("tolerance = {tolerance} of the linear system must be in [0, 1)")))
    }
}

/// The end of a solve: how, and at which `|b - A x|`.
pub(super) type End = (Status, f64);

/// What a solve reports.
pub(super) fn report((status, residual): End, steps: usize, products: usize, rows_per_product: usize) -> Info {
    Info { status, steps, residual: Some(residual), work: Work::hessian_product(products * rows_per_product) }
}

/// `b - A x` at the beginning of each cycle of a solve, computed and not carried along.
pub(super) struct TrueResidual<'a> {
    b: &'a [f64],
    /// Norm at which the solve has converged.
    pub target: f64,
    /// Norm of `b`.
    pub b_norm: f64,
    /// A cycle that leaves more than this part of the residual makes no progress.
    progress: f64,
    /// At the beginning of the last cycle; infinite before the first.
    pub last: f64,
}

impl<'a> TrueResidual<'a> {
    /// For `A x = b` from the start `x`; the end where that needs no step.
    pub fn new(b: &'a [f64], x: &mut [f64], tolerance: f64, progress: f64) -> Result<Self, End> {
        assert_eq!(b.len(), x.len(), "lengths of the system differ");
        let b_norm = vector::norm(b);
        if !(b_norm.is_finite() && vector::all_finite(x)) {
            return Err((Status::Diverged, f64::NAN));
        }
        if b_norm == 0.0 {
            x.fill(0.0);
            return Err((Status::Converged, 0.0));
        }
        Ok(TrueResidual { b, target: tolerance * b_norm, b_norm, progress, last: f64::INFINITY })
    }

    /// `r = b - A x` and its norm, or the end of the solve; a cold start saves the product.
    pub fn at(
        &mut self,
        x: &[f64],
        mut product: impl FnMut(&[f64], &mut [f64]),
        image: &mut [f64],
        r: &mut [f64],
        products: &mut usize,
    ) -> Result<f64, End> {
        if self.last.is_infinite() && x.iter().all(|&x| x == 0.0) {
            r.copy_from_slice(self.b);
        } else {
            product(x, image);
            *products += 1;
            vector::subtract(self.b, image, r);
        }
        let size = vector::norm(r);
        let end = match size {
            size if !size.is_finite() => Status::Diverged,
            size if size <= self.target => Status::Converged,
            size if size > self.progress * self.last => Status::Stagnated,
            size => {
                self.last = size;
                return Ok(size);
            }
        };
        Err((end, size))
    }

    /// The end of a solve that breaks down at a residual of this size. At rounding level that happens with sound matrices too.
    pub fn breakdown(&self, size: f64) -> End {
        let exhausted = size <= 1e3 * f64::EPSILON * self.b_norm;
        (if exhausted { Status::Stagnated } else { Status::NotContraction }, size)
    }
}

/// The end of a solve that makes all steps it can, whatever the residual.
pub(super) fn worked_out(size: f64) -> End {
    (if size == 0.0 { Status::Converged } else { Status::Stagnated }, size)
}

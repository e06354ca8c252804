//! Conjugate gradients in the geometry of the kernel.

use super::basis::Basis;
use super::preconditioner::Preconditioner;
use super::row_space::RowSpace;
use crate::stop::StopSignal;
use crate::{Error, Result, vector};

/// The system of one Hessian.
pub(super) struct System<'s> {
    pub space: &'s RowSpace,
    pub curvature: &'s [f64],
    pub basis: &'s Basis,
    pub preconditioner: &'s Preconditioner,
}

/// What a solve came to.
pub(super) struct Solved {
    /// Products with the kernel.
    pub steps: usize,
    /// Whether the aim was reached.
    pub reached: bool,
}

impl System<'_> {
    /// Adds to `x` and to its lifted `lx` the solution of `H dx = r`; `r` is overwritten by what remains.
    ///
    /// The pairing of a residual with a point is that of the weights, `r^T K x`. `aim(x, energy)` is the error at which
    /// to end, where `energy` is the decrease of `x^T H x / 2 - r^T x` so far, doubled.
    pub fn solve(
        &self,
        r: &mut [f64],
        x: &mut [f64],
        lx: &mut [f64],
        steps: usize,
        aim: impl Fn(&[f64], f64) -> f64,
        stop: &StopSignal,
    ) -> Result<Solved> {
        let dim = r.len();
        let (mut z, mut lz, mut image) = (vec![0.0; dim], vec![0.0; dim], vec![0.0; dim]);
        let (mut p, mut lp) = (vec![0.0; dim], vec![0.0; dim]);
        let (mut last, mut energy) = (f64::INFINITY, 0.0);
        let mut done = 0;
        loop {
            if stop.is_raised() {
                return Err(Error::interrupted());
            }
            self.preconditioner.apply(self.space, self.basis, r, &mut z);
            self.space.lift(&z, &mut lz);
            let error = vector::dot(r, &lz);
            let solved = |reached| Solved { steps: done + 1, reached };
            if !error.is_finite() {
                return Err(Error::numeric("the linear system of the lower level is not finite"));
            }
            if error <= aim(x, energy) || error <= 0.0 {
                return Ok(solved(true));
            }
            if done == steps {
                return Ok(solved(false));
            }
            let ratio = if done == 0 { 0.0 } else { error / last };
            last = error;
            vector::xpby(&z, ratio, &mut p);
            vector::xpby(&lz, ratio, &mut lp);
            self.space.hessian_product(self.curvature, &p, &lp, &mut image);
            let bend = vector::dot(&lp, &image);
            if bend <= 0.0 {
                return Ok(solved(false));
            }
            let length = error / bend;
            vector::axpy(length, &p, x);
            vector::axpy(length, &lp, lx);
            vector::axpy(-length, &image, r);
            energy += length * error;
            done += 1;
        }
    }
}

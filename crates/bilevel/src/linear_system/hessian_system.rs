//! The system that Newton's method and implicit differentiation solve: a Hessian, and a gradient on the right.

use super::{CgWorkspace, ConjugateGradient, Preconditioner};
use crate::error::Result;
use crate::lower::Curvature;
use crate::status::Info;
use crate::stop::StopSignal;
use crate::vector;

/// The system `H x = b`.
#[derive(Clone, Copy)]
pub(crate) struct HessianSystem<'a> {
    pub hessian: &'a dyn Curvature,
    pub b: &'a [f64],
    /// Rows that a product with `H` visits.
    pub rows: usize,
    pub stop: &'a StopSignal,
}

impl HessianSystem<'_> {
    /// Solves `(H + damping I) x = b` from the start `x`.
    pub fn solve(
        &self,
        cg: ConjugateGradient,
        preconditioner: Preconditioner<'_>,
        damping: f64,
        x: &mut [f64],
        workspace: &mut CgWorkspace,
    ) -> Result<Info> {
        let product = |v: &[f64], out: &mut [f64]| {
            self.hessian.product(v, out);
            if damping > 0.0 {
                vector::axpy(damping, v, out);
            }
        };
        cg.solve_until(product, preconditioner, self.b, x, self.rows, workspace, self.stop)
    }
}

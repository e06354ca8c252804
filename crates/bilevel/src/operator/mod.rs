//! Random operators: the one kind of equation `x = T(x)`, `T = E[T_hat]`, behind both solves of a hypergradient.
//!
//! The lower level `w = Phi(w, lambda)` and the linear system `v = Psi_w(v)` differ only in the operator, so a solver is
//! written once against [`RandomOperator`]. Better estimates of the direction (variance reduction, for one) are operators
//! that wrap an operator, which is why `apply` may change `self`; a [`Direction`] says which to put around both.

mod adjoint;
mod anchoring;
mod control_variate;
mod direction;
mod lower;
mod pooled;
mod row_memory;
mod saga;
mod svrg;

pub use adjoint::AdjointOperator;
pub use anchoring::{AnchorPoint, Anchoring, ByRecomputing, ByRemembering, Images, RowMemories};
pub use control_variate::ControlVariate;
pub use direction::{Direction, Plain, SagaDirection, SvrgDirection};
pub use lower::LowerOperator;
pub(crate) use pooled::PooledOperator;
pub use row_memory::{Remembered, RowMemory, RowSumOperator};
pub use saga::Saga;
pub use svrg::Svrg;

use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// A map `T = E[T_hat]` of R^d into itself that can be sampled.
pub trait RandomOperator {
    /// The dimension `d`.
    fn dim(&self) -> usize;

    /// Draws a sample of `batch` elements; reuses the buffers of `sample` where it can.
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample);

    /// `out = T_hat(x, sample)`; returns what it cost.
    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work;

    /// `out = T_hat(x, sample) - T_hat(anchor, sample)`, both on one sample; returns what it cost.
    ///
    /// Affine operators need one product for it instead of two.
    fn difference(&mut self, x: &[f64], anchor: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let mut there = vec![0.0; anchor.len()];
        let work = self.apply(anchor, sample, &mut there) + self.apply(x, sample, out);
        vector::axpy(-1.0, &there, out);
        work
    }
}

impl<O: RandomOperator + ?Sized> RandomOperator for Box<O> {
    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        (**self).draw(batch, rng, sample);
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        (**self).apply(x, sample, out)
    }

    fn difference(&mut self, x: &[f64], anchor: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        (**self).difference(x, anchor, sample, out)
    }
}

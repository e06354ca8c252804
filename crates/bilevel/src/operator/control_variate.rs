//! An operator with the noise that another one shows at an anchor taken out.

use super::RandomOperator;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// `T_hat(x, zeta) - A_hat(a, zeta) + A(a)`: the mean of `moving` and, where `moving` at `x` and `anchored` at `a` are
/// close, next to none of its variance.
///
/// [`Svrg`](super::Svrg) is the case of one operator that renews its own anchor. Here the anchor is given: many runs share one
/// exact evaluation, and the operators may differ, as those of adjoint systems at different `w` do.
#[derive(Debug)]
pub struct ControlVariate<'a, T, A> {
    /// The operator `T` whose fixed point is wanted.
    pub moving: T,
    /// The operator `A` of the anchor, on samples of the same kind.
    pub anchored: A,
    /// The anchor `a`.
    pub anchor: &'a [f64],
    /// `A(a)`.
    pub mean: &'a [f64],
}

impl<T: RandomOperator, A: RandomOperator> RandomOperator for ControlVariate<'_, T, A> {
    fn dim(&self) -> usize {
        self.moving.dim()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.moving.draw(batch, rng, sample);
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let mut there = vec![0.0; self.anchor.len()];
        let work = self.anchored.apply(self.anchor, sample, &mut there) + self.moving.apply(x, sample, out);
        vector::axpy(-1.0, &there, out);
        vector::axpy(1.0, self.mean, out);
        work
    }
}

//! One operator on the samples of several streams.

use super::RandomOperator;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// The mean of one operator over several streams of samples: `T_hat(x) = mean_i T_hat(x, zeta_i)`, one sample from each
/// stream at every application.
///
/// As if the batch were larger, but on samples that other runs see as well.
#[derive(Debug)]
pub struct PooledOperator<'s, O> {
    /// The operator.
    pub inner: O,
    /// Elements drawn from each stream.
    pub batch: usize,
    /// The streams.
    pub streams: &'s mut [Rng],
    sample: Sample,
    image: Vec<f64>,
}

impl<'s, O: RandomOperator> PooledOperator<'s, O> {
    /// Pools samples of `batch` elements from each of `streams`.
    pub fn new(inner: O, batch: usize, streams: &'s mut [Rng]) -> Self {
        let image = vec![0.0; inner.dim()];
        PooledOperator { inner, batch, streams, sample: Sample::Full, image }
    }
}

impl<O: RandomOperator> RandomOperator for PooledOperator<'_, O> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Samples are drawn when they are needed, from the streams of the pool.
    fn draw(&self, _batch: usize, _rng: &mut Rng, _sample: &mut Sample) {}

    fn apply(&mut self, x: &[f64], _sample: &Sample, out: &mut [f64]) -> Work {
        let weight = 1.0 / self.streams.len() as f64;
        out.fill(0.0);
        let mut work = Work::default();
        for stream in self.streams.iter_mut() {
            self.inner.draw(self.batch, stream, &mut self.sample);
            work += self.inner.apply(x, &self.sample, &mut self.image);
            vector::axpy(weight, &self.image, out);
        }
        work
    }
}

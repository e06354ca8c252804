//! Upper objective that pulls the lower solution to a target: `E = (1/n) sum_j 1/2 |w - c_j|^2 + reg/2 |lambda|^2`.
//!
//! Its minimiser and both gradients are known in closed form, and its rows make it stochastic where a test needs that.

use crate::lower::Dims;
use crate::row_sums::RowSumObjective;
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::upper::UpperObjective;
use crate::vector;

/// `E_hat(w, lambda, j) = 1/2 |w - c_j|^2 + reg/2 |lambda|^2`.
#[derive(Debug, Clone)]
pub struct Target {
    dims: Dims,
    /// Row-major, one target `c_j` in R^d a row.
    targets: Vec<f64>,
    mean: Vec<f64>,
    reg: f64,
}

impl Target {
    /// `rows` targets around a random centre of norm about 1, `spread` apart from it.
    pub fn random(dims: Dims, rows: usize, spread: f64, reg: f64, seed: u64) -> Self {
        assert!(rows > 0, "the target objective needs at least one row");
        let mut rng = Rng::stream(seed, Purpose::Start, 1001);
        let size = (dims.w as f64).sqrt();
        let centre: Vec<f64> = (0..dims.w).map(|_| rng.normal() / size).collect();
        let targets: Vec<f64> =
            (0..rows).flat_map(|_| centre.clone()).map(|c| c + spread * rng.normal() / size).collect();
        Target::new(dims, targets, reg)
    }

    /// These targets, one `c_j` in R^d after the other.
    ///
    /// # Panics
    /// When there are none, or their lengths do not fit.
    pub fn new(dims: Dims, targets: Vec<f64>, reg: f64) -> Self {
        let count = targets.len() / dims.w;
        assert!(count > 0 && targets.len() == count * dims.w, "targets must be rows of length {}", dims.w);
        let mut mean = vec![0.0; dims.w];
        for row in targets.chunks_exact(dims.w) {
            vector::axpy(1.0 / count as f64, row, &mut mean);
        }
        Target { dims, targets, mean, reg }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.targets.len() / self.dims.w
    }

    fn row(&self, j: usize) -> &[f64] {
        &self.targets[j * self.dims.w..(j + 1) * self.dims.w]
    }
}

impl UpperObjective for Target {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows(), batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        xi.rows_in(self.rows())
    }

    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        xi.for_each_row(self.rows(), |j| {
            sum += vector::distance_squared(w, self.row(j));
            count += 1.0;
        });
        0.5 * sum / count + 0.5 * self.reg * vector::norm_squared(lambda)
    }

    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        vector::scaled_copy(self.reg, lambda, grad_lambda);
        if *xi == Sample::Full {
            vector::subtract(w, &self.mean, grad_w);
        } else {
            let count = self.size(xi) as f64;
            grad_w.copy_from_slice(w);
            xi.for_each_row(self.rows(), |j| vector::axpy(-1.0 / count, self.row(j), grad_w));
        }
        self.value(w, lambda, xi)
    }
}

impl RowSumObjective for Target {}

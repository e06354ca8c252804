//! Is the mean over samples what [`Sample::Full`] computes?
//!
//! A sampled product that is scaled wrongly, or that leaves out rows, still looks like a gradient and converges to a wrong
//! answer. The test compares means along random directions by their z-scores, so its error probability is known.

use super::check::Check;
use crate::lower::StochasticMap;
use crate::sample::{Purpose, Rng, Sample};
use crate::upper::UpperObjective;
use crate::vector;

/// Directions along which vectors are compared.
const DIRECTIONS: u64 = 3;
/// Comparisons that draw from different streams.
const COMPARISONS: u64 = 6;

/// Settings of the test.
///
/// Each comparison draws samples of its own, and one that fails is repeated once on others: it has failed where both did. With
/// `z = 5` and means that are normal, a right problem fails along one direction with probability `(6e-7)^2`; rare samples far from
/// the others make a single failure likelier than that, and two still rare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unbiased {
    /// Samples to draw; the test finds a relative bias of about `z / sqrt(samples)` standard deviations of a sample.
    pub samples: usize,
    /// Elements of each.
    pub batch: usize,
    /// Largest z-score that passes.
    pub z: f64,
    /// Relative rounding error of one evaluation.
    pub precision: f64,
    /// Seed of samples and directions.
    pub seed: u64,
}

impl Default for Unbiased {
    fn default() -> Self {
        Unbiased { samples: 2000, batch: 4, z: 5.0, precision: f64::EPSILON, seed: 0 }
    }
}

impl Unbiased {
    /// `apply`, `vjp_w` and `vjp_lambda` of a map. For a loss, wrap it: `GradientMap { loss, map_step: 1.0 }`.
    pub fn map<M: StochasticMap + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64]) -> Vec<Check> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, 1);
        let v: Vec<f64> = (0..w.len()).map(|_| rng.normal()).collect();
        let draw = |rng: &mut Rng, sample: &mut Sample| map.draw(self.batch, rng, sample);
        vec![
            self.compare(("apply", 0), w.len(), draw, |zeta, out| map.apply(w, lambda, zeta, out)),
            self.compare(("vjp_w", 1), w.len(), draw, |zeta, out| map.vjp_w(w, lambda, zeta, &v, out)),
            self.compare(("vjp_lambda", 2), lambda.len(), draw, |zeta, out| map.vjp_lambda(w, lambda, zeta, &v, out)),
        ]
    }

    /// The value and both gradients of an upper objective.
    pub fn upper<U: UpperObjective + ?Sized>(&self, upper: &U, w: &[f64], lambda: &[f64]) -> Vec<Check> {
        let draw = |rng: &mut Rng, sample: &mut Sample| upper.draw(self.batch, rng, sample);
        let (mut other_w, mut other_lambda) = (vec![0.0; w.len()], vec![0.0; lambda.len()]);
        vec![
            self.compare(("value", 3), 1, draw, |xi, out| out[0] = upper.value(w, lambda, xi)),
            self.compare(("grad_w", 4), w.len(), draw, |xi, out| {
                upper.gradients(w, lambda, xi, out, &mut other_lambda);
            }),
            self.compare(("grad_lambda", 5), lambda.len(), draw, |xi, out| {
                upper.gradients(w, lambda, xi, &mut other_w, out);
            }),
        ]
    }

    /// Mean of `evaluate` over samples against its value on everything, once more where it is far from it.
    fn compare(
        &self,
        (name, number): (&str, u64),
        length: usize,
        draw: impl Fn(&mut Rng, &mut Sample),
        mut evaluate: impl FnMut(&Sample, &mut [f64]),
    ) -> Check {
        let mut z = |stream| self.z_score(stream, length, &draw, &mut evaluate);
        let first = z(number);
        let measure = if first <= self.z { first } else { z(number + COMPARISONS) };
        let message = format!("mean of {} samples is {measure:.1} standard errors from the exact value", self.samples);
        Check::new(name, measure <= self.z, Some(measure), message)
    }

    /// How many standard errors the mean over the samples of a stream is off; the worst of a few random directions.
    fn z_score(
        &self,
        stream: u64,
        length: usize,
        draw: &impl Fn(&mut Rng, &mut Sample),
        evaluate: &mut impl FnMut(&Sample, &mut [f64]),
    ) -> f64 {
        let mut rng = Rng::stream(self.seed, Purpose::Lower, stream);
        let mut directions = Rng::stream(self.seed, Purpose::Start, 2);
        let directions: Vec<Vec<f64>> =
            (0..DIRECTIONS).map(|_| (0..length).map(|_| directions.normal()).collect()).collect();
        let mut out = vec![0.0; length];
        evaluate(&Sample::Full, &mut out);
        let along = |out: &[f64]| -> Vec<f64> { directions.iter().map(|p| vector::dot(p, out)).collect() };
        let exact = along(&out);
        let sizes: Vec<f64> = directions.iter().map(|p| vector::dot_abs(p, &out)).collect();

        // Welford's running mean and sum of squares, one pair a direction.
        let (mut mean, mut squares) = (vec![0.0; directions.len()], vec![0.0; directions.len()]);
        let mut sample = Sample::Full;
        for count in 1..=self.samples {
            draw(&mut rng, &mut sample);
            evaluate(&sample, &mut out);
            for (i, value) in along(&out).into_iter().enumerate() {
                let difference = value - mean[i];
                mean[i] += difference / count as f64;
                squares[i] += difference * (value - mean[i]);
            }
        }
        let n = self.samples as f64;
        let z = |i: usize| {
            let std_error = (squares[i] / (n * (n - 1.0).max(1.0))).sqrt();
            let rounding = 1e3 * self.precision * sizes[i].max(mean[i].abs());
            (mean[i] - exact[i]).abs() / (std_error + rounding).max(f64::MIN_POSITIVE)
        };
        (0..directions.len()).map(z).fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) })
    }
}

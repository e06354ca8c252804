//! What independent replicates of a vector tell: its mean, standard errors, and how far off the mean may be.

use statrs::distribution::{ContinuousCDF, FisherSnedecor, StudentsT};

use crate::vector;

/// Mean of independent replicates, and their spread.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    pub mean: Vec<f64>,
    /// `tr S`, the total variance of one replicate.
    pub variance: f64,
    /// `(tr S)^2 / tr(S^2)`: how many directions share the variance, from 1 to the dimension.
    pub directions: f64,
    pub count: usize,
}

impl Spread {
    /// Of at least two replicates of one length.
    pub fn of(replicates: &[Vec<f64>]) -> Self {
        let count = replicates.len();
        assert!(count >= 2, "a spread needs two replicates");
        let mean = mean(replicates);
        let centred: Vec<Vec<f64>> = replicates
            .iter()
            .map(|replicate| replicate.iter().zip(&mean).map(|(x, mean)| x - mean).collect())
            .collect();
        let free = (count - 1) as f64;
        let variance = centred.iter().map(|x| vector::norm_squared(x)).sum::<f64>() / free;
        let mut squares = 0.0;
        for (i, x) in centred.iter().enumerate() {
            squares += vector::norm_squared(x).powi(2);
            squares += 2.0 * centred[..i].iter().map(|y| vector::dot(x, y).powi(2)).sum::<f64>();
        }
        let most = (mean.len() as f64).max(1.0);
        let directions = directions(variance, squares / (free * free), count as f64).min(most).max(1.0);
        Spread { mean, variance, directions, count }
    }

    /// `r` with `P(|mean - expectation| <= r) = probability` for a mean of `count` replicates with this spread.
    ///
    /// `|mean - expectation|^2` is close to `tr S / count` times a chi-square over its degrees of freedom `nu`
    /// (Satterthwaite: `nu = (tr S)^2 / tr S^2`), and with `tr S` estimated to an F with `nu` and `nu (n - 1)`.
    pub fn radius(&self, count: usize, probability: f64) -> f64 {
        if self.variance == 0.0 {
            return 0.0;
        }
        let free = self.directions * (self.count - 1) as f64;
        let quantile = FisherSnedecor::new(self.directions, free).map_or(f64::INFINITY, |f| f.inverse_cdf(probability));
        (self.variance / count as f64 * quantile).sqrt()
    }

    /// `|mean|^2` without what noise alone would make of it.
    pub fn signal_squared(&self) -> f64 {
        (vector::norm_squared(&self.mean) - self.variance / self.count as f64).max(0.0)
    }
}

/// `(tr S)^2 / tr(S^2)` from the trace of an estimate of `S` and that of its square, by `n` replicates.
///
/// For normal replicates `(n-1)^2 / ((n+1)(n-2)) (tr \hat S^2 - (tr \hat S)^2 / (n-1))` has the mean `tr S^2`. Of few it is so
/// uncertain that a radius would hold with up to five points less than its probability; with `(n-1)/(n+3)` of the directions it
/// does not (from 4 replicates on, of one direction to a hundred).
fn directions(trace: f64, trace_of_square: f64, n: f64) -> f64 {
    let unbiased = (n - 1.0).powi(2) / ((n + 1.0) * (n - 2.0)) * (trace_of_square - trace * trace / (n - 1.0));
    match n > 2.0 && unbiased > 0.0 {
        true => trace * trace / unbiased * (n - 1.0) / (n + 3.0),
        // Two replicates tell one direction; of more, nothing speaks against many.
        false if n > 2.0 => f64::INFINITY,
        false => 1.0,
    }
}

/// The mean of vectors of one length.
pub(super) fn mean(replicates: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; replicates[0].len()];
    for replicate in replicates {
        vector::axpy(1.0 / replicates.len() as f64, replicate, &mut mean);
    }
    mean
}

/// Standard error of the mean of `values`.
pub(super) fn std_error(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / ((n - 1.0) * n)).sqrt()
}

/// The factor of a standard error with so many degrees of freedom that makes a two-sided interval of this probability.
///
/// # Panics
/// When the probability is not from 0 to 1.
pub(super) fn t_factor(free: f64, probability: f64) -> f64 {
    assert!((0.0..=1.0).contains(&probability), "the probability {probability} of an interval must be from 0 to 1");
    StudentsT::new(0.0, 1.0, free).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + 0.5 * probability))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Purpose, Rng};

    /// With 4000 trials, less than 0.95 - 0.016 has the probability 2e-6 where 0.95 is kept.
    #[test]
    fn radii_hold_with_their_probability() {
        let mut rng = Rng::stream(11, Purpose::Start, 0);
        let harmonic: Vec<f64> = (1..=20).map(|j| 1.0 / j as f64).collect();
        for variances in [&[1.0, 0.25, 0.05, 0.02, 0.01, 0.005][..], &[1.0; 10], &[1.0, 1e-4, 1e-4], &harmonic] {
            for count in [4, 8, 16] {
                let trials = 4000;
                let held = (0..trials).filter(|_| {
                    let mut replicate = || variances.iter().map(|v| v.sqrt() * rng.normal()).collect::<Vec<f64>>();
                    let spread = Spread::of(&(0..count).map(|_| replicate()).collect::<Vec<_>>());
                    vector::norm(&spread.mean) <= spread.radius(count, 0.95)
                });
                let share = held.count() as f64 / f64::from(trials);
                assert!(share > 0.934, "{count} replicates of {variances:?}: {share}");
            }
        }
    }
}

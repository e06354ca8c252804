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
        // Mean of (x_i' x_j)^2 over pairs; centring can only make it too large, and the directions too few.
        let mut squares = 0.0;
        for i in 0..count {
            for j in 0..i {
                squares += vector::dot(&centred[i], &centred[j]).powi(2);
            }
        }
        let squares = 2.0 * squares / (count as f64 * free);
        let most = mean.len() as f64;
        let directions = if squares > 0.0 { (variance * variance / squares).clamp(1.0, most.max(1.0)) } else { 1.0 };
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
pub(super) fn t_factor(free: f64, probability: f64) -> f64 {
    StudentsT::new(0.0, 1.0, free).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + 0.5 * probability))
}

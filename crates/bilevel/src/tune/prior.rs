//! Shrinkage: a hyper-prior that pulls log-penalties together.
//!
//! With one penalty a feature, the criterion is tuned so exactly that it overfits. The remedy lies between one penalty
//! and many: `lambda_j ~ N(mean of its group, s^2)`, group means `~ N(mean, s^2)`. The criterion is a mean loss over
//! `n` rows, so as the exponent of a posterior it is `n` times larger, and the pull relative to it is
//! `dispersion / (n s^2)`. The spread `s` is chosen on rows that do not steer; `s = 0` is the shared penalty, `s`
//! infinite is no pull.

use crate::problems::glm::Penalty;

/// `strength / 2 (sum_j (lambda_j - mean_g(j))^2 + sum_g (mean_g - mean)^2)`.
#[derive(Debug, Clone)]
pub(super) struct Prior {
    strength: f64,
    of_hyperparameter: Vec<u32>,
    group_sizes: Vec<f64>,
}

impl Prior {
    /// A pull with spread `s` for the hyperparameters of `penalty`; `groups` are those of the features.
    pub(super) fn new(penalty: &Penalty, groups: &[u32], spread: f64, dispersion: f64, rows: usize) -> Self {
        let of_hyperparameter = match penalty {
            Penalty::PerFeature { .. } => groups.to_vec(),
            _ => (0..penalty.hyperparameters() as u32).collect(),
        };
        let mut group_sizes = vec![0.0; of_hyperparameter.iter().max().map_or(0, |&g| g as usize + 1)];
        of_hyperparameter.iter().for_each(|&g| group_sizes[g as usize] += 1.0);
        Prior { strength: dispersion / (rows as f64 * spread * spread), of_hyperparameter, group_sizes }
    }

    /// Adds the derivative to `gradient` and returns the value.
    pub(super) fn add(&self, lambda: &[f64], gradient: &mut [f64]) -> f64 {
        if self.strength == 0.0 {
            return 0.0;
        }
        let mut means = vec![0.0; self.group_sizes.len()];
        for (&g, l) in self.of_hyperparameter.iter().zip(lambda) {
            means[g as usize] += l / self.group_sizes[g as usize];
        }
        // Groups may be numbered beyond those in use.
        let used = self.group_sizes.iter().filter(|&&size| size > 0.0).count() as f64;
        let mean = means.iter().zip(&self.group_sizes).filter(|(_, s)| **s > 0.0).map(|(m, _)| m).sum::<f64>() / used;
        let mut sum = 0.0;
        for (j, (&g, l)) in self.of_hyperparameter.iter().zip(lambda).enumerate() {
            let (within, between) = (l - means[g as usize], means[g as usize] - mean);
            sum += within * within + between * between / self.group_sizes[g as usize];
            gradient[j] += self.strength * (within + between / self.group_sizes[g as usize]);
        }
        0.5 * self.strength * sum
    }
}

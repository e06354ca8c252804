//! The loss a target calls for.

use super::model::target_numbers;
use super::options::LossChoice;
use crate::data::{Dataset, Target};
use crate::problems::glm::Loss;
use crate::{Error, Result};

/// Targets whose median is known well enough.
const ENOUGH_TARGETS: usize = 1 << 20;

/// The loss that was asked for, or the one that suits the target; an error where they do not fit.
pub(super) fn choose_loss(train: &Dataset, choice: LossChoice) -> Result<Loss> {
    let classes = match &train.target {
        Target::Classes { names, .. } => names.len(),
        Target::Values(_) => 0,
    };
    let mismatch = |what: &str| {
        let has = if classes == 0 { "numbers".to_string() } else { format!("{classes} classes") };
        Error::input(format!("a {what} model does not fit a target of {has}"))
    };
    match choice {
        LossChoice::Auto if classes == 0 => Ok(Loss::Squared),
        LossChoice::Auto | LossChoice::Logistic if classes == 2 => Ok(Loss::Logistic),
        LossChoice::Auto | LossChoice::Softmax if classes >= 2 => Ok(Loss::Softmax { classes }),
        LossChoice::SquaredHinge if classes == 2 => Ok(Loss::SquaredHinge),
        LossChoice::Squared if classes == 0 => Ok(Loss::Squared),
        LossChoice::Huber if classes == 0 => Ok(Loss::Huber { delta: huber_delta(train) }),
        LossChoice::Poisson if classes == 0 => {
            if target_numbers(train).iter().any(|&y| y < 0.0) {
                return Err(Error::input("a Poisson model needs targets that are not negative"));
            }
            Ok(Loss::Poisson)
        }
        LossChoice::Logistic | LossChoice::SquaredHinge => Err(mismatch("two-class")),
        LossChoice::Softmax | LossChoice::Auto => Err(mismatch("softmax")),
        LossChoice::Squared | LossChoice::Huber => Err(mismatch("regression")),
        LossChoice::Poisson => Err(mismatch("Poisson")),
    }
}

/// Targets that stand for all of `y`: of rows that are in random order already the first ones, so that no copy of all
/// targets is sorted.
fn some_targets<'a>(train: &Dataset, y: &'a [f64]) -> &'a [f64] {
    match &train.arrangement {
        Some(_) => &y[..y.len().min(ENOUGH_TARGETS)],
        None => y,
    }
}

/// 1.345 robust standard deviations of the target: 95 % efficient at the normal. From the median absolute deviation, or from the mean
/// one where half of the targets are equal.
fn huber_delta(train: &Dataset) -> f64 {
    let y = target_numbers(train);
    let y = some_targets(train, &y);
    let weights = train.weights.as_deref();
    let centre = weighted_median(y.to_vec(), weights);
    let deviations: Vec<f64> = y.iter().map(|y| (y - centre).abs()).collect();
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..y.len()).map(weight).sum();
    let mean = deviations.iter().enumerate().map(|(row, deviation)| weight(row) * deviation).sum::<f64>() / total;
    let median = weighted_median(deviations, weights);
    // Both are standard deviations of a normal distribution.
    let deviation = if median > 0.0 { 1.4826 * median } else { 1.2533 * mean };
    if deviation > 0.0 { 1.345 * deviation } else { 1.0 }
}

/// The smallest of `values` such that it and those below it weigh more than half of all.
fn weighted_median(values: Vec<f64>, weights: Option<&[f64]>) -> f64 {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..values.len()).map(weight).sum();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut below = 0.0;
    let found = order.iter().find(|&&row| {
        below += weight(row);
        below > 0.5 * total
    });
    found.map_or(f64::NAN, |&row| values[row])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_for_equal_values() {
        let values = vec![3.0, 1.0, 2.0, 9.0];
        assert_eq!(weighted_median(values.clone(), None), 3.0);
        assert_eq!(weighted_median(values, Some(&[1.0, 4.0, 0.0, 2.0])), 1.0);
        assert_eq!(weighted_median(vec![1.0, 1.0, 1.0, 1.0, 3.0, 9.0, 9.0], None), 1.0);
    }
}

//! The loss a target calls for.

use super::model::target_numbers;
use super::options::LossChoice;
use crate::data::{Dataset, Target};
use crate::problems::glm::{Loss, weighted_median};
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
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let weighted = |value: &dyn Fn(f64) -> f64| y.iter().enumerate().map(|(row, &y)| (value(y), weight(row))).collect();
    let centre = weighted_median(weighted(&|y| y));
    let deviations: Vec<(f64, f64)> = weighted(&|y| (y - centre).abs());
    let total: f64 = deviations.iter().map(|(_, weight)| weight).sum();
    let mean = deviations.iter().map(|(deviation, weight)| weight * deviation).sum::<f64>() / total;
    let median = weighted_median(deviations);
    // Both are standard deviations of a normal distribution.
    let deviation = if median > 0.0 { 1.4826 * median } else { 1.2533 * mean };
    if deviation > 0.0 { 1.345 * deviation } else { 1.0 }
}

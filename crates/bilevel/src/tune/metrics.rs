//! How good predictions are.

use serde::{Deserialize, Serialize};

use crate::problems::glm::Loss;

/// Figures of a model on some rows; those that do not apply to its loss are absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss.
    pub loss: f64,
    /// Share of right classes.
    pub accuracy: Option<f64>,
    /// Area under the ROC curve (two classes).
    pub auc: Option<f64>,
    /// Coefficient of determination (regression).
    pub r2: Option<f64>,
    /// Share of the null deviance that is explained (counts).
    pub deviance_explained: Option<f64>,
}

impl Metrics {
    /// The figures of `margins` (row after row, `loss.outputs()` each) against the targets `y`.
    ///
    /// A figure that the rows cannot give (one class only, a constant target, no rows) is absent as well.
    pub fn compute(loss: Loss, margins: &[f64], y: &[f64]) -> Self {
        let sum = loss.value(&mut margins.to_vec(), y, None);
        let two_classes = matches!(loss, Loss::Logistic | Loss::SquaredHinge);
        let regression = matches!(loss, Loss::Squared | Loss::Huber { .. });
        Metrics {
            loss: sum / y.len() as f64,
            accuracy: loss.is_classifier().then(|| accuracy(loss, margins, y)).flatten(),
            auc: two_classes.then(|| auc(margins, y)).flatten(),
            r2: regression.then(|| r2(margins, y)).flatten(),
            deviance_explained: (loss == Loss::Poisson).then(|| deviance_explained(margins, y)).flatten(),
        }
    }

    /// The one figure a person asks for first, with its name: accuracy, R², deviance explained.
    pub fn headline(&self) -> Option<(&'static str, f64)> {
        (self.accuracy.map(|value| ("accuracy", value)))
            .or(self.r2.map(|value| ("R²", value)))
            .or(self.deviance_explained.map(|value| ("deviance explained", value)))
    }
}

/// The class each row of margins speaks for: the largest one, the first of equals; of one margin, its sign.
pub fn predicted_classes(loss: Loss, margins: &[f64]) -> impl Iterator<Item = u32> + '_ {
    margins.chunks_exact(loss.outputs()).map(|row| match row {
        [margin] => u32::from(*margin > 0.0),
        _ => (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u32,
    })
}

fn accuracy(loss: Loss, margins: &[f64], y: &[f64]) -> Option<f64> {
    let right = predicted_classes(loss, margins).zip(y).filter(|&(class, &y)| f64::from(class) == y).count();
    share(right as f64, y.len() as f64)
}

/// Area under the ROC curve as the Mann-Whitney statistic: the probability that a row of class 1 has a larger score
/// than one of class 0, equal scores counting one half.
pub(crate) fn auc(scores: &[f64], y: &[f64]) -> Option<f64> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
    let (mut wins, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for equals in order.chunk_by(|&a, &b| scores[a as usize] == scores[b as usize]) {
        let ones = equals.iter().filter(|&&row| y[row as usize] == 1.0).count() as f64;
        let zeros = equals.len() as f64 - ones;
        wins += ones * (negatives + 0.5 * zeros);
        positives += ones;
        negatives += zeros;
    }
    share(wins, positives * negatives)
}

fn r2(predictions: &[f64], y: &[f64]) -> Option<f64> {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let residual: f64 = predictions.iter().zip(y).map(|(p, y)| (p - y) * (p - y)).sum();
    let total: f64 = y.iter().map(|y| (y - mean) * (y - mean)).sum();
    share(residual, total).map(|unexplained| 1.0 - unexplained)
}

fn deviance_explained(log_rates: &[f64], y: &[f64]) -> Option<f64> {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    // Half the deviance of one row; `y ln(y / rate)` is 0 at `y = 0`.
    let half = |y: f64, log_rate: f64, rate: f64| if y > 0.0 { y * (y.ln() - log_rate) } else { 0.0 } - (y - rate);
    let model: f64 = log_rates.iter().zip(y).map(|(&m, &y)| half(y, m, m.exp())).sum();
    let null: f64 = y.iter().map(|&y| half(y, mean.ln(), mean)).sum();
    share(model, null).map(|unexplained| 1.0 - unexplained)
}

/// `part / whole`, absent where it is not a finite number.
fn share(part: f64, whole: f64) -> Option<f64> {
    Some(part / whole).filter(|ratio| whole > 0.0 && ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classification() {
        let m = Metrics::compute(Loss::Logistic, &[-1.0, 2.0, 0.5, -0.5], &[0.0, 1.0, 0.0, 1.0]);
        assert_eq!(m.accuracy, Some(0.5));
        assert_eq!(m.auc, Some(0.75));
        assert_eq!((m.r2, m.deviance_explained), (None, None));
        let by_hand: f64 = [(-1.0, 0.0), (2.0, 1.0), (0.5, 0.0), (-0.5, 1.0)]
            .iter()
            .map(|&(m, y): &(f64, f64)| m.exp().ln_1p() - y * m)
            .sum();
        assert!((m.loss - by_hand / 4.0).abs() < 1e-14);

        let classes = Loss::Softmax { classes: 3 };
        let m = Metrics::compute(classes, &[0.0, 1.0, 0.0, 3.0, 3.0, 1.0], &[1.0, 1.0]);
        assert_eq!((m.accuracy, m.auc), (Some(0.5), None), "the first of equal margins is the prediction");
    }

    #[test]
    fn regression_and_counts() {
        let m = Metrics::compute(Loss::Squared, &[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0]);
        assert!((m.r2.unwrap() - 0.5).abs() < 1e-15 && (m.loss - 1.0 / 6.0).abs() < 1e-15);
        let y = [0.0, 2.0, 4.0];
        let null = Metrics::compute(Loss::Poisson, &[2f64.ln(); 3], &y);
        assert!(null.deviance_explained.unwrap().abs() < 1e-12);
        let right = Metrics::compute(Loss::Poisson, &[-40.0, 2f64.ln(), 4f64.ln()], &y);
        assert!((right.deviance_explained.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn figures_the_rows_cannot_give_are_absent() {
        assert_eq!(Metrics::compute(Loss::Logistic, &[1.0, 2.0], &[1.0, 1.0]).auc, None);
        assert_eq!(Metrics::compute(Loss::Squared, &[1.0, 2.0], &[3.0, 3.0]).r2, None);
        assert_eq!(Metrics::compute(Loss::Poisson, &[1.0, 2.0], &[0.0, 0.0]).deviance_explained, None);
    }

    proptest! {
        #[test]
        fn auc_is_the_share_of_pairs_in_order(
            rows in prop::collection::vec((0..6i32, prop::bool::ANY), 1..40)
        ) {
            let scores: Vec<f64> = rows.iter().map(|&(s, _)| f64::from(s)).collect();
            let y: Vec<f64> = rows.iter().map(|&(_, y)| f64::from(u8::from(y))).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for (&s1, _) in scores.iter().zip(&y).filter(|&(_, &y)| y == 1.0) {
                for (&s0, _) in scores.iter().zip(&y).filter(|&(_, &y)| y == 0.0) {
                    pairs += 1.0;
                    wins += if s1 > s0 { 1.0 } else if s1 == s0 { 0.5 } else { 0.0 };
                }
            }
            match auc(&scores, &y) {
                Some(area) => prop_assert!((area - wins / pairs).abs() < 1e-12),
                None => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}

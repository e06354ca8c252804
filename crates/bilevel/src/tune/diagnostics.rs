//! Where a model is right and where it is wrong: the numbers behind the pictures of a report.

use serde::Serialize;

use super::metrics::{Metrics, predicted_classes};
use crate::problems::glm::Loss;
use crate::sample::{Purpose, Rng};

/// Classes up to which a confusion matrix is kept.
const MOST_CLASSES: usize = 200;
/// Bins of the calibration curve, equally wide.
const CALIBRATION_BINS: usize = 10;
/// Bins of the histogram of residuals.
const RESIDUAL_BINS: usize = 31;
/// Rows shown in the plot of observed against predicted values.
const SHOWN_ROWS: usize = 600;

/// Predictions set against the truth, on rows the model was not fitted to. Rows that chose its penalties flatter it, the more so
/// the more penalties there are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostics {
    /// Which rows, in words: `test rows`, `held-out rows`, `rows of the other folds`.
    pub rows_are: String,
    /// Number of rows.
    pub rows: usize,
    /// Figures on these rows.
    pub metrics: Metrics,
    /// For classifiers of not too many classes.
    pub confusion: Option<Confusion>,
    /// For classifiers with probabilities.
    pub calibration: Option<Calibration>,
    /// For regression and counts.
    pub residuals: Option<Residuals>,
}

/// How often each class was taken for each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
    /// Number of classes `C`.
    pub classes: usize,
    /// `C x C` counts of rows; row: true class, column: predicted class.
    pub counts: Vec<u64>,
}

/// Predicted probabilities against what happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// True when the probability is that of class 1 (two classes), false when it is that of the predicted class.
    pub of_class_one: bool,
    /// Bins that hold rows, by rising probability.
    pub bins: Vec<CalibrationBin>,
    /// Mean distance between the two, weighted by rows (the expected calibration error).
    pub error: f64,
}

/// Rows of about the same predicted probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of rows in which the event happened.
    pub observed: f64,
    /// Number of rows.
    pub rows: usize,
}

/// Predictions of numbers against the numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Residuals {
    /// `(predicted, observed)` of a random choice of the rows, and of all when they are few.
    pub shown: Vec<(f64, f64)>,
    /// Left edge of the histogram of `observed - predicted`.
    pub from: f64,
    /// Width of a bin.
    pub width: f64,
    /// Rows in each bin; the outer bins hold the tails beyond them as well.
    pub counts: Vec<usize>,
    /// Mean of `|observed - predicted|`.
    pub mean_absolute: f64,
    /// Square root of the mean of `(observed - predicted)^2`.
    pub root_mean_square: f64,
}

impl Diagnostics {
    /// Compares `margins` (row after row, `loss.outputs()` each) with the targets `y`; `weights` are those of the metrics,
    /// everything else counts rows; `rows_are` names the rows.
    pub fn compute(
        loss: Loss,
        margins: &[f64],
        y: &[f64],
        weights: Option<&[f64]>,
        rows_are: impl Into<String>,
    ) -> Self {
        Self::using_up(loss, margins.to_vec(), y, weights, rows_are)
    }

    /// The same in the memory of `margins`.
    pub(crate) fn using_up(
        loss: Loss,
        mut margins: Vec<f64>,
        y: &[f64],
        weights: Option<&[f64]>,
        rows_are: impl Into<String>,
    ) -> Self {
        let probabilities = matches!(loss, Loss::Logistic | Loss::Softmax { .. });
        let confusion = Confusion::compute(loss, &margins, y);
        let calibration = (probabilities && !y.is_empty()).then(|| Calibration::compute(loss, &margins, y));
        // The margins of classes are in another order from here on; those of numbers are where they were.
        let metrics = Metrics::using_up(loss, &mut margins, y, weights);
        let residuals = (!loss.is_classifier() && !y.is_empty()).then(|| {
            loss.predict(&mut margins);
            Residuals::compute(&margins, y)
        });
        Diagnostics { rows_are: rows_are.into(), rows: y.len(), metrics, confusion, calibration, residuals }
    }
}

impl Confusion {
    fn compute(loss: Loss, margins: &[f64], y: &[f64]) -> Option<Self> {
        let pairs = y.iter().map(|&y| y as u32).zip(predicted_classes(loss, margins));
        loss.is_classifier().then(|| Confusion::of_classes(loss.outputs().max(2), pairs)).flatten()
    }

    /// From pairs of a true and a predicted class; nothing where there are too many classes for a table.
    pub fn of_classes(classes: usize, pairs: impl IntoIterator<Item = (u32, u32)>) -> Option<Self> {
        if classes > MOST_CLASSES {
            return None;
        }
        let mut counts = vec![0; classes * classes];
        for (truth, predicted) in pairs {
            counts[truth as usize * classes + predicted as usize] += 1;
        }
        Some(Confusion { classes, counts })
    }

    /// Rows of class `truth` that were taken for `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// Rows of class `truth`.
    pub fn rows_of(&self, truth: usize) -> u64 {
        self.counts[truth * self.classes..(truth + 1) * self.classes].iter().sum()
    }
}

impl Calibration {
    fn compute(loss: Loss, margins: &[f64], y: &[f64]) -> Self {
        /// Rows whose probabilities are in memory at a time.
        const ROWS: usize = 1 << 12;
        let of_class_one = loss == Loss::Logistic;
        let mut sums = [(0.0, 0.0, 0usize); CALIBRATION_BINS];
        for (margins, y) in margins.chunks(ROWS * loss.outputs()).zip(y.chunks(ROWS)) {
            let mut probabilities = margins.to_vec();
            loss.predict(&mut probabilities);
            for (row, &y) in probabilities.chunks_exact(loss.outputs()).zip(y) {
                let largest = (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
                let happened = if of_class_one { y == 1.0 } else { y == largest as f64 };
                let bin = &mut sums[((row[largest] * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
                *bin = (bin.0 + row[largest], bin.1 + f64::from(u8::from(happened)), bin.2 + 1);
            }
        }
        let bins: Vec<_> = (sums.iter().filter(|bin| bin.2 > 0))
            .map(|&(predicted, observed, rows)| {
                let share = 1.0 / rows as f64;
                CalibrationBin { predicted: predicted * share, observed: observed * share, rows }
            })
            .collect();
        let distance: f64 = bins.iter().map(|bin| (bin.predicted - bin.observed).abs() * bin.rows as f64).sum();
        Calibration { of_class_one, bins, error: distance / y.len() as f64 }
    }
}

impl Residuals {
    fn compute(predictions: &[f64], y: &[f64]) -> Self {
        let residuals = || y.iter().zip(predictions).map(|(y, p)| y - p);
        let rows = y.len() as f64;
        let mean_absolute = residuals().map(f64::abs).sum::<f64>() / rows;
        let root_mean_square = (residuals().map(|r| r * r).sum::<f64>() / rows).sqrt();
        // Three and a half standard deviations to each side, or less when all residuals are smaller.
        let largest = residuals().fold(0.0f64, |largest, r| largest.max(r.abs()));
        let reach = (3.5 * root_mean_square).min(largest).max(f64::MIN_POSITIVE);
        let width = 2.0 * reach / RESIDUAL_BINS as f64;
        let mut counts = vec![0; RESIDUAL_BINS];
        for residual in residuals() {
            let bin = ((residual + reach) / width).clamp(0.0, (RESIDUAL_BINS - 1) as f64);
            counts[bin as usize] += 1;
        }
        let mut order: Vec<u32> = (0..y.len() as u32).collect();
        if order.len() > SHOWN_ROWS {
            Rng::stream(0, Purpose::Split, y.len() as u64).shuffle(&mut order);
            order.truncate(SHOWN_ROWS);
        }
        let shown = order.iter().map(|&row| (predictions[row as usize], y[row as usize])).collect();
        Residuals { shown, from: -reach, width, counts, mean_absolute, root_mean_square }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes() {
        let d = Diagnostics::compute(Loss::Logistic, &[-3.0, -3.0, 3.0, 3.0], &[0.0, 1.0, 1.0, 1.0], None, "test rows");
        let confusion = d.confusion.unwrap();
        assert_eq!(confusion.counts, [1, 0, 1, 2]);
        assert_eq!((confusion.count(1, 0), confusion.rows_of(1)), (1, 3));
        let calibration = d.calibration.unwrap();
        assert_eq!(calibration.bins.iter().map(|b| b.rows).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(calibration.bins.iter().map(|b| b.observed).collect::<Vec<_>>(), [0.5, 1.0]);
        assert!(d.residuals.is_none() && calibration.of_class_one);
    }

    #[test]
    fn the_hinge_has_no_probabilities() {
        let d = Diagnostics::compute(Loss::SquaredHinge, &[-3.0, 3.0], &[0.0, 1.0], None, "test rows");
        assert!(d.calibration.is_none() && d.confusion.is_some());
    }

    #[test]
    fn residuals_are_all_counted() {
        let y: Vec<f64> = (0..2000).map(|i| f64::from(i % 17)).collect();
        let d = Diagnostics::compute(Loss::Squared, &vec![8.0; 2000], &y, None, "test rows");
        let residuals = d.residuals.unwrap();
        assert_eq!(residuals.counts.iter().sum::<usize>(), 2000);
        assert_eq!(residuals.shown.len(), SHOWN_ROWS);
        assert!((residuals.from + residuals.width * residuals.counts.len() as f64 / 2.0).abs() < 1e-12);
        let exact = Diagnostics::compute(Loss::Squared, &[1.0], &[1.0], None, "test rows").residuals.unwrap();
        assert!(exact.width > 0.0 && exact.counts.iter().sum::<usize>() == 1);
    }
}

//! How good predictions are.

use serde::{Deserialize, Serialize};

use crate::problems::glm::Loss;

/// Figures of a model on some rows; those that do not apply to its loss are absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss.
    pub loss: f64,
    /// Standard error of the mean loss, the rows taken as independent; absent for fewer than two.
    pub std_error: Option<f64>,
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
    /// The figures of `margins` (row after row, `loss.outputs()` each) against the targets `y`, with `weights` where rows
    /// do not all count the same.
    ///
    /// A figure that the rows cannot give (one class only, a constant target, no rows) is absent as well.
    pub fn compute(loss: Loss, margins: &[f64], y: &[f64], weights: Option<&[f64]>) -> Self {
        match has_auc(loss) {
            true => Self::using_up(loss, &mut margins.to_vec(), y, weights),
            false => Self::besides_auc(loss, margins, y, Counts::new(y, weights)),
        }
    }

    /// The same in the memory of `margins`, which are in another order afterwards where there is an area under the curve: of
    /// many rows, a copy of their margins is what takes the most memory.
    pub(crate) fn using_up(loss: Loss, margins: &mut [f64], y: &[f64], weights: Option<&[f64]>) -> Self {
        let counts = Counts::new(y, weights);
        let figures = Self::besides_auc(loss, margins, y, counts);
        Metrics { auc: has_auc(loss).then(|| auc(margins, y, counts)).flatten(), ..figures }
    }

    fn besides_auc(loss: Loss, margins: &[f64], y: &[f64], counts: Counts<'_>) -> Self {
        let mean_loss = sum_of_losses(loss, margins, y, counts.weights) / counts.total;
        let regression = matches!(loss, Loss::Squared | Loss::Huber { .. });
        Metrics {
            loss: mean_loss,
            std_error: std_error(loss, margins, y, mean_loss, counts),
            accuracy: loss.is_classifier().then(|| accuracy(loss, margins, y, counts)).flatten(),
            auc: None,
            r2: regression.then(|| r2(margins, y, counts)).flatten(),
            deviance_explained: (loss == Loss::Poisson).then(|| deviance_explained(margins, y, counts)).flatten(),
        }
    }

    /// The one figure a person asks for first, with its name: accuracy, R², deviance explained.
    pub fn headline(&self) -> Option<(&'static str, f64)> {
        (self.accuracy.map(|value| ("accuracy", value)))
            .or(self.r2.map(|value| ("R²", value)))
            .or(self.deviance_explained.map(|value| ("deviance explained", value)))
    }
}

/// Whether the loss is one of two classes.
fn has_auc(loss: Loss) -> bool {
    matches!(loss, Loss::Logistic | Loss::SquaredHinge)
}

/// Some rows at a time: the loss overwrites margins, and a copy of all of them would be large.
fn sum_of_losses(loss: Loss, margins: &[f64], y: &[f64], weights: Option<&[f64]>) -> f64 {
    const ROWS: usize = 1 << 12;
    let some = margins.chunks(ROWS * loss.outputs()).zip(y.chunks(ROWS)).enumerate();
    some.map(|(at, (margins, y))| {
        let weights = weights.map(|weights| &weights[at * ROWS..at * ROWS + y.len()]);
        loss.value(&mut margins.to_vec(), y, weights)
    })
    .sum()
}

/// The class each row of margins speaks for: the largest one, the first of equals; of one margin, its sign.
pub fn predicted_classes(loss: Loss, margins: &[f64]) -> impl Iterator<Item = u32> + '_ {
    margins.chunks_exact(loss.outputs()).map(|row| match row {
        [margin] => u32::from(*margin > 0.0),
        _ => (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u32,
    })
}

/// What each row counts, and all of them together.
#[derive(Clone, Copy)]
pub(crate) struct Counts<'a> {
    weights: Option<&'a [f64]>,
    total: f64,
}

impl<'a> Counts<'a> {
    fn new(y: &[f64], weights: Option<&'a [f64]>) -> Self {
        Counts { weights, total: weights.map_or(y.len() as f64, |weights| weights.iter().sum()) }
    }

    fn of(self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// `sum_i c_i x_i` over the rows that `values` goes through.
    fn sum(self, values: impl Iterator<Item = f64>) -> f64 {
        values.enumerate().map(|(row, value)| self.of(row) * value).sum()
    }

    /// The mean of `y`: of equal numbers that number, without a rounding.
    fn mean(self, y: &[f64]) -> f64 {
        let first = (0..y.len()).find(|&row| self.of(row) > 0.0).map_or(0.0, |row| y[row]);
        first + self.sum(y.iter().map(|y| y - first)) / self.total
    }
}

/// `sqrt(sum_i c_i^2 (l_i - l)^2) / sum_i c_i`, and a little more for few rows.
fn std_error(loss: Loss, margins: &[f64], y: &[f64], mean: f64, counts: Counts<'_>) -> Option<f64> {
    let n = y.len() as f64;
    let mut row = vec![0.0; loss.outputs()];
    let deviations = margins.chunks_exact(loss.outputs()).zip(y).map(|(margins, &y)| {
        row.copy_from_slice(margins);
        loss.value(&mut row, &[y], None) - mean
    });
    let squares: f64 = deviations.enumerate().map(|(row, d)| (counts.of(row) * d).powi(2)).sum();
    let error = (squares * n / (n - 1.0)).sqrt() / counts.total;
    Some(error).filter(|error| n > 1.0 && error.is_finite())
}

fn accuracy(loss: Loss, margins: &[f64], y: &[f64], counts: Counts<'_>) -> Option<f64> {
    let right = predicted_classes(loss, margins).zip(y).map(|(class, &y)| f64::from(u8::from(f64::from(class) == y)));
    share(counts.sum(right), counts.total)
}

/// Area under the ROC curve as the Mann-Whitney statistic: the probability that a row of class 1 has a larger score
/// than one of class 0, equal scores counting one half. Leaves the scores in another order.
fn auc(scores: &mut [f64], y: &[f64], counts: Counts<'_>) -> Option<f64> {
    if counts.weights.is_some() {
        return weighted_auc(scores, y, counts);
    }
    let others = part_classes(scores, y);
    let (zeros, ones) = scores.split_at_mut(others);
    zeros.sort_unstable_by(f64::total_cmp);
    ones.sort_unstable_by(f64::total_cmp);
    let (mut wins, mut smaller) = (0.0, 0);
    for equals in ones.chunk_by(|a, b| a == b) {
        smaller += zeros[smaller..].iter().take_while(|&&zero| zero < equals[0]).count();
        let same = zeros[smaller..].iter().take_while(|&&zero| zero == equals[0]).count();
        wins += equals.len() as f64 * (smaller as f64 + 0.5 * same as f64);
    }
    share(wins, ones.len() as f64 * zeros.len() as f64)
}

/// Puts the scores of class 1 behind all others, and returns how many others there are.
fn part_classes(scores: &mut [f64], y: &[f64]) -> usize {
    let (mut first, mut last) = (0, scores.len());
    // Between the two ends nothing was moved yet: each score is still that of its row.
    loop {
        first += y[first..last].iter().take_while(|&&y| y != 1.0).count();
        last -= y[first..last].iter().rev().take_while(|&&y| y == 1.0).count();
        if first == last {
            return first;
        }
        scores.swap(first, last - 1);
        (first, last) = (first + 1, last - 1);
    }
}

fn weighted_auc(scores: &[f64], y: &[f64], counts: Counts<'_>) -> Option<f64> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
    let (mut wins, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for equals in order.chunk_by(|&a, &b| scores[a as usize] == scores[b as usize]) {
        let (mut ones, mut zeros) = (0.0, 0.0);
        for &row in equals {
            *(if y[row as usize] == 1.0 { &mut ones } else { &mut zeros }) += counts.of(row as usize);
        }
        wins += ones * (negatives + 0.5 * zeros);
        positives += ones;
        negatives += zeros;
    }
    share(wins, positives * negatives)
}

fn r2(predictions: &[f64], y: &[f64], counts: Counts<'_>) -> Option<f64> {
    let mean = counts.mean(y);
    let residual = counts.sum(predictions.iter().zip(y).map(|(p, y)| (p - y) * (p - y)));
    let total = counts.sum(y.iter().map(|y| (y - mean) * (y - mean)));
    share(residual, total).map(|unexplained| 1.0 - unexplained)
}

fn deviance_explained(log_rates: &[f64], y: &[f64], counts: Counts<'_>) -> Option<f64> {
    let mean = counts.mean(y);
    // Half the deviance of one row; `y ln(y / rate)` is 0 at `y = 0`.
    let half = |y: f64, log_rate: f64, rate: f64| if y > 0.0 { y * (y.ln() - log_rate) } else { 0.0 } - (y - rate);
    let model = counts.sum(log_rates.iter().zip(y).map(|(&m, &y)| half(y, m, m.exp())));
    let null = counts.sum(y.iter().map(|&y| half(y, mean.ln(), mean)));
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
        let m = Metrics::compute(Loss::Logistic, &[-1.0, 2.0, 0.5, -0.5], &[0.0, 1.0, 0.0, 1.0], None);
        assert_eq!(m.accuracy, Some(0.5));
        assert_eq!(m.auc, Some(0.75));
        assert_eq!((m.r2, m.deviance_explained), (None, None));
        let by_hand: f64 = [(-1.0, 0.0), (2.0, 1.0), (0.5, 0.0), (-0.5, 1.0)]
            .iter()
            .map(|&(m, y): &(f64, f64)| m.exp().ln_1p() - y * m)
            .sum();
        assert!((m.loss - by_hand / 4.0).abs() < 1e-14);

        let classes = Loss::Softmax { classes: 3 };
        let m = Metrics::compute(classes, &[0.0, 1.0, 0.0, 3.0, 3.0, 1.0], &[1.0, 1.0], None);
        assert_eq!((m.accuracy, m.auc), (Some(0.5), None), "the first of equal margins is the prediction");
    }

    #[test]
    fn regression_and_counts() {
        let m = Metrics::compute(Loss::Squared, &[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0], None);
        assert!((m.r2.unwrap() - 0.5).abs() < 1e-15 && (m.loss - 1.0 / 6.0).abs() < 1e-15);
        for weights in [None, Some(&[0.3, 0.1, 0.7][..])] {
            let constant = Metrics::compute(Loss::Squared, &[0.3, 0.1, 0.2], &[0.1; 3], weights);
            let counts = Metrics::compute(Loss::Poisson, &[0.3, 0.1, 0.2], &[3.0; 3], weights);
            assert_eq!((constant.r2, counts.deviance_explained), (None, None), "nothing is to be explained");
        }
        let y = [0.0, 2.0, 4.0];
        let null = Metrics::compute(Loss::Poisson, &[2f64.ln(); 3], &y, None);
        assert!(null.deviance_explained.unwrap().abs() < 1e-12);
        let right = Metrics::compute(Loss::Poisson, &[-40.0, 2f64.ln(), 4f64.ln()], &y, None);
        assert!((right.deviance_explained.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_row_of_weight_two_counts_like_two_rows() {
        let weights = [2.0, 1.0, 3.0, 1.0];
        for loss in [Loss::Logistic, Loss::Squared, Loss::Poisson] {
            let (margins, y) = ([-1.0, 2.0, 0.5, 2.0], [0.0, 1.0, 1.0, 0.0]);
            let repeat = |x: &[f64; 4]| {
                let copies = x.iter().zip(weights).flat_map(|(&x, count)| std::iter::repeat_n(x, count as usize));
                copies.collect::<Vec<f64>>()
            };
            let weighted = Metrics::compute(loss, &margins, &y, Some(&weights));
            let repeated = Metrics::compute(loss, &repeat(&margins), &repeat(&y), None);
            let figures = |m: Metrics| [Some(m.loss), m.accuracy, m.auc, m.r2, m.deviance_explained];
            for (a, b) in figures(weighted).into_iter().zip(figures(repeated)) {
                assert_eq!(a.is_some(), b.is_some());
                assert!((a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-14, "{loss:?}: {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_standard_error_is_that_of_a_mean() {
        let (margins, y) = ([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]);
        let losses = [0.0f64, 0.0, 0.5];
        let mean = losses.iter().sum::<f64>() / 3.0;
        let variance = losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 2.0;
        let found = Metrics::compute(Loss::Squared, &margins, &y, None).std_error.unwrap();
        assert!((found - (variance / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Metrics::compute(Loss::Squared, &[1.0], &[1.0], None).std_error, None);
    }

    #[test]
    fn figures_the_rows_cannot_give_are_absent() {
        assert_eq!(Metrics::compute(Loss::Logistic, &[1.0, 2.0], &[1.0, 1.0], None).auc, None);
        assert_eq!(Metrics::compute(Loss::Squared, &[1.0, 2.0], &[3.0, 3.0], None).r2, None);
        assert_eq!(Metrics::compute(Loss::Poisson, &[1.0, 2.0], &[0.0, 0.0], None).deviance_explained, None);
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
            let weights = vec![1.0; y.len()];
            for weights in [None, Some(&weights[..])] {
                match auc(&mut scores.clone(), &y, Counts::new(&y, weights)) {
                    Some(area) => prop_assert!((area - wins / pairs).abs() < 1e-12),
                    None => prop_assert_eq!(pairs, 0.0),
                }
            }
        }
    }
}

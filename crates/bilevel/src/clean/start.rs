//! Where the weights begin: at one half, or at how well each label goes with a model of the trusted rows.
//!
//! Let a share `r` of the labels be drawn anew, whatever the features, from the distribution `q` of all labels, and the others
//! from the model `p(. | x)` of the trusted rows. The log-odds that label `i` is one of the others are
//!
//! ```text
//! k_i + ln((1 - r) / r),    k_i = ln p(y_i | x_i) - ln q(y_i),
//! ```
//!
//! and `r` is found by expectation maximisation, whose one parameter has a concave likelihood. The start is these log-odds, bent
//! smoothly to a few units, so that the order of the rows is kept and no row starts where its sigmoid is flat.

use crate::problems::glm::Loss;

/// Log-odds are bent to stay within this of zero: weights between 2 and 98 %.
const LARGEST: f64 = 4.0;
/// The share of labels drawn anew stays this far from none and all.
const SHARE: f64 = 1e-3;
/// Rounds of expectation maximisation, and the change at which they end.
const ROUNDS: (usize, f64) = (500, 1e-7);
/// Residuals of right labels vary at least this much, as a share of the variance of the labels.
const LEAST_NOISE: f64 = 1e-9;

/// The rows to be weighed as a model of the trusted rows sees them.
pub(super) struct Seen<'a> {
    pub loss: Loss,
    /// The loss of each row.
    pub losses: &'a [f64],
    /// Its margins, for the losses of a margin.
    pub margins: &'a [f64],
    pub y: &'a [f64],
    /// Weights given with the rows, absent for all ones.
    pub given: Option<&'a [f64]>,
    /// Classes that the model knows; empty for numbers.
    pub known: &'a [bool],
    /// Mean loss of the model on trusted rows, on such as it was not fitted on where there are any.
    pub trusted_loss: f64,
}

/// The hyperparameter of each row. Rows of a class that the model does not know, which look drawn anew, right or not, say nothing
/// of the others and start lowest.
pub(super) fn hyperparameters(seen: &Seen<'_>) -> Vec<f64> {
    let ratios = seen.log_ratios();
    let share = share_drawn_anew(&ratios, |row| seen.weight(row));
    let odds = ((1.0 - share) / share).ln();
    ratios.iter().map(|k| LARGEST * ((k + odds) / LARGEST).tanh()).collect()
}

impl Seen<'_> {
    /// `ln p(y_i | x_i) - ln q(y_i)` of each row.
    fn log_ratios(&self) -> Vec<f64> {
        let rows = || self.losses.iter().copied().zip(self.y.iter().copied());
        match self.loss {
            Loss::Logistic | Loss::Softmax { .. } => {
                let offsets = self.class_offsets();
                rows().map(|(loss, y)| -loss + offsets[y as usize]).collect()
            }
            Loss::SquaredHinge => {
                // exp(-loss), brought to the sum 1 over both labels.
                let offsets = self.class_offsets();
                let of = |((loss, y), m): ((f64, f64), &f64)| {
                    let other = Loss::SquaredHinge.value(&mut [*m], &[1.0 - y], None);
                    -(1.0 + (loss - other).exp()).ln() + offsets[y as usize]
                };
                rows().zip(self.margins).map(of).collect()
            }
            Loss::Squared | Loss::Huber { .. } => {
                // Normal residuals against the normal distribution of all labels.
                let centre = self.mean(|i| self.y[i]);
                let spread = self.mean(|i| (self.y[i] - centre).powi(2)).max(f64::MIN_POSITIVE);
                let noise = (2.0 * self.trusted_loss).max(LEAST_NOISE * spread);
                let wide = |y: f64| 0.5 * ((y - centre).powi(2) / spread + spread.ln());
                rows().map(|(loss, y)| wide(y) - loss / noise - 0.5 * noise.ln()).collect()
            }
            Loss::Poisson => {
                let rate = self.mean(|i| self.y[i]).max(f64::MIN_POSITIVE).ln();
                rows().map(|(loss, y)| Loss::Poisson.value(&mut [rate], &[y], None) - loss).collect()
            }
        }
    }

    /// The weight that was given, none for rows of classes that the model does not know.
    fn weight(&self, row: usize) -> f64 {
        let known = self.known.is_empty() || self.known[self.y[row] as usize];
        if known { self.given.map_or(1.0, |given| given[row]) } else { 0.0 }
    }

    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for i in 0..self.y.len() {
            sum += self.weight(i) * of(i);
            total += self.weight(i);
        }
        sum / total
    }

    /// `-ln q` of each class, among those that the model knows; minus infinity of the others.
    fn class_offsets(&self) -> Vec<f64> {
        let share = |class: usize| self.mean(|i| f64::from(u8::from(self.y[i] as usize == class)));
        let offset = |(class, &known): (usize, &bool)| if known { -share(class).ln() } else { f64::NEG_INFINITY };
        self.known.iter().enumerate().map(offset).collect()
    }
}

/// The share of labels drawn anew under which these log-ratios are likeliest.
fn share_drawn_anew(ratios: &[f64], weight: impl Fn(usize) -> f64) -> f64 {
    let total: f64 = (0..ratios.len()).map(&weight).sum();
    let mut share = 0.5;
    if total == 0.0 {
        return share;
    }
    for _ in 0..ROUNDS.0 {
        let odds: f64 = share / (1.0 - share);
        // r q / ((1 - r) p + r q)
        let drawn: f64 = ratios.iter().enumerate().map(|(i, k)| weight(i) * odds / (k.exp() + odds)).sum();
        let next = (drawn / total).clamp(SHARE, 1.0 - SHARE);
        let change = (next - share).abs();
        share = next;
        if change < ROUNDS.1 {
            break;
        }
    }
    share
}

/// The loss of each row.
pub(super) fn row_losses(loss: Loss, margins: &[f64], y: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0; loss.outputs()];
    let of = |(margins, y): (&[f64], &f64)| {
        row.copy_from_slice(margins);
        loss.value(&mut row, &[*y], None)
    };
    margins.chunks_exact(loss.outputs()).zip(y).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of three classes under margins that prefer the first row's class by `margin`.
    fn seen_by_softmax(margin: f64, right: usize, wrong: usize) -> Vec<f64> {
        let loss = Loss::Softmax { classes: 3 };
        let (mut margins, mut y) = (Vec::new(), Vec::new());
        for i in 0..right + wrong {
            let class = i % 3;
            margins.extend((0..3).map(|c| if c == class { margin } else { 0.0 }));
            y.push(if i < right { class } else { (class + 1) % 3 } as f64);
        }
        let losses = row_losses(loss, &margins, &y);
        let known = &[true; 3];
        let seen = Seen { loss, losses: &losses, margins: &margins, y: &y, given: None, known, trusted_loss: 0.1 };
        let ratios = seen.log_ratios();
        let share = share_drawn_anew(&ratios, |_| 1.0);
        assert!((0.0..1.0).contains(&share));
        let mut found = hyperparameters(&seen);
        found.push(share);
        found
    }

    #[test]
    fn the_share_of_labels_drawn_anew_is_found() {
        // A model that is sure: of the labels that are drawn anew from three classes a third is right again.
        let found = seen_by_softmax(30.0, 1800, 600);
        let share = found[2400];
        assert!((share - 600.0 / 2400.0 * 1.5).abs() < 1e-3, "{share}");
        assert!(found[..1800].iter().all(|&lambda| lambda > 1.0), "{}", found[0]);
        assert!(found[1800..2400].iter().all(|&lambda| (-LARGEST..-3.9).contains(&lambda)), "{}", found[1800]);
        // For rows that are right the odds are (1 - r) : r q.
        let odds = ((1.0 - share) / share * 3.0).ln();
        assert!((found[0] - LARGEST * (odds / LARGEST).tanh()).abs() < 1e-6);
    }

    #[test]
    fn a_model_that_knows_nothing_moves_no_row_more_than_another() {
        let found = seen_by_softmax(0.0, 300, 300);
        assert!(found[..600].iter().all(|&lambda| (lambda - found[0]).abs() < 1e-9));
    }

    #[test]
    fn numbers_far_from_the_line_start_low() {
        let margins: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.1).collect();
        let y: Vec<f64> = margins.iter().enumerate().map(|(i, m)| m + if i % 4 == 0 { 9.0 } else { 0.1 }).collect();
        for loss in [Loss::Squared, Loss::Huber { delta: 1.0 }, Loss::Poisson] {
            let (margins, y): (Vec<f64>, Vec<f64>) = match loss {
                Loss::Poisson => (y.iter().map(|y| y.ln()).collect(), margins.iter().map(|m| m.round()).collect()),
                _ => (margins.clone(), y.clone()),
            };
            let losses = row_losses(loss, &margins, &y);
            let (given, known) = (None, &[][..]);
            let seen = Seen { loss, losses: &losses, margins: &margins, y: &y, given, known, trusted_loss: 0.01 };
            let found = hyperparameters(&seen);
            let mean = |far: bool| {
                let rows = found.iter().enumerate().filter(|(i, _)| (i % 4 == 0) == far).map(|(_, &lambda)| lambda);
                rows.clone().sum::<f64>() / rows.count() as f64
            };
            assert!(mean(false) > mean(true) + 2.0, "{loss:?} {} {}", mean(false), mean(true));
        }
    }

    #[test]
    fn a_row_on_the_wrong_side_of_a_hinge_starts_low() {
        // Eight rows on the right side, two on the wrong one.
        let margins: Vec<f64> = (0..10).map(|i| if i % 2 == 0 { 2.0 } else { -2.0 }).collect();
        let y: Vec<f64> = (0..10).map(|i| f64::from(u8::from((i % 2 == 0) == (i < 8)))).collect();
        let losses = row_losses(Loss::SquaredHinge, &margins, &y);
        let (loss, given, known) = (Loss::SquaredHinge, Some([1.0; 10].as_slice()), &[true; 2]);
        let seen = Seen { loss, losses: &losses, margins: &margins, y: &y, given, known, trusted_loss: 0.1 };
        let found = hyperparameters(&seen);
        assert!(
            found[..8].iter().all(|&lambda| lambda > 0.0) && found[8..].iter().all(|&lambda| lambda < -0.5),
            "{found:?}"
        );
    }
}

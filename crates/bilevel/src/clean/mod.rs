//! Data cleaning: a weight in (0, 1) for each training row, learned from a few rows that are known to be right.
//!
//! ```text
//! min over lambda of  E(w(lambda)),   w(lambda) = argmin_w (1/n) sum_i s(lambda_i) loss_i(w) + 1/2 strength |W|^2,
//! ```
//!
//! with the sigmoid `s` and the mean loss `E` on the trusted rows (Franceschi, Donini, Frasconi, Pontil, ICML 2017; Shaban,
//! Cheng, Hatch, Boots, AISTATS 2019). A row whose label does not go with the trusted rows is weighed down, and what remains
//! is the model of the cleaned rows.
//!
//! As many weights as rows can fit the trusted rows better than any model should. So the penalty is not one of the
//! hyperparameters but tuned before, on the trusted rows alone, and part of the trusted rows (monitor rows) does not steer and
//! says when to stop. What the simple way gives, the loss of each row under the model of the trusted rows alone, is computed
//! beside it, because it often finds the wrong labels as well.

use crate::Result;
use crate::data::Dataset;
use crate::observer::{Event, Observer};

mod objective;
mod options;
mod outcome;
mod penalty;
mod run;
mod start;
mod steering;

pub use options::{CleanOptions, Start, Strength};
pub use outcome::{Cleaned, Fit, FitOf, Step};

/// Learns a weight for each row of `train` from the rows of `trusted`, and fits a model with them.
///
/// `test` rows are only looked at to report on the models. All must have the same features and class codes.
///
/// # Errors
/// Input, when the data do not fit together or are too few; numeric, when a model could not be fitted; interrupted, when it
/// was asked for before there was anything to keep.
pub fn clean(
    train: &Dataset,
    trusted: &Dataset,
    test: Option<&Dataset>,
    options: &CleanOptions,
    observer: &mut dyn for<'e> Observer<Event<'e, Step>>,
) -> Result<Cleaned> {
    run::run(train, trusted, test, options, observer)
}

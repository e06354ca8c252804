//! Whether there is something to tune, as it was asked for.

use super::options::TuneOptions;
use super::problem::penalty_of;
use crate::data::Dataset;
use crate::problems::glm::Loss;
use crate::{Error, Result};

/// Whether the data sets fit together and have rows enough.
pub(super) fn check(train: &Dataset, validation: Option<&Dataset>, test: Option<&Dataset>) -> Result<()> {
    train.validate("training")?;
    for (other, name) in [(validation, "validation"), (test, "test")] {
        let Some(other) = other else { continue };
        other.validate(name)?;
        train.check_fits(other, name)?;
    }
    match train.weighing_rows() {
        rows @ 0..4 => {
            Err(Error::input(format!("{rows} training rows are too few to tune on")).remedy("give more rows"))
        }
        _ => Ok(()),
    }
}

/// Whether the log-penalties to begin with are numbers, one or as many as the kind asked for has, and the tolerance is one.
pub(super) fn check_options(options: &TuneOptions, data: &Dataset, loss: Loss) -> Result<()> {
    let tolerance = options.limits.tolerance;
    if tolerance.is_nan() || tolerance < 0.0 {
        return Err(Error::input(format!("the tolerance {tolerance} of the projected gradient is none"))
            .remedy("use a small number that is not negative"));
    }
    let Some(start) = &options.start else { return Ok(()) };
    if start.is_empty() || !crate::vector::all_finite(start) {
        return Err(
            Error::input("the log-penalties to begin with are no finite numbers").remedy("give one, or leave them out")
        );
    }
    let has = penalty_of(options.penalties, &data.groups, data.features(), loss.outputs()).hyperparameters();
    if start.len() != 1 && start.len() != has {
        let message = format!("there are {} log-penalties to begin with, and {has} are tuned", start.len());
        let remedy = if has == 1 { "give one".into() } else { format!("give one, or {has}") };
        return Err(Error::input(message).remedy(remedy));
    }
    Ok(())
}

//! The box in which penalties are sought.

use super::options::TuneOptions;
use crate::data::DesignMatrix;
use crate::{Error, Result};

/// The default box of the log-penalties, relative to the logarithm of the mean variance of the features.
const BOX: (f64, f64) = (-14.0, 8.0);
/// What the lower end is at most, relative to the logarithm of the median variance: a few features in a small unit make
/// the mean large, and all others shall not be penalised strongly for it.
const BELOW_MEDIAN: f64 = -7.0;
/// Log-penalties beyond this are no strengths that any data ask for.
const LARGEST_LOG: f64 = 100.0;

/// The sizes of features that penalties are compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FeatureScale {
    /// Logarithm of the mean of their variances; 0 where none varies.
    pub(crate) mean: f64,
    /// Logarithm of the median of those that are not 0.
    median: f64,
}

impl FeatureScale {
    /// That of variances, or of mean squares beside no intercept, rows weighted where `weights` are given.
    pub(crate) fn of(design: &DesignMatrix, intercept: bool, weights: Option<&[f64]>) -> Self {
        let mut variances = design.variances(intercept, weights);
        let mean = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
        variances.retain(|&variance| variance > 0.0);
        if variances.is_empty() || mean <= 0.0 {
            return FeatureScale { mean: 0.0, median: 0.0 };
        }
        let middle = variances.len() / 2;
        let (_, &mut median, _) = variances.select_nth_unstable_by(middle, f64::total_cmp);
        FeatureScale { mean: mean.ln(), median: median.ln() }
    }

    /// The smallest log-penalty that is tried, usually `below` (negative) from the mean.
    pub(crate) fn smallest(self, below: f64) -> f64 {
        (self.mean + below).min(self.median + BELOW_MEDIAN)
    }
}

/// The box of each log-penalty.
///
/// # Errors
/// Input, where it is empty or beyond all strengths.
pub(super) fn bounds(options: &TuneOptions, scale: FeatureScale) -> Result<(f64, f64)> {
    let low = options.lambda_min.unwrap_or(scale.smallest(BOX.0));
    let high = options.lambda_max.unwrap_or(scale.mean + BOX.1);
    if low < high && low >= -LARGEST_LOG && high <= LARGEST_LOG {
        return Ok((low, high));
    }
    let shown = |bound: f64, given: Option<f64>| match given {
        Some(_) => format!("{:.3e}", bound.exp()),
        None => format!("{:.3e} (the default for these data)", bound.exp()),
    };
    let (smallest, largest) = (shown(low, options.lambda_min), shown(high, options.lambda_max));
    let (below, above) = ((-LARGEST_LOG).exp(), LARGEST_LOG.exp());
    Err(Error::input(format!("penalties cannot range from {smallest} to {largest}"))
        .remedy(format!("choose the smallest below the largest, both between {below:.1e} and {above:.1e}")))
}

/// What to say of a shared penalty that ended at the lower end of the default box.
pub(super) fn at_the_end(lambda: &[f64], bounds: (f64, f64), options: &TuneOptions) -> Option<String> {
    let [lambda] = *lambda else { return None };
    let at_end = lambda - bounds.0 < 1e-6 * (bounds.1 - bounds.0);
    (at_end && options.lambda_min.is_none()).then(|| {
        let smallest = bounds.0.exp();
        format!(
            "the penalty is the smallest that is tried by default, {smallest:.1e}: --lambda-min allows smaller ones"
        )
    })
}

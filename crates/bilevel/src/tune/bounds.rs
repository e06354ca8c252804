//! The box in which penalties are sought.

use super::options::TuneOptions;
use crate::{Error, Result};

/// The default box of the log-penalties, relative to the logarithm of the mean variance of the features.
const BOX: (f64, f64) = (-14.0, 8.0);
/// Log-penalties beyond this are no strengths that any data ask for.
const LARGEST_LOG: f64 = 100.0;

/// The box of each log-penalty, where the mean variance of the features is `variance`.
///
/// # Errors
/// Input, where it is empty or beyond all strengths.
pub(super) fn bounds(options: &TuneOptions, variance: f64) -> Result<(f64, f64)> {
    let scale = if variance > 0.0 { variance.ln() } else { 0.0 };
    let low = options.lambda_min.unwrap_or(scale + BOX.0);
    let high = options.lambda_max.unwrap_or(scale + BOX.1);
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

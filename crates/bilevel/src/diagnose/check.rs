//! The outcome of a check: a verdict, the number behind it and a sentence.

use std::fmt;

use crate::error::{Error, Result};

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was checked, as `gradient` or `vjp_w`.
    pub name: String,
    /// The verdict.
    pub passed: bool,
    /// The number behind it: a slope, a relative error or a z-score, as `message` says; `None` where nothing was left to
    /// measure.
    pub measure: Option<f64>,
    /// One sentence for a person.
    pub message: String,
}

impl Check {
    pub(super) fn new(name: &str, passed: bool, measure: Option<f64>, message: impl Into<String>) -> Self {
        Check { name: name.to_string(), passed, measure, message: message.into() }
    }

    /// Passes when two numbers that should be equal are, relative to `scale`.
    pub fn equal(name: &str, found: f64, expected: f64, scale: f64, tolerance: f64) -> Self {
        Self::near(name, found, expected, scale, tolerance, 0.0)
    }

    /// The same of a number that was computed with an error of up to `rounding`.
    pub(super) fn near(name: &str, found: f64, expected: f64, scale: f64, tolerance: f64, rounding: f64) -> Self {
        let scale = scale.max(f64::MIN_POSITIVE);
        let (error, rounding) = ((found - expected).abs() / scale, rounding / scale);
        let mut message = format!("{} against {}, relative error {error:.1e}", shown(found), shown(expected));
        if rounding > tolerance {
            message += &format!(", of which rounding may be {rounding:.1e}");
        }
        Check::new(name, error <= tolerance + rounding, Some(error), message)
    }
}

/// All digits, without rows of zeros before or behind them.
fn shown(x: f64) -> String {
    if x == 0.0 || (1e-4..1e15).contains(&x.abs()) { x.to_string() } else { format!("{x:e}") }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.name, if self.passed { "passed" } else { "FAILED" }, self.message)
    }
}

/// Turns failed checks into one error that lists them.
///
/// # Errors
/// Numeric, when any check failed.
pub fn ensure(checks: &[Check]) -> Result<()> {
    let failed: Vec<String> = checks.iter().filter(|check| !check.passed).map(Check::to_string).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::numeric(failed.join("\n"))) }
}

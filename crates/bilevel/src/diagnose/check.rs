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
        let error = (found - expected).abs() / scale.max(f64::MIN_POSITIVE);
        let message = format!("{found} against {expected}, relative error {error:.1e}");
        Check::new(name, error <= tolerance, Some(error), message)
    }
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

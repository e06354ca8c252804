//! What a fit found, in the shorter of two forms.

use std::borrow::Cow;

use crate::dual::parameters_of;
use crate::problems::glm::Glm;

/// Parameters of a fit.
#[derive(Debug, Clone)]
pub(super) enum Fitted<'a> {
    /// As they are.
    Weights(Vec<f64>),
    /// As the point in the space of the rows that makes them: `p / n` times less memory, and quickly multiplied out.
    Rows {
        /// The lower level.
        lower: Box<Glm<'a>>,
        /// Where it was solved.
        lambda: Vec<f64>,
        /// The point `(A, b)`.
        point: Vec<f64>,
    },
}

impl Fitted<'_> {
    /// The parameters.
    pub(super) fn parameters(&self) -> Cow<'_, [f64]> {
        match self {
            Fitted::Weights(w) => Cow::Borrowed(w),
            Fitted::Rows { lower, lambda, point } => Cow::Owned(parameters_of(lower, lambda, point)),
        }
    }
}

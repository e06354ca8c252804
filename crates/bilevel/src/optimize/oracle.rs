//! What an upper-level loop asks for: objective and hypergradient at one `lambda`.

use crate::error::{Error, Result};
use crate::hypergradient::Hypergradient;
use crate::vector;
use crate::work::Work;

/// Objective and gradient at one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `f(lambda)`, or an estimate.
    pub objective: f64,
    /// `grad f(lambda)`, or an estimate.
    pub gradient: Vec<f64>,
    /// What it cost.
    pub work: Work,
    /// The lower variable that both belong to, where the oracle gives it away: the loop returns that of its
    /// [outcome](super::Outcome), which a warm start, being that of the last call, need not be.
    pub w: Option<Vec<f64>>,
}

impl Evaluation {
    /// An evaluation that tells nothing of the lower variable.
    pub fn new(objective: f64, gradient: Vec<f64>, work: Work) -> Self {
        Evaluation { objective, gradient, work, w: None }
    }

    /// The same at the lower variable `w`.
    #[must_use]
    pub fn with_w(self, w: Vec<f64>) -> Self {
        Evaluation { w: Some(w), ..self }
    }

    /// Refuses numbers that are not finite.
    ///
    /// # Errors
    /// Numeric.
    pub fn finite(self) -> Result<Self> {
        if self.objective.is_finite() && vector::all_finite(&self.gradient) {
            Ok(self)
        } else {
            Err(Error::numeric("the objective or its hypergradient is not finite")
                .remedy("bound lambda to a smaller domain"))
        }
    }
}

impl From<Hypergradient> for Evaluation {
    fn from(estimate: Hypergradient) -> Self {
        Evaluation::new(estimate.objective, estimate.value, estimate.work)
    }
}

/// Evaluates objective and hypergradient; may keep state, such as a warm start, between calls.
pub trait Oracle {
    /// At `lambda`; `number` counts the calls from 0 and picks the stream of a stochastic method.
    ///
    /// # Errors
    /// Those of the method.
    fn evaluate(&mut self, lambda: &[f64], number: usize) -> Result<Evaluation>;
}

impl<F, E> Oracle for F
where
    F: FnMut(&[f64], usize) -> Result<E>,
    E: Into<Evaluation>,
{
    fn evaluate(&mut self, lambda: &[f64], number: usize) -> Result<Evaluation> {
        self(lambda, number).map(Into::into)
    }
}

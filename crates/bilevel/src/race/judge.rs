//! The exact value of what a contestant has reached.

use serde::{Deserialize, Serialize};

use super::contest::{Contest, Contested};
use crate::algorithms::Point;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::hypergradient::Implicit;
use crate::lower::Factorization;
use crate::newton::Newton;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;

/// Squared distance of `w` from `w(lambda)`, in units of `1 + |w(lambda)|^2`, that no run recovers from.
const FAR: f64 = 1e16;

/// A `lambda` in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// `f(lambda) = E(w(lambda), lambda)`.
    pub value: f64,
    /// `|grad f(lambda)|^2`, of the projected gradient `P(lambda - grad f) - lambda`.
    pub gradient_squared: f64,
    /// `|w - w(lambda)|^2`.
    pub distance_squared: f64,
}

/// Solves the lower level to high accuracy, from where it solved it last.
pub struct Judge<'a> {
    lower: &'a dyn Contested,
    upper: &'a dyn UpperObjective,
    domain: &'a Domain,
    newton: Newton,
    w: Vec<f64>,
    u: Vec<f64>,
    nearby: Option<Box<dyn Factorization>>,
    stop: StopSignal,
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("dims", &self.lower.dims())
            .field("domain", &self.domain)
            .field("newton", &self.newton)
            .field("w", &self.w)
            .finish_non_exhaustive()
    }
}

impl<'a> Judge<'a> {
    /// A judge who begins at the start of `contest`.
    pub fn new(contest: &Contest<'a>) -> Self {
        let Contest { lower, upper, domain, ref start, .. } = *contest;
        let (w, u) = (start.w().to_vec(), vec![0.0; start.w().len()]);
        Judge { lower, upper, domain, newton: Newton::default(), w, u, nearby: None, stop: StopSignal::never() }
    }

    /// The same judge, who gives up once `stop` is raised.
    #[must_use]
    pub fn until(self, stop: StopSignal) -> Self {
        Judge { stop, ..self }
    }

    /// Judges `point`.
    ///
    /// # Errors
    /// Numeric, where the lower level cannot be solved at its `lambda`, or its `w` has diverged: a `lambda` that moves along
    /// such a `w` is no result, whatever its value. Interrupted, once asked to stop.
    pub fn judge(&mut self, point: &Point) -> Result<Judgement> {
        let lambda = point.lambda();
        let stop = self.stop.clone();
        let warm = self.newton.minimize(self.lower, lambda, &mut self.w, self.nearby.take(), &stop);
        let minimum = match warm {
            // Penalties that have fallen a long way leave the last solution far behind; the contestant has followed them.
            Err(error) if error.is_numeric() && vector::all_finite(point.w()) => {
                self.w.copy_from_slice(point.w());
                self.newton.minimize(self.lower, lambda, &mut self.w, None, &stop)?
            }
            other => other?,
        };
        self.nearby = minimum.factorization;
        let nearby = self.nearby.as_deref().map(|nearby| nearby as &dyn Factorization);
        let exact =
            Implicit::default().at_solution(self.lower, self.upper, &self.w, lambda, &mut self.u, nearby, &stop)?;
        let distance_squared = vector::distance_squared(point.w(), &self.w);
        let far = FAR * (1.0 + vector::norm_squared(&self.w));
        if distance_squared.is_nan() || distance_squared > far {
            return Err(Error::numeric("the lower variable has left every neighbourhood of its solution")
                .remedy("use smaller steps"));
        }
        let mut moved = lambda.to_vec();
        vector::axpy(-1.0, &exact.value, &mut moved);
        self.domain.project(&mut moved);
        Ok(Judgement {
            value: exact.objective,
            gradient_squared: vector::distance_squared(&moved, lambda),
            distance_squared,
        })
    }
}

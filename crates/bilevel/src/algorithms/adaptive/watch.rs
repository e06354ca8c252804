//! `E` at a point against `E` at the best one.
//!
//! Both on the same rows, which are drawn anew for each look and are a fixed part of what the span has visited: on rows that stay the
//! same the best `lambda` is another one, and a run that watches them comes to rest beside its own optimum. Once the span is long
//! enough, on all rows.

use crate::algorithms::field::Field;
use crate::algorithms::problem::Bilevel;
use crate::sample::{Purpose, Rng, Sample};
use crate::work::Work;

/// Rows for each iteration of a span; all, where these are more than half of them.
const ROWS: usize = 32;
/// Samples that they are cut into, for the error.
const PARTS: usize = 8;

/// A look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// `E`.
    pub value: f64,
    /// How far it is above that of the best point; infinite where there is none.
    pub change: f64,
    /// The standard error of that.
    pub error: f64,
}

pub(super) struct Watch {
    rng: Rng,
    best: Option<Vec<f64>>,
    /// `E` of the best and of the last point on all rows, where it was found.
    of_best: Option<f64>,
    of_last: Option<f64>,
}

impl Watch {
    pub fn new(seed: u64) -> Self {
        Watch { rng: Rng::stream(seed, Purpose::Start, 2), best: None, of_best: None, of_last: None }
    }

    /// The least span with a look at all rows.
    pub fn span_for_all(&self, problem: &Bilevel<'_>) -> usize {
        problem.upper.size(&Sample::Full).div_ceil(2 * ROWS)
    }

    /// The point of the last look, `x`, is the best one.
    pub fn keep(&mut self, x: &[f64]) {
        match &mut self.best {
            Some(best) => best.copy_from_slice(x),
            None => self.best = Some(x.to_vec()),
        }
        self.of_best = self.of_last;
    }

    /// Looks at `x` after a span of so many iterations.
    pub fn look(&mut self, field: &Field<'_>, x: &[f64], span: usize) -> (Seen, Work) {
        let (upper, layout) = (field.problem.upper, field.layout);
        let mut work = Work::default();
        let mut value = |x: &[f64], xi: &Sample| {
            let [w, _, lambda] = layout.split(x);
            work += Work::upper_gradient(upper.size(xi));
            upper.value(w, lambda, xi)
        };
        if span >= self.span_for_all(&field.problem) {
            let here = value(x, &Sample::Full);
            let known = self.of_best.or_else(|| self.best.as_ref().map(|best| value(best, &Sample::Full)));
            (self.of_best, self.of_last) = (known, Some(here));
            let change = known.map_or(f64::INFINITY, |known| here - known);
            return (Seen { value: here, change, error: 0.0 }, work);
        }
        let (mut sum, mut squares, mut mean) = (0.0, 0.0, 0.0);
        let mut xi = Sample::Full;
        for _ in 0..PARTS {
            upper.draw((ROWS * span / PARTS).max(1), &mut self.rng, &mut xi);
            let here = value(x, &xi);
            mean += here / PARTS as f64;
            let change = self.best.as_ref().map_or(f64::INFINITY, |best| here - value(best, &xi));
            sum += change;
            squares += change * change;
        }
        self.of_last = None;
        let change = sum / PARTS as f64;
        let variance = (squares / PARTS as f64 - change * change).max(0.0) / (PARTS - 1) as f64;
        let error = if change.is_finite() { variance.sqrt() } else { 0.0 };
        (Seen { value: mean, change, error }, work)
    }
}

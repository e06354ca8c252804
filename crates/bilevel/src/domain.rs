//! The set `Lambda` of admissible hyperparameters: a box, possibly unbounded.
//!
//! Boxes are all that penalty strengths, log-penalties and row weights need, and their projection is exact and free.

use crate::company;
use crate::error::{Error, Result};
use crate::simd::vectorize;
use crate::vector;

/// The box `lower <= lambda <= upper`; bounds may be infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// The bounds, where all coordinates have the same.
    common: Option<(f64, f64)>,
}

impl Domain {
    /// All of R^m.
    pub fn unbounded(m: usize) -> Self {
        Self::of(vec![f64::NEG_INFINITY; m], vec![f64::INFINITY; m])
    }

    /// `lower_j <= lambda_j <= upper_j`.
    ///
    /// # Errors
    /// Input, when the lengths differ, a bound is NaN, or a lower bound exceeds its upper bound or leaves no finite value.
    pub fn bounded(lower: Vec<f64>, upper: Vec<f64>) -> Result<Self> {
        if lower.len() != upper.len() {
            return Err(Error::input(format!("{} lower bounds but {} upper bounds", lower.len(), upper.len())));
        }
        for (j, (&low, &high)) in lower.iter().zip(&upper).enumerate() {
            if !(low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY) {
                return Err(Error::input(format!("bounds of hyperparameter {j} are empty: [{low}, {high}]")));
            }
        }
        Ok(Self::of(lower, upper))
    }

    fn of(lower: Vec<f64>, upper: Vec<f64>) -> Self {
        let first = lower.first().copied().zip(upper.first().copied());
        let common = first.filter(|(low, high)| lower.iter().all(|l| l == low) && upper.iter().all(|h| h == high));
        Domain { lower, upper, common }
    }

    /// `low <= lambda_j <= high` for all `m` coordinates.
    ///
    /// # Errors
    /// Input, when the interval is empty.
    pub fn uniform(m: usize, low: f64, high: f64) -> Result<Self> {
        Self::bounded(vec![low; m], vec![high; m])
    }

    /// The number `m` of coordinates.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// True when there are no coordinates.
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    /// Lower bounds.
    pub fn lower(&self) -> &[f64] {
        &self.lower
    }

    /// Upper bounds.
    pub fn upper(&self) -> &[f64] {
        &self.upper
    }

    /// Replaces `lambda` by the nearest point of the box; NaN stays NaN.
    pub fn project(&self, lambda: &mut [f64]) {
        assert_eq!(lambda.len(), self.len());
        vectorize(
            #[inline(always)]
            || {
                for ((x, &low), &high) in lambda.iter_mut().zip(&self.lower).zip(&self.upper) {
                    *x = nearest(*x, low, high);
                }
            },
        );
    }

    /// `lambda = P(lambda - eta direction)`, where `P` is [`project`](Self::project).
    pub fn descend(&self, eta: f64, direction: &[f64], lambda: &mut [f64]) {
        assert!(lambda.len() == self.len() && direction.len() == self.len());
        match self.common {
            Some((low, high)) => company::in_halves(lambda, [direction], |lambda, [direction]| {
                vectorize(
                    #[inline(always)]
                    || lambda.iter_mut().zip(direction).for_each(|(x, d)| *x = nearest(*x - eta * d, low, high)),
                );
            }),
            None => {
                vector::axpy(-eta, direction, lambda);
                self.project(lambda);
            }
        }
    }

    /// True when `lambda` has the right length and lies in the box (NaN does not).
    pub fn contains(&self, lambda: &[f64]) -> bool {
        lambda.len() == self.len()
            && lambda.iter().zip(&self.lower).zip(&self.upper).all(|((x, low), high)| low <= x && x <= high)
    }

    /// `max_j |P(lambda - gradient) - lambda|_j`: zero exactly at stationary points, free of the number of coordinates.
    ///
    /// NaN when any component is.
    pub fn projected_gradient_norm(&self, lambda: &[f64], gradient: &[f64]) -> f64 {
        self.relative_projected_gradient_norm(lambda, gradient, 1.0)
    }

    /// The same of `gradient / scale`, with the size of an objective for its `scale`: no component is larger than the box, so that
    /// only after this division it is small where the gradient is.
    pub fn relative_projected_gradient_norm(&self, lambda: &[f64], gradient: &[f64], scale: f64) -> f64 {
        assert!(lambda.len() == self.len() && gradient.len() == self.len());
        let mut largest = 0.0_f64;
        for (j, (&x, &g)) in lambda.iter().zip(gradient).enumerate() {
            // In terms of the gradient, not of x - g, which would lose a small gradient at a large x.
            let (g, low, high) = (g / scale.max(f64::MIN_POSITIVE), x - self.upper[j], x - self.lower[j]);
            if g.is_nan() || low.is_nan() || high.is_nan() {
                return f64::NAN;
            }
            largest = largest.max(g.clamp(low, high).abs());
        }
        largest
    }
}

#[inline(always)]
fn nearest(x: f64, low: f64, high: f64) -> f64 {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

//! Losses of generalised linear models, on blocks of margins.
//!
//! A block holds the margins of some rows, row after row, `C` numbers each (`C = 1` but for the softmax). Targets are
//! numbers: class codes `0, 1, ..` for the classifiers. All functions work in place, so that a pass over the data needs
//! one small buffer that stays in the cache.

use crate::simd::vectorize;
use serde::{Deserialize, Serialize};

use super::softmax;
use crate::elementary::{exp, ln_1p_unit, x_ln_x};

/// The loss of one row as a function of its margins `m` and target `y`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "loss")]
pub enum Loss {
    /// Two classes, `y` in {0, 1}: `ln(1 + exp(m)) - y m`.
    Logistic,
    /// `y` in `0..classes`: `ln(sum_c exp(m_c)) - m_y`.
    Softmax {
        /// Number of classes `C`.
        classes: usize,
    },
    /// `(m - y)^2 / 2`.
    Squared,
    /// `r^2 / 2` for `|r| <= delta`, else `delta (|r| - delta / 2)`, with `r = m - y`.
    Huber {
        /// Residual at which the loss turns linear.
        delta: f64,
    },
    /// Two classes, `y` in {0, 1}, `s = 2 y - 1`: `max(0, 1 - s m)^2 / 2`.
    SquaredHinge,
    /// Counts `y >= 0`: half the unit deviance, `exp(m) - y m + y ln(y) - y`, which is 0 at the best fit.
    Poisson,
}

/// Value, first and second derivative in the margin.
type Jet = (f64, f64, f64);

/// A loss of one margin. A trait, not a function pointer: its body must end up inside the loop over the rows, where the
/// vector instructions chosen at run time apply.
trait Scalar: Copy {
    fn jet(self, m: f64, y: f64) -> Jet;
}

#[derive(Clone, Copy)]
struct Logistic;

impl Scalar for Logistic {
    #[inline(always)]
    fn jet(self, m: f64, y: f64) -> Jet {
        let e = exp(-m.abs());
        let inverse = 1.0 / (1.0 + e);
        let tail = e * inverse;
        let probability = if m >= 0.0 { inverse } else { tail };
        let value = m.max(0.0) - y * m + ln_1p_unit(e);
        (value, probability - y, inverse * tail)
    }
}

#[derive(Clone, Copy)]
struct Squared;

impl Scalar for Squared {
    #[inline(always)]
    fn jet(self, m: f64, y: f64) -> Jet {
        let r = m - y;
        (0.5 * r * r, r, 1.0)
    }
}

#[derive(Clone, Copy)]
struct Huber {
    delta: f64,
}

impl Scalar for Huber {
    #[inline(always)]
    fn jet(self, m: f64, y: f64) -> Jet {
        let r = m - y;
        let clipped = r.clamp(-self.delta, self.delta);
        (clipped * (r - 0.5 * clipped), clipped, if r.abs() <= self.delta { 1.0 } else { 0.0 })
    }
}

#[derive(Clone, Copy)]
struct SquaredHinge;

impl Scalar for SquaredHinge {
    #[inline(always)]
    fn jet(self, m: f64, y: f64) -> Jet {
        let sign = 2.0 * y - 1.0;
        let slack = (1.0 - sign * m).max(0.0);
        (0.5 * slack * slack, -sign * slack, if slack > 0.0 { 1.0 } else { 0.0 })
    }
}

#[derive(Clone, Copy)]
struct Poisson;

impl Scalar for Poisson {
    #[inline(always)]
    fn jet(self, m: f64, y: f64) -> Jet {
        let rate = exp(m);
        (rate - y * m + (x_ln_x(y) - y), rate - y, rate)
    }
}

/// Runs a loss over scalar margins: keeps the derivative that `pick` selects, times the weight of the row, in place;
/// returns the weighted sum of the values.
#[inline(always)]
fn scalar_pass(
    margins: &mut [f64],
    y: &[f64],
    weight: impl Fn(usize) -> f64,
    loss: impl Scalar,
    pick: impl Fn(Jet) -> f64,
) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let whole = margins.len() / LANES * LANES;
    let (body, tail) = margins.split_at_mut(whole);
    for (first, m) in (0..whole).step_by(LANES).zip(body.chunks_exact_mut(LANES)) {
        let y = &y[first..first + LANES];
        for lane in 0..LANES {
            let (at, c) = (loss.jet(m[lane], y[lane]), weight(first + lane));
            sums[lane] += c * at.0;
            m[lane] = c * pick(at);
        }
    }
    let mut sum: f64 = sums.iter().sum();
    for (i, m) in tail.iter_mut().enumerate() {
        let (at, c) = (loss.jet(*m, y[whole + i]), weight(whole + i));
        sum += c * at.0;
        *m = c * pick(at);
    }
    sum
}

impl Loss {
    /// Number of margins `C` of a row.
    pub fn outputs(self) -> usize {
        match self {
            Loss::Softmax { classes } => classes,
            _ => 1,
        }
    }

    /// True for the losses whose target is a class code.
    pub fn is_classifier(self) -> bool {
        matches!(self, Loss::Logistic | Loss::Softmax { .. } | Loss::SquaredHinge)
    }

    /// Name as in the command's options.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Logistic => "logistic",
            Loss::Softmax { .. } => "softmax",
            Loss::Squared => "squared",
            Loss::Huber { .. } => "huber",
            Loss::SquaredHinge => "squared-hinge",
            Loss::Poisson => "poisson",
        }
    }

    /// `sum_i c_i loss_i`; the margins are overwritten. `weights` are the `c_i`, absent for all ones.
    pub fn value(self, margins: &mut [f64], y: &[f64], weights: Option<&[f64]>) -> f64 {
        // The derivatives come along at no cost that could be measured beside the pass over the data.
        self.gradient(margins, y, weights)
    }

    /// Replaces the margins by the derivatives of `c_i loss_i` in them; returns `sum_i c_i loss_i`.
    pub fn gradient(self, margins: &mut [f64], y: &[f64], weights: Option<&[f64]>) -> f64 {
        let sum = self.dispatch(margins, y, weights, |jet| jet.1, |sum| sum);
        self.finish_gradient(margins, y, weights);
        sum
    }

    /// [`Loss::gradient`] without the value, which costs a logarithm a row.
    pub fn derivative(self, margins: &mut [f64], y: &[f64], weights: Option<&[f64]>) {
        self.dispatch(margins, y, weights, |jet| jet.1, |_| ());
        self.finish_gradient(margins, y, weights);
    }

    /// From class probabilities to derivatives.
    fn finish_gradient(self, margins: &mut [f64], y: &[f64], weights: Option<&[f64]>) {
        if let Loss::Softmax { classes } = self {
            softmax::subtract_targets(margins, y, classes);
            self.weigh(weights, margins);
        }
    }

    /// Replaces the margins by what [`Loss::curvature_product`] needs: the second derivative of each row, or for the
    /// softmax the class probabilities, both without weights.
    pub fn curvature(self, margins: &mut [f64], y: &[f64]) {
        self.dispatch(margins, y, None, |jet| jet.2, |_| ());
    }

    /// [`Loss::derivative`] of the margins and, at the same margins, [`Loss::curvature_product`] of `u`.
    pub fn directions(self, margins: &mut [f64], u: &mut [f64], y: &[f64], weights: Option<&[f64]>) {
        const ROWS: usize = 64;
        if let Loss::Softmax { .. } = self {
            // The probabilities are on the way to the gradient.
            self.dispatch(margins, y, weights, |jet| jet.1, |_| ());
            self.curvature_product(margins, weights, u);
            return self.finish_gradient(margins, y, weights);
        }
        // One loop for both would evaluate the loss once, and the compiler would take it apart into single numbers.
        let (mut buffer, mut from) = ([0.0; ROWS], 0);
        for (m, u) in margins.chunks_mut(ROWS).zip(u.chunks_mut(ROWS)) {
            let rows = from..from + m.len();
            let (y, c) = (&y[rows.clone()], weights.map(|c| &c[rows]));
            let curvature = &mut buffer[..m.len()];
            curvature.copy_from_slice(m);
            self.curvature(curvature, y);
            self.curvature_product(curvature, c, u);
            self.derivative(m, y, c);
            from += m.len();
        }
    }

    /// Keeps what `pick` selects in place, and returns what `keep` makes of the sum of the values; one that ignores it saves
    /// its computation.
    fn dispatch<R>(
        self,
        margins: &mut [f64],
        y: &[f64],
        weights: Option<&[f64]>,
        pick: impl Fn(Jet) -> f64 + Copy,
        keep: impl Fn(f64) -> R,
    ) -> R {
        debug_assert_eq!(margins.len(), y.len() * self.outputs());
        vectorize(
            #[inline(always)]
            || match weights {
                None => keep(self.pass(margins, y, |_| 1.0, pick)),
                Some(c) => keep(self.pass(margins, y, |i| c[i], pick)),
            },
        )
    }

    #[inline(always)]
    fn pass(
        self,
        margins: &mut [f64],
        y: &[f64],
        weight: impl Fn(usize) -> f64,
        pick: impl Fn(Jet) -> f64 + Copy,
    ) -> f64 {
        match self {
            Loss::Logistic => scalar_pass(margins, y, weight, Logistic, pick),
            Loss::Squared => scalar_pass(margins, y, weight, Squared, pick),
            Loss::Huber { delta } => scalar_pass(margins, y, weight, Huber { delta }, pick),
            Loss::SquaredHinge => scalar_pass(margins, y, weight, SquaredHinge, pick),
            Loss::Poisson => scalar_pass(margins, y, weight, Poisson, pick),
            Loss::Softmax { classes } => softmax::probabilities(margins, y, weight, classes),
        }
    }

    /// Replaces a direction `u` in the space of margins by `D u`, `D` the second derivative kept in `curvature`:
    /// `d u` for scalar margins, `p * u - p (p^T u)` for the softmax, times the weight of the row.
    pub fn curvature_product(self, curvature: &[f64], weights: Option<&[f64]>, u: &mut [f64]) {
        match self {
            Loss::Softmax { classes } => softmax::curvature_product(curvature, u, classes),
            _ => {
                for (u, d) in u.iter_mut().zip(curvature) {
                    *u *= d;
                }
            }
        }
        self.weigh(weights, u);
    }

    /// Multiplies the numbers of each row by its weight.
    pub(super) fn weigh(self, weights: Option<&[f64]>, rows: &mut [f64]) {
        if let Some(weights) = weights {
            for (row, c) in rows.chunks_exact_mut(self.outputs()).zip(weights) {
                row.iter_mut().for_each(|x| *x *= c);
            }
        }
    }

    /// The diagonal of `D`, row by row, times the weight of the row, into `out`.
    pub fn curvature_diagonal(self, curvature: &[f64], weights: Option<&[f64]>, out: &mut [f64]) {
        match self {
            Loss::Softmax { .. } => out.iter_mut().zip(curvature).for_each(|(o, p)| *o = p * (1.0 - p)),
            _ => out.copy_from_slice(curvature),
        }
        self.weigh(weights, out);
    }

    /// Replaces margins by predictions on the scale of the target: class probabilities (for one margin the probability
    /// of class 1; the hinge has none and keeps its margin), means, or rates.
    pub fn predict(self, margins: &mut [f64]) {
        match self {
            Loss::Logistic => margins.iter_mut().for_each(|m| *m = 1.0 / (1.0 + (-*m).exp())),
            Loss::Softmax { classes } => {
                let y = vec![0.0; margins.len() / classes];
                softmax::probabilities(margins, &y, |_| 1.0, classes);
            }
            Loss::Poisson => margins.iter_mut().for_each(|m| *m = m.exp()),
            Loss::Squared | Loss::Huber { .. } | Loss::SquaredHinge => {}
        }
    }
}

//! Step sizes `eta_s` of the stochastic fixed-point iteration, and the choices that come with a guarantee.
//!
//! Constant steps fall linearly to a ball whose radius is proportional to `eta`; steps `beta/(gamma + s)` fall like `1/t`
//! for ever (theory, section 3; Grazzi, Pontil, Salzo, AISTATS 2021, section 4).

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The step `eta_s` of step number `s = 0, 1, ...`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepSize {
    /// `eta_s = eta`.
    Constant {
        /// The step.
        eta: f64,
    },
    /// `eta_s = beta / (gamma + s)`.
    Decreasing {
        /// Numerator; above `1/(1 - q^2)` for the rate `1/t`.
        beta: f64,
        /// Offset; the first step is `beta/gamma`.
        gamma: f64,
    },
    /// `eta_s = eta / (1 + s)^exponent`, `0 < exponent <= 1`; with exponents in (1/2, 1) for averaged iterates.
    Power {
        /// The first step.
        eta: f64,
        /// How fast the steps fall.
        exponent: f64,
    },
}

impl StepSize {
    /// Decreasing steps for a `q`-contraction whose noise satisfies `E|T_hat(x) - T(x)|^2 <= sigma1 + sigma2 |T(x) - x|^2`.
    ///
    /// `beta = 2/(1 - q^2)` minimises the noise term `beta^2 sigma1 / (beta (1 - q^2) - 1)` of the bound, and
    /// `gamma = beta (1 + sigma2)` is the smallest offset it allows; the first step is `1/(1 + sigma2)`.
    ///
    /// # Errors
    /// Input, unless `0 <= q < 1` and `0 <= sigma2 < inf`.
    pub fn decreasing_from_constants(q: f64, sigma2: f64) -> Result<Self> {
        check_constants(q, sigma2)?;
        let beta = 2.0 / (1.0 - q * q);
        Ok(StepSize::Decreasing { beta, gamma: beta * (1.0 + sigma2) })
    }

    /// The constant step whose stationary mean-square error `eta sigma1/(1 - q^2)` is at most `mse`.
    ///
    /// # Errors
    /// Input, unless `0 <= q < 1`, `sigma1, sigma2 >= 0` and `mse > 0`.
    pub fn constant_for_error(q: f64, sigma1: f64, sigma2: f64, mse: f64) -> Result<Self> {
        check_constants(q, sigma2)?;
        if !(sigma1 >= 0.0 && mse > 0.0) {
            return Err(Error::input(format!(
                "sigma1 = {sigma1} must not be negative and mse = {mse} must be positive"
            )));
        }
        let largest = 1.0 / (1.0 + sigma2);
        let eta = if sigma1 == 0.0 { largest } else { largest.min(mse * (1.0 - q * q) / sigma1) };
        Ok(StepSize::Constant { eta })
    }

    /// `eta_s`.
    #[inline]
    pub fn eta(&self, s: usize) -> f64 {
        match *self {
            StepSize::Constant { eta } => eta,
            StepSize::Decreasing { beta, gamma } => beta / (gamma + s as f64),
            StepSize::Power { eta, exponent } => eta / (1.0 + s as f64).powf(exponent),
        }
    }

    /// Bound on `E|x_t - x*|^2` after `t` steps from `|x_0 - x*|^2 <= initial`; `None` where the theory gives none.
    ///
    /// Needs `eta_0 <= 1/(1 + sigma2)` and, for decreasing steps, `beta > 1/(1 - q^2)`.
    pub fn mse_bound(&self, t: usize, initial: f64, q: f64, sigma1: f64, sigma2: f64) -> Option<f64> {
        check_constants(q, sigma2).ok()?;
        let gap = 1.0 - q * q;
        if self.eta(0) * (1.0 + sigma2) > 1.0 + 1e-12 {
            return None;
        }
        match *self {
            StepSize::Constant { eta } => Some((1.0 - eta * gap).powf(t as f64) * initial + eta * sigma1 / gap),
            StepSize::Decreasing { beta, gamma } if beta * gap > 1.0 => {
                let (decay, end) = (beta * gap, gamma + t as f64);
                let noise = beta * beta * sigma1 / (decay - 1.0);
                // Start and noise together, or each by its own law; both bounds hold (theory, section 3.3).
                let together = (gamma * initial).max(noise) / end;
                Some(together.min(initial * (gamma / end).powf(decay) + noise / end))
            }
            _ => None,
        }
    }

    /// Steps after which [`StepSize::mse_bound`] is at most `mse`; `None` where the theory gives no such number.
    ///
    /// The requested precision comes first and the number of steps follows from it, not the other way round.
    pub fn steps_for(&self, mse: f64, initial: f64, q: f64, sigma1: f64, sigma2: f64) -> Option<usize> {
        let reached = |t: usize| self.mse_bound(t, initial, q, sigma1, sigma2).map(|bound| bound <= mse);
        // The bound falls with t: double until it is reached, then bisect.
        let (mut below, mut above) = (0, 1_usize);
        if reached(0)? {
            return Some(0);
        }
        while !reached(above)? {
            below = above;
            above = above.checked_mul(2).filter(|&t| t <= 1 << 52)?;
        }
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            *(if reached(middle)? { &mut above } else { &mut below }) = middle;
        }
        Some(above)
    }

    /// Checks that every step is positive and finite.
    ///
    /// # Errors
    /// Input, naming the parameter.
    pub fn validate(&self) -> Result<()> {
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Error::input(format!("{name} = {value} of the step size must be positive and finite")))
            }
        };
        match *self {
            StepSize::Constant { eta } => positive("eta", eta),
            StepSize::Decreasing { beta, gamma } => positive("beta", beta).and(positive("gamma", gamma)),
            StepSize::Power { eta, exponent } => {
                positive("eta", eta)?;
                if exponent > 0.0 && exponent <= 1.0 {
                    Ok(())
                } else {
                    Err(Error::input(format!("exponent = {exponent} of the step size must be in (0, 1]")))
                }
            }
        }
    }
}

fn check_constants(q: f64, sigma2: f64) -> Result<()> {
    if !(0.0..1.0).contains(&q) {
        return Err(Error::input(format!("contraction q = {q} must be at least 0 and below 1"))
            .remedy("use a smaller map_step or a strongly convex lower level"));
    }
    if !(sigma2 >= 0.0 && sigma2.is_finite()) {
        return Err(Error::input(format!("noise constant sigma2 = {sigma2} must be finite and not negative")));
    }
    Ok(())
}

//! Constants of a generalised linear model from formulas, over a ball around `w(lambda)`.
//!
//! Let `x_i` hold the 1 of the intercept where there is one, `r_i = |x_i|`, `a_i = n c_i / sum c` (1 without row weights),
//! `G = (1/n) sum a_i x_i x_i'`, and let `s2`, `s3` bound the second and third derivatives of the loss in the margins:
//!
//! | loss | `s2` | `s3` | bound on `|loss'|` |
//! | --- | --- | --- | --- |
//! | logistic | 1/4 | 1/(6 sqrt 3) | 1 |
//! | softmax | 1/2 | 1/sqrt 2 | sqrt 2 |
//! | squared | 1 | 0 | none |
//! | Huber | 1 | none: the second derivative jumps | delta |
//! | squared hinge | 1 | none: the second derivative jumps | none |
//! | Poisson | exp(m_i + R r_i) | exp(m_i + R r_i) | none |
//!
//! The softmax: with `p` the class probabilities, the second derivative along `u` is the variance of `u` under `p` and the
//! third along `u, u, z` the joint third central moment. Components of a unit vector differ by at most `sqrt 2`, so a
//! deviation from the mean is at most that and a variance at most a quarter of its square. The Poisson loss has bounds in
//! the ball only (radius `R`), where the margin moves by at most `R r_i`.
//!
//! For the map of a gradient step with `map_step = alpha` (theory, section 5):
//!
//! ```text
//! L   <= s2 lmax(G) + max strength,      mu >= min strength (without intercept)
//! nu1  = alpha min( mean a s3 r^3, max(s3 r) lmax(G) )       since |H(w) - H(w')| <= |mean a s3 |x'(w-w')| x x'|
//! nu2  = alpha max strength,    L_Phi = alpha max_h strength_h (|W_h| + R)     columns of d2Phi have disjoint supports
//! mu1  = min( mean a s2 r^2, max(s2) lmax(G) ),  L_E = min( |grad E| + mu1 R, mean a |loss'| r )    on the judging rows
//! m1   = alpha^2/b lmax( mean a^2 s2^2 r^2 x x' ),    m2 = 0
//! sigma1 = 2 alpha^2/b (mean |grad_i|^2 - |grad|^2) at w(lambda),    sigma2 = 2 m1/(1-q)^2
//! ```
//!
//! The noise constants are those of `b` independently drawn rows; a contiguous block of rows in random order has no more
//! variance on average over the orders. `sigma2` follows from `m1` as in section 3.4: the noise of the gradient moves by at
//! most `m1 |w - w*|^2` in mean square, and `|w - w*| <= |Phi(w) - w|/(1-q)`.

use super::bounds::ProblemConstants;
use super::constants::{best_gradient_step, loss_constants};
use super::lanczos::lanczos;
use crate::error::{Error, Result};
use crate::lower::{Curved, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Reweighting};
use crate::sample::Sample;
use crate::vector;
use crate::work::Work;

/// Where and for what the formulas are evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GlmBallOptions {
    /// The step `alpha` of the gradient map.
    pub map_step: f64,
    /// Rows of a batch.
    pub batch: usize,
    /// Radius of the ball around `w(lambda)` in which the constants hold; at least the distance of the start.
    pub radius: f64,
    /// Lanczos steps at most.
    pub steps: usize,
    /// Seed of the Lanczos starts.
    pub seed: u64,
}

/// Bounds from the formulas of the module documentation; `None` where there is no honest formula.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GlmBounds {
    /// The radius of the ball.
    pub radius: f64,
    /// Upper bound on the largest eigenvalue of the Hessian.
    pub l: f64,
    /// Lower bound on the smallest; `None` with an intercept, whose curvature has no bound (squared loss: from Lanczos).
    pub mu: Option<f64>,
    /// Contraction of the map; `None` where that needs a bound on `mu` that there is none of. May be 1 or more.
    pub contraction: Option<f64>,
    /// Lipschitz constant of `d1Phi`.
    pub nu1: Option<f64>,
    /// Lipschitz constant of `d2Phi`.
    pub nu2: f64,
    /// Lipschitz constant of `grad1 E`.
    pub mu1: f64,
    /// Bound on `|grad1 E|`.
    pub l_e: f64,
    /// Bound on `|d2Phi|`.
    pub l_phi: f64,
    /// Noise of `d1Phi_hat` on a batch.
    pub m1: f64,
    /// Noise of the map on a batch.
    pub sigma1: f64,
    /// Its growth with the residual; `None` where the contraction is.
    pub sigma2: Option<f64>,
    /// What it cost.
    pub work: Work,
}

/// Bounds on the derivatives of a loss, row by row.
struct Margins {
    norms_squared: Vec<f64>,
    weights: Vec<f64>,
    s2: Vec<f64>,
    s3: Option<Vec<f64>>,
    slope: Option<f64>,
    /// `|loss'_i|^2` at the centre of the ball.
    slopes_squared: Vec<f64>,
}

impl Margins {
    fn at(risk: &EmpiricalRisk<'_>, w: &[f64], radius: f64) -> Self {
        let loss = risk.loss();
        let (mut margins, targets) = risk.margins_and_targets(w);
        let norms_squared = risk.row_norms_squared();
        let n = targets.len();
        let (s2, s3, slope) = match loss {
            Loss::Logistic => (vec![0.25; n], Some(vec![1.0 / (6.0 * 3.0_f64.sqrt()); n]), Some(1.0)),
            Loss::Softmax { .. } => (vec![0.5; n], Some(vec![0.5_f64.sqrt(); n]), Some(2.0_f64.sqrt())),
            Loss::Squared => (vec![1.0; n], Some(vec![0.0; n]), None),
            Loss::Huber { delta } => (vec![1.0; n], None, Some(delta)),
            Loss::SquaredHinge => (vec![1.0; n], None, None),
            Loss::Poisson => {
                let rates: Vec<f64> =
                    margins.iter().zip(&norms_squared).map(|(m, r)| (m + radius * r.sqrt()).exp()).collect();
                (rates.clone(), Some(rates), None)
            }
        };
        loss.gradient(&mut margins, &targets, None);
        let slopes_squared = margins.chunks_exact(loss.outputs()).map(vector::norm_squared).collect();
        Margins { norms_squared, weights: risk.relative_weights(), s2, s3, slope, slopes_squared }
    }

    /// Mean over the rows of `f(i, r_i)`.
    fn mean(&self, f: impl Fn(usize, f64) -> f64) -> f64 {
        let sum: f64 = self.norms_squared.iter().enumerate().map(|(i, r2)| f(i, r2.sqrt())).sum();
        sum / self.norms_squared.len() as f64
    }

    fn largest(&self, f: impl Fn(usize, f64) -> f64) -> f64 {
        self.norms_squared.iter().enumerate().map(|(i, r2)| f(i, r2.sqrt())).fold(0.0, f64::max)
    }
}

/// `lmax((1/n) sum factor_i x_i x_i')`, from above up to the Lanczos error, and the rows visited.
fn gram_norm(risk: &EmpiricalRisk<'_>, factors: &[f64], options: &GlmBallOptions) -> Result<(f64, usize)> {
    let product = |v: &[f64], out: &mut [f64]| risk.gram_product(factors, v, out);
    let spectrum = lanczos(product, risk.parameters(), options.steps, options.seed)?;
    Ok((spectrum.largest_at_most(), risk.len() * spectrum.products))
}

impl GlmBounds {
    /// The bounds around `w`, which is to be `w(lambda)`.
    ///
    /// # Errors
    /// Input, for settings that are not positive; numeric, when something is not finite.
    pub fn around(
        lower: &Glm<'_>,
        upper: &EmpiricalRisk<'_>,
        w: &[f64],
        lambda: &[f64],
        options: &GlmBallOptions,
    ) -> Result<Self> {
        let GlmBallOptions { map_step, batch, radius, .. } = *options;
        if !(map_step > 0.0 && radius >= 0.0 && batch > 0 && options.steps > 0) {
            return Err(Error::input(format!("the formulas need positive settings, not {options:?}")));
        }
        if lower.reweighting() != Reweighting::Fixed || lower.penalty_hyperparameters() != lambda.len() {
            return Err(Error::input("the formulas are those of hyperparameters of the penalty, and of no others")
                .remedy("measure the constants instead"));
        }
        let risk = lower.risk();
        let strengths = Penalty::strengths(lambda);
        let strongest = strengths.iter().copied().fold(0.0, f64::max);
        let weakest = strengths.iter().copied().fold(f64::INFINITY, f64::min);
        let intercept = risk.parameters() > risk.features() * risk.outputs();

        let fit = Margins::at(risk, w, radius);
        let (gram, mut rows) = gram_norm(risk, &fit.weights, options)?;
        let curvature = |m: &Margins, gram: f64| {
            m.mean(|i, r| m.weights[i] * m.s2[i] * r * r).min(m.largest(|i, _| m.s2[i]) * gram)
        };
        // The gauge of the softmax has the eigenvalue 1 on the intercepts.
        let gauge = if intercept && risk.outputs() > 1 { 1.0 } else { 0.0 };
        let mut l = curvature(&fit, gram) + strongest.max(gauge);
        let mut mu = (!intercept).then_some(weakest);
        if risk.loss() == Loss::Squared {
            let exact = loss_constants(&*lower.curvature(w, lambda), w.len(), risk.len(), options.steps, options.seed)?;
            rows += exact.work.rows as usize;
            (l, mu) = (l.min(exact.l + exact.l_error), Some((exact.mu - exact.mu_error).max(mu.unwrap_or(0.0))));
        }
        let contraction = mu.map(|mu| (1.0 - map_step * mu).abs().max((1.0 - map_step * l).abs()));
        let nu1 = fit.s3.as_ref().map(|s3| {
            map_step * fit.mean(|i, r| fit.weights[i] * s3[i] * r * r * r).min(fit.largest(|i, r| s3[i] * r) * gram)
        });

        let judge = Margins::at(upper, w, radius);
        let (judge_gram, judge_rows) = gram_norm(upper, &judge.weights, options)?;
        let mu1 = curvature(&judge, judge_gram);
        let mut gradient = vec![0.0; w.len()];
        upper.gradient(w, &Sample::Full, &mut gradient);
        let mut l_e = vector::norm(&gradient) + mu1 * radius;
        if let Some(slope) = judge.slope {
            l_e = l_e.min(slope * judge.mean(|i, r| judge.weights[i] * r));
        }

        let mut group_norms = vec![0.0; lambda.len()];
        let weights = risk.features() * risk.outputs();
        lower.penalty().for_each_weight(weights, risk.outputs(), |i, h| group_norms[h] += w[i] * w[i]);
        let l_phi =
            strengths.iter().zip(&group_norms).map(|(s, squared)| s * (squared.sqrt() + radius)).fold(0.0, f64::max);

        let factors: Vec<f64> =
            (0..risk.len()).map(|i| (fit.weights[i] * fit.s2[i]).powi(2) * fit.norms_squared[i]).collect();
        let (noise, noise_rows) = gram_norm(risk, &factors, options)?;
        let step = map_step * map_step / batch as f64;
        let m1 = step * noise;
        risk.gradient(w, &Sample::Full, &mut gradient);
        let second = fit.mean(|i, r| fit.weights[i].powi(2) * fit.slopes_squared[i] * r * r);
        let sigma1 = 2.0 * step * (second - vector::norm_squared(&gradient)).max(0.0);
        rows += noise_rows + judge_rows + 2 * risk.len() + 2 * upper.len();
        let bounds = GlmBounds {
            radius,
            l,
            mu,
            contraction,
            nu1,
            nu2: map_step * strongest,
            mu1,
            l_e,
            l_phi: map_step * l_phi,
            m1,
            sigma1,
            sigma2: contraction.filter(|q| *q < 1.0).map(|q| 2.0 * m1 / (1.0 - q).powi(2)),
            work: Work::hessian_product(rows),
        };
        let numbers = [l, mu1, l_e, l_phi, m1, sigma1, nu1.unwrap_or(0.0)];
        if numbers.iter().all(|x| x.is_finite()) {
            Ok(bounds)
        } else {
            Err(Error::numeric(format!("the bounds over the ball of radius {radius} are not finite"))
                .remedy("use a smaller radius; the Poisson loss grows like the exponential of it"))
        }
    }

    /// The bounds as constants of the theory, with `(sigma1, sigma2)` of the lower map.
    ///
    /// # Errors
    /// Numeric, where a constant has no formula or the map does not contract by these bounds.
    pub fn constants(&self) -> Result<(ProblemConstants, (f64, f64))> {
        let missing = |what: &str, remedy: &str| Error::numeric(format!("no formula bounds {what}")).remedy(remedy);
        let q = self.contraction.ok_or_else(|| missing("the contraction", "fit without an intercept"))?;
        let sigma2 = self.sigma2.ok_or_else(|| {
            Error::numeric(format!("by its bounds the map contracts by {q} only")).remedy("use a smaller map_step")
        })?;
        let nu1 = self.nu1.ok_or_else(|| {
            missing("the change of the Hessian, which jumps", "use a loss with a continuous second derivative")
        })?;
        let constants = ProblemConstants {
            contraction: q,
            nu1,
            nu2: self.nu2,
            mu1: self.mu1,
            mu2: 0.0,
            l_e: self.l_e,
            l_phi: self.l_phi,
            m1: self.m1,
            m2: 0.0,
        };
        Ok((constants, (self.sigma1, sigma2)))
    }

    /// The step `2/(L + mu)` that is best by formulas alone, for the squared loss and for models without intercept.
    ///
    /// # Errors
    /// As [`GlmBounds::around`]; numeric, where `mu` has no bound.
    pub fn best_map_step(lower: &Glm<'_>, upper: &EmpiricalRisk<'_>, w: &[f64], lambda: &[f64]) -> Result<f64> {
        let options = GlmBallOptions { map_step: 1.0, batch: 1, radius: 0.0, steps: 200.min(lower.dims().w), seed: 0 };
        let bounds = GlmBounds::around(lower, upper, w, lambda, &options)?;
        let mu = bounds.mu.ok_or_else(|| {
            Error::numeric("no formula bounds the smallest curvature of a model with an intercept")
                .remedy("fit without an intercept, or take the map_step of loss_constants")
        })?;
        Ok(best_gradient_step(mu, bounds.l).0)
    }
}

//! The mean-square error of a stochastic hypergradient, bounded by the constants of the problem (theory, section 4).
//!
//! ```text
//! E|g_hat - grad f|^2 <= 2 c^2 rho(t) + 2 L_Phi^2 sigma(k) + (2 m2/J) (L_E^2/(1-q)^2 + sigma(k)),
//! c = mu2 + nu2 L_E/(1-q) + L_Phi (mu1/(1-q) + nu1 L_E/(1-q)^2),
//! ```
//!
//! where `rho(t)` and `sigma(k)` bound the mean-square errors of the two solves. Grazzi, Pontil, Salzo, AISTATS 2021,
//! section 3; derived with these factors in `docs/theory.md`.

use crate::sample::Batch;

/// Constants of a problem at one `lambda`, in the notation of the theory.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProblemConstants {
    /// Contraction `q` of `Phi(., lambda)`.
    pub contraction: f64,
    /// Lipschitz constant of `d1Phi` in `w`.
    pub nu1: f64,
    /// Lipschitz constant of `d2Phi` in `w`.
    pub nu2: f64,
    /// Lipschitz constant of `grad1 E` in `w`.
    pub mu1: f64,
    /// Lipschitz constant of `grad2 E` in `w`.
    pub mu2: f64,
    /// Bound `L_E` on `|grad1 E|`.
    pub l_e: f64,
    /// Bound `L_Phi` on the norm of `d2Phi`.
    pub l_phi: f64,
    /// Noise of `d1Phi_hat`: `E|(d1Phi_hat - d1Phi)^T v|^2 <= m1 |v|^2`, for the batch of the linear solve.
    pub m1: f64,
    /// Noise of `d2Phi_hat`, for single elements.
    pub m2: f64,
}

impl ProblemConstants {
    /// `L_E/(1 - q)`, which bounds the adjoint.
    pub fn adjoint_bound(&self) -> f64 {
        self.l_e / (1.0 - self.contraction)
    }

    /// The Lipschitz constant `c` of `w -> grad2 E(w) + d2Phi(w)^T v(w)`.
    pub fn sensitivity(&self) -> f64 {
        let (gap, v) = (1.0 - self.contraction, self.adjoint_bound());
        self.mu2 + self.nu2 * v + self.l_phi * (self.mu1 + self.nu1 * v) / gap
    }

    /// Noise constants `(sigma1, sigma2)` of the linear system, for [`StepSize`](crate::step_size::StepSize).
    pub fn linear_noise(&self) -> (f64, f64) {
        let gap = 1.0 - self.contraction;
        (2.0 * self.m1 * self.adjoint_bound().powi(2), 2.0 * self.m1 / (gap * gap))
    }

    /// The bound, for solves of mean-square errors `lower_mse = rho(t)` and `linear_mse = sigma(k)`.
    pub fn hypergradient_mse(&self, lower_mse: f64, linear_mse: f64, cross_batch: Batch) -> f64 {
        let sampled = match cross_batch {
            Batch::All => 0.0,
            Batch::Rows(rows) => 2.0 * self.m2 / rows as f64 * (self.adjoint_bound().powi(2) + linear_mse),
        };
        2.0 * self.sensitivity().powi(2) * lower_mse + 2.0 * self.l_phi.powi(2) * linear_mse + sampled
    }
}

//! The exact hypergradient of a loss, and the constants of its gradient-step map.

use crate::diagnose::{best_gradient_step, loss_constants};
use crate::error::Result;
use crate::fixed_point::LowerSolver;
use crate::hypergradient::Implicit;
use crate::lower::{Curved, GradientMap};
use crate::newton::Newton;
use crate::sample::Sample;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;

/// Lanczos steps behind the constants.
const LANCZOS: usize = 60;

/// What a study of a loss at one `lambda` is measured against.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// `w(lambda)`, by Newton's method.
    pub solution: Vec<f64>,
    /// `grad f(lambda)`.
    pub hypergradient: Vec<f64>,
    /// `f(lambda)`.
    pub objective: f64,
    /// Smallest eigenvalue `mu` of the Hessian at the solution.
    pub mu: f64,
    /// Largest eigenvalue `L` of the Hessian, at the solution or at zero, where the solves start.
    pub l: f64,
    /// The step `alpha = 2/(L + mu)` of the gradient map.
    pub map_step: f64,
    /// Its contraction `q = (L - mu)/(L + mu)`.
    pub contraction: f64,
}

impl Reference {
    /// Solves the lower level, differentiates there and measures the curvature.
    ///
    /// # Errors
    /// Input, for sizes that do not fit; numeric, when Newton's method fails or the Hessian is not positive definite.
    pub fn new<U: UpperObjective + ?Sized>(loss: &dyn Curved, upper: &U, lambda: &[f64], seed: u64) -> Result<Self> {
        let dim = loss.dims().w;
        let zero = vec![0.0; dim];
        let mut solution = zero.clone();
        Newton::default().solve(loss, lambda, &mut solution)?.usable("lower level")?;
        let mut u = zero.clone();
        let exact =
            Implicit::default().at_solution(loss, upper, &solution, lambda, &mut u, None, &StopSignal::never())?;
        let rows = loss.size(&Sample::Full);
        let constants = |w: &[f64]| loss_constants(&*loss.curvature(w, lambda), dim, rows, LANCZOS, seed);
        let (there, start) = (constants(&solution)?, constants(&zero)?);
        let (mu, l) = (there.mu, there.l.max(start.l));
        let (map_step, contraction) = best_gradient_step(mu, l);
        Ok(Reference { solution, hypergradient: exact.value, objective: exact.objective, mu, l, map_step, contraction })
    }

    /// The gradient-step map with these constants.
    pub fn map<'a, L: ?Sized>(&self, loss: &'a L) -> GradientMap<'a, L> {
        GradientMap { loss, map_step: self.map_step }
    }

    /// `|grad f(lambda)|`.
    pub fn norm(&self) -> f64 {
        vector::norm(&self.hypergradient)
    }
}

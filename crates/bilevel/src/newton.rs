//! Newton's method for a lower level that is a smooth, strongly convex loss.
//!
//! `w(lambda)` is the fixed point of every gradient step on the loss; where second derivatives are at hand, Newton finds
//! it in a few iterations instead of a number that grows with the condition number. With a warm start from a nearby
//! `lambda` that is often one or two. Directions come from a factorisation, or from conjugate gradients whose tolerance
//! tightens as the gradient falls (inexact Newton, Eisenstat & Walker 1996).
//!
//! Losses with linear pieces have singular Hessians far from the minimum: at zero weights all residuals may be beyond
//! Huber's threshold. There the step is that of `H + |g| I` (Levenberg; Li, Fukushima, Qi, Yamashita 2004), and it is
//! doubled as long as that lowers the loss.

use crate::fixed_point::LowerSolver;
use crate::linear_system::{CgWorkspace, ConjugateGradient, HessianSystem, Preconditioner};
use crate::lower::{Curved, Factorization};
use crate::sample::Sample;
use crate::status::{Info, Status};
use crate::stop::StopSignal;
use crate::vector;
use crate::work::Work;
use crate::{Error, Result};

/// How Newton directions are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NewtonDirection {
    /// By factorising the Hessian; falls back on conjugate gradients where it is too large.
    Factorized,
    /// By conjugate gradients with at most this many products an iteration.
    ConjugateGradients {
        /// Products with the Hessian in one iteration.
        steps: usize,
    },
}

/// Newton's method with a backtracking line search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newton {
    /// Largest number of iterations.
    pub iterations: usize,
    /// Stop after the step whose predicted decrease is below this fraction of the loss. As convergence is quadratic,
    /// what remains after that step is about its square.
    pub tolerance: f64,
    /// How directions are computed.
    pub direction: NewtonDirection,
}

/// Where Newton's method ended.
pub struct Minimum {
    /// Status, iterations, gradient norm before the last step, work.
    pub info: Info,
    /// The loss before the last step.
    pub value: f64,
    /// A factorised Hessian at an earlier iterate: a good preconditioner at the minimum and for a nearby `lambda`.
    pub factorization: Option<Box<dyn Factorization>>,
}

impl Default for Newton {
    fn default() -> Self {
        Newton { iterations: 100, tolerance: 1e-12, direction: NewtonDirection::Factorized }
    }
}

/// Largest multiple of a damped step.
const LONGEST: f64 = 1e9;
/// Steps of conjugate gradients above which their preconditioner is made anew.
const NEAR_STEPS: usize = 20;
/// Fraction of the loss below which a predicted decrease may be lost in the precision of values, single at least.
const IMPRECISION: f64 = 1e-4;
/// Steps relative to `w` below which what is left of the loss may be rounding of what it was: from a start with a huge loss,
/// such as an exponential one, a long way may be left when that has fallen by many powers of ten.
const NEARLY_THERE: f64 = 1e-6;
/// Halvings of a step before the line search gives up.
const BACKTRACKS: usize = 40;

impl Newton {
    /// Minimises `loss(., lambda)` from the start `w`, which is replaced by the minimum.
    ///
    /// `nearby` is a factorisation of the Hessian at a nearby point, `lambda` or both; where it serves as preconditioner
    /// for cheaper directions, it is used and returned.
    ///
    /// # Errors
    /// Numeric, when the loss is not finite at the start or its Hessian is not positive definite; interrupted, once
    /// `stop` is raised: `w` is then the last point that was accepted.
    pub fn minimize(
        &self,
        loss: &dyn Curved,
        lambda: &[f64],
        w: &mut [f64],
        nearby: Option<Box<dyn Factorization>>,
        stop: &StopSignal,
    ) -> Result<Minimum> {
        let mut at = Iterate::new(loss, lambda, w, stop)?;
        let (first_norm, first_value) = (vector::norm(&at.gradient), at.value);
        let mut step = vec![0.0; at.w.len()];
        let mut workspace = CgWorkspace::new(step.len());
        let mut kept = nearby;
        let mut status = Status::StepLimit;
        let mut iterations = 0;
        // Whether no step along the last direction lowered the loss, so that the next one is damped.
        let mut refused = false;
        while iterations < self.iterations {
            stop.check()?;
            let norm = vector::norm(&at.gradient);
            if norm == 0.0 {
                status = Status::Converged;
                break;
            }
            let forcing = (norm / first_norm).sqrt();
            let curvature = loss.curvature(at.w, lambda);
            let system = HessianSystem { hessian: &*curvature, b: &at.gradient, rows: at.rows, stop };
            let (spent, damped) = match refused {
                true => (self.damped_direction(&system, forcing, &mut step, &mut workspace)?, true),
                false => self.direction(&system, forcing, &mut kept, &mut step, &mut workspace)?,
            };
            drop(curvature);
            at.work += Work::hessian_product(at.rows) + spent;
            let decrease = 0.5 * vector::dot(&at.gradient, &step);
            if !decrease.is_finite() || decrease < 0.0 {
                return Err(Error::numeric("the Hessian of the lower level is not positive definite")
                    .remedy("raise the penalty (of a tuning the smallest, --lambda-min) or standardise the features"));
            }
            iterations += 1;
            // Where the least value is 0, rounding is relative to what it was, and to `w`.
            let moved = vector::norm(&step) / vector::norm(at.w);
            let lost = if moved <= NEARLY_THERE { f64::EPSILON * first_value.abs() } else { 0.0 };
            let scale = at.value.abs().max(lost).max(f64::MIN_POSITIVE);
            if !damped && (decrease <= self.tolerance * scale || moved <= f64::EPSILON) {
                // The decrease is at the level of rounding: the value cannot judge the step any more.
                vector::axpy(-1.0, &step, at.w);
                status = Status::Converged;
                break;
            }
            match at.backtrack(&step, decrease)? {
                Some(length) if damped => at.extend(&step, length)?,
                Some(_) => {}
                None if decrease <= IMPRECISION * scale => {
                    status = Status::Stagnated;
                    break;
                }
                None if damped => {
                    return Err(Error::numeric("no step along the gradient of the lower level lowers its loss")
                        .remedy("check that value and gradient belong together, or standardise the features"));
                }
                None => {
                    refused = true;
                    continue;
                }
            }
            refused = false;
        }
        let Iterate { value, gradient, work, .. } = at;
        let info = Info { status, steps: iterations, residual: Some(vector::norm(&gradient)), work };
        Ok(Minimum { info, value, factorization: kept })
    }

    /// `step = H^{-1} gradient`: by conjugate gradients with the factorisation at hand where they converge for half the
    /// cost of a new one, else by a new one, else by conjugate gradients with the diagonal. Where `H` is singular, the damped
    /// direction, and true beside the work.
    fn direction(
        &self,
        system: &HessianSystem<'_>,
        forcing: f64,
        kept: &mut Option<Box<dyn Factorization>>,
        step: &mut [f64],
        workspace: &mut CgWorkspace,
    ) -> Result<(Work, bool)> {
        let HessianSystem { hessian, b, stop, .. } = *system;
        let mut work = Work::default();
        if self.direction == NewtonDirection::Factorized {
            let affordable = (hessian.factorization_cost() / 2.0) as usize;
            if let Some(factorization) = kept.as_deref().filter(|_| affordable >= 2) {
                let cg = ConjugateGradient { steps: affordable, tolerance: forcing.clamp(1e-4, 0.05) };
                step.fill(0.0);
                let info = system.solve(cg, Preconditioner::Factorized(factorization), 0.0, step, workspace)?;
                work += info.work;
                if info.status == Status::Converged {
                    return Ok((work, false));
                }
            }
            *kept = None;
            let singular = match hessian.factorize(stop) {
                Some(Ok(factorization)) => {
                    step.copy_from_slice(b);
                    factorization.solve_in_place(step);
                    work += Work { factorizations: 1, ..Work::default() };
                    let along = vector::dot(b, step);
                    if along.is_finite() && along > 0.0 {
                        *kept = Some(factorization);
                        return Ok((work, false));
                    }
                    // But for rounding.
                    true
                }
                Some(Err(error)) if !error.is_numeric() => return Err(error),
                Some(Err(_)) => true,
                None => false,
            };
            if singular {
                return Ok((work + self.damped_direction(system, forcing, step, workspace)?, true));
            }
        }
        let cg = self.conjugate_gradient(forcing, step.len());
        // Where the Hessian is factorised, what was kept has served already, and none is left.
        if let Some(near) = kept.take().map(Ok).or_else(|| hessian.preconditioner(stop)) {
            let near = near?;
            step.fill(0.0);
            let info = system.solve(cg, Preconditioner::Factorized(&*near), 0.0, step, workspace)?;
            work += info.work;
            // A new one next time where this one has become a poor one.
            if info.steps <= NEAR_STEPS {
                *kept = Some(near);
            }
            if info.status.is_usable() {
                return Ok((work, false));
            }
        }
        let mut diagonal = vec![0.0; step.len()];
        hessian.diagonal(&mut diagonal);
        step.fill(0.0);
        let info = system.solve(cg, Preconditioner::Diagonal(&diagonal), 0.0, step, workspace)?;
        work += info.work;
        if info.status.is_usable() {
            return Ok((work, false));
        }
        Ok((work + self.damped_direction(system, forcing, step, workspace)?, true))
    }

    /// `step = (H + |gradient| I)^{-1} gradient`, which is no longer than 1.
    fn damped_direction(
        &self,
        system: &HessianSystem<'_>,
        forcing: f64,
        step: &mut [f64],
        workspace: &mut CgWorkspace,
    ) -> Result<Work> {
        let damping = vector::norm(system.b);
        let mut diagonal = vec![0.0; step.len()];
        system.hessian.diagonal(&mut diagonal);
        diagonal.iter_mut().for_each(|h| *h += damping);
        let cg = self.conjugate_gradient(forcing, step.len());
        step.fill(0.0);
        let info = system.solve(cg, Preconditioner::Diagonal(&diagonal), damping, step, workspace)?;
        Ok(info.usable("Newton direction of the lower level")?.work)
    }

    fn conjugate_gradient(&self, forcing: f64, dim: usize) -> ConjugateGradient {
        let steps = match self.direction {
            NewtonDirection::ConjugateGradients { steps } => steps,
            NewtonDirection::Factorized => 10 * dim + 100,
        };
        ConjugateGradient { steps, tolerance: forcing.clamp(1e-6, 0.1) }
    }
}

/// A point with its loss and gradient, and room for those of the next.
struct Iterate<'a> {
    loss: &'a dyn Curved,
    lambda: &'a [f64],
    stop: &'a StopSignal,
    rows: usize,
    w: &'a mut [f64],
    value: f64,
    gradient: Vec<f64>,
    trial: Vec<f64>,
    trial_gradient: Vec<f64>,
    work: Work,
}

impl<'a> Iterate<'a> {
    fn new(loss: &'a dyn Curved, lambda: &'a [f64], w: &'a mut [f64], stop: &'a StopSignal) -> Result<Self> {
        let rows = loss.size(&Sample::Full);
        let zeros = || vec![0.0; w.len()];
        let (mut gradient, trial, trial_gradient) = (zeros(), zeros(), zeros());
        let value = loss.gradient(w, lambda, &Sample::Full, &mut gradient);
        if !value.is_finite() || !vector::all_finite(&gradient) {
            return Err(Error::numeric("the lower-level loss is not finite at the starting point")
                .remedy("check the data for huge values, or standardise the features"));
        }
        Ok(Iterate { loss, lambda, stop, rows, w, value, gradient, trial, trial_gradient, work: Work::gradient(rows) })
    }

    /// The first of the points `w - step`, `w - step/2`, ... that lowers the loss enough (Armijo), and its length.
    fn backtrack(&mut self, step: &[f64], decrease: f64) -> Result<Option<f64>> {
        let mut length = 1.0;
        for _ in 0..BACKTRACKS {
            let (value, rounding) = (self.look(step, length)?, 1e-14 * self.value.abs());
            if value <= self.value - 2e-4 * length * decrease + rounding {
                self.go(value);
                return Ok(Some(length));
            }
            length *= 0.5;
        }
        Ok(None)
    }

    /// From the point at a whole step on, twice as far as long as that lowers the loss.
    fn extend(&mut self, step: &[f64], mut length: f64) -> Result<()> {
        while (1.0..LONGEST).contains(&length) {
            // As far again as `w` has come.
            let value = self.look(step, length)?;
            if value.is_nan() || value >= self.value {
                break;
            }
            self.go(value);
            length *= 2.0;
        }
        Ok(())
    }

    /// The loss at `w - length step`, infinite where its gradient is not finite.
    fn look(&mut self, step: &[f64], length: f64) -> Result<f64> {
        self.stop.check()?;
        for ((trial, w), step) in self.trial.iter_mut().zip(&*self.w).zip(step) {
            *trial = w - length * step;
        }
        let value = self.loss.gradient(&self.trial, self.lambda, &Sample::Full, &mut self.trial_gradient);
        self.work += Work::gradient(self.rows);
        Ok(if vector::all_finite(&self.trial_gradient) { value } else { f64::INFINITY })
    }

    /// Moves to where [`look`](Self::look) was.
    fn go(&mut self, value: f64) {
        self.w.copy_from_slice(&self.trial);
        std::mem::swap(&mut self.gradient, &mut self.trial_gradient);
        self.value = value;
    }
}

impl LowerSolver for Newton {
    fn solve(&self, loss: &dyn Curved, lambda: &[f64], w: &mut [f64]) -> Result<Info> {
        Ok(self.minimize(loss, lambda, w, None, &StopSignal::never())?.info)
    }
}

//! Implicit differentiation of a lower level that is a loss and was solved to high accuracy: the reference.
//!
//! With `Phi = w - alpha grad_w g` the adjoint satisfies `alpha H v = grad1 E`, and `d2Phi^T v = -alpha (d/dlambda grad_w
//! g)^T v`. The map step cancels: with `u = alpha v`,
//!
//! ```text
//! H u = grad1 E,    grad f = grad2 E - (d/dlambda grad_w g)^T u.
//! ```
//!
//! Its error is that of `w` and of one linear system, both of which are reported.

use serde::{Deserialize, Serialize};

use super::parts::{Sampled, Upper, check_sizes};
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::LowerSolver;
use crate::linear_system::{CgWorkspace, ConjugateGradient, HessianSystem, Preconditioner};
use crate::lower::{Curved, Factorization};
use crate::sample::Sample;
use crate::status::{Info, Status};
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Relative residual a factorisation is refined to.
const REFINED: f64 = 1e-12;
/// Steps of iterative refinement at most.
const REFINEMENTS: usize = 3;
/// Steps of conjugate gradients preconditioned by a nearby factorisation.
const NEARBY_STEPS: usize = 12;

/// How to solve `H u = grad1 E`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExactLinear {
    /// Factorise where the problem offers a factorisation, else conjugate gradients with these settings.
    Factorize(ConjugateGradient),
    /// Conjugate gradients, preconditioned by the diagonal of `H`.
    ConjugateGradient(ConjugateGradient),
}

impl Default for ExactLinear {
    fn default() -> Self {
        ExactLinear::Factorize(ConjugateGradient { steps: 10_000, tolerance: 1e-12 })
    }
}

/// Settings of the exact hypergradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Implicit {
    /// The linear solver.
    pub linear: ExactLinear,
}

impl Implicit {
    /// Solves the lower level by `solver` and differentiates there.
    ///
    /// `start` as in [`Sid::estimate`](super::Sid::estimate), except that its `v` holds `u = map_step v`, which does not
    /// depend on a map.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the lower solver fails, `H` is not positive definite or
    /// anything is not finite.
    pub fn estimate<U: UpperObjective + ?Sized>(
        &self,
        loss: &dyn Curved,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        solver: &dyn LowerSolver,
    ) -> Result<Hypergradient> {
        check_sizes(loss.dims(), upper.dims(), lambda, start.as_deref())?;
        let mut point = start.as_deref().cloned().unwrap_or_else(|| WarmStart::zeros(loss.dims()));
        let lower = solver.solve(loss, lambda, &mut point.w)?.usable("lower level")?;
        let mut estimate = self.at_solution(loss, upper, &point.w, lambda, &mut point.v, None, &StopSignal::never())?;
        estimate.status = estimate.status.worst(lower.status);
        estimate.work += lower.work;
        if let Some(start) = start {
            *start = point;
        }
        Ok(estimate)
    }

    /// Differentiates at a given solution `w` of the lower level; `u` is the start of the linear solve and its result.
    ///
    /// `nearby` is a factorisation of a matrix near the Hessian, where there is one: it preconditions conjugate gradients,
    /// and the Hessian itself is factorised only where they do not converge within a few steps.
    ///
    /// # Errors
    /// As [`Implicit::estimate`]; interrupted, once `stop` is raised.
    #[allow(clippy::too_many_arguments)]
    pub fn at_solution<U: UpperObjective + ?Sized>(
        &self,
        loss: &dyn Curved,
        upper: &U,
        w: &[f64],
        lambda: &[f64],
        u: &mut [f64],
        nearby: Option<&dyn Factorization>,
        stop: &StopSignal,
    ) -> Result<Hypergradient> {
        check_sizes(loss.dims(), upper.dims(), lambda, None)?;
        assert!(w.len() == loss.dims().w && u.len() == w.len(), "w and u must have the length of the lower variable");
        let at = Upper::at(upper, w, lambda, Sampled::all())?;
        let rows = loss.size(&Sample::Full);
        let system = HessianSystem { hessian: &*loss.curvature(w, lambda), b: &at.grad_w, rows, stop };
        let linear = self.solve(&system, u, nearby)?;

        let mut cross = vec![0.0; lambda.len()];
        loss.cross_product(w, lambda, &Sample::Full, u, &mut cross);
        at.assemble(-1.0, &cross, linear.status, linear.work + Work::cross_product(loss.cross_size(&Sample::Full)))
    }

    fn solve(&self, system: &HessianSystem<'_>, u: &mut [f64], nearby: Option<&dyn Factorization>) -> Result<Info> {
        match (self.linear, nearby) {
            (ExactLinear::Factorize(cg), None) => system.factorized(cg, u),
            (ExactLinear::ConjugateGradient(cg), None) => system.iterated(cg, u),
            (ExactLinear::Factorize(cg), Some(nearby)) => {
                let few = ConjugateGradient { steps: NEARBY_STEPS.min(cg.steps), ..cg };
                u.copy_from_slice(system.b);
                nearby.solve_in_place(u);
                let mut info = system.conjugate_gradient(few, Preconditioner::Factorized(nearby), u)?;
                // The start cost a product too.
                info.work += Work::hessian_product(system.rows);
                if info.status == Status::Converged {
                    return Ok(info);
                }
                let spent = info.work;
                let info = system.factorized(cg, u)?;
                Ok(Info { work: info.work + spent, ..info })
            }
            (ExactLinear::ConjugateGradient(cg), Some(nearby)) => {
                system.conjugate_gradient(cg, Preconditioner::Factorized(nearby), u)?.usable("linear system")
            }
        }
    }
}

impl HessianSystem<'_> {
    /// By a factorisation of `H` where the problem offers one.
    fn factorized(&self, otherwise: ConjugateGradient, u: &mut [f64]) -> Result<Info> {
        let Some(factorization) = self.hessian.factorize(self.stop) else { return self.iterated(otherwise, u) };
        let factorization = factorization?;
        refine(self, |b| factorization.solve_in_place(b), u).usable("linear system")
    }

    /// By conjugate gradients with the preconditioner that the problem offers, or its diagonal.
    fn iterated(&self, cg: ConjugateGradient, u: &mut [f64]) -> Result<Info> {
        if let Some(near) = self.hessian.preconditioner(self.stop) {
            return self.conjugate_gradient(cg, Preconditioner::Factorized(&*near?), u)?.usable("linear system");
        }
        let mut diagonal = vec![0.0; u.len()];
        self.hessian.diagonal(&mut diagonal);
        let usable = diagonal.iter().all(|&d| d > 0.0 && d.is_finite());
        let preconditioner = if usable { Preconditioner::Diagonal(&diagonal) } else { Preconditioner::None };
        self.conjugate_gradient(cg, preconditioner, u)?.usable("linear system")
    }

    fn conjugate_gradient(
        &self,
        cg: ConjugateGradient,
        preconditioner: Preconditioner<'_>,
        u: &mut [f64],
    ) -> Result<Info> {
        cg.validate()?;
        self.solve(cg, preconditioner, 0.0, u, &mut CgWorkspace::new(u.len()))
    }
}

/// `u = H^{-1} b` by a factorisation and iterative refinement on products with `H`.
fn refine(system: &HessianSystem<'_>, solve: impl Fn(&mut [f64]), u: &mut [f64]) -> Info {
    let HessianSystem { hessian, b, rows, .. } = *system;
    let mut work = Work { rows: rows as u64, factorizations: 1, ..Work::default() };
    let (mut residual, mut image) = (b.to_vec(), vec![0.0; b.len()]);
    let target = REFINED * vector::norm(b);
    u.fill(0.0);
    let mut size = f64::INFINITY;
    let mut steps = 0;
    let status = loop {
        solve(&mut residual);
        vector::axpy(1.0, &residual, u);
        hessian.product(u, &mut image);
        work += Work::hessian_product(rows);
        vector::subtract(b, &image, &mut residual);
        let last = std::mem::replace(&mut size, vector::norm(&residual));
        steps += 1;
        if !size.is_finite() {
            break Status::Diverged;
        } else if size <= target {
            break Status::Converged;
        } else if steps > REFINEMENTS || size > 0.5 * last {
            break Status::Stagnated;
        }
    };
    Info { status, steps, residual: Some(size), work }
}

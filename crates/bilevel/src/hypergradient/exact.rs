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
use crate::linear_system::{CgWorkspace, ConjugateGradient, Preconditioner};
use crate::lower::{Curvature, Curved, Factorization};
use crate::sample::Sample;
use crate::status::{Info, Status};
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
#[serde(rename_all = "snake_case")]
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
        let mut estimate = self.at_solution(loss, upper, &point.w, lambda, &mut point.v)?;
        estimate.status = estimate.status.worst(lower.status);
        estimate.work += lower.work;
        if let Some(start) = start {
            *start = point;
        }
        Ok(estimate)
    }

    /// Differentiates at a given solution `w` of the lower level; `u` is the start of the linear solve and its result.
    ///
    /// # Errors
    /// As [`Implicit::estimate`].
    pub fn at_solution<U: UpperObjective + ?Sized>(
        &self,
        loss: &dyn Curved,
        upper: &U,
        w: &[f64],
        lambda: &[f64],
        u: &mut [f64],
    ) -> Result<Hypergradient> {
        check_sizes(loss.dims(), upper.dims(), lambda, None)?;
        assert!(w.len() == loss.dims().w && u.len() == w.len(), "w and u must have the length of the lower variable");
        let at = Upper::at(upper, w, lambda, Sampled::all())?;
        let rows = loss.size(&Sample::Full);
        let curvature = loss.curvature(w, lambda);
        let linear = self.solve_linear(&*curvature, &at.grad_w, u, rows)?;

        let mut cross = vec![0.0; lambda.len()];
        loss.cross_product(w, lambda, &Sample::Full, u, &mut cross);
        at.assemble(-1.0, &cross, linear.status, linear.work + Work::cross_product(rows))
    }

    /// Differentiates at a given solution `w` with a factorisation of the Hessian at a nearby point, which preconditions
    /// conjugate gradients to `tolerance` on the Hessian at `w`; factorises anew where the given one is too far off.
    ///
    /// # Errors
    /// As [`Implicit::estimate`].
    pub fn at_solution_with<U: UpperObjective + ?Sized>(
        loss: &dyn Curved,
        upper: &U,
        w: &[f64],
        lambda: &[f64],
        u: &mut [f64],
        factorization: &dyn Factorization,
        tolerance: f64,
    ) -> Result<Hypergradient> {
        let at = Upper::at(upper, w, lambda, Sampled::all())?;
        let rows = loss.size(&Sample::Full);
        let curvature = loss.curvature(w, lambda);
        let cg = ConjugateGradient { steps: NEARBY_STEPS, tolerance };
        u.copy_from_slice(&at.grad_w);
        factorization.solve_in_place(u);
        let mut linear = cg.solve(
            |p, out| curvature.product(p, out),
            Preconditioner::Factorized(factorization),
            &at.grad_w,
            u,
            rows,
            &mut CgWorkspace::new(u.len()),
        );
        linear.work += Work::hessian_product(rows);
        if linear.status != Status::Converged {
            let spent = linear.work;
            linear = Implicit::default().solve_linear(&*curvature, &at.grad_w, u, rows)?;
            linear.work += spent;
        }
        let mut cross = vec![0.0; lambda.len()];
        loss.cross_product(w, lambda, &Sample::Full, u, &mut cross);
        at.assemble(-1.0, &cross, linear.status, linear.work + Work::cross_product(rows))
    }

    fn solve_linear(&self, curvature: &dyn Curvature, b: &[f64], u: &mut [f64], rows: usize) -> Result<Info> {
        let (direct, cg) = match self.linear {
            ExactLinear::Factorize(cg) => (true, cg),
            ExactLinear::ConjugateGradient(cg) => (false, cg),
        };
        cg.validate()?;
        if let Some(factorization) = if direct { curvature.factorize() } else { None } {
            let factorization = factorization?;
            let info = refine(curvature, |b| factorization.solve_in_place(b), b, u, rows);
            return info.usable("linear system");
        }
        let product = |p: &[f64], out: &mut [f64]| curvature.product(p, out);
        if let Some(near) = curvature.preconditioner() {
            let near = near?;
            let preconditioner = Preconditioner::Factorized(&*near);
            return cg
                .solve(product, preconditioner, b, u, rows, &mut CgWorkspace::new(b.len()))
                .usable("linear system");
        }
        let mut diagonal = vec![0.0; b.len()];
        curvature.diagonal(&mut diagonal);
        let usable = diagonal.iter().all(|&d| d > 0.0 && d.is_finite());
        let preconditioner = if usable { Preconditioner::Diagonal(&diagonal) } else { Preconditioner::None };
        cg.solve(product, preconditioner, b, u, rows, &mut CgWorkspace::new(b.len())).usable("linear system")
    }
}

/// `u = H^{-1} b` by a factorisation and iterative refinement on products with `H`.
fn refine(curvature: &dyn Curvature, solve: impl Fn(&mut [f64]), b: &[f64], u: &mut [f64], rows: usize) -> Info {
    let mut work = Work { rows: rows as u64, factorizations: 1, ..Work::default() };
    let (mut residual, mut image) = (b.to_vec(), vec![0.0; b.len()]);
    let target = REFINED * vector::norm(b);
    u.fill(0.0);
    let mut size = f64::INFINITY;
    let mut steps = 0;
    let status = loop {
        solve(&mut residual);
        vector::axpy(1.0, &residual, u);
        curvature.product(u, &mut image);
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

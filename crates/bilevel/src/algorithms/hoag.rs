//! HOAG: inexact implicit differentiation on all rows (Pedregosa, ICML 2016, Algorithm 1).
//!
//! Iteration `t` finds `w` and `v` to the tolerance `e_t`, summable over the iterations, from where they were: `w` by Newton's method with
//! conjugate gradients (the authors' program has L-BFGS), `v` by conjugate gradients. The step adapts: it is halved, and the move
//! undone, when the objective has risen by more than the tolerance explains; it is halved when the gradient has turned round, and grows
//! while the gradient shrinks. (The paper leaves the rule open; its authors' program uses one of this kind.)

use super::point::{Layout, Point};
use super::problem::Bilevel;
use super::scheme::{Scheme, Steps};
use crate::error::Result;
use crate::linear_system::{CgWorkspace, ConjugateGradient, Preconditioner};
use crate::sample::Sample;
use crate::vector;
use crate::work::Work;

/// Below this tolerance rounding has the upper hand.
const FINEST: f64 = 1e-13;
/// Growth of the step after a success.
const LONGER: f64 = 1.05;
/// Relative rise of the objective that inexact solutions may explain.
const SLACK: f64 = 1e-6;
/// Newton steps of one solve.
const NEWTON_STEPS: usize = 100;
/// Shortest part of a Newton step.
const SHORTEST: f64 = 1e-6;

pub(super) struct Inexact<'a> {
    problem: Bilevel<'a>,
    tolerance: f64,
    decrease: f64,
    steps: Steps,
    /// Factor of the outer step.
    factor: f64,
    layout: Layout,
    /// Size of the gradient of the lower level at the first start.
    first_gradient: Option<f64>,
    workspace: CgWorkspace,
    /// The last point that was accepted: its `lambda`, objective and gradient.
    accepted: Option<(Vec<f64>, f64, Vec<f64>)>,
    grad_w: Vec<f64>,
    outer: Vec<f64>,
    cross: Vec<f64>,
    work: Work,
}

impl<'a> Inexact<'a> {
    pub(super) fn new(problem: Bilevel<'a>, tolerance: f64, decrease: f64, steps: Steps) -> Self {
        let dims = problem.dims();
        Inexact {
            problem,
            tolerance,
            decrease,
            steps,
            factor: 1.0,
            layout: Layout(dims),
            first_gradient: None,
            workspace: CgWorkspace::new(dims.w),
            accepted: None,
            grad_w: vec![0.0; dims.w],
            outer: vec![0.0; dims.lambda],
            cross: vec![0.0; dims.lambda],
            work: Work::default(),
        }
    }

    /// `w` such that `|grad_w g| <= tolerance` times its size at the first start.
    fn solve_lower(&mut self, w: &mut [f64], lambda: &[f64], tolerance: f64) -> Result<()> {
        let lower = self.problem.lower;
        let rows = lower.size(&Sample::Full);
        let (mut gradient, mut step) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let gradient_at = |w: &[f64], gradient: &mut [f64]| {
            lower.gradient(w, lambda, &Sample::Full, gradient);
            vector::norm(gradient)
        };
        let mut size = gradient_at(w, &mut gradient);
        self.work += Work::gradient(rows);
        let first = *self.first_gradient.get_or_insert(size);
        for _ in 0..NEWTON_STEPS {
            if size <= tolerance * first {
                break;
            }
            step.fill(0.0);
            let at = w.to_vec();
            let cg = ConjugateGradient { steps: 10 * w.len() + 100, tolerance: 0.1 };
            let product = |p: &[f64], out: &mut [f64]| lower.hessian_product(&at, lambda, &Sample::Full, p, out);
            let info = cg.solve(product, Preconditioner::None, &gradient, &mut step, rows, &mut self.workspace);
            self.work += info.usable("lower level")?.work;
            let mut length = 1.0;
            // A strongly convex loss is minimal where its gradient is smallest.
            loop {
                w.copy_from_slice(&at);
                vector::axpy(-length, &step, w);
                let next = gradient_at(w, &mut gradient);
                self.work += Work::gradient(rows);
                if next < size {
                    size = next;
                    break;
                }
                length *= 0.5;
                if length < SHORTEST {
                    // As small as rounding lets it be.
                    w.copy_from_slice(&at);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Scheme for Inexact<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let tolerance = (self.tolerance * self.decrease.powi(t.min(10_000) as i32)).max(FINEST);
        let [w, v, lambda] = self.layout.split_mut(&mut point.x);
        self.solve_lower(w, lambda, tolerance)?;
        let value = self.problem.upper.gradients(w, lambda, &Sample::Full, &mut self.grad_w, &mut self.outer);
        self.work += Work::upper_gradient(self.problem.upper.size(&Sample::Full));
        if let Some((before, best, gradient)) = &self.accepted
            && value > best + tolerance.max(SLACK) * best.abs()
        {
            self.factor *= 0.5;
            lambda.copy_from_slice(before);
            self.problem.domain.descend(self.factor * self.steps.outer.eta(0), gradient, lambda);
            return Ok(());
        }
        let lower = self.problem.lower;
        let cg = ConjugateGradient { steps: 10 * w.len() + 100, tolerance: tolerance.max(1e-12) };
        let (w, lambda_now) = (&*w, &*lambda);
        let info = cg
            .solve(
                |p, out| lower.hessian_product(w, lambda_now, &Sample::Full, p, out),
                Preconditioner::None,
                &self.grad_w,
                v,
                lower.size(&Sample::Full),
                &mut self.workspace,
            )
            .usable("linear system")?;
        lower.cross_product(w, lambda_now, &Sample::Full, v, &mut self.cross);
        self.work += info.work + Work::cross_product(lower.cross_size(&Sample::Full));
        vector::axpy(-1.0, &self.cross, &mut self.outer);
        if let Some((_, _, before)) = &self.accepted {
            if vector::dot(before, &self.outer) < 0.0 {
                self.factor *= 0.5;
            } else if vector::norm(&self.outer) < vector::norm(before) {
                self.factor *= LONGER;
            }
        }
        self.accepted = Some((lambda.to_vec(), value, self.outer.clone()));
        self.problem.domain.descend(self.factor * self.steps.outer.eta(0), &self.outer, lambda);
        Ok(())
    }

    fn work(&self) -> Work {
        self.work
    }
}

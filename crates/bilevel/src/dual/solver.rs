//! Newton's method and the adjoint, with warm starts from one `lambda` to the next.

use super::basis::Basis;
use super::conjugate_gradient::{Solved, System};
use super::preconditioner::Preconditioner;
use super::row_space::RowSpace;
use crate::lower::StochasticLoss;
use crate::problems::glm::Glm;
use crate::sample::Sample;
use crate::status::{Info, Status};
use crate::stop::StopSignal;
use crate::work::Work;
use crate::{Error, Result, vector};

/// Part of the energy of a Newton step that its error may have.
const FORCING: f64 = 0.03;
/// Part of the loss that the error of the first step for a new kernel may have.
const RESUMED: f64 = 1e-2;
/// Steps of conjugate gradients that cost about as much as a new preconditioner.
const STEPS_OF_A_PRECONDITIONER: usize = 20;
/// Smallest weight of a row in the basis, as a part of the mean: the basis of fewer rows than it has directions would
/// be singular.
const WEIGHT_FLOOR: f64 = 0.1;
/// Halvings of a step before the line search gives up.
const BACKTRACKS: usize = 40;

/// Settings of [`DualSolver::minimize`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DualNewton {
    /// Largest number of iterations.
    pub iterations: usize,
    /// Largest number of products with the kernel in one iteration.
    pub steps: usize,
    /// Largest number of them in all; the iteration that reaches it is the last.
    pub products: usize,
    /// Stop after the step whose predicted decrease is below this fraction of the loss.
    pub tolerance: f64,
}

/// Where Newton's method ended.
#[derive(Debug, Clone, Copy)]
pub struct DualMinimum {
    /// Status, iterations, work.
    pub info: Info,
    /// The loss at the end.
    pub value: f64,
}

/// The lower level of a generalised linear model with sparse rows, solved in the space of the rows.
pub struct DualSolver {
    pub(super) space: RowSpace,
    pub(super) basis: Option<Basis>,
    preconditioner: Option<Preconditioner>,
    /// The minimum `(A, b)` and `(K A, b)`.
    pub(super) point: Vec<f64>,
    pub(super) lifted: Vec<f64>,
    /// `-` the gradient there, in coordinates of the rows.
    residual: Vec<f64>,
    /// Whether the lifted point is that of the next kernel, too.
    pub(super) placed: bool,
    /// Whether the last solve has left the point where it started.
    moved: bool,
    /// The part of the adjoint that the kernel's rows span.
    pub(super) adjoint: Vec<f64>,
}

impl std::fmt::Debug for DualSolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DualSolver").field("point", &self.point).finish_non_exhaustive()
    }
}

/// The parameters `w = (S X^T A, b)` of the point `(A, b)` of a solver for `glm`, at its `lambda`. From the rows as they are stored, without
/// the copy that a solver makes.
pub fn parameters_of(glm: &Glm<'_>, lambda: &[f64], point: &[f64]) -> Vec<f64> {
    let (risk, mut w) = (glm.risk(), vec![0.0; glm.dims().w]);
    let (features, outputs) = (risk.features(), risk.outputs());
    let (weights, intercept) = w.split_at_mut(features * outputs);
    let (of_rows, b) = point.split_at(risk.len() * outputs);
    risk.add_row_combinations(of_rows, weights);
    let (by_feature, by_output) = glm.penalty().factors(lambda, features, outputs);
    for (w, feature) in weights.chunks_exact_mut(outputs).zip(by_feature) {
        w.iter_mut().zip(&by_output).for_each(|(w, output)| *w = *w * (1.0 / feature) * (1.0 / output));
    }
    intercept.copy_from_slice(&b[..intercept.len()]);
    w
}

impl DualSolver {
    /// A solver for the rows of `glm`, at the model that is best without weights; `None` where rows are stored densely.
    pub fn new(glm: &Glm<'_>) -> Option<Self> {
        let space = RowSpace::new(glm)?;
        let dim = space.dim();
        let mut solver = DualSolver {
            point: vec![0.0; dim],
            lifted: vec![0.0; dim],
            residual: vec![0.0; dim],
            adjoint: vec![0.0; dim],
            placed: false,
            moved: false,
            space,
            basis: None,
            preconditioner: None,
        };
        let w = glm.risk().null_parameters();
        solver.set_intercepts(&w[glm.risk().features() * glm.risk().outputs()..]);
        Some(solver)
    }

    /// The point `(A, b)`.
    pub fn point(&self) -> &[f64] {
        &self.point
    }

    /// Whether the last solve has come nearer to the minimum than the point where it started, which says whether one that was
    /// interrupted is worth something.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Minimises `glm(., lambda)` from the last minimum.
    ///
    /// # Errors
    /// Numeric, when the loss is not finite or the Hessian not positive definite; interrupted, once `stop` is raised: the point
    /// is then the last that was accepted.
    pub fn minimize(
        &mut self,
        glm: &Glm<'_>,
        lambda: &[f64],
        settings: DualNewton,
        stop: &StopSignal,
    ) -> Result<DualMinimum> {
        let rows = glm.size(&Sample::Full);
        let mut work = Work::gradient(rows);
        self.space.set_lambda(glm, lambda);
        self.moved = false;
        let (mut value, products) = self.resume(settings, stop)?;
        work += Work::hessian_product(rows * products);
        if !value.is_finite() || !vector::all_finite(&self.residual) {
            return Err(Error::numeric("the lower-level loss is not finite at the starting point")
                .remedy("check the data for huge values, or standardise the features"));
        }
        let (size, dim) = (self.space.margins(), self.space.dim());
        let mut status = Status::StepLimit;
        let (mut iterations, mut spent) = (0, products);
        let (mut trial, mut trial_lifted) = (vec![0.0; dim], vec![0.0; dim]);
        while iterations < settings.iterations && spent < settings.products {
            stop.check()?;
            let curvature = self.curvature();
            let (mut step, mut lifted_step) = (vec![0.0; dim], vec![0.0; dim]);
            let mut r = std::mem::take(&mut self.residual);
            let aim = |_: &[f64], energy: f64| FORCING * energy;
            let start = r.clone();
            let solved = self.solve(&curvature, &mut r, &mut step, &mut lifted_step, settings.steps, aim, stop)?;
            spent += solved.steps;
            work += Work::hessian_product(rows * solved.steps);
            let decrease = 0.5 * vector::dot(&start, &lifted_step);
            if !decrease.is_finite() || decrease < 0.0 {
                return Err(not_positive_definite());
            }
            iterations += 1;
            let small = decrease <= settings.tolerance * value.abs();
            let mut length = 1.0;
            let mut accepted = false;
            for _ in 0..BACKTRACKS {
                trial.copy_from_slice(&self.point);
                trial_lifted.copy_from_slice(&self.lifted);
                vector::axpy(length, &step, &mut trial);
                vector::axpy(length, &lifted_step, &mut trial_lifted);
                let (trial_value, residual) = self.value(&trial, &trial_lifted);
                // Below rounding the value cannot judge the step any more.
                let lower = trial_value <= value - 2e-4 * length * decrease + 1e-13 * value.abs();
                if lower && vector::all_finite(&residual) {
                    std::mem::swap(&mut self.point, &mut trial);
                    std::mem::swap(&mut self.lifted, &mut trial_lifted);
                    self.residual = residual;
                    value = trial_value;
                    self.moved = true;
                    accepted = true;
                    break;
                }
                length *= 0.5;
            }
            if !accepted {
                self.residual = start;
                status = Status::Stagnated;
                break;
            }
            if small {
                status = Status::Converged;
                break;
            }
        }
        let info = Info { status, steps: iterations, residual: Some(vector::norm(&self.residual[..size])), work };
        Ok(DualMinimum { info, value })
    }

    /// From the minimum for another kernel, or for other rows, to a point for this one. Returns the loss there.
    ///
    /// The same `A` would make very different margins. The same margins are a good start, but no `A` makes them; it is
    /// after a full Newton step from them that there is one: with `G` and `D` at the old margins `M`, it solves
    /// `A + D (K A + 1 b^T) = D M - G`.
    fn resume(&mut self, settings: DualNewton, stop: &StopSignal) -> Result<(f64, usize)> {
        let (size, dim) = (self.space.margins(), self.space.dim());
        let before = self.lifted.clone();
        let (old_value, mut r) = self.value(&self.point, &before);
        let curvature = self.curvature();
        let diagonal = self.space.loss.curvature_diagonal(&curvature);
        let mut weights: Vec<f64> = diagonal.chunks_exact(self.space.outputs).map(|d| d.iter().sum()).collect();
        let floor = WEIGHT_FLOOR * weights.iter().sum::<f64>() / weights.len() as f64;
        weights.iter_mut().for_each(|w| *w = w.max(floor));
        self.preconditioner = None;
        let basis = Basis::new(&self.space, self.basis.take(), &weights, stop);
        self.basis = Some(basis.ok_or_else(|| why_none(stop))?);
        let untouched = before[..size].iter().all(|&m| m == 0.0);
        if std::mem::take(&mut self.placed) || untouched {
            if untouched {
                self.point[..size].fill(0.0);
            }
            let (value, residual) = self.value(&self.point, &before);
            self.residual = residual;
            return Ok((value, 0));
        }
        let mut lifted = vec![0.0; dim];
        self.space.lift(&self.point, &mut lifted);
        let (mut value, mut residual) = self.value(&self.point, &lifted);
        // The residual at A = 0, and that multiple of the old A which is best for the linearised system.
        let (mut own, mut own_lifted, mut old_lifted) = (self.point.clone(), lifted.clone(), before);
        [&mut own, &mut own_lifted, &mut old_lifted].into_iter().for_each(|x| x[size..].fill(0.0));
        let mut image = vec![0.0; dim];
        self.space.hessian_product(&curvature, &own, &old_lifted, &mut image);
        vector::axpy(1.0, &image, &mut r);
        self.space.hessian_product(&curvature, &own, &own_lifted, &mut image);
        let bend = vector::dot(&own_lifted, &image);
        let multiple = if bend > 0.0 { (vector::dot(&own_lifted, &r) / bend).max(0.0) } else { 0.0 };
        vector::axpy(-multiple, &image, &mut r);
        let (mut x, mut lx) = (self.point.clone(), lifted.clone());
        vector::scale(multiple, &mut x[..size]);
        vector::scale(multiple, &mut lx[..size]);
        let aim = |_: &[f64], _: f64| RESUMED * old_value.abs();
        let solved = self.solve(&curvature, &mut r, &mut x, &mut lx, settings.steps, aim, stop)?;
        let (other, other_residual) = self.value(&x, &lx);
        if other < value || !value.is_finite() {
            (value, residual) = (other, other_residual);
            (self.point, lifted) = (x, lx);
            self.moved = true;
        }
        (self.lifted, self.residual) = (lifted, residual);
        Ok((value, solved.steps + 1))
    }

    /// The loss at a point with its lifted form, and minus its gradient in coordinates of the rows.
    fn value(&self, point: &[f64], lifted: &[f64]) -> (f64, Vec<f64>) {
        let size = self.space.margins();
        let mut gradient = vec![0.0; self.space.dim()];
        self.space.margins_of(lifted, &mut gradient[..size]);
        let mut value = self.space.loss.gradient(&mut gradient[..size]);
        value += 0.5 * vector::dot(&point[..size], &lifted[..size]);
        if self.space.intercept && self.space.outputs > 1 {
            let sum: f64 = point[size..].iter().sum();
            value += 0.5 * sum * sum / self.space.outputs as f64;
        }
        self.space.close(point, &point[size..], &mut gradient);
        vector::scale(-1.0, &mut gradient);
        (value, gradient)
    }

    /// Second derivatives of the rows at the point.
    fn curvature(&self) -> Vec<f64> {
        let mut curvature = vec![0.0; self.space.margins()];
        self.space.margins_of(&self.lifted, &mut curvature);
        self.space.loss.curvature(&mut curvature);
        curvature
    }

    /// [`System::solve`] with the preconditioner at hand, or a new one where there is none or the last solve was long.
    #[allow(clippy::too_many_arguments)]
    fn solve(
        &mut self,
        curvature: &[f64],
        r: &mut [f64],
        x: &mut [f64],
        lx: &mut [f64],
        steps: usize,
        aim: impl Fn(&[f64], f64) -> f64,
        stop: &StopSignal,
    ) -> Result<Solved> {
        let Some(basis) = &self.basis else { unreachable!("minimize() makes the basis first") };
        if self.preconditioner.is_none() {
            let made = Preconditioner::new(&self.space, basis, curvature, stop);
            self.preconditioner = Some(made.ok_or_else(|| why_none(stop))?);
        }
        let Some(preconditioner) = &self.preconditioner else { unreachable!("made above") };
        let system = System { space: &self.space, curvature, basis, preconditioner };
        let solved = system.solve(r, x, lx, steps, aim, stop)?;
        if solved.steps > STEPS_OF_A_PRECONDITIONER {
            self.preconditioner = None;
        }
        Ok(solved)
    }

    /// The parameters `w` at the minimum.
    pub fn parameters(&self, w: &mut [f64]) {
        w.fill(0.0);
        self.space.add_parameters(&self.point, w);
    }

    /// Solves `H v = b` at the minimum; `b` is replaced by `v`. Starts where the last solve ended.
    ///
    /// Also returns `-v^T grad g`: by how much a function with gradient `b` changes, to first order, from here to where
    /// the gradient `grad g` of the lower level vanishes.
    ///
    /// # Errors
    /// As [`DualSolver::minimize`].
    pub fn adjoint(
        &mut self,
        glm: &Glm<'_>,
        b: &mut [f64],
        tolerance: f64,
        steps: usize,
        stop: &StopSignal,
    ) -> Result<(Info, f64)> {
        let (size, dim, outputs) = (self.space.margins(), self.space.dim(), self.space.outputs);
        let rows = glm.size(&Sample::Full);
        let weights = glm.risk().features() * outputs;
        // v = S b + (S X^T s, t), with s and t to be found.
        let mut base = 0.0;
        let (by_feature, by_output) = &self.space.strengths;
        let mut functional = vec![0.0; dim];
        let intercepts = b.len() - weights;
        functional[size..][..intercepts].copy_from_slice(&b[weights..]);
        for (j, b) in b[..weights].chunks_exact_mut(outputs).enumerate() {
            for (b, s) in b.iter_mut().zip(by_output) {
                let v = *b / (by_feature[j] * s);
                base += *b * v;
                *b = v;
            }
        }
        self.space.margins_of_weights(&b[..weights], &mut functional[..size]);
        let curvature = self.curvature();
        // A copy: where the solve is cut short, the next one starts from the same.
        let mut x = self.adjoint.clone();
        let mut lx = vec![0.0; dim];
        self.space.lift(&x, &mut lx);
        // The residual of the start: that of S b, whose margins are the functional's, and that of (s, t).
        let mut r = vec![0.0; dim];
        let mut total = lx.clone();
        vector::axpy(1.0, &functional[..size], &mut total[..size]);
        self.space.hessian_product(&curvature, &x, &total, &mut r);
        r.iter_mut().for_each(|r| *r = -*r);
        vector::axpy(1.0, &functional[size..], &mut r[size..]);
        let aim = |x: &[f64], _: f64| tolerance * tolerance * (base + vector::dot(&functional, x)).max(0.0);
        let solved = self.solve(&curvature, &mut r, &mut x, &mut lx, steps, aim, stop)?;
        vector::axpy(1.0, &functional[..size], &mut lx[..size]);
        let change = vector::dot(&lx, &self.residual);
        self.space.add_weights(&x, &mut b[..weights]);
        b[weights..].copy_from_slice(&x[size..][..intercepts]);
        self.adjoint = x;
        let info = Info {
            status: if solved.reached { Status::Converged } else { Status::StepLimit },
            steps: solved.steps,
            residual: Some(vector::norm(&r)),
            work: Work::hessian_product(rows * solved.steps),
        };
        Ok((info, change))
    }
}

/// Why there is no basis or preconditioner.
fn why_none(stop: &StopSignal) -> Error {
    if stop.is_raised() { Error::interrupted() } else { not_positive_definite() }
}

fn not_positive_definite() -> Error {
    Error::numeric("the Hessian of the lower level is not positive definite")
        .remedy("raise the penalty (of a tuning the smallest, --lambda-min) or standardise the features")
}

//! The tuned criterion as a function of the hyperparameters: the mean loss over held-out rows, one lower level per fold.

use rayon::prelude::*;

use super::engine::{DUAL_ADJOINT, Engine, Solving};
use super::fitted::Fitted;
use crate::dual::{DualMemory, DualSolver};
use crate::hypergradient::Implicit;
use crate::lower::{Factorization, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::sample::Sample;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;
use crate::{Error, Result};

/// A lower level and the rows that judge it.
#[derive(Debug, Clone)]
pub(super) struct FoldRisks<'a> {
    /// Mean loss over the rows that are fitted.
    pub fitted: EmpiricalRisk<'a>,
    /// Mean loss over the rows that judge.
    pub judging: EmpiricalRisk<'a>,
}

/// One fold with its warm starts.
struct Fold<'a> {
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    /// Share of what the judging rows of all folds count.
    share: f64,
    /// The parameters; nothing in the space of the rows.
    w: Vec<f64>,
    /// The last adjoint, where the next one starts from it: nothing in the space of the rows.
    v: Vec<f64>,
    /// What [`Engine::Dual`] goes on with, and the hyperparameters of its point.
    dual: Option<(DualMemory, Vec<f64>)>,
    /// Where given, the log-penalties are `theta_0 + theta_1 b` instead of free.
    law: Option<Vec<f64>>,
    bounds: (f64, f64),
    /// The hyperparameters `w` was solved for, and the Hessian there.
    solved: Option<Solved>,
    train_loss: f64,
    work: Work,
}

/// Hyperparameters with the factorised Hessian of the lower level there.
struct Solved {
    lambda: Vec<f64>,
    factorization: Option<Box<dyn Factorization>>,
}

/// `f(lambda) = sum_k share_k E_k(w_k(lambda))` over the folds.
pub(super) struct Objective<'a> {
    folds: Vec<Fold<'a>>,
    solving: Solving,
    /// Hyperparameters and value of the last evaluation.
    last: Option<(Vec<f64>, f64)>,
    /// The evaluation to return to.
    kept: Option<Settled<'a>>,
}

/// An evaluation with the fits of the folds.
pub(super) struct Settled<'a> {
    /// The hyperparameters.
    pub lambda: Vec<f64>,
    /// The criterion there.
    pub value: f64,
    /// Parameters of each fold.
    pub folds: Vec<Fitted<'a>>,
}

/// Log-penalties may move this far for `w` to be predicted along its tangent.
const PREDICTABLE_MOVE: f64 = 1.5;
impl<'a> Objective<'a> {
    /// The criterion over `folds` for hyperparameters arranged by `penalty`.
    pub(super) fn new(folds: &[FoldRisks<'a>], penalty: &Penalty, solving: Solving) -> Self {
        let total: f64 = folds.iter().map(|fold| fold.judging.total_weight()).sum();
        let folds = folds
            .iter()
            .map(|fold| {
                let lower = Glm::new(fold.fitted.clone(), penalty.clone());
                let dual = solving.engine.dual_solver(&lower).map(|solver| (solver.into_memory(), Vec::new()));
                let w = if dual.is_none() { fold.fitted.null_parameters() } else { Vec::new() };
                Fold {
                    upper: fold.judging.clone().as_upper(penalty.hyperparameters()),
                    share: fold.judging.total_weight() / total,
                    v: vec![0.0; w.len()],
                    w,
                    dual,
                    lower,
                    law: None,
                    bounds: (f64::NEG_INFINITY, f64::INFINITY),
                    solved: None,
                    train_loss: f64::NAN,
                    work: Work::default(),
                }
            })
            .collect();
        Objective { folds, solving, last: None, kept: None }
    }

    /// The same criterion as a function of `theta = (level, exponent)`: in each fold `lambda = level + exponent b`, kept
    /// within `bounds`, with a `b` of its own for each fold.
    pub(super) fn with_law(mut self, relevance: Vec<Vec<f64>>, bounds: (f64, f64)) -> Self {
        for (fold, b) in self.folds.iter_mut().zip(relevance) {
            fold.law = Some(b);
            fold.bounds = bounds;
        }
        self
    }

    /// How lower levels are solved.
    pub(super) fn engine(&self) -> Engine {
        self.solving.engine
    }

    /// Takes the fitted parameters of `other`, for the same folds, as warm starts.
    pub(super) fn start_from(&mut self, other: Objective<'a>) {
        for (fold, other) in self.folds.iter_mut().zip(other.folds) {
            (fold.w, fold.v, fold.dual) = (other.w, other.v, other.dual);
        }
    }

    /// Gives up what only the next evaluation would have used, and what could be made again.
    pub(super) fn rest(&mut self) {
        self.folds.iter_mut().for_each(|fold| fold.solved = None);
    }

    /// `f(lambda)`; `gradient` is overwritten by the hypergradient.
    pub(super) fn evaluate(&mut self, lambda: &[f64], gradient: &mut [f64]) -> Result<f64> {
        self.last = None;
        let solving = &self.solving;
        let parts: Vec<Result<(f64, Vec<f64>)>> = match solving.engine {
            // One after the other: what a fold needs while it is solved is many times what is kept of it, and each step of
            // it has work for all threads.
            Engine::Dual { .. } => self.folds.iter_mut().map(|fold| fold.evaluate(lambda, solving)).collect(),
            _ => self.folds.par_iter_mut().map(|fold| fold.evaluate(lambda, solving)).collect(),
        };
        gradient.fill(0.0);
        let mut value = 0.0;
        for (part, fold) in parts.into_iter().zip(&self.folds) {
            let (fold_value, fold_gradient) = part?;
            value += fold.share * fold_value;
            vector::axpy(fold.share, &fold_gradient, gradient);
        }
        self.last = Some((lambda.to_vec(), value));
        Ok(value)
    }

    /// Keeps the last evaluation, for the end should a later one be cut short.
    pub(super) fn keep(&mut self) {
        let Some((lambda, value)) = &self.last else { return };
        self.kept = Some(Settled { lambda: lambda.clone(), value: *value, folds: self.fitted() });
    }

    /// From now on lower levels are solved as `solving` says.
    pub(super) fn solve_as(&mut self, solving: Solving) {
        self.solving = solving;
    }

    /// Keeps what another way found, as [`Objective::keep`] does.
    pub(super) fn keep_settled(&mut self, settled: Settled<'a>) {
        self.kept = Some(settled);
    }

    /// Takes over the evaluation to return to.
    pub(super) fn keep_from(&mut self, other: Objective<'a>) {
        self.kept = other.kept;
    }

    /// What was found at `lambda`: solved anew as `solving` says, unless that was the last evaluation in the space of the rows.
    /// What was kept instead, where time is over or is so before that ends.
    pub(super) fn settle(&mut self, lambda: Vec<f64>, solving: Option<Solving>) -> Result<Settled<'a>> {
        let kept = self.kept.take();
        let solving = match solving {
            Some(solving) if kept.is_none() || !solving.hurried => solving,
            _ => return kept.ok_or_else(Error::interrupted),
        };
        self.solving = solving;
        let value = match &self.last {
            Some((last, value)) if self.engine().is_steep() && *last == lambda => *value,
            _ => match self.evaluate(&lambda, &mut vec![0.0; lambda.len()]) {
                Ok(value) => value,
                Err(error) if error.is_interrupted() => return kept.ok_or(error),
                Err(error) => return Err(error),
            },
        };
        Ok(Settled { lambda, value, folds: self.fitted() })
    }

    /// Mean loss over the fitted rows at the last evaluation.
    pub(super) fn train_loss(&self) -> f64 {
        self.folds.iter().map(|fold| fold.share * fold.train_loss).sum()
    }

    /// Parameters of each fold at the last evaluation.
    pub(super) fn fitted(&self) -> Vec<Fitted<'a>> {
        self.folds.iter().map(Fold::fitted).collect()
    }

    /// Work so far.
    pub(super) fn work(&self) -> Work {
        self.folds.iter().map(|fold| fold.work).sum()
    }
}

impl<'a> Fold<'a> {
    fn fitted(&self) -> Fitted<'a> {
        match &self.dual {
            Some((memory, lambda)) => Fitted::Rows {
                lower: Box::new(self.lower.clone()),
                lambda: lambda.clone(),
                point: memory.state().point().to_vec(),
            },
            None => Fitted::Weights(self.w.clone()),
        }
    }

    fn evaluate(&mut self, theta: &[f64], solving: &Solving) -> Result<(f64, Vec<f64>)> {
        let Some(b) = self.law.take() else { return self.evaluate_free(theta, solving) };
        let (low, high) = self.bounds;
        let free = apply_law(theta, &b);
        let lambda: Vec<f64> = free.iter().map(|l| l.clamp(low, high)).collect();
        let result = self.evaluate_free(&lambda, solving).map(|(value, gradient)| {
            let mut by_theta = vec![0.0; 2];
            for ((g, b), free) in gradient.iter().zip(&b).zip(&free) {
                if (low..=high).contains(free) {
                    by_theta[0] += g;
                    by_theta[1] += g * b;
                }
            }
            (value, by_theta)
        });
        self.law = Some(b);
        result
    }

    fn evaluate_free(&mut self, lambda: &[f64], solving: &Solving) -> Result<(f64, Vec<f64>)> {
        if let Some((memory, at)) = self.dual.take() {
            let before = memory.state().clone();
            let Some(mut solver) = DualSolver::resumed(&self.lower, memory) else {
                unreachable!("there has been a solver before")
            };
            let result = self.evaluate_dual(&mut solver, lambda, solving);
            self.dual = Some(match result {
                Ok(_) => (solver.into_memory(), lambda.to_vec()),
                // What was cut short is no start for anything.
                Err(_) => {
                    solver.restore(&before);
                    (solver.into_memory(), at)
                }
            });
            return result;
        }
        let before = self.w.clone();
        if matches!(solving.engine, Engine::Direct { .. }) {
            self.predict(lambda);
        }
        let nearby = self.solved.take().and_then(|solved| solved.factorization);
        let minimum = solving.newton().minimize(&self.lower, lambda, &mut self.w, nearby, &solving.signal);
        // Where a solve failed, nothing can begin.
        if minimum.as_ref().is_err_and(|error| error.is_numeric()) {
            self.w = before;
        }
        let minimum = minimum?;
        self.work += minimum.info.work;
        let nearby = minimum.factorization.as_deref().map(|nearby| nearby as &dyn Factorization);
        let implicit = Implicit { linear: solving.adjoint() };
        let adjoint =
            implicit.at_solution(&self.lower, &self.upper, &self.w, lambda, &mut self.v, nearby, &solving.signal)?;
        self.work += adjoint.work;
        self.train_loss = minimum.value;
        self.solved = Some(Solved { lambda: lambda.to_vec(), factorization: minimum.factorization });
        Ok((adjoint.objective, adjoint.value))
    }

    /// As [`Fold::evaluate_free`] in the space of the rows.
    fn evaluate_dual(&mut self, dual: &mut DualSolver, lambda: &[f64], solving: &Solving) -> Result<(f64, Vec<f64>)> {
        let settings = solving.dual_newton();
        let minimum = dual.minimize(&self.lower, lambda, settings, &solving.signal)?;
        let d = self.lower.dims().w;
        let (mut w, mut v, mut gradient) = (vec![0.0; d], vec![0.0; d], vec![0.0; lambda.len()]);
        dual.parameters(&mut w);
        let value = self.upper.gradients(&w, lambda, &Sample::Full, &mut v, &mut gradient);
        drop(w);
        let (info, change) = dual.adjoint(&self.lower, &mut v, DUAL_ADJOINT, settings.steps, &solving.signal)?;
        let mut w = vec![0.0; d];
        dual.parameters(&mut w);
        self.lower.cross_product(&w, lambda, &Sample::Full, &v, &mut gradient);
        vector::scale(-1.0, &mut gradient);
        if !vector::all_finite(&gradient) {
            return Err(Error::numeric("the hypergradient is not finite"));
        }
        self.work += minimum.info.work + info.work + Work::upper_gradient(self.upper.len());
        self.train_loss = minimum.value;
        // The change of the value to where the lower level is solved exactly, to first order.
        Ok((value + change, gradient))
    }

    /// Moves `w` along its tangent, `dw = -H^{-1} (d/dlambda grad_w g) delta`, from where it was solved to `lambda`.
    fn predict(&mut self, lambda: &[f64]) {
        let Some(Solved { lambda: from, factorization: Some(factorization) }) = &self.solved else { return };
        let delta: Vec<f64> = lambda.iter().zip(from).map(|(to, from)| to - from).collect();
        let longest = vector::max_abs(&delta);
        if longest == 0.0 || longest > PREDICTABLE_MOVE {
            return;
        }
        let mut tangent = vec![0.0; self.w.len()];
        self.lower.tangent(&self.w, from, &delta, &mut tangent);
        factorization.solve_in_place(&mut tangent);
        vector::axpy(-1.0, &tangent, &mut self.w);
    }
}

/// `theta_0 + theta_1 b`.
pub(super) fn apply_law(theta: &[f64], b: &[f64]) -> Vec<f64> {
    b.iter().map(|b| theta[0] + theta[1] * b).collect()
}

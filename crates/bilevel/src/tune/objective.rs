//! The tuned criterion as a function of the hyperparameters: the mean loss over held-out rows, one lower level per fold.

use rayon::prelude::*;

use super::options::Method;
use crate::Result;
use crate::dual::{DualNewton, DualSolver};
use crate::hypergradient::Implicit;
use crate::linear_system::ConjugateGradient;
use crate::lower::{Curved, Factorization, StochasticLoss};
use crate::newton::{Newton, NewtonDirection};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use crate::sample::Sample;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// A lower level and the rows that judge it.
#[derive(Debug, Clone)]
pub(super) struct FoldRisks<'a> {
    /// Mean loss over the rows that are fitted.
    pub fitted: EmpiricalRisk<'a>,
    /// Mean loss over the rows that judge.
    pub judging: EmpiricalRisk<'a>,
}

/// How lower levels and adjoints are solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Engine {
    /// Newton with factorisations, predicted loss decrease at the end below this fraction of the loss.
    Direct { tolerance: f64 },
    /// Newton and adjoint by conjugate gradients; `tolerance` as above, the adjoint to its square root.
    Iterative { tolerance: f64 },
    /// The same in the space of the rows.
    Dual { tolerance: f64 },
}

/// Part of the energy of an adjoint that its error may have, as a square root, in the space of the rows.
const DUAL_ADJOINT: f64 = 0.05;
/// Newton's tolerance there: the value is corrected for what is left by means of the adjoint.
const DUAL_TOLERANCE: f64 = 1e-4;
/// Most iterations there: beyond them a solve is as good as it gets.
const DUAL_ITERATIONS: usize = 15;
/// Relative accuracy of hypergradients that comes of both.
const DUAL_ACCURACY: f64 = 1e-3;

/// Iterations, and products in each, of a fit once time is over: enough for a usable model from a warm start.
const HURRIED: (usize, usize) = (2, 20);

impl Engine {
    /// Newton's method as this engine runs it; `hurried` once time is over.
    pub(super) fn newton(self, hurried: bool) -> Newton {
        match self {
            Engine::Direct { tolerance } => {
                Newton { iterations: 100, tolerance, direction: NewtonDirection::Factorized }
            }
            Engine::Iterative { tolerance } | Engine::Dual { tolerance } => {
                let (iterations, steps) = if hurried { HURRIED } else { (100, 400) };
                Newton { iterations, tolerance, direction: NewtonDirection::ConjugateGradients { steps } }
            }
        }
    }
}

/// One fold with its warm starts.
struct Fold<'a> {
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    /// Share of the judging rows of all folds.
    share: f64,
    w: Vec<f64>,
    v: Vec<f64>,
    /// What [`Engine::Dual`] solves with.
    dual: Option<DualSolver>,
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
    engine: Engine,
    signal: StopSignal,
    hurried: bool,
    /// Hyperparameters and value of the last evaluation.
    last: Option<(Vec<f64>, f64)>,
}

/// Log-penalties may move this far for `w` to be predicted along its tangent.
const PREDICTABLE_MOVE: f64 = 1.5;
/// Relative residual to which adjoints are solved with factorisations.
const ADJOINT_TOLERANCE: f64 = 1e-6;

impl<'a> Objective<'a> {
    /// The criterion over `folds` for hyperparameters arranged by `penalty`.
    pub(super) fn new(folds: &[FoldRisks<'a>], penalty: &Penalty, engine: Engine, signal: StopSignal) -> Self {
        let total: usize = folds.iter().map(|fold| fold.judging.len()).sum();
        let folds = folds
            .iter()
            .map(|fold| {
                let lower = Glm::new(fold.fitted.clone(), penalty.clone());
                let w = fold.fitted.null_parameters();
                Fold {
                    upper: fold.judging.clone().as_upper(penalty.hyperparameters()),
                    share: fold.judging.len() as f64 / total as f64,
                    v: vec![0.0; w.len()],
                    w,
                    dual: matches!(engine, Engine::Dual { .. }).then(|| DualSolver::new(&lower)).flatten(),
                    lower,
                    law: None,
                    bounds: (f64::NEG_INFINITY, f64::INFINITY),
                    solved: None,
                    train_loss: f64::NAN,
                    work: Work::default(),
                }
            })
            .collect();
        Objective { folds, engine, signal, hurried: false, last: None }
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
        self.engine
    }

    /// From now on evaluations run to their end, a near one if time is over.
    pub(super) fn never_stop(&mut self) {
        self.hurried = self.signal.is_raised();
        self.signal = StopSignal::never();
    }

    /// Takes the fitted parameters of `other` as warm starts.
    pub(super) fn start_from(&mut self, other: &Objective<'a>) {
        for (fold, other) in self.folds.iter_mut().zip(&other.folds) {
            fold.w.copy_from_slice(&other.w);
            fold.v.copy_from_slice(&other.v);
            if let (Some(dual), Some(other)) = (&mut fold.dual, &other.dual) {
                dual.start_from(other);
            }
        }
    }

    /// `f(lambda)`; `gradient` is overwritten by the hypergradient.
    pub(super) fn evaluate(&mut self, lambda: &[f64], gradient: &mut [f64]) -> Result<f64> {
        self.last = None;
        let (engine, signal, hurried) = (self.engine, &self.signal, self.hurried);
        let parts: Vec<Result<(f64, Vec<f64>)>> =
            self.folds.par_iter_mut().map(|fold| fold.evaluate(lambda, engine, signal, hurried)).collect();
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

    /// `f(lambda)` with the parameters of the folds there. What the last evaluation found in the space of the rows is
    /// not found again.
    pub(super) fn settle(&mut self, lambda: &[f64]) -> Result<f64> {
        match &self.last {
            Some((last, value)) if self.is_steep() && last == lambda => Ok(*value),
            _ => self.evaluate(lambda, &mut vec![0.0; lambda.len()]),
        }
    }

    /// Slopes below this fraction of the value cannot be told from zero.
    pub(super) fn accuracy(&self) -> f64 {
        if let Engine::Dual { .. } = self.engine { DUAL_ACCURACY } else { 0.0 }
    }

    /// Whether weaker penalties cost so much more that those beyond a minimum are better not looked at.
    pub(super) fn is_steep(&self) -> bool {
        matches!(self.engine, Engine::Dual { .. })
    }

    /// Mean loss over the fitted rows at the last evaluation.
    pub(super) fn train_loss(&self) -> f64 {
        self.folds.iter().map(|fold| fold.share * fold.train_loss).sum()
    }

    /// Parameters of each fold at the last evaluation.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &[f64]> {
        self.folds.iter().map(|fold| &fold.w[..])
    }

    /// What the first fold knows in the space of its rows.
    pub(super) fn first_point(&self) -> Option<Vec<f64>> {
        self.folds.first().and_then(|fold| fold.dual.as_ref()).map(|dual| dual.point().to_vec())
    }

    /// Work so far.
    pub(super) fn work(&self) -> Work {
        self.folds.iter().map(|fold| fold.work).sum()
    }
}

impl Fold<'_> {
    fn evaluate(
        &mut self,
        theta: &[f64],
        engine: Engine,
        signal: &StopSignal,
        hurried: bool,
    ) -> Result<(f64, Vec<f64>)> {
        let Some(b) = self.law.take() else { return self.evaluate_free(theta, engine, signal, hurried) };
        let (low, high) = self.bounds;
        let free = apply_law(theta, &b);
        let lambda: Vec<f64> = free.iter().map(|l| l.clamp(low, high)).collect();
        let result = self.evaluate_free(&lambda, engine, signal, hurried).map(|(value, gradient)| {
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

    fn evaluate_free(
        &mut self,
        lambda: &[f64],
        engine: Engine,
        signal: &StopSignal,
        hurried: bool,
    ) -> Result<(f64, Vec<f64>)> {
        if let Some(before) = self.dual.as_ref().map(DualSolver::state) {
            let result = self.evaluate_dual(lambda, engine, signal, hurried);
            // What was cut short is no start for anything.
            if let (Err(_), Some(dual)) = (&result, &mut self.dual) {
                dual.restore(&before);
            }
            return result;
        }
        if matches!(engine, Engine::Direct { .. }) {
            self.predict(lambda);
        }
        let nearby = self.solved.take().and_then(|solved| solved.factorization);
        let minimum = engine.newton(hurried).minimize(&self.lower, lambda, &mut self.w, nearby, signal)?;
        self.work += minimum.info.work;
        let adjoint = match (engine, &minimum.factorization) {
            (Engine::Direct { .. }, Some(factorization)) => Implicit::at_solution_with(
                &self.lower,
                &self.upper,
                &self.w,
                lambda,
                &mut self.v,
                &**factorization,
                ADJOINT_TOLERANCE,
            )?,
            (Engine::Direct { .. }, None) => {
                Implicit::default().at_solution(&self.lower, &self.upper, &self.w, lambda, &mut self.v)?
            }
            (Engine::Iterative { tolerance } | Engine::Dual { tolerance }, _) => {
                let cg =
                    ConjugateGradient { steps: if hurried { HURRIED.1 } else { 1000 }, tolerance: tolerance.sqrt() };
                let implicit = Implicit { linear: crate::hypergradient::ExactLinear::ConjugateGradient(cg) };
                implicit.at_solution(&self.lower, &self.upper, &self.w, lambda, &mut self.v)?
            }
        };
        self.work += adjoint.work;
        self.train_loss = minimum.value;
        self.solved = Some(Solved { lambda: lambda.to_vec(), factorization: minimum.factorization });
        Ok((adjoint.objective, adjoint.value))
    }

    /// As [`Fold::evaluate_free`] in the space of the rows.
    fn evaluate_dual(
        &mut self,
        lambda: &[f64],
        engine: Engine,
        signal: &StopSignal,
        hurried: bool,
    ) -> Result<(f64, Vec<f64>)> {
        let Some(dual) = &mut self.dual else { unreachable!("asked for by the caller") };
        let settings = dual_newton(engine, hurried);
        let minimum = dual.minimize(&self.lower, lambda, settings, signal)?;
        dual.parameters(&mut self.w);
        let mut gradient = vec![0.0; lambda.len()];
        let value = self.upper.gradients(&self.w, lambda, &Sample::Full, &mut self.v, &mut gradient);
        let (info, change) = dual.adjoint(&self.lower, &mut self.v, DUAL_ADJOINT, settings.steps, signal)?;
        self.lower.cross_product(&self.w, lambda, &Sample::Full, &self.v, &mut gradient);
        vector::scale(-1.0, &mut gradient);
        if !vector::all_finite(&gradient) {
            return Err(crate::Error::numeric("the hypergradient is not finite"));
        }
        self.work += minimum.info.work + info.work + Work::gradient(self.upper.len());
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

/// Where a fit starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'s> {
    /// Parameters of a similar model.
    pub w: &'s [f64],
    /// The same in the space of its rows, where known.
    pub point: Option<(&'s EmpiricalRisk<'s>, &'s [f64])>,
}

/// Fits the parameters for given hyperparameters.
pub(super) fn fit(
    risk: &EmpiricalRisk<'_>,
    penalty: &Penalty,
    lambda: &[f64],
    engine: Engine,
    start: Start<'_>,
    hurried: bool,
) -> Result<(Vec<f64>, Work)> {
    let lower = Glm::new(risk.clone(), penalty.clone());
    debug_assert_eq!(lower.dims().w, start.w.len());
    let mut w = start.w.to_vec();
    let dual = matches!(engine, Engine::Dual { .. }).then(|| DualSolver::new(&lower)).flatten();
    if let Some(mut dual) = dual {
        match start.point {
            Some((rows, point)) => dual.start_from_rows(&lower, lambda, point, &risk.positions_among(rows)),
            None => dual.start_at(&w),
        }
        let minimum = dual.minimize(&lower, lambda, dual_newton(engine, hurried), &StopSignal::never())?;
        dual.parameters(&mut w);
        return Ok((w, minimum.info.work));
    }
    let minimum = engine.newton(hurried).minimize(&lower as &dyn Curved, lambda, &mut w, None, &StopSignal::never())?;
    Ok((w, minimum.info.work))
}

/// The settings of `engine` for the space of the rows; `hurried` once time is over.
fn dual_newton(engine: Engine, hurried: bool) -> DualNewton {
    let Newton { tolerance, .. } = engine.newton(hurried);
    let (steps, products) = if hurried { (HURRIED.1, HURRIED.0 * HURRIED.1) } else { (400, usize::MAX) };
    DualNewton { iterations: DUAL_ITERATIONS, steps, products, tolerance }
}

/// The engine that serves `method`; `auto` chooses by the stated cost models below.
pub(super) fn engine_for(method: Method, risk: &EmpiricalRisk<'_>, tolerance: f64) -> Engine {
    let direct = match method {
        Method::Exact => true,
        Method::Auto => direct_is_cheaper(risk),
        _ => false,
    };
    match method {
        _ if direct => Engine::Direct { tolerance: tolerance.min(1e-7) },
        Method::Auto if dual_is_cheaper(risk) => Engine::Dual { tolerance: DUAL_TOLERANCE },
        _ => Engine::Iterative { tolerance },
    }
}

/// The stated cost model: products cost the same in either space, but vectors are `p / n` times shorter in that of the
/// rows, and its preconditioner saves most of the steps, as long as the `n x r` matrices it needs stay affordable.
fn dual_is_cheaper(risk: &EmpiricalRisk<'_>) -> bool {
    const LARGEST: usize = 50_000;
    let smooth = matches!(risk.loss(), Loss::Logistic | Loss::Softmax { .. });
    smooth && risk.is_sparse() && risk.len() <= LARGEST && risk.features() > 2 * risk.len()
}

/// The stated cost model: a factorisation is chosen when forming and factorising the Hessian costs less than the
/// 300 products with it that conjugate gradients typically need on unevenly penalised problems.
pub(super) fn direct_is_cheaper(risk: &EmpiricalRisk<'_>) -> bool {
    let (n, p, c) = (risk.len() as f64, risk.features() as f64, risk.outputs() as f64);
    let stored = risk.stored_per_row() * n;
    let product = 4.0 * stored * c;
    let d = risk.parameters() as f64;
    let by_parameters = stored * risk.stored_per_row() * c * (c + 1.0) / 2.0 + d.powi(3) / 3.0;
    let by_rows = if c == 1.0 { n * n * p + n.powi(3) / 3.0 } else { f64::INFINITY };
    let direct = if n < p { by_rows } else { by_parameters };
    d.min(if c == 1.0 { n } else { d }) <= 4000.0 && direct <= 300.0 * product.max(1e6)
}

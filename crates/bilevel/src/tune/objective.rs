//! The tuned criterion as a function of the hyperparameters: the mean loss over held-out rows, one lower level per fold.

use rayon::prelude::*;

use super::options::Method;
use crate::Result;
use crate::hypergradient::Implicit;
use crate::linear_system::ConjugateGradient;
use crate::lower::{Curved, Factorization, StochasticLoss};
use crate::newton::{Newton, NewtonDirection};
use crate::problems::glm::{DualAscent, DualLimits, EmpiricalRisk, Glm, Penalty};
use crate::sample::Sample;
use crate::status::Status;
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
    /// Coordinate ascent in the dual; what is left to gain below this fraction of the loss, and of the adjoint's energy.
    Dual { tolerance: f64 },
}

impl Engine {
    pub(super) fn newton(self) -> Newton {
        match self {
            Engine::Direct { tolerance } => {
                Newton { iterations: 100, tolerance, direction: NewtonDirection::Factorized }
            }
            Engine::Iterative { tolerance } | Engine::Dual { tolerance } => {
                Newton { iterations: 100, tolerance, direction: NewtonDirection::ConjugateGradients { steps: 400 } }
            }
        }
    }
}

/// One fold with its warm starts.
struct Fold<'a> {
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    /// The dual variables, where the engine is that of the dual.
    dual: Option<DualAscent<'a>>,
    /// Decrease that may be left undone there without the criterion feeling it.
    enough: f64,
    /// Share of the judging rows of all folds.
    share: f64,
    w: Vec<f64>,
    v: Vec<f64>,
    /// Where given, the log-penalties are `theta_0 + theta_1 b` instead of free.
    law: Option<Vec<f64>>,
    bounds: (f64, f64),
    /// The hyperparameters `w` was solved for, and the Hessian there.
    solved: Option<(Vec<f64>, Option<Box<dyn Factorization>>)>,
    train_loss: f64,
    work: Work,
}

/// `f(lambda) = sum_k share_k E_k(w_k(lambda))` over the folds.
pub(super) struct Objective<'a> {
    folds: Vec<Fold<'a>>,
    engine: Engine,
    signal: StopSignal,
    /// Where it was evaluated last, and its value there.
    last: Option<(Vec<f64>, f64)>,
}

/// Log-penalties may move this far for `w` to be predicted along its tangent.
const PREDICTABLE_MOVE: f64 = 1.5;
/// Passes of one solve in the dual at most.
const DUAL_EPOCHS: usize = 300;
/// Accuracy of the criterion, as a fraction of it, that a minimum in the dual aims at before it is corrected for what is
/// left: the error after that is about the square.
const DUAL_ACCURACY: f64 = 1e-3;
/// Relative residual to which adjoints are solved with factorisations.
const ADJOINT_TOLERANCE: f64 = 1e-9;

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
                    dual: matches!(engine, Engine::Dual { .. }).then(|| DualAscent::new(lower.clone())),
                    enough: 0.0,
                    lower,
                    law: None,
                    bounds: (f64::NEG_INFINITY, f64::INFINITY),
                    solved: None,
                    train_loss: f64::NAN,
                    work: Work::default(),
                }
            })
            .collect();
        Objective { folds, engine, signal, last: None }
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

    /// Takes the fitted parameters of `other` as warm starts.
    pub(super) fn start_from(&mut self, other: &Objective<'a>) {
        for (fold, other) in self.folds.iter_mut().zip(&other.folds) {
            fold.w.copy_from_slice(&other.w);
            fold.v.copy_from_slice(&other.v);
            let before = other.enough;
            if let (Some(dual), Some(other)) = (&mut fold.dual, &other.dual) {
                dual.start_from(other);
                fold.enough = before;
            }
        }
    }

    /// `f(lambda)`; `gradient` is overwritten by the hypergradient.
    pub(super) fn evaluate(&mut self, lambda: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let (engine, signal) = (self.engine, &self.signal);
        let parts: Vec<Result<(f64, Vec<f64>)>> =
            self.folds.par_iter_mut().map(|fold| fold.evaluate(lambda, engine, signal)).collect();
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

    /// The value at `lambda`, with the parameters that belong to it: nothing to compute where it was evaluated last. When
    /// time runs out under `grace`, parameters that are not quite there will do.
    pub(super) fn settle(&mut self, lambda: &[f64], grace: StopSignal) -> Result<f64> {
        if let Some((_, value)) = self.last.as_ref().filter(|(at, _)| at == lambda) {
            return Ok(*value);
        }
        let Engine::Dual { tolerance } = self.engine else {
            self.signal = StopSignal::never();
            return self.evaluate(lambda, &mut vec![0.0; lambda.len()]);
        };
        let parts = self.folds.par_iter_mut().map(|fold| fold.settle_dual(lambda, tolerance, &grace));
        let parts: Vec<Result<f64>> = parts.collect();
        parts.into_iter().sum()
    }

    /// True where an evaluation costs so much that a search should spare it.
    pub(super) fn is_expensive(&self) -> bool {
        matches!(self.engine, Engine::Dual { .. })
    }

    /// The dual variables of the only fold, a start for a fit on more of the same rows.
    pub(super) fn dual(&self) -> Option<&DualAscent<'a>> {
        self.folds.first().filter(|_| self.folds.len() == 1).and_then(|fold| fold.dual.as_ref())
    }

    /// Mean loss over the fitted rows at the last evaluation.
    pub(super) fn train_loss(&self) -> f64 {
        self.folds.iter().map(|fold| fold.share * fold.train_loss).sum()
    }

    /// Parameters of each fold at the last evaluation.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &[f64]> {
        self.folds.iter().map(|fold| &fold.w[..])
    }

    /// Work so far.
    pub(super) fn work(&self) -> Work {
        self.folds.iter().map(|fold| fold.work).sum()
    }
}

impl Fold<'_> {
    fn evaluate(&mut self, theta: &[f64], engine: Engine, signal: &StopSignal) -> Result<(f64, Vec<f64>)> {
        let Some(b) = self.law.take() else { return self.evaluate_free(theta, engine, signal) };
        let (low, high) = self.bounds;
        let free = apply_law(theta, &b);
        let lambda: Vec<f64> = free.iter().map(|l| l.clamp(low, high)).collect();
        let result = self.evaluate_free(&lambda, engine, signal).map(|(value, gradient)| {
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

    fn evaluate_free(&mut self, lambda: &[f64], engine: Engine, signal: &StopSignal) -> Result<(f64, Vec<f64>)> {
        if let Engine::Dual { tolerance } = engine {
            return self.evaluate_dual(lambda, tolerance, signal);
        }
        self.predict(lambda);
        let nearby = self.solved.take().and_then(|(_, factorization)| factorization);
        let minimum = engine.newton().minimize(&self.lower, lambda, &mut self.w, nearby, signal)?;
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
                let cg = ConjugateGradient { steps: 1000, tolerance: tolerance.sqrt() };
                let implicit = Implicit { linear: crate::hypergradient::ExactLinear::ConjugateGradient(cg) };
                implicit.at_solution(&self.lower, &self.upper, &self.w, lambda, &mut self.v)?
            }
        };
        self.work += adjoint.work;
        self.train_loss = minimum.value;
        self.solved = Some((lambda.to_vec(), minimum.factorization));
        Ok((adjoint.objective, adjoint.value))
    }

    /// The same in the dual. The value is corrected for what the inexact minimum leaves, so that its error is of second
    /// order and line searches see a consistent function at a loose tolerance.
    fn evaluate_dual(&mut self, lambda: &[f64], tolerance: f64, signal: &StopSignal) -> Result<(f64, Vec<f64>)> {
        let Some(dual) = &mut self.dual else { unreachable!("the engine made the dual variables") };
        let limits = DualLimits { epochs: DUAL_EPOCHS, tolerance, enough: self.enough };
        let (info, train_loss) = dual.minimize(lambda, &mut self.w, limits, signal)?;
        self.work += info.work;
        if info.status != Status::Converged && signal.is_raised() {
            return Err(crate::Error::interrupted());
        }
        let mut slope = vec![0.0; self.w.len()];
        let mut gradient = vec![0.0; lambda.len()];
        let value = self.upper.gradients(&self.w, lambda, &Sample::Full, &mut slope, &mut gradient);
        let adjoint = dual.adjoint(lambda, &self.w, &slope, &mut self.v, limits, signal)?;
        self.work += Work::gradient(self.upper.len()) + adjoint.work;
        if adjoint.status != Status::Converged && signal.is_raised() {
            return Err(crate::Error::interrupted());
        }
        let value = value - dual.remaining(&self.w, &self.v);
        // An error `e` of the minimum changes the criterion by `v^T H e`, at most `|v|_H |e|_H`, where `|e|_H^2 / 2` is the
        // decrease that is left.
        let sensitivity = vector::dot(&slope, &self.v).abs().max(f64::MIN_POSITIVE);
        self.enough = (DUAL_ACCURACY * value).powi(2) / (2.0 * sensitivity);
        self.lower.cross_product(&self.w, lambda, &Sample::Full, &self.v, &mut gradient);
        vector::scale(-1.0, &mut gradient);
        self.train_loss = train_loss;
        Ok((value, gradient))
    }

    /// Solves the lower level alone; its share of the criterion.
    fn settle_dual(&mut self, theta: &[f64], tolerance: f64, signal: &StopSignal) -> Result<f64> {
        let (low, high) = self.bounds;
        let lambda = match &self.law {
            Some(b) => apply_law(theta, b).iter().map(|l| l.clamp(low, high)).collect(),
            None => theta.to_vec(),
        };
        let Some(dual) = &mut self.dual else { unreachable!("the engine made the dual variables") };
        let (info, loss) = dual.minimize(
            &lambda,
            &mut self.w,
            DualLimits { epochs: DUAL_EPOCHS, tolerance, enough: self.enough },
            signal,
        )?;
        self.work += info.work + Work::gradient(self.upper.len());
        self.train_loss = loss;
        Ok(self.share * self.upper.full_value(&self.w))
    }

    /// Moves `w` along its tangent, `dw = -H^{-1} (d/dlambda grad_w g) delta`, from where it was solved to `lambda`.
    fn predict(&mut self, lambda: &[f64]) {
        let Some((from, Some(factorization))) = &self.solved else { return };
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

/// Fits the parameters for given hyperparameters, from `start`.
pub(super) fn fit(
    risk: &EmpiricalRisk<'_>,
    penalty: &Penalty,
    lambda: &[f64],
    engine: Engine,
    start: &[f64],
    nearby: Option<&DualAscent<'_>>,
    signal: &StopSignal,
) -> Result<(Vec<f64>, Work)> {
    let lower = Glm::new(risk.clone(), penalty.clone());
    debug_assert_eq!(lower.dims().w, start.len());
    let mut w = start.to_vec();
    if let Engine::Dual { tolerance } = engine {
        let limits = DualLimits { epochs: DUAL_EPOCHS, tolerance, enough: 0.0 };
        let mut dual = DualAscent::new(lower);
        if let Some(nearby) = nearby {
            dual.start_from(nearby);
        }
        let (info, _) = dual.minimize(lambda, &mut w, limits, signal)?;
        return Ok((w, info.work));
    }
    let minimum = engine.newton().minimize(&lower as &dyn Curved, lambda, &mut w, None, &StopSignal::never())?;
    Ok((w, minimum.info.work))
}

/// True when no method could need more than the given engine: the settings that make `auto` choose it.
pub(super) fn engine_for(method: Method, risk: &EmpiricalRisk<'_>, tolerance: f64) -> Engine {
    let direct = match method {
        Method::Exact => true,
        Method::Auto => direct_is_cheaper(risk),
        _ => false,
    };
    if direct {
        Engine::Direct { tolerance: tolerance.min(1e-7) }
    } else if method == Method::Auto && risk.is_sparse() && risk.len() < risk.features() {
        Engine::Dual { tolerance: 1e-5 }
    } else {
        Engine::Iterative { tolerance }
    }
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

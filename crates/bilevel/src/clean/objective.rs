//! The trusted loss as a function of the weights' hyperparameters, with its gradient.

use crate::Result;
use crate::hypergradient::{ExactLinear, Implicit};
use crate::linear_system::ConjugateGradient;
use crate::lower::Factorization;
use crate::newton::{Newton, NewtonDirection};
use crate::optimize::{Evaluation, Oracle};
use crate::problems::glm::{EmpiricalRisk, Glm};
use crate::stop::StopSignal;
use crate::tune::{Method, direct_is_cheaper};
use crate::work::Work;

/// Predicted decrease of the lower-level loss, relative to it, at which a solve ends.
const LOWER: f64 = 1e-7;
/// Relative residual of adjoints.
const ADJOINT: f64 = 1e-3;
/// Products in one Newton step, and of an adjoint.
const PRODUCTS: (usize, usize) = (400, 1000);
/// The same once time is over: a usable model from a warm start.
const HURRIED: (usize, usize) = (2, 20);

/// How lower levels and adjoints are solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Engine {
    /// By factorisations.
    Direct,
    /// By conjugate gradients.
    Iterative,
}

impl Engine {
    /// What `method` asks for; the cheaper one where it leaves the choice.
    pub(super) fn of(method: Method, risk: &EmpiricalRisk<'_>) -> Self {
        match method {
            Method::Exact => Engine::Direct,
            Method::Auto if direct_is_cheaper(risk) => Engine::Direct,
            _ => Engine::Iterative,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Engine::Direct => "exact",
            Engine::Iterative => "aid-cg",
        }
    }

    pub(super) fn newton(self, hurried: bool) -> Newton {
        match self {
            Engine::Direct => Newton { tolerance: LOWER, ..Newton::default() },
            Engine::Iterative => {
                let (iterations, steps) = if hurried { HURRIED } else { (100, PRODUCTS.0) };
                Newton { iterations, tolerance: LOWER, direction: NewtonDirection::ConjugateGradients { steps } }
            }
        }
    }

    fn adjoint(self) -> ExactLinear {
        let cg = ConjugateGradient { steps: PRODUCTS.1, tolerance: ADJOINT };
        match self {
            Engine::Direct => ExactLinear::Factorize(ConjugateGradient { tolerance: 1e-6, ..cg }),
            Engine::Iterative => ExactLinear::ConjugateGradient(cg),
        }
    }
}

/// Minimises `glm` at `lambda` from `w`, to the end or, where `hurried`, as near as a few steps come.
pub(super) fn fit(
    engine: Engine,
    glm: &Glm<'_>,
    lambda: &[f64],
    w: &mut [f64],
    hurried: bool,
    stop: &StopSignal,
) -> Result<Work> {
    Ok(engine.newton(hurried).minimize(glm, lambda, w, None, stop)?.info.work)
}

/// Both levels with warm starts.
pub(super) struct Objective<'a> {
    pub lower: Glm<'a>,
    pub upper: EmpiricalRisk<'a>,
    pub engine: Engine,
    pub signal: StopSignal,
    /// The lower variable of the last evaluation.
    pub w: Vec<f64>,
    u: Vec<f64>,
    nearby: Option<Box<dyn Factorization>>,
}

impl<'a> Objective<'a> {
    pub(super) fn new(
        lower: Glm<'a>,
        upper: EmpiricalRisk<'a>,
        engine: Engine,
        signal: StopSignal,
        start: Vec<f64>,
    ) -> Self {
        Objective { lower, upper, engine, signal, u: vec![0.0; start.len()], w: start, nearby: None }
    }
}

impl Oracle for Objective<'_> {
    fn evaluate(&mut self, lambda: &[f64], _number: usize) -> Result<Evaluation> {
        let newton = self.engine.newton(false);
        let minimum = newton.minimize(&self.lower, lambda, &mut self.w, self.nearby.take(), &self.signal)?;
        self.nearby = minimum.factorization;
        let implicit = Implicit { linear: self.engine.adjoint() };
        let nearby = self.nearby.as_deref().map(|nearby| nearby as &dyn Factorization);
        let mut found =
            implicit.at_solution(&self.lower, &self.upper, &self.w, lambda, &mut self.u, nearby, &self.signal)?;
        found.work += minimum.info.work;
        Ok(found.into())
    }
}

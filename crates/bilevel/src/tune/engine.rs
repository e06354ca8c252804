//! How the lower levels of tuning are solved, and which way serves which data.

use super::options::Method;
use crate::dual::{DualNewton, DualSolver};
use crate::hypergradient::ExactLinear;
use crate::linear_system::ConjugateGradient;
use crate::newton::{Newton, NewtonDirection};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss};
use crate::stop::StopSignal;

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

/// Relative residual to which adjoints are solved with factorisations.
const ADJOINT_TOLERANCE: f64 = 1e-6;
/// Part of the energy of an adjoint that its error may have, as a square root, in the space of the rows.
pub(super) const DUAL_ADJOINT: f64 = 0.05;
/// Newton's tolerance there: the value is corrected for what is left by means of the adjoint.
const DUAL_TOLERANCE: f64 = 1e-4;
/// Most iterations there: beyond them a solve is as good as it gets.
const DUAL_ITERATIONS: usize = 15;
/// Relative accuracy of hypergradients that comes of both.
const DUAL_ACCURACY: f64 = 1e-3;
/// Relative accuracy of hypergradients by conjugate gradients.
const ITERATIVE_ACCURACY: f64 = 1e-4;
/// Newton's tolerance where figures are only compared with.
const COMPARED: f64 = 1e-3;
/// Iterations, and products in each, of a fit once time is over: enough for a usable model from a warm start.
const HURRIED: (usize, usize) = (2, 20);
/// Iterations, and products in each, while there is time.
const PATIENT: (usize, usize) = (100, 400);
/// Products of an adjoint by conjugate gradients.
const ADJOINT_STEPS: usize = 1000;

impl Engine {
    /// What solves in the space of the rows, if this engine does and the problem allows it.
    pub(super) fn dual_solver(self, lower: &Glm<'_>) -> Option<DualSolver> {
        matches!(self, Engine::Dual { .. }).then(|| DualSolver::new(lower)).flatten()
    }

    /// How hypergradients are computed where `method` was asked for.
    pub(super) fn name(self, method: Method) -> &'static str {
        match (method, self) {
            (Method::SidConstant, _) => "sid-constant",
            (Method::SidDecreasing, _) => "sid-decreasing",
            (Method::SidSvrg, _) => "sid-svrg",
            (Method::SidSaga, _) => "sid-saga",
            (Method::AidFp, _) => "aid-fp",
            (_, Engine::Direct { .. }) => "exact",
            (_, Engine::Iterative { .. } | Engine::Dual { .. }) => "aid-cg",
        }
    }

    /// Slopes below this fraction of the value cannot be told from zero.
    pub(super) fn accuracy(self) -> f64 {
        match self {
            Engine::Direct { .. } => 0.0,
            Engine::Iterative { .. } => ITERATIVE_ACCURACY,
            Engine::Dual { .. } => DUAL_ACCURACY,
        }
    }

    /// Relative accuracy of the criterion in descents over many penalties.
    pub(super) fn value_accuracy(self) -> f64 {
        match self {
            Engine::Direct { .. } | Engine::Dual { .. } => 0.0,
            Engine::Iterative { tolerance } => tolerance,
        }
    }

    /// Passes of the shortest fit from a near start that is worth beginning.
    pub(super) fn shortest_fit(self) -> f64 {
        match self {
            Engine::Direct { .. } | Engine::Iterative { .. } => 6.0,
            // A basis and a preconditioner first.
            Engine::Dual { .. } => 40.0,
        }
    }

    /// Whether a fit is cheap enough to be made for candidates that are known not to be chosen.
    pub(super) fn is_cheap(self) -> bool {
        matches!(self, Engine::Direct { .. })
    }

    /// The same engine for figures that are only compared with: to the digits that are shown.
    pub(super) fn for_comparison(self) -> Engine {
        match self {
            Engine::Direct { .. } => self,
            Engine::Iterative { tolerance } => Engine::Iterative { tolerance: tolerance.max(COMPARED) },
            Engine::Dual { tolerance } => Engine::Dual { tolerance: tolerance.max(COMPARED) },
        }
    }

    /// Whether weaker penalties cost so much more that those beyond a minimum are better not looked at.
    pub(super) fn is_steep(self) -> bool {
        matches!(self, Engine::Dual { .. })
    }
}

/// How, how thoroughly and how long lower levels are solved.
#[derive(Debug, Clone)]
pub(super) struct Solving {
    /// The way.
    pub engine: Engine,
    /// Ends a solve when it is raised.
    pub signal: StopSignal,
    /// Time is over: as near as a few steps come.
    pub hurried: bool,
}

impl Solving {
    /// Solves to the end, unless `signal` is raised.
    pub(super) fn until(engine: Engine, signal: StopSignal) -> Self {
        Solving { engine, signal, hurried: false }
    }

    /// Newton's method as the engine runs it.
    pub(super) fn newton(&self) -> Newton {
        match self.engine {
            Engine::Direct { tolerance } => {
                Newton { iterations: PATIENT.0, tolerance, direction: NewtonDirection::Factorized }
            }
            Engine::Iterative { tolerance } | Engine::Dual { tolerance } => {
                let (iterations, steps) = if self.hurried { HURRIED } else { PATIENT };
                Newton { iterations, tolerance, direction: NewtonDirection::ConjugateGradients { steps } }
            }
        }
    }

    /// The same in the space of the rows.
    pub(super) fn dual_newton(&self) -> DualNewton {
        let tolerance = self.newton().tolerance;
        let (steps, products) = if self.hurried { (HURRIED.1, HURRIED.0 * HURRIED.1) } else { (PATIENT.1, usize::MAX) };
        DualNewton { iterations: DUAL_ITERATIONS, steps, products, tolerance }
    }

    /// How adjoints are solved.
    pub(super) fn adjoint(&self) -> ExactLinear {
        match self.engine {
            Engine::Direct { .. } => {
                ExactLinear::Factorize(ConjugateGradient { steps: 10_000, tolerance: ADJOINT_TOLERANCE })
            }
            Engine::Iterative { tolerance } | Engine::Dual { tolerance } => {
                let steps = if self.hurried { HURRIED.1 } else { ADJOINT_STEPS };
                ExactLinear::ConjugateGradient(ConjugateGradient { steps, tolerance: tolerance.sqrt() })
            }
        }
    }
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
pub(crate) fn direct_is_cheaper(risk: &EmpiricalRisk<'_>) -> bool {
    let (n, p, c) = (risk.len() as f64, risk.features() as f64, risk.outputs() as f64);
    let stored = risk.stored_per_row() * n;
    let product = 4.0 * stored * c;
    let d = risk.parameters() as f64;
    let by_parameters = stored * risk.stored_per_row() * c * (c + 1.0) / 2.0 + d.powi(3) / 3.0;
    let by_rows = if c == 1.0 { n * n * p + n.powi(3) / 3.0 } else { f64::INFINITY };
    let direct = if n < p { by_rows } else { by_parameters };
    d.min(if c == 1.0 { n } else { d }) <= 4000.0 && direct <= 300.0 * product.max(1e6)
}

//! The stochastic fixed-point iteration `x_{s+1} = x_s + eta_s (T_hat(x_s, zeta_s) - x_s)` (theory, section 3).
//!
//! Grazzi, Pontil, Salzo, AISTATS 2021, section 4. With the exact mean and `eta = 1` it is the Picard iteration of AID-FP
//! (Grazzi et al., ICML 2020) and can stop at a tolerance. A solver is data plus `init`, `step` and `terminate`; the loop
//! itself stands once, in [`FixedPoint::solve`], and single-loop methods call the same three.
//!
//! Divergence is looked for while it happens, because ten thousand steps of a diverging solve are worse than an error:
//! * with the exact mean, residuals of a contraction cannot grow, so one that has grown tenfold proves there is none;
//! * with samples only growth beyond what noise can explain counts: directions a million times longer than the first few,
//!   or a way that `s` steps of that length cannot have covered.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::operator::RandomOperator;
use crate::sample::{Batch, Rng, Sample};
use crate::status::{Info, Status};
use crate::step_size::StepSize;
use crate::vector;
use crate::work::Work;

/// Steps between two checks of a sampled iteration.
const CHECK_EVERY: usize = 8;
/// First steps of a sampled iteration that set the scale of its directions.
const SCALE_STEPS: usize = 4;
/// Growth of a sampled direction that no noise explains.
const DIRECTION_GROWTH: f64 = 1e6;
/// Multiple of `steps x scale` that no sampled iterate covers.
const DISTANCE_GROWTH: f64 = 1e4;
/// Growth of the exact residual that proves there is no contraction, where it has risen from power of two to power of two of
/// the steps for so long: a map that contracts in another norm may rise for a while.
const RESIDUAL_GROWTH: f64 = 10.0;
const RISES: u32 = 3;
/// Growth that proves it at once.
const IMPOSSIBLE_GROWTH: f64 = 1e6;
/// Exact steps after which the residual must have fallen, in whatever norm the map contracts; where it is larger than at first
/// it must have risen so often all the same, as rounding errors about zero do not.
const ENOUGH_STEPS: usize = 50;
const ENOUGH_RISES: u32 = 5;

/// Which iterates make up the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// The last iterate.
    #[default]
    Last,
    /// The mean of all iterates `x_1 .. x_t` (Polyak-Ruppert).
    All,
    /// The mean of the last `fraction` of the iterates, which forgets the start sooner.
    Suffix {
        /// In (0, 1].
        fraction: f64,
    },
}

/// Settings of the iteration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FixedPoint {
    /// Steps `t` to make, or to stop at where there is a tolerance.
    pub steps: usize,
    /// Elements drawn at each step.
    pub batch: Batch,
    /// The steps `eta_s`.
    pub step: StepSize,
    /// Which iterates make up the result.
    pub average: Average,
    /// With [`Batch::All`]: stop when `|T(x) - x| <= tolerance max(|x|, |T(x_0) - x_0|)`. Zero: make all steps.
    pub tolerance: f64,
}

/// Memory of a solve; kept by the caller, so that repeated solves allocate nothing.
#[derive(Debug, Clone)]
pub struct Workspace {
    image: Vec<f64>,
    mean: Vec<f64>,
    start: Vec<f64>,
    sample: Sample,
}

impl Workspace {
    /// Memory for iterates of length `dim`.
    pub fn new(dim: usize) -> Self {
        Workspace { image: vec![0.0; dim], mean: vec![0.0; dim], start: vec![0.0; dim], sample: Sample::Full }
    }
}

/// Where an iteration stands.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Steps made.
    pub steps: usize,
    /// `|T(x) - x|` at the iterate before the last step, with the exact mean only.
    pub residual: Option<f64>,
    /// Cost so far.
    pub work: Work,
    first_residual: f64,
    /// Residuals below this are rounding errors.
    rounding: f64,
    scale: f64,
    averaged: usize,
    failure: Option<Status>,
    converged: bool,
    /// The residual when the number of steps was a power of two the last time, and how often in a row it had risen then.
    seen_residual: f64,
    rises: u32,
}

impl FixedPoint {
    /// `t` sampled steps.
    pub fn sampled(steps: usize, batch: usize, step: StepSize) -> Self {
        FixedPoint { steps, batch: Batch::Rows(batch), step, average: Average::Last, tolerance: 0.0 }
    }

    /// The Picard iteration `x <- T(x)` on the exact mean, up to `steps` steps.
    pub fn exact(steps: usize, tolerance: f64) -> Self {
        let step = StepSize::Constant { eta: 1.0 };
        FixedPoint { steps, batch: Batch::All, step, average: Average::Last, tolerance }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.step.validate()?;
        self.batch.validate("batch")?;
        if !(self.tolerance >= 0.0 && self.tolerance < 1.0) {
            return Err(Error::input(format!("tolerance = {} must be in [0, 1)", self.tolerance)));
        }
        if self.tolerance > 0.0 && self.batch != Batch::All {
            return Err(Error::input("a tolerance needs the exact residual, which a sampled iteration does not know")
                .remedy("use all rows at each step, or give a number of steps only"));
        }
        match self.average {
            Average::Suffix { fraction } if !(fraction > 0.0 && fraction <= 1.0) => {
                Err(Error::input(format!("fraction = {fraction} of averaged iterates must be in (0, 1]")))
            }
            _ => Ok(()),
        }
    }

    /// Runs the iteration from `x` and leaves the result there.
    ///
    /// After [`Status::Diverged`] or [`Status::NotContraction`] `x` holds the offending iterate and is of no use.
    pub fn solve<O: RandomOperator + ?Sized>(
        &self,
        operator: &mut O,
        x: &mut [f64],
        rng: &mut Rng,
        workspace: &mut Workspace,
    ) -> Info {
        let mut state = self.init(x, workspace);
        let status = loop {
            if let Some(status) = self.terminate(&state) {
                break status;
            }
            self.step(operator, x, rng, workspace, &mut state);
        };
        self.finish(status, x, workspace, &state)
    }

    /// The state before the first step from `x`.
    pub fn init(&self, x: &[f64], workspace: &mut Workspace) -> State {
        assert_eq!(x.len(), workspace.start.len(), "the workspace was made for another dimension");
        workspace.start.copy_from_slice(x);
        workspace.mean.copy_from_slice(x);
        workspace.sample = match std::mem::replace(&mut workspace.sample, Sample::Full) {
            Sample::Rows(rows) if self.batch != Batch::All => Sample::Rows(rows),
            _ => Sample::Full,
        };
        State {
            steps: 0,
            residual: None,
            work: Work::default(),
            first_residual: 0.0,
            rounding: 0.0,
            scale: 0.0,
            averaged: 0,
            failure: (!vector::all_finite(x)).then_some(Status::Diverged),
            converged: false,
            seen_residual: f64::INFINITY,
            rises: 0,
        }
    }

    /// Makes one step.
    pub fn step<O: RandomOperator + ?Sized>(
        &self,
        operator: &mut O,
        x: &mut [f64],
        rng: &mut Rng,
        workspace: &mut Workspace,
        state: &mut State,
    ) {
        let s = state.steps;
        if let Batch::Rows(batch) = self.batch {
            operator.draw(batch, rng, &mut workspace.sample);
        }
        state.work += operator.apply(x, &workspace.sample, &mut workspace.image);
        if self.batch == Batch::All {
            self.check_exact(x, workspace, state);
        } else if s < SCALE_STEPS || (s + 1).is_multiple_of(CHECK_EVERY) || s + 1 == self.steps {
            check_sampled(x, workspace, state);
        }
        let eta = self.step.eta(s);
        if eta == 1.0 {
            x.copy_from_slice(&workspace.image);
        } else {
            vector::move_towards(eta, &workspace.image, x);
        }
        if s >= self.first_averaged() {
            state.averaged += 1;
            vector::move_towards(1.0 / state.averaged as f64, x, &mut workspace.mean);
        }
        state.steps += 1;
        if state.steps == self.steps && !vector::all_finite(x) {
            state.failure = Some(Status::Diverged);
        }
    }

    /// Whether to stop, and why.
    pub fn terminate(&self, state: &State) -> Option<Status> {
        if state.failure.is_some() {
            state.failure
        } else if state.converged {
            Some(Status::Converged)
        } else if state.steps >= self.steps {
            let stuck = state.residual.is_some_and(|residual| {
                let grown = residual > state.first_residual + state.rounding && state.rises >= ENOUGH_RISES;
                let same = (residual - state.first_residual).abs() <= 1e-13 * state.first_residual;
                grown || same && state.first_residual > state.rounding
            });
            Some(if stuck && state.steps >= ENOUGH_STEPS { Status::NotContraction } else { Status::StepLimit })
        } else {
            None
        }
    }

    /// Puts the result into `x` (the average, where one was asked for) and sums the run up.
    pub fn finish(&self, status: Status, x: &mut [f64], workspace: &Workspace, state: &State) -> Info {
        if state.averaged > 0 && status == Status::StepLimit {
            x.copy_from_slice(&workspace.mean);
        }
        Info { status, steps: state.steps, residual: state.residual, work: state.work }
    }

    /// The step whose result is the first to be averaged.
    fn first_averaged(&self) -> usize {
        match self.average {
            Average::Last => usize::MAX,
            Average::All => 0,
            Average::Suffix { fraction } => {
                self.steps.saturating_sub(((self.steps as f64 * fraction).ceil() as usize).max(1))
            }
        }
    }

    fn check_exact(&self, x: &[f64], workspace: &Workspace, state: &mut State) {
        let residual = vector::distance(&workspace.image, x);
        state.residual = Some(residual);
        if !residual.is_finite() {
            state.failure = Some(Status::Diverged);
            return;
        }
        if state.steps == 0 {
            state.first_residual = residual;
        }
        let size = vector::norm(x);
        state.rounding = 1e-10 * size;
        let step = state.steps + 1;
        if step.is_power_of_two() || step == self.steps {
            state.rises = if residual > state.seen_residual { state.rises + 1 } else { 0 };
            state.seen_residual = residual;
        }
        let beyond = |growth: f64| residual > growth * state.first_residual + state.rounding;
        if beyond(IMPOSSIBLE_GROWTH) || (beyond(RESIDUAL_GROWTH) && state.rises >= RISES) {
            state.failure = Some(Status::NotContraction);
        }
        if self.tolerance > 0.0 {
            state.converged = residual <= self.tolerance * size.max(state.first_residual);
        }
    }
}

fn check_sampled(x: &[f64], workspace: &Workspace, state: &mut State) {
    let direction = vector::distance(&workspace.image, x);
    let distance = vector::distance(x, &workspace.start);
    if !(direction.is_finite() && distance.is_finite()) {
        state.failure = Some(Status::Diverged);
    } else if state.steps < SCALE_STEPS {
        state.scale = state.scale.max(direction);
    } else if state.scale > 0.0 {
        let allowed = DISTANCE_GROWTH * state.scale * (state.steps + 1) as f64;
        if direction > DIRECTION_GROWTH * state.scale || distance > allowed {
            state.failure = Some(Status::Diverged);
        }
    }
}

//! What differentiating the iterates has in common, forwards, backwards and by differences: the iteration itself.
//!
//! `w_{s+1} = w_s + eta_s (Phi_hat(w_s, lambda, zeta_s) - w_s)`, `s < t`, with samples that can be drawn again.

use super::WarmStart;
use super::parts::{Sampled, Upper, check_problem};
use crate::error::{Error, Result};
use crate::fixed_point::{Average, FixedPoint, State, Workspace};
use crate::lower::StochasticMap;
use crate::operator::LowerOperator;
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::status::{Info, Status};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// The iteration at one `lambda`.
pub(super) struct Iterates<'a, M: ?Sized> {
    pub map: &'a M,
    pub lambda: &'a [f64],
    solver: &'a FixedPoint,
}

/// An iteration under way.
pub(super) struct Run {
    pub w: Vec<f64>,
    pub rng: Rng,
    pub state: State,
    workspace: Workspace,
}

impl<'a, M: StochasticMap + ?Sized> Iterates<'a, M> {
    /// Checks that the iteration can be differentiated, and the sizes.
    pub fn new<U: UpperObjective + ?Sized>(
        solver: &'a FixedPoint,
        map: &'a M,
        upper: &U,
        lambda: &'a [f64],
        start: Option<&WarmStart>,
        upper_batch: Batch,
    ) -> Result<Self> {
        solver.validate()?;
        upper_batch.validate("upper_batch")?;
        if solver.average != Average::Last {
            return Err(
                Error::input("only the last iterate can be differentiated").remedy("do not average the iterates")
            );
        }
        check_problem(map, upper, lambda, start)?;
        Ok(Iterates { map, lambda, solver })
    }

    /// Before the first step, from the `w` of `start` or zero.
    pub fn begin(&self, start: Option<&WarmStart>, (seed, index): (u64, u64)) -> Run {
        let w = start.map_or_else(|| vec![0.0; self.map.dims().w], |start| start.w.clone());
        let mut workspace = Workspace::new(w.len());
        let state = self.solver.init(&w, &mut workspace);
        Run { w, rng: Rng::stream(seed, Purpose::Lower, index), state, workspace }
    }

    /// Makes one step, unless the iteration is at its end.
    pub fn step(&self, run: &mut Run) -> Option<Status> {
        let end = self.solver.terminate(&run.state);
        if end.is_none() {
            let mut operator = LowerOperator { map: self.map, lambda: self.lambda };
            let Run { w, rng, state, workspace } = run;
            self.solver.step(&mut operator, w, rng, workspace, state);
        }
        end
    }

    /// How the run ended.
    pub fn end(&self, run: &Run, status: Status) -> Result<Info> {
        let Run { state, .. } = run;
        Info { status, steps: state.steps, residual: state.residual, work: state.work }.usable("lower level")
    }

    /// `eta_s`.
    pub fn eta(&self, s: usize) -> f64 {
        self.solver.step.eta(s)
    }

    /// Draws the sample of the next step.
    pub fn draw(&self, rng: &mut Rng, sample: &mut Sample) {
        if let Batch::Rows(rows) = self.solver.batch {
            self.map.draw(rows, rng, sample);
        }
    }

    /// Makes step number `s` again, as it was made the first time.
    pub fn repeat(&self, s: usize, w: &mut [f64], sample: &Sample, image: &mut [f64]) -> Work {
        self.map.apply(w, self.lambda, sample, image);
        let eta = self.eta(s);
        if eta == 1.0 {
            w.copy_from_slice(image);
        } else {
            vector::move_towards(eta, image, w);
        }
        Work::gradient(self.map.size(sample))
    }

    /// The upper objective and its gradients at the end of the run.
    pub fn upper_at<U: UpperObjective + ?Sized>(
        &self,
        upper: &U,
        w: &[f64],
        batch: Batch,
        (seed, index): (u64, u64),
    ) -> Result<Upper> {
        let mut rngs = [Rng::stream(seed, Purpose::Upper, index)];
        Upper::at(upper, w, self.lambda, Sampled { batch, rngs: &mut rngs })
    }
}

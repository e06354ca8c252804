//! SID with variance reduction until a requested precision is reached.
//!
//! Rounds: an exact look at both levels (`anchor.rs`), then a few chains of sampled steps from there, whose noise is a
//! fraction of the distance they go. Their mean is the next anchor. A round costs three passes and the short chains, and
//! brings the error down by a factor, so that a precision `eps` takes about `log 1/eps` rounds where the noise of plain
//! samples takes `1/eps^2` of them: the better choice where rows are few or the precision is high.
//!
//! The error bar costs nothing: chains from one anchor are independent given that anchor, so that their spread is the
//! noise of their mean; and what the steps of a round leave of the way, `r`, turns the way they went into an estimate of the
//! rest, `r/(1 - r)` times it. `v` goes after a target that moves with `w`, so that it is behind by more than that; how far the
//! target went in a round follows from the changes of `v` in this round and the one before (`docs/theory.md`, section 4). The
//! noise of `w` is so small by then that what it does to a nonlinear lower level, of second order, is far below the first.

use super::anchor::{ChainSettings, Levels};
use super::parts::check_problem;
use super::precise_sid::Stage;
use super::precision::{PreciseHypergradient, Precision};
use super::round::{Assessment, Pace, Passed, Round};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::lower::{Dims, StochasticMap};
use crate::observer::Observer;
use crate::operator::{Anchoring, ByRecomputing};
use crate::status::Status;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Rounds at most; each that does not bring the error down is one of rounding.
const ROUNDS: usize = 60;
/// Rounds in a row that went farther than the one before, after which the map is taken not to contract.
const GROWTHS: usize = 3;
/// Halvings of `eta` after divergence, or where rounds go farther and farther and this part of that is noise.
const RETREATS: usize = 10;
const NOISY: f64 = 0.1;

/// Settings of the estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreciseSvrg {
    /// Elements drawn at each step.
    pub batch: usize,
    /// Steps of a chain in either solve; doubled from round to round while they leave more than half of the way.
    pub steps: usize,
    /// Chains of a round; at least two.
    pub chains: usize,
    /// The step `eta`; it is halved where a solve diverges.
    pub eta: f64,
    /// The contraction `q` of the map: how much of the way a chain goes follows from it.
    pub contraction: f64,
    /// Seed of all samples.
    pub seed: u64,
}

impl PreciseSvrg {
    /// Estimates `grad f(lambda)` to `precision`, from `start` (zeros without). `observer` sees every round and may break the
    /// run off, which then ends with what it has.
    ///
    /// # Errors
    /// Input, for unusable settings; numeric, when solves diverge however small the steps, or when the map does not contract.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&WarmStart>,
        precision: Precision,
        observer: &mut dyn Observer<Stage>,
    ) -> Result<PreciseHypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.estimate_by(&ByRecomputing, map, upper, lambda, start, precision, observer)
    }

    /// [`estimate`](Self::estimate) with anchors used in a way that suits the map, such as
    /// [`ByRemembering`](crate::operator::ByRemembering), at half the cost of the steps.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    #[allow(clippy::too_many_arguments)]
    pub fn estimate_by<A, M, U>(
        &self,
        anchoring: &A,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&WarmStart>,
        precision: Precision,
        observer: &mut dyn Observer<Stage>,
    ) -> Result<PreciseHypergradient>
    where
        A: Anchoring<M>,
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        precision.validate()?;
        self.validate()?;
        check_problem(map, upper, lambda, start)?;
        let levels = Levels { anchoring, map, upper, lambda };
        let mut course = Course::from(self, start, map.dims());
        let mut work = Work::default();
        for number in 1.. {
            let round = Round::from(&levels, &course.point, course.pace, (number, self.chains), self.seed)?;
            let looked = round.looked();
            work += looked;
            let chains = match round.chains(0..self.chains) {
                Err(error) if error.is_numeric() && course.retreats < RETREATS => {
                    course.slow_down();
                    continue;
                }
                found => found?,
            };
            let rows_left = precision.max_rows.saturating_sub(work.rows);
            let (found, chained) = round.conclude(chains, &course.passed, &precision, rows_left)?;
            work += chained;
            round.pass(&found, &mut course.passed);
            let go_on = observer.observe(&course.stage(&found, work)).is_continue();
            // Another look, and chains that are so many times as long.
            let affordable = |longer| work.rows + looked.rows + longer * chained.rows <= precision.max_rows;
            let may_go_on = go_on && affordable(1) && number < ROUNDS;
            if course.passed.grown > GROWTHS && !found.is_precise() {
                if found.radius < NOISY * found.way || course.retreats == RETREATS {
                    return Err(unsettled(number));
                }
                if may_go_on {
                    course.start_again();
                    continue;
                }
            }
            if found.is_precise() || !may_go_on {
                return Ok(result(found, course.pace, round.settings, number, work));
            }
            // Steps are cheap beside a look at everything, and so slow a map takes many.
            let longer = round.left > 0.5 && affordable(2);
            course.go_on(found, longer);
        }
        unreachable!("the rounds are bounded")
    }

    fn validate(&self) -> Result<()> {
        if !(self.eta > 0.0 && self.eta <= 1.0) {
            return Err(Error::input(format!("eta = {} must be in (0, 1]", self.eta)));
        }
        if !(0.0..1.0).contains(&self.contraction) {
            return Err(Error::input(format!("contraction = {} must be at least 0 and below 1", self.contraction))
                .remedy("use a smaller map_step or a strongly convex lower level"));
        }
        if self.chains < 2 || self.steps == 0 || self.batch == 0 {
            return Err(Error::input("an error bar needs at least two chains of at least one step on one row"));
        }
        Ok(())
    }
}

/// What the last round found.
fn result(found: Assessment, pace: Pace, chain: ChainSettings, rounds: usize, work: Work) -> PreciseHypergradient {
    let (error, precise) = (found.error(), found.is_precise());
    let Assessment { reached, replicates, spread, objective, left, bias, allowed, .. } = found;
    let status = if precise { Status::Converged } else { Status::StepLimit };
    // Of a round that was the last one too early, what noise does in second order may be no small thing.
    let second = if precise { 0.0 } else { spread.variance / vector::norm(&spread.mean) };
    let settings = Sid {
        average: chain.solver.average,
        cross_batch: chain.cross_batch,
        upper_batch: chain.upper_batch,
        ..Sid::new(pace.steps, pace.batch, chain.solver.step)
    };
    let nothing = vec![0.0; left.len()];
    let result = PreciseHypergradient {
        bias: bias + second,
        error: error + second,
        allowed,
        settings,
        anchors: rounds,
        replicates,
        corrections: Vec::new(),
        biases: [left, nothing],
        reached: Some(reached),
        estimate: Hypergradient { value: spread.mean, objective, std_error: None, status, work },
    };
    result.with_std_errors()
}

/// What one round leaves to the next.
struct Course {
    /// The next anchor.
    point: WarmStart,
    pace: Pace,
    retreats: usize,
    passed: Passed,
    /// The point with the smallest relative error so far, and that error.
    best: (f64, WarmStart),
}

impl Course {
    fn from(method: &PreciseSvrg, start: Option<&WarmStart>, dims: Dims) -> Self {
        let point = start.cloned().unwrap_or_else(|| WarmStart::zeros(dims));
        Course {
            best: (f64::INFINITY, point.clone()),
            point,
            pace: Pace { batch: method.batch, steps: method.steps, eta: method.eta, contraction: method.contraction },
            retreats: 0,
            passed: Passed::nothing(dims.w),
        }
    }

    fn stage(&self, found: &Assessment, work: Work) -> Stage {
        Stage {
            steps: self.pace.steps,
            replicates: found.replicates.len(),
            error: found.error(),
            allowed: found.allowed,
            rows: work.rows,
        }
    }

    fn slow_down(&mut self) {
        self.retreats += 1;
        self.pace.eta /= 2.0;
    }

    /// Samples expand what the map contracts: from the best point so far with smaller steps.
    fn start_again(&mut self) {
        self.slow_down();
        self.point = self.best.1.clone();
        self.passed = Passed::nothing(self.point.w.len());
    }

    /// From where the chains have come to, perhaps in chains that are twice as long.
    fn go_on(&mut self, found: Assessment, longer: bool) {
        let error = found.relative_error();
        if error < self.best.0 {
            self.best = (error, found.reached.clone());
        }
        if longer {
            self.pace.steps *= 2;
        }
        self.point = found.reached;
    }
}

fn unsettled(round: usize) -> Error {
    Error::numeric(format!("after {round} rounds the solves do not settle"))
        .remedy("check that the map contracts: that of a loss by a smaller map_step or a larger penalty")
}

//! SID without bias, by a random number of levels (theory, section 7.2).
//!
//! Each level halves the noise in both solves of [`Sid`] and lengthens them: level `n` pools `2^n` streams of samples and makes `n + 1` times as many
//! steps. Its mean tends to `grad f` as `n` grows, and the mean of
//!
//! ```text
//! g_0 + Delta_N / P(N),    Delta_n = g_n(all 2^n streams) - (g_{n-1}(first half) + g_{n-1}(second half)) / 2,    P(N = n) = (1 - r) r^{n-1},
//! ```
//!
//! is the limit itself (Rhee, Glynn, Operations Research 63(5), 2015; Blanchet, Glynn, WSC 2015; for bilevel problems Hu, Chen, He 2021 and Hu, Wang, Xie, Krause, Kuhn
//! 2023). Noise that enters linearly is the same in the fine estimate and in the mean of the two coarse ones, and cancels;
//! what is left is of second order, `E|Delta_n|^2 = O(4^{-n})`, so that variance and cost are both finite for `1/4 < r < 1/2`.
//! For that the coarse runs must see the same noise in the same way: they use the last samples of the fine run, and all steps
//! are of one constant length.
//!
//! The noise of the parts that are sampled and the truncation of both solves leave no bias; there is no error but the spread, which
//! [`replicate`](super::replicate) measures. One estimate varies more than one of plain SID, so this pays where the bias matters: averages over many.

use serde::{Deserialize, Serialize};

use super::sid::Streams;
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::Average;
use crate::lower::StochasticMap;
use crate::operator::Plain;
use crate::sample::{Purpose, Rng};
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;

/// `2^{-3/2}`: the middle, on a logarithmic scale, of what keeps variance and cost finite.
const DECAY: f64 = 0.353_553_390_593_273_8;

/// Unbiased SID. Needs what SID needs; on average about `4 (t + k)` batches for the default decay, without a bound on a single estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnbiasedSid {
    /// Level 0, with constant steps and without averages. Its steps should at least halve what is left of the start.
    pub sid: Sid,
    /// The probability `r` of going on to the next level, in (1/4, 1/2).
    pub decay: f64,
}

impl UnbiasedSid {
    /// With `r = 2^{-3/2}`.
    pub fn new(sid: Sid) -> Self {
        UnbiasedSid { sid, decay: DECAY }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`]. All runs begin at `start`, which is left where that of level 0 ended.
    ///
    /// # Errors
    /// Those of [`Sid::estimate`]; input, for steps that are not constant, averages, or a decay outside (1/4, 1/2).
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.validate()?;
        // Streams of its own for each estimate: levels need any number of them.
        let mut rng = Rng::stream(seed, Purpose::Start, index);
        let own = rng.bits();
        let mut level = 1_u32;
        while rng.uniform() < self.decay {
            level += 1;
        }
        let probability = (1.0 - self.decay) * self.decay.powi(level as i32 - 1);

        let fine: Vec<u64> = (1..=1_u64 << level).collect();
        let (first, second) = fine.split_at(fine.len() / 2);
        // The last samples of the fine run are those of the coarse ones, whose solves both are shorter by as much.
        let late = self.sid.lower_steps;
        let runs = [(&[0][..], 0, 0), (&fine, level, 0), (first, level - 1, late), (second, level - 1, late)];
        let mut end = None;
        let mut estimates = Vec::with_capacity(runs.len());
        for (indices, at, skipped) in runs {
            let sid = self.at_level(at);
            let streams = Streams { seed: own, indices, skipped, upper_offset: 0 };
            let mut point = None;
            let ends = (start.as_deref(), &mut point);
            estimates.push(sid.estimate_on(&Plain, map, upper, lambda, ends, streams)?);
            end = end.or(point);
        }
        if let (Some(start), Some(end)) = (start, end) {
            *start = end;
        }
        Ok(combine(&estimates, 1.0 / probability))
    }

    fn validate(&self) -> Result<()> {
        let Sid { lower_steps, linear_steps, lower_step, linear_step, average, .. } = self.sid;
        let constant = |step| matches!(step, StepSize::Constant { .. });
        if !(constant(lower_step) && constant(linear_step) && average == Average::Last) {
            return Err(Error::input("levels of SID cancel their noise with constant steps and last iterates only")
                .remedy("use constant steps, and do not average the iterates"));
        }
        if lower_steps != linear_steps || lower_steps == 0 {
            return Err(Error::input(format!(
                "levels of SID need as many steps of the lower solve as of the linear one, not {lower_steps} and {linear_steps}"
            )));
        }
        if !(self.decay > 0.25 && self.decay < 0.5) {
            return Err(Error::input(format!("decay = {} of the levels must be in (1/4, 1/2)", self.decay)));
        }
        Ok(())
    }

    fn at_level(&self, level: u32) -> Sid {
        let times = level as usize + 1;
        Sid { lower_steps: self.sid.lower_steps * times, linear_steps: self.sid.linear_steps * times, ..self.sid }
    }
}

/// `g_0 + weight (fine - (first + second)/2)`.
fn combine(estimates: &[Hypergradient], weight: f64) -> Hypergradient {
    let mut sum = estimates[0].clone();
    for (estimate, share) in estimates[1..].iter().zip([weight, -0.5 * weight, -0.5 * weight]) {
        vector::axpy(share, &estimate.value, &mut sum.value);
        sum.objective += share * estimate.objective;
        sum.status = sum.status.worst(estimate.status);
        sum.work += estimate.work;
    }
    sum
}

//! SID without bias, by a random number of levels (theory, section 7.2).
//!
//! Each level halves the noise in both solves of [`Sid`] and lengthens them: level `n` pools `2^n` streams of samples and
//! makes `n + 1` times as many steps. Its mean tends to `grad f` as `n` grows, and the mean of
//!
//! ```text
//! g_0 + Delta_N / P(N),    P(N = n) = (1 - r) r^{n-1},
//! Delta_n = g_n(all 2^n streams) - (g_{n-1}(first half) + g_{n-1}(second half)) / 2,
//! ```
//!
//! is the limit itself (Rhee, Glynn, Operations Research 63(5), 2015; Blanchet, Glynn, WSC 2015; for bilevel problems Hu,
//! Chen, He 2021 and Hu, Wang, Xie, Krause, Kuhn 2023). Noise that enters linearly is the same in the fine estimate and in
//! the mean of the two coarse ones, and cancels; what is left is of second order, `E|Delta_n|^2 = O(4^{-n})`, so that
//! variance and cost are both finite for `1/4 < r < 1/2`. For that the coarse runs must see the same noise in the same
//! way: they use the last samples of the fine run, and all steps are of one constant length.
//!
//! The noise of the parts that are sampled and the truncation of both solves leave no bias; there is no error but the
//! spread, which [`replicate`](super::replicate) measures. One estimate varies more than one of plain SID, so this pays
//! where the bias matters: averages over many.

use serde::{Deserialize, Serialize};

use super::parts::check_finite;
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

/// Unbiased SID. Needs what SID needs; on average about 36 times the batches of level 0 for the default decay
/// ([`UnbiasedSid::MEAN_COST`]), without a bound on a single estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnbiasedSid {
    /// Level 0, with constant steps and without averages. Its steps should at least halve what is left of the start.
    pub sid: Sid,
    /// The probability `r` of going on to the next level, in (1/4, 1/2).
    pub decay: f64,
}

impl UnbiasedSid {
    /// Mean cost over that of level 0 with the default decay: `1 + sum_n P(n) 2^n (2 n + 1)`.
    pub const MEAN_COST: f64 = 35.56;

    /// With `r = 2^{-3/2}`.
    pub fn new(sid: Sid) -> Self {
        UnbiasedSid { sid, decay: DECAY }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`]. All runs begin at `start`, which is left where that
    /// of level 0 ended.
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
        let mut run = |indices: &[u64], at: u32, skipped: usize, end: &mut Option<WarmStart>| {
            let streams = Streams { seed: own, indices, skipped, upper_offset: 0 };
            self.at_level(at).estimate_on(&Plain, map, upper, lambda, (start.as_deref(), end), streams)
        };
        let mut end = None;
        let base = run(&[0], 0, 0, &mut end)?;
        let estimate = add(base, 1.0 / probability, self.difference(level, &mut run)?)?;
        if let (Some(start), Some(end)) = (start, end) {
            *start = end;
        }
        Ok(estimate)
    }

    /// The estimates of `Delta_n` with their shares: all streams, first half, second half.
    fn difference(
        &self,
        level: u32,
        mut run: impl FnMut(&[u64], u32, usize, &mut Option<WarmStart>) -> Result<Hypergradient>,
    ) -> Result<[(f64, Hypergradient); 3]> {
        let fine: Vec<u64> = (1..=1_u64 << level).collect();
        let (first, second) = fine.split_at(fine.len() / 2);
        // The last samples of the fine run are those of the coarse ones, whose solves both are shorter by as much.
        let late = self.sid.lower_steps;
        Ok([
            (1.0, run(&fine, level, 0, &mut None)?),
            (-0.5, run(first, level - 1, late, &mut None)?),
            (-0.5, run(second, level - 1, late, &mut None)?),
        ])
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

/// `sum + weight Delta`.
fn add(mut sum: Hypergradient, weight: f64, difference: [(f64, Hypergradient); 3]) -> Result<Hypergradient> {
    for (share, estimate) in difference {
        vector::axpy(weight * share, &estimate.value, &mut sum.value);
        sum.objective += weight * share * estimate.objective;
        sum.status = sum.status.worst(estimate.status);
        sum.work += estimate.work;
    }
    check_finite(&sum.value)?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::Dims;
    use crate::problems::linear_contraction::LinearContraction;
    use crate::problems::target::Target;
    use crate::sample::Batch;

    /// `E|Delta_n|^2` falls like `4^{-n}`, by far more than the `r` that a finite variance needs. Means of 400 have relative
    /// standard errors of about 0.15, so a ratio of levels 1 and 4, expected near 64, is above 20 with error probability
    /// below 1e-4.
    #[test]
    fn differences_of_levels_are_of_second_order() {
        let dims = Dims { w: 6, lambda: 3 };
        let (map, upper) = (LinearContraction::random(dims, 0.6, 0.4, 1), Target::random(dims, 1, 0.0, 0.2, 1));
        let sid = Sid { cross_batch: Batch::Rows(1), ..Sid::new(12, 1, StepSize::Constant { eta: 0.4 }) };
        let unbiased = UnbiasedSid::new(sid);
        let second_moment = |level: u32| {
            let squares = (0..400).map(|seed| {
                let run = |indices: &[u64], at: u32, skipped: usize, end: &mut Option<WarmStart>| {
                    let streams = Streams { seed, indices, skipped, upper_offset: 0 };
                    unbiased.at_level(at).estimate_on(&Plain, &map, &upper, &[0.3, -0.2, 0.5], (None, end), streams)
                };
                let mut sum = vec![0.0; 3];
                for (share, estimate) in unbiased.difference(level, run).unwrap() {
                    vector::axpy(share, &estimate.value, &mut sum);
                }
                vector::norm_squared(&sum)
            });
            squares.sum::<f64>() / 400.0
        };
        let moments = [1, 4].map(second_moment);
        assert!(moments[0] > 20.0 * moments[1], "{moments:?}");
    }
}

//! First steps for an algorithm on a problem of which nothing is known but the problem.

use super::point::Point;
use super::scheme::FirstSteps;
use crate::diagnose::GradientStep;
use crate::error::Result;
use crate::hypergradient::{Implicit, Sid, WarmStart};
use crate::lower::{Curved, GradientMap};
use crate::newton::Newton;
use crate::sample::{Batch, Sample};
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Part of the longest safe step that algorithms begin with.
const SAFE_PART: f64 = 0.5;
/// Steps of the hypergradient that sets the scale of the outer step.
const SCALE_STEPS: usize = 256;

/// First steps for [`Settings::of`](super::Settings::of), and what finding them cost.
///
/// Those of `w` and `v` are half of the longest that no sample of `batch` turns into an expansion ([`GradientStep`]); that of
/// `lambda` moves no coordinate by more than `outer_move` along a hypergradient at `start`, which is exact for `Batch::All`,
/// and SID of some hundred steps otherwise.
///
/// # Errors
/// Numeric, where no sample curves upwards, or where the lower level cannot be solved at the start.
pub fn first_steps(
    lower: &dyn Curved,
    upper: &dyn UpperObjective,
    start: &Point,
    outer_move: f64,
    (batch, seed): (Batch, u64),
) -> Result<(FirstSteps, Work)> {
    let lambda = start.lambda();
    let GradientStep { map_step: longest, mut work, .. } =
        GradientStep::longest(lower, start.w(), lambda, batch, seed)?;
    let mut warm = WarmStart { w: start.w().to_vec(), v: start.v().to_vec() };
    let estimate = match batch {
        Batch::All => Implicit::default().estimate(lower, upper, lambda, Some(&mut warm), &Newton::default())?,
        Batch::Rows(rows) => {
            let drawn = SCALE_STEPS * rows;
            let sid = Sid {
                cross_batch: Batch::at_most(drawn, lower.size(&Sample::Full)),
                upper_batch: Batch::at_most(drawn, upper.size(&Sample::Full)),
                ..Sid::new(SCALE_STEPS, rows, StepSize::Constant { eta: SAFE_PART })
            };
            vector::scale(1.0 / longest, &mut warm.v);
            let map = GradientMap { loss: lower, map_step: longest };
            sid.estimate(&map, upper, lambda, Some(&mut warm), seed, 0)?
        }
    };
    work += estimate.work;
    let outer = outer_move / vector::max_abs(&estimate.value).max(f64::MIN_POSITIVE);
    Ok((FirstSteps { lower: SAFE_PART * longest, linear: SAFE_PART * longest, outer }, work))
}

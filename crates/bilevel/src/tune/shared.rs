//! The best single penalty: a scan of the whole box, then a derivative search in the best bracket.
//!
//! The criterion of one log-penalty is cheap but not convex, and local minima at the ends of the box are common; a scan
//! finds the right valley, and two or three evaluations with derivatives then find its floor.

use super::context::{Context, Spec, Step};
use super::engine::Engine;
use super::objective::Objective;
use super::options::Penalties;
use crate::Result;
use crate::optimize::StopReason;

/// Distance of the scanned log-penalties.
const SCAN_STEP: f64 = 2.0;
/// Evaluations of the final search.
const REFINEMENTS: usize = 30;
/// The same where weaker penalties cost more and values are less exact.
const STEEP_REFINEMENTS: usize = 3;
/// The scan turns back after more than this many steps in a row that were worse than the best by this fraction: weak
/// penalties are the slow ones, so where passes are all there is, the first bad step is the last.
const HOPELESS: (usize, f64) = (2, 0.1);
/// The same where lower levels are solved iteratively.
const HOPELESS_ITERATIVE: (usize, f64) = (0, 0.05);
/// The same where they are solved in the space of the rows.
const HOPELESS_DUAL: (usize, f64) = (0, 0.0);

/// First step away from the optimum of a similar tuning; later ones are twice as long each.
const START_STEP: f64 = 0.25;

/// One evaluated log-penalty.
#[derive(Debug, Clone, Copy)]
struct Point {
    lambda: f64,
    value: f64,
    slope: f64,
}

/// What the search found.
#[derive(Debug, Clone)]
pub(super) struct SharedOptimum {
    /// The best log-penalty.
    pub lambda: f64,
    /// Stronger penalties at which the criterion is a little worse, beginning to feel the penalty. Where the best
    /// penalty is so weak that the criterion is flat, finer penalties must be sought from here.
    pub knees: Vec<f64>,
    /// Why it ended.
    pub reason: StopReason,
}

/// How much worse than the best the criterion may be at a knee.
const KNEES: [f64; 2] = [0.01, 0.1];

/// The minimum of `objective` over one log-penalty in the box; a local one near the log-penalty `near`, where that is given.
pub(super) fn best_shared(
    objective: &mut Objective<'_>,
    near: Option<f64>,
    context: &mut Context<'_>,
) -> Result<SharedOptimum> {
    let (low, high) = context.bounds;
    let engine = objective.engine();
    let (accuracy, cheap, steep) = (engine.accuracy(), engine.is_cheap(), engine.is_steep());
    let (patience, worse) = match engine {
        Engine::Direct { .. } => HOPELESS,
        Engine::Iterative { .. } => HOPELESS_ITERATIVE,
        Engine::Dual { .. } => HOPELESS_DUAL,
    };
    let (mut iteration, mut least) = (0, f64::INFINITY);
    let mut evaluate = |lambda: f64, context: &mut Context<'_>| -> Result<(Point, bool)> {
        let mut slope = [0.0];
        let value = objective.evaluate(&[lambda], &mut slope)?;
        if value <= least {
            least = value;
            objective.keep();
        }
        let at_bound = (lambda <= low && slope[0] > 0.0) || (lambda >= high && slope[0] < 0.0);
        let projected = if at_bound { 0.0 } else { slope[0].abs() };
        let flow = context.iteration(
            Spec::SHARED,
            &Step {
                iteration,
                validation_loss: value,
                train_loss: objective.train_loss(),
                projected_gradient: projected,
                work: objective.work(),
            },
        );
        iteration += 1;
        Ok((Point { lambda, value, slope: slope[0] }, flow.is_break()))
    };
    let mut points: Vec<Point> = Vec::new();
    if let Some(near) = near {
        points = bracket(near, (low, high), |lambda| evaluate(lambda, context))?;
    }
    // From strong to weak penalties: each solution is a good start for the next.
    let count = if points.is_empty() { ((high - low) / SCAN_STEP).ceil().max(1.0) } else { -1.0 };
    let mut best = f64::INFINITY;
    let mut hopeless = 0;
    for i in (0..).take_while(|&i| f64::from(i) <= count) {
        let lambda = high + (low - high) * f64::from(i) / count;
        let (point, stop) = match evaluate(lambda, context) {
            Ok(evaluated) => evaluated,
            // Weaker penalties only make a failing solve worse.
            Err(error) if (error.is_numeric() || error.is_interrupted()) && !points.is_empty() => break,
            Err(error) => return Err(error),
        };
        points.push(point);
        best = best.min(point.value);
        hopeless = if point.value > best + worse * best.abs() { hopeless + 1 } else { 0 };
        let fallen = point.value < 0.9 * points[0].value;
        let flat = steep && point.slope.abs() <= 10.0 * accuracy * point.value.abs();
        // Past a minimum; beyond it fits only take longer.
        let rising = !cheap && point.slope < 0.0;
        if stop || (fallen && (flat || rising)) || hopeless > patience {
            break;
        }
    }
    let at = (0..points.len()).min_by(|&a, &b| points[a].value.total_cmp(&points[b].value)).unwrap_or(0);
    let mut best = points[at];
    // Where finer penalties were asked for, this is only their start.
    let care = match context.options.penalties {
        Penalties::Shared | Penalties::Auto => 0.1,
        _ => 10.0,
    };
    let tolerance = (care * context.options.limits.tolerance).max(accuracy) * best.value.abs();
    // Points go from high to low; the minimum lies where the slope changes sign next to the best point.
    let neighbour = if best.slope > 0.0 { points.get(at + 1) } else { at.checked_sub(1).map(|i| &points[i]) };
    let least = best.value;
    let knees = KNEES
        .iter()
        .filter_map(|worse| points.iter().find(|p| p.value <= least + worse * least.abs()).map(|p| p.lambda))
        .collect();
    let settled = |best: Point| {
        let held = (best.lambda <= low && best.slope > 0.0) || (best.lambda >= high && best.slope < 0.0);
        held || best.slope.abs() <= tolerance
    };
    let Some(mut other) = neighbour.copied() else {
        // Weaker penalties could not be fitted, or were hopeless before.
        let reason = if steep || settled(best) { StopReason::Stationary } else { StopReason::Stalled };
        return Ok(SharedOptimum { lambda: best.lambda, knees, reason });
    };
    let refinements = if steep { STEEP_REFINEMENTS } else { REFINEMENTS.min(context.options.limits.iterations) };
    // Where values are less exact, a few refinements are all that is wanted.
    let mut reason = if steep { StopReason::Stationary } else { StopReason::IterationLimit };
    for _ in 0..refinements {
        if settled(best) || (best.lambda - other.lambda).abs() < 1e-6 || context.must_stop() {
            reason = StopReason::Stationary;
            break;
        }
        let mut inner = match evaluate(cubic_minimum(best, other), context) {
            Ok((point, _)) => point,
            Err(error) if error.is_numeric() || error.is_interrupted() => {
                reason = StopReason::Stalled;
                break;
            }
            Err(error) => return Err(error),
        };
        // Keep a bracket: the better point first, the other end on the side its slope points away from.
        if inner.value <= best.value {
            std::mem::swap(&mut inner, &mut best);
        }
        let downhill = -best.slope.signum();
        let candidates = [inner, other];
        let side = candidates.iter().filter(|p| (p.lambda - best.lambda) * downhill > 0.0);
        match side.min_by(|a, b| (a.lambda - best.lambda).abs().total_cmp(&(b.lambda - best.lambda).abs())) {
            Some(point) => other = *point,
            None => {
                reason = StopReason::Stalled;
                break;
            }
        }
    }
    let reason = if settled(best) { StopReason::Stationary } else { reason };
    Ok(SharedOptimum { lambda: best.lambda, knees, reason })
}

/// Points downhill from `start`, as far as the criterion falls, by falling log-penalty.
fn bracket(
    start: f64,
    (low, high): (f64, f64),
    mut evaluate: impl FnMut(f64) -> Result<(Point, bool)>,
) -> Result<Vec<Point>> {
    let (first, mut stop) = evaluate(start.clamp(low, high))?;
    let downhill = -first.slope.signum();
    let mut points = vec![first];
    let mut step = START_STEP;
    while let (Some(last), false) = (points.last().copied(), stop) {
        let next = (last.lambda + downhill * step).clamp(low, high);
        if last.slope * downhill >= 0.0 || last.value > first.value || next == last.lambda {
            break;
        }
        match evaluate(next) {
            Ok((point, asked)) => {
                points.push(point);
                stop = asked;
            }
            Err(error) if error.is_numeric() || error.is_interrupted() => break,
            Err(error) => return Err(error),
        }
        step *= 2.0;
    }
    points.sort_by(|a, b| b.lambda.total_cmp(&a.lambda));
    Ok(points)
}

/// Minimum of the cubic through values and slopes of two points, kept inside.
fn cubic_minimum(a: Point, b: Point) -> f64 {
    let width = b.lambda - a.lambda;
    let d1 = a.slope + b.slope - 3.0 * (b.value - a.value) / width;
    let d2 = (d1 * d1 - a.slope * b.slope).max(0.0).sqrt() * width.signum();
    let fraction = 1.0 - (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    let fraction = if fraction.is_finite() { fraction } else { 0.5 };
    a.lambda + fraction.clamp(0.02, 0.98) * width
}

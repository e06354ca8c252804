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
    let mut search = Search { bounds: context.bounds, objective, context, iteration: 0, least: f64::INFINITY };
    let points = match near {
        Some(near) => search.bracket(near)?,
        None => search.scan()?,
    };
    let at = (0..points.len()).min_by(|&a, &b| points[a].value.total_cmp(&points[b].value)).unwrap_or(0);
    let best = points[at];
    let knees = KNEES
        .iter()
        .filter_map(|worse| points.iter().find(|p| p.value <= best.value + worse * best.value.abs()).map(|p| p.lambda))
        .collect();
    // Points go from high to low; the minimum lies where the slope changes sign next to the best point.
    let neighbour = if best.slope > 0.0 { points.get(at + 1) } else { at.checked_sub(1).map(|i| &points[i]) };
    let tolerance = search.tolerance(best.value);
    let (best, reason) = match neighbour {
        Some(&other) => search.refine(best, other, tolerance)?,
        // Weaker penalties could not be fitted, or were hopeless before.
        None if search.objective.engine().is_steep() => (best, StopReason::Stationary),
        None => (best, StopReason::Stalled),
    };
    let reason = if search.is_settled(best, tolerance) { StopReason::Stationary } else { reason };
    Ok(SharedOptimum { lambda: best.lambda, knees, reason })
}

/// The criterion of one log-penalty, its history, and the box.
struct Search<'s, 'o, 'c> {
    objective: &'s mut Objective<'o>,
    context: &'s mut Context<'c>,
    bounds: (f64, f64),
    iteration: usize,
    /// The least value so far.
    least: f64,
}

impl Search<'_, '_, '_> {
    /// Value and slope at `lambda`, and whether the search is to end.
    fn evaluate(&mut self, lambda: f64) -> Result<(Point, bool)> {
        let mut slope = [0.0];
        let value = self.objective.evaluate(&[lambda], &mut slope)?;
        if value <= self.least {
            self.least = value;
            self.objective.keep();
        }
        let point = Point { lambda, value, slope: slope[0] };
        let step = Step {
            iteration: self.iteration,
            validation_loss: value,
            train_loss: self.objective.train_loss(),
            projected_gradient: if self.is_held(point) { 0.0 } else { point.slope.abs() },
            work: self.objective.work(),
        };
        self.iteration += 1;
        Ok((point, self.context.iteration(Spec::SHARED, &step).is_break()))
    }

    /// The same; nothing where the solve failed or was interrupted, which a search with points to show for itself survives.
    fn try_evaluate(&mut self, lambda: f64) -> Result<Option<(Point, bool)>> {
        match self.evaluate(lambda) {
            Ok(evaluated) => Ok(Some(evaluated)),
            Err(error) if error.is_numeric() || error.is_interrupted() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Points downhill from `start`, as far as the criterion falls, by falling log-penalty.
    fn bracket(&mut self, start: f64) -> Result<Vec<Point>> {
        let (low, high) = self.bounds;
        let (first, mut stop) = self.evaluate(start.clamp(low, high))?;
        let downhill = -first.slope.signum();
        let mut points = vec![first];
        let mut step = START_STEP;
        while let (Some(last), false) = (points.last().copied(), stop) {
            let next = (last.lambda + downhill * step).clamp(low, high);
            if last.slope * downhill >= 0.0 || last.value > first.value || next == last.lambda {
                break;
            }
            let Some((point, asked)) = self.try_evaluate(next)? else { break };
            points.push(point);
            stop = asked;
            step *= 2.0;
        }
        points.sort_by(|a, b| b.lambda.total_cmp(&a.lambda));
        Ok(points)
    }

    /// Points over the whole box, from strong to weak penalties: each solution is a good start for the next.
    fn scan(&mut self) -> Result<Vec<Point>> {
        let engine = self.objective.engine();
        let (accuracy, cheap, steep) = (engine.accuracy(), engine.is_cheap(), engine.is_steep());
        let (patience, worse) = match engine {
            Engine::Direct { .. } => HOPELESS,
            Engine::Iterative { .. } => HOPELESS_ITERATIVE,
            Engine::Dual { .. } => HOPELESS_DUAL,
        };
        let (low, high) = self.bounds;
        let intervals = ((high - low) / SCAN_STEP).ceil().max(1.0);
        let (first, mut stop) = self.evaluate(high)?;
        let (mut points, mut best, mut hopeless) = (vec![first], first.value, 0);
        for i in (1..).take_while(|&i| f64::from(i) <= intervals) {
            if stop {
                break;
            }
            // Weaker penalties only make a failing solve worse.
            let Some((point, asked)) = self.try_evaluate(high + (low - high) * f64::from(i) / intervals)? else {
                break;
            };
            points.push(point);
            stop = asked;
            best = best.min(point.value);
            hopeless = if point.value > best + worse * best.abs() { hopeless + 1 } else { 0 };
            let fallen = point.value < 0.9 * first.value;
            let flat = steep && point.slope.abs() <= 10.0 * accuracy * point.value.abs();
            // Past a minimum; beyond it fits only take longer.
            let rising = !cheap && point.slope < 0.0;
            if (fallen && (flat || rising)) || hopeless > patience {
                break;
            }
        }
        Ok(points)
    }

    /// The minimum between the best point and its neighbour, or where the search for it ended, and why.
    fn refine(&mut self, mut best: Point, mut other: Point, tolerance: f64) -> Result<(Point, StopReason)> {
        let limit = self.context.options.limits.iterations;
        // Where values are less exact, a few refinements are all that is wanted.
        let (refinements, exhausted) = match self.objective.engine().is_steep() {
            true => (STEEP_REFINEMENTS, StopReason::Stationary),
            false => (REFINEMENTS.min(limit), StopReason::IterationLimit),
        };
        for _ in 0..refinements {
            let narrow = (best.lambda - other.lambda).abs() < 1e-6;
            if self.is_settled(best, tolerance) || narrow || self.context.must_stop() {
                return Ok((best, StopReason::Stationary));
            }
            let Some((mut inner, _)) = self.try_evaluate(cubic_minimum(best, other))? else {
                return Ok((best, StopReason::Stalled));
            };
            // Keep a bracket: the better point first, the other end on the side its slope points away from.
            if inner.value <= best.value {
                std::mem::swap(&mut inner, &mut best);
            }
            let downhill = -best.slope.signum();
            let ends = [inner, other];
            let side = ends.iter().filter(|end| (end.lambda - best.lambda) * downhill > 0.0);
            match side.min_by(|a, b| (a.lambda - best.lambda).abs().total_cmp(&(b.lambda - best.lambda).abs())) {
                Some(end) => other = *end,
                None => return Ok((best, StopReason::Stalled)),
            }
        }
        Ok((best, exhausted))
    }

    /// The slope that counts as none, where the least value is `value`.
    fn tolerance(&self, value: f64) -> f64 {
        // Where finer penalties were asked for, this is only their start.
        let care = match self.context.options.penalties {
            Penalties::Shared | Penalties::Auto => 0.1,
            _ => 10.0,
        };
        (care * self.context.options.limits.tolerance).max(self.objective.engine().accuracy()) * value.abs()
    }

    fn is_settled(&self, point: Point, tolerance: f64) -> bool {
        self.is_held(point) || point.slope.abs() <= tolerance
    }

    /// True at an end of the box beyond which the criterion would fall.
    fn is_held(&self, point: Point) -> bool {
        let (low, high) = self.bounds;
        (point.lambda <= low && point.slope > 0.0) || (point.lambda >= high && point.slope < 0.0)
    }
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

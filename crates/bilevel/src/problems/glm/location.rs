//! The constant that fits targets best.

use super::risk::EmpiricalRisk;

/// Targets that the median is taken of.
const ENOUGH: usize = 1 << 17;
/// Reweightings at most.
const STEPS: usize = 100;

impl EmpiricalRisk<'_> {
    /// `argmin_t sum_i c_i huber_delta(y_i - t)`, by means with the weights `min(1, delta / |y_i - t|)` from the median on (Huber
    /// 1964). Beside the mean there may be no target within `delta`, and then no curvature to start Newton's method with.
    pub(super) fn huber_location(&self, delta: f64) -> f64 {
        let rows = || {
            self.rows.ranges().iter().flat_map(|range| {
                let weights = self.weighting.of(range.clone());
                let weight = move |i: usize| weights.map_or(1.0, |weights| weights[i]);
                self.target[range.clone()].iter().enumerate().map(move |(i, &y)| (y, weight(i)))
            })
        };
        let mut some: Vec<(f64, f64)> = rows().step_by(self.len().div_ceil(ENOUGH).max(1)).collect();
        some.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let half = 0.5 * some.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut below = 0.0;
        let median = some.iter().find(|(_, weight)| {
            below += weight;
            below > half
        });
        let Some(&(mut location, _)) = median else { return 0.0 };
        for _ in 0..STEPS {
            let (mut sum, mut total) = (0.0, 0.0);
            for (y, weight) in rows() {
                let weight = weight * (delta / (y - location).abs().max(delta));
                sum += weight * (y - location);
                total += weight;
            }
            let step = sum / total;
            if !step.is_finite() || step.abs() <= 1e-12 * delta {
                break;
            }
            location += step;
        }
        location
    }
}

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
        let mut location = weighted_median(rows().step_by(self.len().div_ceil(ENOUGH).max(1)).collect());
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

/// The smallest of these values, each with its weight, such that it and those below it weigh more than half of all; NaN of none.
pub(crate) fn weighted_median(mut weighted: Vec<(f64, f64)>) -> f64 {
    weighted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * weighted.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut below = 0.0;
    let found = weighted.iter().find(|(_, weight)| {
        below += weight;
        below > half
    });
    found.map_or(f64::NAN, |&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::weighted_median;

    #[test]
    fn a_weight_stands_for_equal_values() {
        let values = [3.0, 1.0, 2.0, 9.0];
        assert_eq!(weighted_median(values.map(|value| (value, 1.0)).to_vec()), 3.0);
        assert_eq!(weighted_median(values.into_iter().zip([1.0, 4.0, 0.0, 2.0]).collect()), 1.0);
        assert_eq!(weighted_median([1.0, 1.0, 1.0, 1.0, 3.0, 9.0, 9.0].map(|value| (value, 1.0)).to_vec()), 1.0);
    }
}

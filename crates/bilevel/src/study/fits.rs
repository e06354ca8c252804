//! Slopes and floors of curves, with standard errors by leaving out one replicate at a time (jackknife).

/// A straight line through logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Exponent `s` of `error ~ t^s`.
    pub value: f64,
    /// Its standard error over replicates; absent for a single one.
    pub std_error: Option<f64>,
    /// First and last `t` it was fitted to.
    pub range: (usize, usize),
}

/// The level at which a curve ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Mean squared error over the last checkpoints.
    pub value: f64,
    /// Its standard error over replicates; absent for a single one.
    pub std_error: Option<f64>,
    /// Exponent of `t` over them: near 0 once the floor is reached.
    pub slope: f64,
}

/// Errors of replicates: one row a replicate, one column a checkpoint.
pub(super) struct Errors<'a> {
    pub t: &'a [usize],
    pub rows: &'a [Vec<f64>],
}

impl Errors<'_> {
    /// The least-squares slope of `ln mean` against `ln t` over `t >= t_last / span`; needs three checkpoints.
    pub fn slope(&self, span: f64) -> Option<Slope> {
        let from = self.from(span);
        if self.t.len() - from < 3 {
            return None;
        }
        let fit = |left_out: Option<usize>| {
            let points = (from..self.t.len()).map(|at| ((self.t[at] as f64).ln(), self.mean(at, left_out).ln()));
            regression_slope(&points.collect::<Vec<_>>())
        };
        let value = fit(None);
        let range = (self.t[from], *self.t.last()?);
        value.is_finite().then(|| Slope { value, std_error: self.jackknife(fit), range })
    }

    /// The mean over `t >= t_last / span`.
    pub fn floor(&self, span: f64) -> Option<Floor> {
        let (from, slope) = (self.from(span), self.slope(span)?.value);
        let level = |left_out: Option<usize>| {
            let means: Vec<f64> = (from..self.t.len()).map(|at| self.mean(at, left_out)).collect();
            means.iter().sum::<f64>() / means.len() as f64
        };
        Some(Floor { value: level(None), std_error: self.jackknife(level), slope })
    }

    fn from(&self, span: f64) -> usize {
        let last = self.t.last().copied().unwrap_or(0) as f64;
        // Checkpoints are rounded: a decade of them may begin a little above a tenth.
        self.t.partition_point(|&t| (t as f64) < 0.98 * last / span)
    }

    /// Mean over replicates at one checkpoint.
    pub fn mean(&self, at: usize, left_out: Option<usize>) -> f64 {
        let kept = self.rows.iter().enumerate().filter(|(i, _)| Some(*i) != left_out);
        let (sum, count) = kept.fold((0.0, 0.0), |(sum, count), (_, row)| (sum + row[at], count + 1.0));
        sum / count
    }

    fn jackknife(&self, statistic: impl Fn(Option<usize>) -> f64) -> Option<f64> {
        let n = self.rows.len();
        if n < 2 {
            return None;
        }
        let values: Vec<f64> = (0..n).map(|i| statistic(Some(i))).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares * (n - 1) as f64 / n as f64).sqrt())
    }
}

fn regression_slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (xy, xx) = points.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x).powi(2)));
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_laws_and_levels_are_found() {
        let t = [10, 32, 100, 316, 1000];
        let rows: Vec<Vec<f64>> =
            [0.5, 1.5].iter().map(|c| t.iter().map(|&t| c * (t as f64).powf(-1.2)).collect()).collect();
        let errors = Errors { t: &t, rows: &rows };
        let slope = errors.slope(100.0).unwrap();
        assert!((slope.value + 1.2).abs() < 1e-12 && slope.std_error.unwrap() < 1e-12 && slope.range == (10, 1000));
        assert_eq!(errors.slope(10.0).unwrap().range, (100, 1000));
        let level = [vec![9.0, 5.0, 2.0, 2.0, 2.0], vec![9.0, 5.0, 4.0, 4.0, 4.0]];
        let floor = Errors { t: &t, rows: &level }.floor(10.0).unwrap();
        assert_eq!((floor.value, floor.slope), (3.0, 0.0));
        // The standard error of a mean of two numbers is half their distance.
        assert!((floor.std_error.unwrap() - 1.0).abs() < 1e-12);
        assert!(Errors { t: &t[..2], rows: &level }.slope(100.0).is_none());
    }
}

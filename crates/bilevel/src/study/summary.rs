//! Replicates put together: means, bands, slopes and floors.

use super::curve::CurveKind;
use super::fits::{Errors, Floor, Slope};
use super::measure::Measurement;

/// Decades of `t` over which slopes are fitted: two, as far as the curve reaches.
const SLOPE_SPAN: f64 = 100.0;
/// Part of the curve that is its floor: the last decade of `t`.
const FLOOR_SPAN: f64 = 10.0;
/// Share of the replicates below and above the band.
const TAIL: f64 = 0.1;

/// One replicate of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicate {
    /// The method.
    pub kind: CurveKind,
    /// Its constant step, where it has one.
    pub eta: Option<f64>,
    /// Number of the replicate.
    pub replicate: u64,
    /// Its measurements, by rising `t`.
    pub measurements: Vec<Measurement>,
}

/// A curve at one checkpoint: means over replicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps of either solve.
    pub t: usize,
    /// Samples.
    pub samples: f64,
    /// Samples over rows.
    pub epochs: f64,
    /// Median wall-clock time: a replicate that had to wait says nothing.
    pub seconds: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Mean relative squared error.
    pub relative_mse: f64,
    /// Relative squared error below which a tenth of the replicates are.
    pub low: f64,
    /// Relative squared error above which a tenth of the replicates are.
    pub high: f64,
}

/// All replicates of one method with one step size.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveSummary {
    /// The method.
    pub kind: CurveKind,
    /// Its constant step, where it has one.
    pub eta: Option<f64>,
    /// Number of replicates.
    pub replicates: usize,
    /// By rising `t`.
    pub points: Vec<Point>,
    /// Slope of the relative mean squared error over the last two decades of `t`.
    pub slope: Option<Slope>,
    /// Relative mean squared error over the last decade of `t`.
    pub floor: Option<Floor>,
}

impl CurveSummary {
    /// `sid-constant, eta = 0.1`.
    pub fn label(&self) -> String {
        let name = self.kind.name();
        self.eta.map_or(name.into(), |eta| format!("{name}, eta = {eta}"))
    }
}

/// Gathers replicates by curve: methods in the order of [`CurveKind`], larger steps first.
///
/// Only checkpoints that all replicates of a curve have are kept.
pub fn summarize(replicates: &[Replicate]) -> Vec<CurveSummary> {
    let key = |r: &Replicate| (r.kind, r.eta.map(|eta| std::cmp::Reverse(eta.to_bits())));
    let mut ordered: Vec<&Replicate> = replicates.iter().collect();
    ordered.sort_by_key(|r| (key(r), r.replicate));
    ordered.chunk_by(|a, b| key(a) == key(b)).map(summarize_curve).collect()
}

fn summarize_curve(replicates: &[&Replicate]) -> CurveSummary {
    let length = replicates.iter().map(|r| r.measurements.len()).min().unwrap_or(0);
    let t: Vec<usize> = replicates[0].measurements[..length].iter().map(|m| m.t).collect();
    let relative = |r: &&Replicate| r.measurements[..length].iter().map(|m| m.relative_squared_error).collect();
    let rows: Vec<Vec<f64>> = replicates.iter().map(relative).collect();
    let errors = Errors { t: &t, rows: &rows };
    let point = |at: usize| {
        let count = replicates.len() as f64;
        let mean =
            |of: fn(&Measurement) -> f64| replicates.iter().map(|r| of(&r.measurements[at])).sum::<f64>() / count;
        let errors_here = sorted(rows.iter().map(|row| row[at]));
        Point {
            t: t[at],
            samples: mean(|m| m.samples as f64),
            epochs: mean(|m| m.epochs),
            seconds: quantile(&sorted(replicates.iter().map(|r| r.measurements[at].seconds)), 0.5),
            mse: mean(|m| m.squared_error),
            relative_mse: errors.mean(at, None),
            low: quantile(&errors_here, TAIL),
            high: quantile(&errors_here, 1.0 - TAIL),
        }
    };
    CurveSummary {
        kind: replicates[0].kind,
        eta: replicates[0].eta,
        replicates: replicates.len(),
        points: (0..length).map(point).collect(),
        slope: errors.slope(SLOPE_SPAN),
        floor: errors.floor(FLOOR_SPAN),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// By linear interpolation between the sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (at - at.floor()) * (high - low)
}

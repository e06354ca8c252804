//! Curves over a common axis, and the calibration curve.

use bilevel::tune::Calibration;

use super::escape;
use super::frame::{Axis, Frame, Labels, span};
use crate::numbers;

/// A broken line.
pub struct Curve {
    /// Class names of the style sheet: `c0`, `c0 dashed`, ...
    pub class: String,
    /// Shown when the pointer rests on the line.
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves in one picture. The few largest values (a bad start) are cut off where they would flatten the rest.
pub fn curves(description: &str, x_title: &str, y_title: &str, curves: &[Curve]) -> String {
    let xs = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0));
    let mut ys: Vec<f64> = curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)).filter(|y| y.is_finite()).collect();
    ys.sort_by(f64::total_cmp);
    if let (Some(&low), Some(&usual)) = (ys.first(), ys.get(ys.len() * 3 / 4)) {
        ys.retain(|&y| y <= low + 3.0 * (usual - low).max(0.01 * low.abs()));
    }
    let x = Axis { title: x_title, span: span(xs), labels: Labels::Plain };
    let y = Axis { title: y_title, span: span(ys), labels: Labels::Plain };
    let mut frame = Frame::new(description, 300.0, 66.0, &x, &y);
    for curve in curves {
        frame.add(format_args!("<g><title>{}</title>", escape(&curve.name)));
        frame.line(&curve.class, curve.points.iter().copied());
        if let [(x, y)] = curve.points[..] {
            let (x, y) = (frame.x.at(x), frame.y.at(y));
            frame.add(format_args!("<circle class=\"dot {}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>", curve.class));
        }
        frame.add(format_args!("</g>"));
    }
    frame.close()
}

/// Predicted probability against observed share, with two standard errors of the share; the area of a dot grows with
/// the rows it stands for.
pub fn calibration(calibration: &Calibration, event: &str) -> String {
    let (x_title, y_title) = (format!("predicted probability of {event}"), "observed share");
    let unit = (-0.02, 1.02);
    let x = Axis { title: &x_title, span: unit, labels: Labels::Plain };
    let y = Axis { title: y_title, span: unit, labels: Labels::Plain };
    let mut frame = Frame::new("Calibration curve", 300.0, 52.0, &x, &y);
    frame.line("reference", [(0.0, 0.0), (1.0, 1.0)]);
    frame.line("c0", calibration.bins.iter().map(|bin| (bin.predicted, bin.observed)));
    let most = calibration.bins.iter().map(|bin| bin.rows).max().unwrap_or(1) as f64;
    for bin in &calibration.bins {
        let error = 2.0 * (bin.observed * (1.0 - bin.observed) / bin.rows as f64).sqrt();
        let (low, high) = ((bin.observed - error).max(0.0), (bin.observed + error).min(1.0));
        let (x, y) = (frame.x.at(bin.predicted), frame.y.at(bin.observed));
        let (top, bottom) = (frame.y.at(high), frame.y.at(low));
        frame.add(format_args!("<path class=\"line c0 thin\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"));
        frame.add(format_args!(
            "<circle class=\"dot c0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"><title>predicted {:.3}, observed {:.3}, {}</title></circle>",
            2.5 + 4.5 * (bin.rows as f64 / most).sqrt(),
            bin.predicted,
            bin.observed,
            numbers::counted(bin.rows, "row", "rows"),
        ));
    }
    frame.close()
}

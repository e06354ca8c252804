//! Points and their distribution.

use super::frame::{Axis, Frame, Labels, minus, span};
use crate::numbers;

/// Points around the diagonal.
pub fn scatter(description: &str, x_title: &str, y_title: &str, points: &[(f64, f64)]) -> String {
    let both = span(points.iter().flat_map(|&(x, y)| [x, y]));
    let x = Axis { title: x_title, span: both, labels: Labels::Plain };
    let y = Axis { title: y_title, span: both, labels: Labels::Plain };
    let mut frame = Frame::new(description, 320.0, 62.0, &x, &y);
    frame.line("reference", [(both.0, both.0), (both.1, both.1)]);
    for &(x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let (x, y) = (frame.x.at(x), frame.y.at(y));
        frame.add(format_args!("<circle class=\"point c0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>"));
    }
    frame.close()
}

/// Counts in bins of equal width.
pub fn histogram(description: &str, x_title: &str, from: f64, width: f64, counts: &[usize]) -> String {
    let to = from + width * counts.len() as f64;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let x = Axis { title: x_title, span: (from, to), labels: Labels::Plain };
    let y = Axis { title: "rows", span: (0.0, 1.05 * most), labels: Labels::Plain };
    let mut frame = Frame::new(description, 320.0, 62.0, &x, &y);
    let bottom = frame.y.at(0.0);
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (low, high) = (from + width * bin as f64, from + width * (bin + 1) as f64);
        let (left, right, top) = (frame.x.at(low), frame.x.at(high), frame.y.at(count as f64));
        frame.add(format_args!(
            "<rect class=\"fill c0\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} to {}: {}</title></rect>",
            left + 0.5,
            (right - left - 1.0).max(0.5),
            bottom - top,
            minus(&numbers::short(low)),
            minus(&numbers::short(high)),
            numbers::counted(count, "row", "rows"),
        ));
    }
    frame.close()
}

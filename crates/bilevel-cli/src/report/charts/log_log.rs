//! Errors against cost: means with bands on two logarithmic axes.

use std::fmt::Write;

use super::escape;
use super::frame::{Axis, Frame, Labels, span};

/// A curve with a band around it.
pub struct Band {
    /// Class name of the style sheet: `c0`, `c1 dashed`, ...
    pub class: String,
    /// Shown when the pointer rests on the line, and in the legend.
    pub name: String,
    /// Horizontal place, middle, and both ends of the band; all positive.
    pub points: Vec<[f64; 4]>,
}

/// Bands in one picture. Middles below `from`, where it is given, are cut off, but for the first of each curve.
pub fn log_log(description: &str, x_title: &str, y_title: &str, bands: &[Band], from: Option<f64>) -> String {
    let low = from.unwrap_or(0.0);
    let shown: Vec<&[[f64; 4]]> = bands
        .iter()
        .map(|band| {
            let below = band.points.iter().position(|point| point[1] < low);
            &band.points[..below.map_or(band.points.len(), |at| at + 1)]
        })
        .collect();
    let log = |x: f64| if x > 0.0 { x.log10() } else { f64::NEG_INFINITY };
    let all = || shown.iter().flat_map(|points| points.iter());
    let x = Axis { title: x_title, span: span(all().map(|p| log(p[0]))), labels: Labels::PowersOfTen };
    let middles = all().map(|p| log(p[1].max(low)));
    let y = Axis { title: y_title, span: span(middles), labels: Labels::PowersOfTen };
    let mut frame = Frame::new(description, 340.0, 66.0, &x, &y);
    for (band, points) in bands.iter().zip(&shown) {
        let colour = band.class.split(' ').next().unwrap_or_default();
        frame.add(format_args!("<g><title>{}</title>", escape(&band.name)));
        if points.iter().any(|p| p[3] > p[2]) {
            let mut path = String::new();
            let ends = points.iter().map(|p| (p[0], p[3])).chain(points.iter().rev().map(|p| (p[0], p[2])));
            for (px, py) in ends {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let (px, py) = (frame.x.at(log(px)), frame.y.at(log(py).clamp(y.span.0, y.span.1)));
                write!(path, "{command}{px:.1} {py:.1}").expect("writing to a string cannot fail");
            }
            frame.add(format_args!("<path class=\"band {colour}\" d=\"{path}Z\"/>"));
        }
        frame.line(&band.class, points.iter().map(|p| (log(p[0]), log(p[1]))));
        frame.add(format_args!("</g>"));
    }
    frame.close()
}

/// The legend of a chart for a page: class and name of each line.
pub fn legend(keys: &[(&str, &str)]) -> String {
    let item = |&(class, name): &(&str, &str)| {
        let dashed = if class.contains("dashed") { " class=\"dashed\"" } else { "" };
        let colour = class.split(' ').next().unwrap_or_default();
        format!("<li class=\"{colour}\"><i{dashed}></i>{}</li>\n", escape(name))
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", keys.iter().map(item).collect::<String>())
}

//! Axes: from numbers to places on the picture.

use std::fmt::Write;

use super::escape;

/// Width of every chart, in units of the picture; heights differ.
pub const WIDTH: f64 = 480.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 42.0;

/// A map from an interval of numbers to an interval of the picture.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    min: f64,
    max: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub fn at(&self, x: f64) -> f64 {
        self.from + (x - self.min) / (self.max - self.min) * (self.to - self.from)
    }

    /// Five or so round numbers in the interval.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.max - self.min) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|&step| step >= rough).unwrap_or(rough);
        let first = (self.min / step - 1e-9).ceil();
        (0..20).map(|i| (first + f64::from(i)) * step).take_while(|&tick| tick <= self.max + 1e-9 * step).collect()
    }
}

/// The interval that holds all `values` with a little room, never empty.
pub fn span(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|x| x.is_finite());
    let (min, max) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), x| (min.min(x), max.max(x)));
    if min > max {
        return (0.0, 1.0);
    }
    let room = match max - min {
        0.0 => 0.5 * max.abs().max(1e-3),
        extent => 0.04 * extent,
    };
    (min - room, max + room)
}

/// How the numbers at the ticks of an axis are written.
#[derive(Debug, Clone, Copy)]
pub enum Labels {
    /// As they are.
    Plain,
    /// The axis holds decimal logarithms; the numbers are written.
    PowersOfTen,
    /// No tick, no number: the rows name themselves.
    Hidden,
}

/// One axis of a chart.
#[derive(Debug, Clone)]
pub struct Axis<'a> {
    pub title: &'a str,
    pub span: (f64, f64),
    pub labels: Labels,
}

/// A picture with a plotting area and axes around it.
pub struct Frame {
    pub x: Scale,
    pub y: Scale,
    pub svg: String,
}

impl Frame {
    /// Opens a picture of the given height with `left` units for what stands beside the vertical axis.
    pub fn new(description: &str, height: f64, left: f64, x: &Axis<'_>, y: &Axis<'_>) -> Self {
        let (right, bottom) = (WIDTH - RIGHT, height - BOTTOM);
        let mut frame = Frame {
            x: Scale { min: x.span.0, max: x.span.1, from: left, to: right },
            y: Scale { min: y.span.0, max: y.span.1, from: bottom, to: TOP },
            svg: format!(
                "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
                escape(description)
            ),
        };
        for (tick, label) in ticks(&frame.x, x.labels) {
            let at = frame.x.at(tick);
            frame.add(format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom:.1}\"/>"));
            frame.add(format_args!("<text class=\"mid\" x=\"{at:.1}\" y=\"{:.1}\">{label}</text>", bottom + 16.0));
        }
        for (tick, label) in ticks(&frame.y, y.labels) {
            let at = frame.y.at(tick);
            frame.add(format_args!("<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>"));
            frame.add(format_args!("<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", left - 6.0, at + 4.0));
        }
        frame.add(format_args!("<path class=\"axis\" d=\"M{left} {TOP}V{bottom:.1}H{right}\"/>"));
        frame.add(format_args!(
            "<text class=\"mid title\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            0.5 * (left + right),
            height - 6.0,
            escape(x.title)
        ));
        if !y.title.is_empty() {
            let middle = 0.5 * (TOP + bottom);
            frame.add(format_args!(
                "<text class=\"mid title\" transform=\"translate(12 {middle:.1}) rotate(-90)\">{}</text>",
                escape(y.title)
            ));
        }
        frame
    }

    /// Adds an element.
    pub fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.svg, "{element}").expect("writing to a string cannot fail");
    }

    /// Adds a broken line through the points; parts outside the vertical span are cut off.
    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        let (low, high) = (self.y.min, self.y.max);
        for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (self.x.at(x), self.y.at(y.clamp(low, high)));
            write!(path, "{command}{x:.1} {y:.1}").expect("writing to a string cannot fail");
        }
        if !path.is_empty() {
            self.add(format_args!("<path class=\"line {class}\" d=\"{path}\"/>"));
        }
    }

    /// The finished picture.
    pub fn close(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// Places and labels of the ticks.
fn ticks(scale: &Scale, labels: Labels) -> Vec<(f64, String)> {
    match labels {
        Labels::Hidden => Vec::new(),
        Labels::Plain => {
            let ticks = scale.ticks();
            let step = ticks.get(1).map_or(1.0, |second| second - ticks[0]);
            let decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 12.0) as usize;
            let large = ticks.iter().any(|tick| tick.abs() >= 1e6);
            let write = |tick: f64| match large {
                true => minus(&format!("{tick:.1e}")),
                false => minus(&format!("{tick:.decimals$}")),
            };
            // Zero is written without a sign.
            let zeroed = |tick: f64| if tick.abs() < 1e-9 * step { 0.0 } else { tick };
            ticks.into_iter().map(|tick| (tick, write(zeroed(tick)))).collect()
        }
        Labels::PowersOfTen => {
            let (first, last) = (scale.min.ceil() as i32, scale.max.floor() as i32);
            if last <= first {
                // Less than a decade: round numbers themselves.
                let within = Scale { min: 10f64.powf(scale.min), max: 10f64.powf(scale.max), ..*scale };
                let ticks = within.ticks().into_iter().filter(|&tick| tick > 0.0);
                return ticks.map(|tick| (tick.log10(), crate::numbers::short(tick))).collect();
            }
            let step = (last - first).unsigned_abs().div_ceil(6) as usize;
            (first..=last)
                .step_by(step)
                .map(|power| (f64::from(power), format!("1e{}", minus(&power.to_string()))))
                .collect()
        }
    }
}

/// A true minus sign.
pub fn minus(number: &str) -> String {
    number.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (min, max) in [(0.0, 1.0), (0.312, 0.334), (-5.0, 200.0), (1e-9, 3e-9), (-1e7, 1e7)] {
            let scale = Scale { min, max, from: 0.0, to: 100.0 };
            let ticks = scale.ticks();
            assert!((2..=10).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.iter().all(|t| (-1e-6..=100.0 + 1e-6).contains(&scale.at(*t))), "{ticks:?}");
        }
        let labels: Vec<_> = ticks(&Scale { min: -0.5, max: 0.5, from: 0.0, to: 1.0 }, Labels::Plain)
            .into_iter()
            .map(|(_, label)| label)
            .collect();
        assert_eq!(labels, ["−0.4", "−0.2", "0.0", "0.2", "0.4"], "no negative zero");
    }

    #[test]
    fn spans_are_never_empty() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![3.0, 3.0], vec![-1.0, 4.0]] {
            let (min, max) = span(values);
            assert!(min < max && min.is_finite() && max.is_finite());
        }
    }
}

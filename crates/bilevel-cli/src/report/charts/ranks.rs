//! Rows with a name and a number, one below the other.

use super::frame::{Axis, Frame, Labels, minus, span};
use super::{clip_middle, escape};
use crate::numbers;

const ROW: f64 = 19.0;
const LEFT: f64 = 156.0;
/// Characters that fit beside the axis.
pub const LABEL: usize = 20;

/// A named number.
pub struct Bar {
    pub name: String,
    /// What of the name fits beside the axis, in [`LABEL`] characters.
    pub label: String,
    pub value: f64,
    /// More to say when the pointer rests on it.
    pub note: String,
}

/// Bars from zero to both sides.
pub fn bars(description: &str, x_title: &str, bars: &[Bar]) -> String {
    let x = Axis { title: x_title, span: span(bars.iter().map(|bar| bar.value).chain([0.0])), labels: Labels::Plain };
    let mut frame = ranked(description, &x, bars.len());
    let zero = frame.x.at(0.0);
    for (row, bar) in bars.iter().enumerate() {
        let y = frame.y.at(row as f64);
        let end = frame.x.at(bar.value);
        name(&mut frame, (&bar.name, &bar.label), y);
        frame.add(format_args!(
            "<rect class=\"fill {}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"11\"><title>{}: {}{}</title></rect>",
            if bar.value < 0.0 { "c1" } else { "c0" },
            zero.min(end),
            y - 5.5,
            (end - zero).abs().max(0.5),
            escape(&bar.name),
            minus(&numbers::short(bar.value)),
            escape(&bar.note),
        ));
    }
    frame.add(format_args!("<path class=\"axis\" d=\"M{zero:.1} 8V{:.1}\"/>", frame.y.at(bars.len() as f64 - 0.5)));
    frame.close()
}

/// A named range of positive numbers with a middle; a single number is a range of no width.
pub struct Range {
    pub name: String,
    pub min: f64,
    pub middle: f64,
    pub max: f64,
    /// More to say when the pointer rests on it.
    pub note: String,
}

/// Ranges on an axis of powers of ten; the numbers given are decimal logarithms.
pub fn ranges(description: &str, x_title: &str, ranges: &[Range]) -> String {
    let ends = ranges.iter().flat_map(|range| [range.min, range.max]);
    let x = Axis { title: x_title, span: span(ends), labels: Labels::PowersOfTen };
    let mut frame = ranked(description, &x, ranges.len());
    for (row, range) in ranges.iter().enumerate() {
        let y = frame.y.at(row as f64);
        let (min, middle, max) = (frame.x.at(range.min), frame.x.at(range.middle), frame.x.at(range.max));
        name(&mut frame, (&range.name, &clip_middle(&range.name, LABEL)), y);
        frame.add(format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", frame.x.at(x.span.1)));
        if max - min > 0.5 {
            frame.add(format_args!("<path class=\"line c0 thick\" d=\"M{min:.1} {y:.1}H{max:.1}\"/>"));
        }
        frame.add(format_args!(
            "<circle class=\"dot c0\" cx=\"{middle:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}: {}{}</title></circle>",
            escape(&range.name),
            numbers::short(10f64.powf(range.middle)),
            escape(&range.note),
        ));
    }
    frame.close()
}

fn ranked(description: &str, x: &Axis<'_>, rows: usize) -> Frame {
    let height = 54.0 + ROW * rows.max(1) as f64;
    let y = Axis { title: "", span: (rows.max(1) as f64 - 0.5, -0.5), labels: Labels::Hidden };
    Frame::new(description, height, LEFT, x, &y)
}

fn name(frame: &mut Frame, (name, label): (&str, &str), y: f64) {
    frame.add(format_args!(
        "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}<title>{}</title></text>",
        LEFT - 6.0,
        y + 4.0,
        escape(label),
        escape(name)
    ));
}

//! A few plain charts as inline SVG.
//!
//! Every chart is a function from numbers to a string. Colours come from the style sheet of the page by class names
//! (`c0`, `c1`, ... for series), so that light and dark need no second picture.

mod cloud;
mod curves;
mod frame;
mod log_log;
mod ranks;
mod standalone;

pub use cloud::{histogram, scatter};
pub use curves::{Curve, calibration, curves};
pub use log_log::{Band, legend, log_log};
pub use ranks::{Bar, Range, bars, ranges};
pub use standalone::standalone;

/// Number of colours in the style sheet.
pub const COLOURS: usize = 10;

/// `text` as it must be written in HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters are not allowed in a page.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The first `length` characters, with an ellipsis where some were left out.
pub fn clip(text: &str, length: usize) -> String {
    match text.chars().count() > length {
        true => text.chars().take(length.saturating_sub(1)).chain(['…']).collect(),
        false => text.into(),
    }
}

/// The beginning and the end of a longer name: of `column=category` both tell something.
pub fn clip_middle(text: &str, length: usize) -> String {
    let count = text.chars().count();
    if count <= length {
        return text.into();
    }
    let head = (length - 1) / 2;
    let tail = length - 1 - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

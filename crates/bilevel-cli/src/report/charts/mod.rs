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
pub use ranks::{Bar, LABEL, Range, bars, ranges};
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

/// `names` clipped to `length` characters, or to as many more as tell different names apart.
pub fn clip_apart(names: &[String], length: usize) -> Vec<String> {
    let count = |names: &[String]| names.iter().collect::<std::collections::HashSet<_>>().len();
    let (different, longest) = (count(names), names.iter().map(|name| name.chars().count()).max().unwrap_or(0));
    let lengths = std::iter::successors(Some(length), |length| Some(2 * length)).take_while(|&length| length < longest);
    let clipped = |length| names.iter().map(|name| clip_middle(name, length)).collect::<Vec<_>>();
    lengths.map(clipped).find(|clipped| count(clipped) == different).unwrap_or_else(|| names.to_vec())
}

/// Two names with an arrow between them in `length` characters: what one does not need the other has.
pub fn clip_pair(first: &str, second: &str, length: usize) -> String {
    const ARROW: &str = " → ";
    let room = length - ARROW.chars().count();
    let (one, other) = (first.chars().count(), second.chars().count());
    let first_has = one.min((room / 2).max(room.saturating_sub(other)));
    format!("{}{ARROW}{}", clip_middle(first, first_has), clip_middle(second, room - first_has))
}

/// A cell of a table that shows `shown` of a name, and all of it where the pointer rests on it.
pub fn cell(tag: &str, class: Option<&str>, shown: &str, name: &str) -> String {
    let class = class.map_or(String::new(), |class| format!(" class=\"{class}\""));
    let title = if shown == name { String::new() } else { format!(" title=\"{}\"", escape(name)) };
    format!("<{tag}{class}{title}>{}</{tag}>", escape(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipped_names_can_be_told_apart() {
        let names = ["customer segment of the north, 1", "customer segment of the north, 2", "none"].map(String::from);
        assert_eq!(clip_apart(&names, 9), ["cust…h, 1", "cust…h, 2", "none"]);
        // Where they differ in the middle, longer ones are shown.
        let names = ["aaaaaaaaaaaa1bbbbbbbbbbbb", "aaaaaaaaaaaa2bbbbbbbbbbbb"].map(String::from);
        assert_eq!(clip_apart(&names, 9), names);
        assert!(clip_apart(&[], 9).is_empty());
        assert_eq!(clip_pair("petal", "setosa", 20), "petal → setosa");
        assert_eq!(clip_pair("petal", "iris setosa of the north", 20), "petal → iris … north");
        assert_eq!(clip_pair(&"f".repeat(40), &"c".repeat(40), 20), "fff…ffff → cccc…cccc");
    }
}

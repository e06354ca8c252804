//! Writing CSV.

use std::borrow::Cow;

/// A cell, quoted where it must be.
pub fn cell(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

/// A number such that reading it gives the same number; empty if it is not finite.
pub fn number(x: f64) -> String {
    match x.abs() {
        _ if !x.is_finite() => String::new(),
        size if size != 0.0 && !(1e-5..1e15).contains(&size) => format!("{x:e}"),
        _ => format!("{x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(cell("plain text"), "plain text");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!([0.1, 1e-9, f64::NAN, -0.0].map(number), ["0.1", "1e-9", "", "-0"]);
    }
}

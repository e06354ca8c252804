//! Numbers for people.

/// What stands where there is no number.
pub const NONE: &str = "–";

/// `32,561`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `32,561 rows`, `1 row`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Seven or so significant digits, and the same number of decimals for all usual losses, so that columns compare.
pub fn loss(x: f64) -> String {
    match x.abs() {
        size if !size.is_finite() => NONE.into(),
        size if size > 0.0 && size < 1e-3 => format!("{x:.4e}"),
        size if size < 100.0 => format!("{x:.5}"),
        size if size < 1e6 => format!("{x:.*}", 6 - size.log10().floor() as usize),
        _ => format!("{x:.5e}"),
    }
}

/// A loss that may be absent.
pub fn loss_or_none(x: Option<f64>) -> String {
    x.map_or(NONE.into(), loss)
}

/// `84.53%`.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2}%", 100.0 * share) } else { NONE.into() }
}

/// A figure in `[0, 1]` with four decimals; of one far below, as of predictions that are worse than none, three digits.
pub fn unit(x: f64) -> String {
    match x.abs() {
        size if !size.is_finite() => NONE.into(),
        size if size < 1000.0 => format!("{x:.4}"),
        _ => short(x),
    }
}

/// Three significant digits, by powers of ten where that is shorter.
pub fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !size.is_finite() => NONE.into(),
        size if (1e-3..1e5).contains(&size) => {
            let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
            let text = format!("{x:.decimals$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').into(),
                false => text,
            }
        }
        _ => {
            let text = format!("{x:.2e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let mantissa =
                if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
            format!("{mantissa}e{exponent}")
        }
    }
}

/// `412.5 passes over the rows`, `29,979 passes over the rows`.
pub fn passes(x: f64) -> String {
    let number = if x < 1000.0 { short(x) } else { count(x.round() as usize) };
    format!("{number} passes over the rows")
}

/// `0.00123 s`, `0.42 s`, `12.3 s`, `2 min 5 s`.
pub fn seconds(x: f64) -> String {
    match x {
        x if !x.is_finite() => NONE.into(),
        x if x < 0.0995 => format!("{} s", short(x)),
        x if x < 9.995 => format!("{x:.2} s"),
        x if x < 59.95 => format!("{x:.1} s"),
        x => format!("{} min {} s", x.round() as u64 / 60, x.round() as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        assert_eq!([0, 999, 1000, 32_561, 1_234_567].map(count), ["0", "999", "1,000", "32,561", "1,234,567"]);
        assert_eq!(
            [0.320_311, 8.5e-5, 0.0, -1.5, 12.3456, 5_240.123, 3e9, f64::NAN].map(loss),
            ["0.32031", "8.5000e-5", "0.00000", "-1.50000", "12.34560", "5240.123", "3.00000e9", NONE]
        );
        assert_eq!([0.0, 0.01, 12.3, 1e-5, 250.0, 4e7].map(short), ["0", "0.01", "12.3", "1e-5", "250", "4e7"]);
        assert_eq!(
            [0.0, 1.234e-4, 0.012_34, 0.416, 12.34, 125.2].map(seconds),
            ["0 s", "1.23e-4 s", "0.0123 s", "0.42 s", "12.3 s", "2 min 5 s"]
        );
        assert_eq!(percent(0.8453), "84.53%");
        assert_eq!([0.5, -12.0, -5.973e19, f64::NAN].map(unit), ["0.5000", "-12.0000", "-5.97e19", NONE]);
        assert_eq!(counted(1, "row", "rows"), "1 row");
    }
}

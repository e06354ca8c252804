//! Decimal numbers from bytes, fast when they are short and exact always.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The number written in `token`, rounded correctly; also `inf` and `nan` as Rust spells them, in any case.
pub(crate) fn parse(token: &[u8]) -> Option<f64> {
    match short_decimal(token) {
        Some((value, used)) if used == token.len() => Some(value),
        _ => std::str::from_utf8(token).ok()?.parse().ok(),
    }
}

/// The number at the start of `text` up to the next blank, and how many bytes it takes.
#[inline]
pub(crate) fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    if let Some((value, used)) = short_decimal(text)
        && text.get(used).is_none_or(|&byte| is_blank(byte))
    {
        return Some((value, used));
    }
    let end = token_length(text);
    Some((std::str::from_utf8(&text[..end]).ok()?.parse().ok()?, end))
}

/// Length of the run of non-blank bytes at the start of `text`.
pub(crate) fn token_length(text: &[u8]) -> usize {
    text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len())
}

/// Bytes that separate tokens within a line.
#[inline(always)]
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

/// A decimal whose digits fit 53 bits and whose power of ten is exact: then one multiplication or division rounds
/// correctly (Clinger's fast path). Anything else is left to the standard library.
#[inline]
pub(crate) fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let mut at = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let first = at;
    let mut digits = 0u64;
    while let Some(digit) = digit_at(text, at) {
        digits = digits.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
    let mut count = at - first;
    let mut exponent = 0i32;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let point = at;
        while let Some(digit) = digit_at(text, at) {
            digits = digits.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        count += at - point;
        exponent = -((at - point) as i32);
    }
    if count == 0 || count > 19 || digits > 1 << 53 {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        let minus = text.get(at) == Some(&b'-');
        at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
        let (mut power, start) = (0i32, at);
        while let Some(digit) = digit_at(text, at) {
            power = power.saturating_mul(10).saturating_add(digit as i32);
            at += 1;
        }
        if at == start || power > 1000 {
            return None;
        }
        exponent += if minus { -power } else { power };
    }
    let magnitude = *POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 { digits as f64 / magnitude } else { digits as f64 * magnitude };
    Some((if negative { -value } else { value }, at))
}

#[inline(always)]
fn digit_at(text: &[u8], at: usize) -> Option<u64> {
    let digit = text.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_on_decimals(text in "[+-]?[0-9]{0,22}(\\.[0-9]{0,22})?([eE][+-]?[0-9]{1,3})?") {
            prop_assert_eq!(parse(text.as_bytes()), text.parse::<f64>().ok());
        }

        #[test]
        fn reads_what_is_written(value in proptest::num::f64::ANY) {
            prop_assert_eq!(parse(format!("{value}").as_bytes()).map(f64::to_bits), format!("{value}").parse::<f64>().ok().map(f64::to_bits));
            prop_assert_eq!(parse(format!("{value:e}").as_bytes()).map(f64::to_bits), format!("{value:e}").parse::<f64>().ok().map(f64::to_bits));
        }
    }
}

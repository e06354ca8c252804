//! svmlight / libsvm: `label index:value index:value ... # comment`, indices from 1 and rising.
//!
//! Zeros that are written out are dropped; `qid:` is ignored. Labels are numbers or texts. A line may lack its label
//! when no target is required.

use std::path::Path;

use super::categories::Categories;
use super::number::{is_blank, parse, parse_prefix, token_length};
use super::place::Place;
use super::{ATTENTION, ReadOptions};
use crate::data::csr::CsrMatrix;
use crate::data::design::{DesignMatrix, Precision};
use crate::data::element::Element;
use crate::data::span::FarColumns;
use crate::data::table::{Labels, Origin};
use crate::{Error, Result};

/// Largest feature index accepted. A model holds some numbers per feature: beyond this size the index is most often a
/// hash or an identifier.
pub const LARGEST_INDEX: u64 = 1 << 27;

/// The matrix, the labels and the lines of the rows.
pub(super) fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<(DesignMatrix, Option<Labels>, Origin)> {
    let found = read_part(path, bytes, &Part { place: Place::START, textual: false }, options)?;
    if found.0.rows() == 0 {
        return Err(Error::input("the file holds no rows, only comments and empty lines").in_file(path));
    }
    Ok(found)
}

/// Some lines of a file, and what is known of it.
pub(super) struct Part {
    pub(super) place: Place,
    /// Whether labels are texts, even if all of these are numbers.
    pub(super) textual: bool,
}

/// The same for some lines of a file, which may hold no rows.
pub(super) fn read_part(
    path: &Path,
    bytes: &[u8],
    part: &Part,
    options: &ReadOptions,
) -> Result<(DesignMatrix, Option<Labels>, Origin)> {
    let bytes = part.place.text(bytes);
    if options.precision == Precision::F32 {
        let mut far = FarColumns::default();
        let look = |indices: &[u32], values: &[f64]| far.add_sparse(indices, values);
        let (matrix, labels, origin) = read_as::<f32, f32>(path, bytes, part, options, look)?;
        if !far.are_spoiled() {
            return Ok((DesignMatrix::CsrF32(matrix), labels, origin));
        }
        // What else single precision cannot hold is left out or refused as ever.
        let (matrix, labels, origin) = read_as::<f32, f64>(path, bytes, part, options, |_, _| {})?;
        return Ok((DesignMatrix::CsrF64(matrix), labels, origin));
    }
    let (matrix, labels, origin) = read_as::<f64, f64>(path, bytes, part, options, |_, _| {})?;
    Ok((DesignMatrix::CsrF64(matrix), labels, origin))
}

/// Numbers that `Asked` can hold, stored as `T`; `look` sees each row as it is written.
fn read_as<Asked: Element, T: Element>(
    path: &Path,
    bytes: &[u8],
    part: &Part,
    options: &ReadOptions,
    mut look: impl FnMut(&[u32], &[f64]),
) -> Result<(CsrMatrix<T>, Option<Labels>, Origin)> {
    let mut origin = Origin::new(path);
    // The colons at the beginning tell how many entries to expect: room for them saves copies while the vectors grow.
    let head = &bytes[..bytes.len().min(1 << 16)];
    let guess = memchr::memchr_iter(b':', head).count() * (bytes.len() / head.len().max(1) + 1);
    let (mut indices, mut values) = (Vec::<u32>::with_capacity(guess), Vec::<T>::with_capacity(guess));
    let (mut offsets, mut entries) = (vec![0usize], Vec::<f64>::new());
    let mut numbers = Vec::<f64>::new();
    let (mut textual, mut unlabelled) = (part.textual, false);
    let mut width = options.features.unwrap_or(0) as u64;

    for (number, line) in lines(bytes, part.place.line) {
        let row = offsets.len() - 1;
        if row % ATTENTION == 0 {
            options.stop.check()?;
        }
        let label = label_of(line);
        let at = |error: Error| error.in_file(path).at_line(number);
        let mut rest = label.len() + skip_blanks(line);
        if label.contains(&b':') {
            if options.target_required {
                return Err(at(Error::input("the line begins with a feature instead of a label")
                    .remedy("write the label in front of the features")));
            }
            unlabelled = true;
            rest = skip_blanks(line);
        } else if !textual {
            match parse(label) {
                Some(value) if value.is_finite() => numbers.push(value),
                Some(value) => return Err(at(Error::input(format!("the label is {value}")).remedy("remove the row"))),
                None => textual = true,
            }
        }
        entries.clear();
        let first = indices.len();
        width = width.max(features::<Asked>(line, rest, &mut indices, &mut entries).map_err(at)?);
        look(&indices[first..], &entries);
        values.extend(entries.iter().map(|&value| T::from_f64(value)));
        origin.note_line(row, number);
        offsets.push(indices.len());
    }

    let labels = match (unlabelled, textual) {
        (true, _) => None,
        (false, false) => Some(Labels::Numbers(numbers)),
        (false, true) => Some(text_labels(path, bytes, part.place.line)?),
    };
    values.shrink_to_fit();
    indices.shrink_to_fit();
    Ok((CsrMatrix::new(width as usize, offsets, indices, values), labels, origin))
}

/// Lines with something on them, with their numbers.
fn lines(bytes: &[u8], first: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let (mut start, mut number) = (0, first - 1);
    std::iter::from_fn(move || {
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length);
            let line = &bytes[start..end];
            start = end + 1;
            number += 1;
            if line.get(skip_blanks(line)).is_some_and(|&byte| byte != b'#') {
                return Some((number, line));
            }
        }
        None
    })
}

fn skip_blanks(line: &[u8]) -> usize {
    line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len())
}

fn label_of(line: &[u8]) -> &[u8] {
    let label = &line[skip_blanks(line)..];
    &label[..token_length(label)]
}

/// Appends the features of `line`, up to a remark behind them, from byte `at` on that are not zero as `T`; the largest index, 0 without features.
#[inline]
fn features<T: Element>(line: &[u8], mut at: usize, indices: &mut Vec<u32>, values: &mut Vec<f64>) -> Result<u64> {
    let line = &line[..memchr::memchr(b'#', &line[at..]).map_or(line.len(), |length| at + length)];
    let mut last = 0u64;
    loop {
        while at < line.len() && is_blank(line[at]) {
            at += 1;
        }
        if at >= line.len() {
            return Ok(last);
        }
        let token = at;
        let mut index = 0u64;
        while at < line.len() && line[at].is_ascii_digit() {
            index = index.saturating_mul(10).saturating_add(u64::from(line[at] - b'0'));
            at += 1;
        }
        if at == token || line.get(at) != Some(&b':') {
            if line[token..].starts_with(b"qid:") {
                at = token + token_length(&line[token..]);
                continue;
            }
            return Err(bad_token(line, token));
        }
        if index <= last || index > LARGEST_INDEX {
            return Err(bad_index(index, last).at_column(token as u64 + 1));
        }
        last = index;
        at += 1;
        let (value, used) = match line[at..] {
            // A single digit, most often 1, is so frequent that it deserves a short way.
            [digit @ b'0'..=b'9', blank, ..] if is_blank(blank) => (f64::from(digit - b'0'), 1),
            _ => parse_prefix(&line[at..]).ok_or_else(|| bad_token(line, token))?,
        };
        at += used;
        let stored = T::from_f64(value);
        if !stored.to_f64().is_finite() {
            return Err(bad_value(index, value).at_column(token as u64 + 1));
        }
        if stored != T::default() {
            indices.push(index as u32 - 1);
            values.push(value);
        }
    }
}

#[cold]
fn bad_token(line: &[u8], at: usize) -> Error {
    let token = &line[at..at + token_length(&line[at..])];
    Error::input(format!("'{}' is not of the form index:value", super::shown(token)))
        .at_column(at as u64 + 1)
        .remedy("write 'label index:value index:value ...'")
}

#[cold]
fn bad_index(index: u64, last: u64) -> Error {
    if index == 0 {
        Error::input("feature index 0, but features are counted from 1").remedy("add 1 to every index of the file")
    } else if index > LARGEST_INDEX {
        Error::input(format!("feature index {index} is larger than {LARGEST_INDEX}"))
            .remedy("renumber the features, or hash them to fewer")
    } else if index == last {
        Error::input(format!("feature {index} occurs twice on this line")).remedy("keep one of the two values")
    } else {
        Error::input(format!("feature {index} comes after feature {last}"))
            .remedy("sort the features of each line by index")
    }
}

#[cold]
fn bad_value(index: u64, value: f64) -> Error {
    if value.is_finite() {
        Error::input(format!("feature {index} is {value:e}, too large for single precision"))
            .remedy("rescale the feature or fit in double precision (--dtype f64)")
    } else {
        Error::input(format!("feature {index} is {value}, which is not a finite number"))
            .remedy("leave the feature out or give it a finite value")
    }
}

/// All labels as texts, in a second pass that only files with textual labels need.
fn text_labels(path: &Path, bytes: &[u8], first_line: u64) -> Result<Labels> {
    let mut categories = Categories::default();
    for (number, line) in lines(bytes, first_line) {
        categories
            .push(label_of(line))
            .map_err(|_| Error::input("the label is not valid UTF-8 text").in_file(path).at_line(number))?;
    }
    let (codes, levels) = categories.finish();
    Ok(Labels::Text { codes, levels })
}

//! Labels in a file of their own.

use std::path::Path;

use super::categories::Categories;
use super::header::is_missing;
use super::number::parse;
use super::place::without_mark;
use super::{bytes, idx, npy};
use crate::data::table::Labels;
use crate::{Error, Result};

/// Reads `.npy`, IDX, or text with one label per line (numbers if all of them are); a missing label is an error.
pub(super) fn read(path: &Path) -> Result<Labels> {
    let bytes = bytes::load(path)?;
    let labels = if bytes.starts_with(b"\x93NUMPY") {
        npy::Array::parse(&bytes).and_then(|array| array.labels()).and_then(finite)
    } else if idx::is_idx(&bytes) {
        idx::labels(&bytes)
    } else {
        text(&bytes)
    };
    labels.map_err(|error| error.in_file(path))
}

fn finite(labels: Labels) -> Result<Labels> {
    if let Labels::Numbers(numbers) = &labels
        && let Some(at) = numbers.iter().position(|number| !number.is_finite())
    {
        return Err(Error::input(format!("label {} is not a finite number", at + 1)));
    }
    Ok(labels)
}

fn text(bytes: &[u8]) -> Result<Labels> {
    let bytes = without_mark(bytes).trim_ascii_end();
    let lines = || bytes.split(|&byte| byte == b'\n').map(|line| line.trim_ascii());
    let missing = |line: usize| Error::input("the label is missing").at_line(line as u64 + 1).remedy("remove the row");
    if let Some(line) = lines().position(is_missing) {
        return Err(missing(line));
    }
    let known = || lines().enumerate().filter(|(_, line)| *line != b"?");
    let numbers: Option<Vec<f64>> = known().map(|(_, line)| parse(line)).collect();
    if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
        // Among numbers a question mark is no label.
        if let Some(line) = lines().position(|line| line == b"?") {
            return Err(missing(line));
        }
        return match numbers.iter().position(|number| !number.is_finite()) {
            Some(line) => Err(Error::input("the label is not a finite number").at_line(line as u64 + 1)),
            None => Ok(Labels::Numbers(numbers)),
        };
    }
    let mut categories = Categories::default();
    for (number, line) in lines().enumerate() {
        categories
            .push(line)
            .map_err(|_| Error::input("the label is not valid UTF-8 text").at_line(number as u64 + 1))?;
    }
    let (codes, levels) = categories.finish();
    Ok(Labels::Text { codes, levels })
}

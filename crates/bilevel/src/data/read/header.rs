//! Guesses about delimited text: the delimiter, and whether the first row names the columns.

use std::collections::HashSet;

use super::number::parse;

/// Delimiters looked for, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// True for the ways to write "no value" that hold in every column.
pub(super) fn is_missing(cell: &[u8]) -> bool {
    matches!(cell, b"" | b"NA" | b"N/A" | b"NaN" | b"nan" | b"null" | b"None")
}

/// The delimiter that splits the first lines most consistently, a comma in doubt.
pub(super) fn delimiter(bytes: &[u8]) -> u8 {
    let head = &bytes[..bytes.len().min(1 << 15)];
    let mut lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').collect();
    if lines.len() > 1 {
        lines.pop();
    }
    lines.retain(|line| !line.trim_ascii().is_empty());
    lines.truncate(50);
    let score = |delimiter: u8| {
        let counts: Vec<usize> = lines.iter().map(|line| occurrences(line, delimiter)).collect();
        let first = counts.first().copied().unwrap_or(0);
        let agreeing = counts.iter().filter(|&&count| count == first).count();
        // Every line split alike beats many pieces.
        if first == 0 { (0, 0) } else { (agreeing * 100 / counts.len(), first) }
    };
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| score(delimiter)).filter(|&d| score(d).1 > 0).unwrap_or(b',')
}

/// Occurrences of `delimiter` outside quotes.
fn occurrences(line: &[u8], delimiter: u8) -> usize {
    let mut quoted = false;
    line.iter()
        .filter(|&&byte| {
            quoted ^= byte == b'"';
            byte == delimiter && !quoted
        })
        .count()
}

/// Whether the first of `rows` names the columns.
///
/// It does when none of its cells is empty but the first, and some column holds a text there and numbers below. It also
/// does when its cells are distinct texts that do not occur again in their columns, and below them either half of some
/// column are numbers or some text comes twice.
pub(super) fn has_header(rows: &[Vec<Vec<u8>>]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    let is_number = |cell: &[u8]| parse(cell).is_some();
    let is_text = |cell: &[u8]| !is_number(cell) && !is_missing(cell) && cell != b"?";
    let column = |j: usize| {
        rest.iter().filter_map(move |row| row.get(j)).filter(|cell| !is_missing(cell) && cell.as_slice() != b"?")
    };
    let numbers = |j: usize| column(j).filter(|cell| is_number(cell)).count();
    if first.iter().skip(1).any(|cell| cell.is_empty()) {
        return false;
    }
    if (0..first.len()).any(|j| is_text(&first[j]) && numbers(j) > 0 && numbers(j) == column(j).count()) {
        return true;
    }
    let names = first.iter().collect::<HashSet<_>>().len() == first.len()
        && (0..first.len()).all(|j| is_text(&first[j]) && !column(j).any(|cell| *cell == first[j]));
    let data = |j: usize| {
        let (count, distinct) = (column(j).count(), column(j).collect::<HashSet<_>>().len());
        distinct < count || count > 0 && 2 * numbers(j) >= count
    };
    names && (rest.is_empty() || (0..first.len()).any(data))
}

#[cfg(test)]
mod tests {
    use super::{delimiter, has_header};

    fn header(text: &str) -> bool {
        has_header(
            &text.lines().map(|line| line.split(',').map(|c| c.as_bytes().to_vec()).collect()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn headers() {
        assert!(header("a,b\n1,2\n3,4"));
        assert!(header("age,job\n1,x\n3,y"));
        assert!(header("id,2019,2020\n1,3,4\n2,3,4"));
        assert!(header("class,cap\ne,x\np,x\np,y"));
        assert!(header("job,age\na,1\nb,old"), "an error below does not undo a header");
        assert!(!header("1,2\n3,4"));
        assert!(!header("28.7,g\n31,g\n2,h"), "a label in every row is no header");
        assert!(!header("e,x\np,x\ne,y"), "values that come again are no names");
        assert!(!header("?,1\n3,4"), "a missing value is no name");
        assert!(!header("1,g"));
    }

    #[test]
    fn delimiters() {
        assert_eq!(delimiter(b"a,b;c\n1,2;3\n"), b',');
        assert_eq!(delimiter(b"a;b\n1,5;2\n1;2,5\n"), b';');
        assert_eq!(delimiter(b"a\tb\n1\t2\n"), b'\t');
        assert_eq!(delimiter(b"a\n1\n"), b',');
        assert_eq!(delimiter(b"\"a;x;y\",b\n\"c\",d\n"), b',');
    }
}

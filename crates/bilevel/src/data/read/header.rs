//! Guesses about delimited text: the delimiter, and whether the first row names the columns.

use std::collections::HashSet;

use super::number::parse;
use super::target;

/// Delimiters looked for, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// The ways to write "no value" that hold in every column: those of pandas.
const MISSING: [&[u8]; 19] = [
    b"",
    b"NA",
    b"N/A",
    b"n/a",
    b"<NA>",
    b"#N/A",
    b"#N/A N/A",
    b"#NA",
    b"NaN",
    b"nan",
    b"-NaN",
    b"-nan",
    b"NULL",
    b"null",
    b"None",
    b"1.#IND",
    b"1.#QNAN",
    b"-1.#IND",
    b"-1.#QNAN",
];

/// True for a way to write "no value".
pub(super) fn is_missing(cell: &[u8]) -> bool {
    cell.len() <= 8 && MISSING.contains(&cell)
}

fn is_number(cell: &[u8]) -> bool {
    parse(cell).is_some()
}

fn is_text(cell: &[u8]) -> bool {
    !is_number(cell) && !is_missing(cell) && cell != b"?"
}

/// Some column holds a text in the `first` row and numbers in the others.
fn text_over_numbers(first: &[Vec<u8>], rest: &[Vec<Vec<u8>>]) -> bool {
    (0..first.len()).any(|j| {
        let mut below = column(rest, j).peekable();
        is_text(&first[j]) && below.peek().is_some() && below.all(|cell| is_number(cell))
    })
}

/// The cells of a column that are not missing.
fn column(rows: &[Vec<Vec<u8>>], j: usize) -> impl Iterator<Item = &Vec<u8>> {
    rows.iter().filter_map(move |row| row.get(j)).filter(|cell| !is_missing(cell) && cell.as_slice() != b"?")
}

/// What a file that was read before says of the columns of another one.
#[derive(Debug, Clone)]
pub struct KnownColumns {
    /// Whether it named them; else they are `x1`, `x2`, ... by their numbers.
    pub named: bool,
    /// Their names, and all texts in those that hold texts.
    pub columns: Vec<(String, Option<Vec<String>>)>,
    /// Its target, by name or number: that of other files as well, unless [`ReadOptions::target`](super::ReadOptions) or a file
    /// of labels says otherwise. By its number it need not be there: a file without it may have features at its place.
    pub target: Option<String>,
}

impl KnownColumns {
    /// Whether the first of `rows` names the columns.
    ///
    /// Of columns with known names it does when it holds half of these, or some where [`has_header`] says so, too. Of others it
    /// does not when some cell is a number or text that its column is known for; else it does where [`has_header`] says so, and
    /// when each of two columns or more holds a text that is not one of its own there, and below some that are.
    pub(super) fn are_named_by(&self, rows: &[Vec<Vec<u8>>]) -> bool {
        let Some((first, rest)) = rows.split_first() else { return false };
        if self.named {
            let cells: HashSet<Vec<u8>> = first.iter().map(|cell| cell.to_ascii_lowercase()).collect();
            let is_there = |name: &String| cells.contains(&name.as_bytes().to_ascii_lowercase());
            return match self.columns.iter().filter(|(name, _)| is_there(name)).count() {
                0 => text_over_numbers(first, rest),
                found => 2 * found >= self.columns.len() || has_header(rows),
            };
        }
        let place = |name: &str| name.strip_prefix('x')?.parse::<usize>().ok()?.checked_sub(1);
        let known = |cell: &[u8], texts: &Option<Vec<String>>| match texts {
            None => is_number(cell),
            Some(texts) => texts.iter().any(|text| text.as_bytes() == cell),
        };
        let is_data = |name: &str, texts: &Option<Vec<String>>| {
            place(name).and_then(|j| first.get(j)).is_some_and(|cell| !is_missing(cell) && known(cell, texts))
        };
        let is_strange = |name: &str, texts: &Option<Vec<String>>| {
            let Some((j, cell)) = place(name).and_then(|j| Some((j, first.get(j)?))) else { return false };
            is_text(cell) && !known(cell, texts) && column(rest, j).any(|cell| known(cell, texts))
        };
        if counts_columns(rows) {
            return true;
        }
        if self.columns.iter().any(|(name, texts)| is_data(name, texts)) {
            return false;
        }
        has_header(rows) || self.columns.len() > 1 && self.columns.iter().all(|(name, texts)| is_strange(name, texts))
    }
}

/// Whether each of `rows` ends with a delimiter, behind which there is nothing: no column that is known, and no name.
pub(super) fn ends_with_nothing(rows: &[Vec<Vec<u8>>], known: Option<&KnownColumns>) -> bool {
    let Some(width) = rows.first().map(Vec::len).filter(|&width| width > 1) else { return false };
    let number = format!("x{width}");
    let is_known = known.is_some_and(|known| known.columns.iter().any(|(name, _)| *name == number));
    !is_known && rows.iter().all(|row| row.len() == width && row[width - 1].is_empty())
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

/// Whether the first of `rows` numbers the columns from 0 on, as tables without names are written by pandas. Of few columns it
/// may be data.
fn counts_columns(rows: &[Vec<Vec<u8>>]) -> bool {
    let [first, _, ..] = rows else { return false };
    first.len() >= 4 && first.iter().enumerate().all(|(j, cell)| *cell == j.to_string().as_bytes())
}

/// Whether the first of `rows` names the columns.
///
/// It does when it numbers them, when some column holds a text there and numbers below, or the usual name of a target that does not occur below. It also
/// does when its cells are distinct texts that do not occur again in their columns, and below them either half of some
/// column are numbers or some text comes twice.
pub(super) fn has_header(rows: &[Vec<Vec<u8>>]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    if counts_columns(rows) {
        return true;
    }
    let again = |j: usize| column(rest, j).any(|cell| *cell == first[j]);
    if text_over_numbers(first, rest) || (0..first.len()).any(|j| target::is_usual(&first[j]) && !again(j)) {
        return true;
    }
    let names = first.iter().collect::<HashSet<_>>().len() == first.len()
        && (0..first.len()).all(|j| is_text(&first[j]) && !again(j));
    let data = |j: usize| {
        let (count, distinct) = (column(rest, j).count(), column(rest, j).collect::<HashSet<_>>().len());
        let numbers = column(rest, j).filter(|cell| is_number(cell)).count();
        distinct < count || count > 0 && 2 * numbers >= count
    };
    names && (rest.is_empty() || (0..first.len()).any(data))
}

#[cfg(test)]
mod tests {
    use super::{KnownColumns, delimiter, has_header};

    fn cells(text: &str) -> Vec<Vec<Vec<u8>>> {
        text.lines().map(|line| line.split(',').map(|c| c.as_bytes().to_vec()).collect()).collect()
    }

    fn header(text: &str) -> bool {
        has_header(&cells(text))
    }

    #[test]
    fn headers_beside_known_columns() {
        let known = |named, columns| KnownColumns { named, columns, target: None };
        let texts = |texts: &str| Some(texts.split('|').map(String::from).collect::<Vec<_>>());
        let columns = |names: [&str; 2]| vec![(names[0].into(), texts("red|blue")), (names[1].into(), texts("s|m"))];
        let named = known(true, columns(["color", "size"]));
        for (first, expected) in
            [("color,size", true), ("Size,COLOR", true), ("id,size", true), ("red,s", false), ("a,b", false)]
        {
            assert_eq!(named.are_named_by(&cells(&format!("{first}\nred,m\nblue,s"))), expected, "{first}");
        }
        assert!(named.are_named_by(&cells("a,weight\nred,1\nblue,2")), "a file with other columns");
        assert!(named.are_named_by(&cells("color,size")));
        let unnamed = known(false, columns(["x1", "x2"]));
        for (first, expected) in [("color,size", true), ("green,s", false), ("red,l", false), ("?,size", false)] {
            assert_eq!(unnamed.are_named_by(&cells(&format!("{first}\nred,m\nblue,s"))), expected, "{first}");
        }
        assert!(!unnamed.are_named_by(&cells("green,l\ngrey,xl")), "nothing here is known");
        let numbers = known(false, vec![("x2".into(), None)]);
        let one = known(false, vec![("x1".into(), texts("red|blue"))]);
        for (text, expected) in [("red,1\ngreen,2", false), ("blue,a\nred,1\nred,2", false), ("c,y\nred,1", true)] {
            assert_eq!(one.are_named_by(&cells(text)), expected, "{text}");
        }
        assert!(numbers.are_named_by(&cells("a,b\nx,1\ny,2")) && !numbers.are_named_by(&cells("x,1\ny,2")));
    }

    #[test]
    fn headers() {
        assert!(header("a,b\n1,2\n3,4"));
        assert!(header("age,job\n1,x\n3,y"));
        assert!(header("id,2019,2020\n1,3,4\n2,3,4"));
        assert!(header("class,cap\ne,x\np,x\np,y"));
        assert!(header("age,,y\n3,x,a\n4,y,b"), "a column without a name");
        assert!(header("2019,2020,class\n3,4,p\n5,6,q"), "years are names beside a target");
        assert!(!header("3,4,p\n5,6,class\n3,4,class") && !header("2,1,y\n3,4,n\n5,6,y"), "usual names may be labels");
        assert!(header("0,1,2,3\n5,3,1,0\n4,2,1,1"), "columns may be numbered");
        assert!(!header("0,1,2\n5,3,1\n4,2,1") && !header("0,1,2,3"), "few numbers are data");
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

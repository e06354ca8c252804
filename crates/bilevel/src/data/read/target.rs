//! Which columns of a table are features, and which is the target.

use std::path::Path;

use super::ReadOptions;
use crate::data::table::{Column, Contents, Table};
use crate::{Error, Result};

/// Names that say "target", in any case.
const USUAL: [&str; 4] = ["target", "label", "class", "y"];

/// Whether `name` says "target".
pub(super) fn is_usual(name: &[u8]) -> bool {
    USUAL.iter().any(|usual| name.eq_ignore_ascii_case(usual.as_bytes()))
}

/// Leaves out what shall be, and moves the target from the columns of `table` to its labels.
pub(super) fn take(table: &mut Table, options: &ReadOptions) -> Result<()> {
    let path = table.origin.path().to_path_buf();
    let Contents::Columns(columns) = &mut table.contents else { return Ok(()) };
    for name in &options.exclude {
        let position = find(columns, name).ok_or_else(|| no_such(columns, name, table.named).in_file(&path))?;
        columns.remove(position);
    }
    if columns.is_empty() {
        return Err(left_out(&path));
    }
    // Number of other columns that there must be for a target that is only remembered.
    let remembered = options.known.as_ref().filter(|_| options.target.is_none() && options.labels.is_none());
    let remembered = remembered.and_then(|known| Some((known.target.as_ref()?, known.columns.len())));
    let position = match (options.target.as_ref().map(|target| (target, 0)).or(remembered), options.target_required) {
        (Some((wanted, others)), required) => match find(columns, wanted) {
            Some(at) if required || columns[at].name == *wanted || columns.len() > others => Some(at),
            None if required => return Err(no_such(columns, wanted, table.named).in_file(path)),
            _ => None,
        },
        (None, required) if !required || options.labels.is_some() => None,
        (None, _) => Some(likely(columns, table.named, &mut table.notes)),
    };
    if let Some(position) = position {
        take_column(table, position);
    }
    if table.contents.columns() == 0 && !options.exclude.is_empty() {
        return Err(left_out(&path));
    }
    Ok(())
}

impl Table {
    /// Takes the column for the target that would be taken by default, where the table has no target and more columns than that.
    pub fn take_likely_target(&mut self) {
        if let (Contents::Columns(columns), None) = (&self.contents, &self.labels)
            && columns.len() > 1
        {
            let position = likely(columns, self.named, &mut self.notes);
            take_column(self, position);
        }
    }
}

/// The column of a usual name for a target, or the last, with a note.
fn likely(columns: &[Column], named: bool, notes: &mut Vec<String>) -> usize {
    usual(columns).unwrap_or_else(|| {
        let last = columns.len() - 1;
        let described = if named { format!("'{}'", columns[last].name) } else { format!("{}", columns[last].number) };
        notes.push(format!(
            "no column is named target, label, class or y: the last column, {described}, is taken for the target (choose with --target)"
        ));
        last
    })
}

fn take_column(table: &mut Table, position: usize) {
    let Contents::Columns(columns) = &mut table.contents else { return };
    let column = columns.remove(position);
    table.target_name = Some(if table.named { column.name } else { column.number.to_string() });
    table.labels = Some(column.data.into());
}

fn left_out(path: &Path) -> Error {
    Error::input("no features are left").in_file(path).remedy("name fewer columns with --exclude")
}

fn find(columns: &[Column], wanted: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == wanted).or_else(|| {
        let number = wanted.parse::<usize>().ok()?;
        columns.iter().position(|column| column.number == number)
    })
}

fn usual(columns: &[Column]) -> Option<usize> {
    USUAL.iter().find_map(|name| columns.iter().position(|column| column.name.eq_ignore_ascii_case(name)))
}

fn no_such(columns: &[Column], wanted: &str, named: bool) -> Error {
    let error = Error::input(format!("there is no column '{wanted}'"));
    if !named {
        return error.remedy(format!(
            "the file has no header: give a column number from 1 to {}, or pass --header yes if its first line holds names",
            columns.len()
        ));
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    error.remedy(suggestion(&names, wanted))
}

/// What to say about a name that does not exist: close ones, or the first few.
pub(crate) fn suggestion(names: &[&str], wanted: &str) -> String {
    let wanted = wanted.to_lowercase();
    let mut close: Vec<(usize, &str)> = names
        .iter()
        .map(|&name| {
            let lower = name.to_lowercase();
            let contained = lower.contains(&wanted) || !lower.is_empty() && wanted.contains(&lower);
            (if contained { 1 } else { distance(&lower, &wanted) }, name)
        })
        .filter(|&(distance, _)| distance <= 1 + wanted.chars().count() / 3)
        .collect();
    close.sort();
    if close.is_empty() {
        let first: Vec<String> = names.iter().take(10).map(|name| format!("'{name}'")).collect();
        let more = if names.len() > 10 { ", ..." } else { "" };
        return format!("the columns are {}{more}", first.join(", "));
    }
    let close: Vec<String> = close.iter().take(3).map(|(_, name)| format!("'{name}'")).collect();
    format!("did you mean {}?", close.join(" or "))
}

/// Edit distance, of texts cut to 100 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(100).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

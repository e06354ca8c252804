//! CSV and its relatives into columns.
//!
//! A column is taken for numeric until a cell proves the contrary; then it is a text column from that row on, and its
//! earlier cells are read again as texts (`1.0` and `1` may be different categories).

use std::collections::HashMap;
use std::path::Path;

use super::categories::Categories;
use super::number::{parse, short_decimal};
use super::place::{Place, without_mark};
use super::records::{File, Sample};
use super::sniff::without_compression;
use super::{ATTENTION, Format, ReadOptions, header, target};
use crate::data::table::{Column, ColumnData, Contents, Origin, Table};
use crate::stop::StopSignal;
use crate::{Error, Result};

pub(super) fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Table> {
    let mut table = Shape::find(path, bytes, options)?.columns(path, bytes, Place::START)?;
    target::take(&mut table, options)?;
    Ok(table)
}

/// What stands between the fields of the file `path`, which begins with `head`: in one that is called `.tsv` tabs, if there are
/// any.
pub(super) fn delimiter(path: &Path, head: &[u8], options: &ReadOptions) -> u8 {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let first = head.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let has_tabs = || first.is_some_and(|line| line.contains(&b'\t'));
    options.delimiter.unwrap_or_else(|| match without_compression(&name).ends_with(".tsv") && has_tabs() {
        true => b'\t',
        false => header::delimiter(without_mark(head)),
    })
}

/// What the beginning of a file says about the rest.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) delimiter: u8,
    named: bool,
    names: Vec<String>,
    /// Records before the data: that of the names, and empty ones before it.
    before: usize,
    /// Rows end with a delimiter, behind which there is nothing.
    closed: bool,
    /// Columns that hold texts, whatever their cells look like.
    pub(super) textual: Vec<bool>,
    stop: StopSignal,
}

impl Shape {
    /// Looks at the first rows of a file.
    pub(super) fn find(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Self> {
        let text = without_mark(bytes);
        let delimiter = delimiter(path, bytes, options);
        let Sample { rows: mut sample, empty } = File { path, text, delimiter, first_line: 1 }.sample();
        let closed = header::ends_with_nothing(&sample, options.known.as_ref());
        if closed {
            sample.iter_mut().for_each(|row| row.truncate(row.len() - 1));
        }
        let Some(first) = sample.first() else {
            return Err(Error::input("the file holds no rows, only empty lines").in_file(path));
        };
        let named = options.header.unwrap_or_else(|| match &options.known {
            Some(known) => known.are_named_by(&sample),
            None => header::has_header(&sample),
        });
        let names = if named { names(path, first)? } else { (1..=first.len()).map(|j| format!("x{j}")).collect() };
        if names.len() == 1 && options.labels.is_none() && options.target_required {
            return Err(Error::input(
                "every line holds a single field, so that there are no features beside the target",
            )
            .in_file(path)
            .remedy("name the character between the fields with --delimiter, or give the labels with --labels FILE"));
        }
        let textual = vec![false; names.len() + usize::from(closed)];
        let before = if named { empty + 1 } else { 0 };
        Ok(Shape { delimiter, named, names, before, closed, textual, stop: options.stop.clone() })
    }

    /// What to call a column by.
    fn called(&self, column: usize) -> String {
        self.names.get(column).map_or_else(|| format!("column {}", column + 1), |name| format!("column '{name}'"))
    }

    /// The columns of a file, or of some rows of it; only its beginning may hold names.
    pub(super) fn columns(&self, path: &Path, bytes: &[u8], place: Place) -> Result<Table> {
        let file = File { path, text: place.text(bytes), delimiter: self.delimiter, first_line: place.line };
        let (mut columns, origin) = file.columns(self, if place.begins { self.before } else { 0 })?;
        if self.closed
            && let Some(row) = columns.pop().and_then(|nothing| nothing.first_value())
        {
            let number = self.names.len() + 1;
            return Err(origin
                .error(
                    row,
                    format!("column {number} holds something here, but it has no name and is empty in the first rows"),
                )
                .at_column(number as u64)
                .remedy("name the column, or end no row with a delimiter"));
        }
        let columns = self.names.iter().cloned().zip(columns).enumerate();
        let columns: Vec<Column> = columns.map(|(j, (name, data))| Column { name, number: j + 1, data }).collect();
        Ok(Table {
            origin,
            format: Format::Delimited,
            contents: Contents::Columns(columns),
            labels: None,
            target_name: None,
            named: self.named,
            notes: Vec::new(),
        })
    }
}

/// Names from a header; an empty name becomes `x` and the number of its column.
fn names(path: &Path, first: &[Vec<u8>]) -> Result<Vec<String>> {
    let (mut names, mut places) = (Vec::with_capacity(first.len()), HashMap::with_capacity(first.len()));
    for (j, cell) in first.iter().enumerate() {
        let at = |error: Error| error.in_file(path).at_line(1).at_column(j as u64 + 1);
        let name = std::str::from_utf8(cell)
            .map_err(|_| at(Error::input("the name of the column is not valid UTF-8 text")))?
            .to_string();
        let name = if name.is_empty() { format!("x{}", j + 1) } else { name };
        if let Some(earlier) = places.insert(name.clone(), j) {
            return Err(at(Error::input(format!("columns {} and {} are both named '{name}'", earlier + 1, j + 1))
                .remedy("rename one, or pass --header no if the first line is data")));
        }
        names.push(name);
    }
    Ok(names)
}

/// A column while it is read.
enum Builder {
    Numbers { values: Vec<f64>, infinite: Option<usize> },
    Text { from: usize, categories: Categories },
}

impl File<'_> {
    fn columns(&self, shape: &Shape, before: usize) -> Result<(Vec<ColumnData>, Origin)> {
        let width = shape.textual.len();
        let mut origin = Origin::new(self.path);
        let builder = |&textual: &bool| match textual {
            false => Builder::Numbers { values: Vec::new(), infinite: None },
            true => Builder::Text { from: 0, categories: Categories::default() },
        };
        let mut builders: Vec<Builder> = shape.textual.iter().map(builder).collect();
        if self.is_plain() {
            self.plain_columns(&mut builders, before, &mut origin, &shape.stop)?;
        } else {
            let mut row = 0;
            self.each(width, before, |record, line| {
                if row % ATTENTION == 0 {
                    shape.stop.check()?;
                }
                origin.note_line(row, line);
                for (j, (builder, cell)) in builders.iter_mut().zip(record.iter()).enumerate() {
                    builder.push(cell.trim_ascii(), row).map_err(|_| not_text(&origin, row, j))?;
                }
                row += 1;
                Ok(true)
            })?;
        }
        let prefixes = self.prefixes(&builders, before, &origin)?;
        let mut columns = Vec::with_capacity(width);
        for (j, (builder, prefix)) in builders.into_iter().zip(prefixes).enumerate() {
            columns.push(builder.finish(prefix).map_err(|row| {
                origin
                    .error(row, format!("{} holds an infinite or too large number", shape.called(j)))
                    .at_column(j as u64 + 1)
                    .remedy("correct it, or leave the cell empty and pass --missing impute")
            })?);
        }
        Ok((columns, origin))
    }

    /// True when a line is a record and a delimiter always ends a field: there is no quote, and no carriage return but at the
    /// end of a line.
    fn is_plain(&self) -> bool {
        let at_end = |at: usize| self.text.get(at + 1).is_none_or(|&next| next == b'\n');
        memchr::memchr(b'"', self.text).is_none() && memchr::memchr_iter(b'\r', self.text).all(at_end)
    }

    /// The cells of a file of plain lines. A number ends where its digits end, so that it is looked at once.
    fn plain_columns(
        &self,
        builders: &mut [Builder],
        mut before: usize,
        origin: &mut Origin,
        stop: &StopSignal,
    ) -> Result<()> {
        let (width, delimiter) = (builders.len(), self.delimiter);
        let mut row = 0;
        let (mut start, mut number) = (0, self.first_line);
        while start < self.text.len() {
            let end = memchr::memchr(b'\n', &self.text[start..]).map_or(self.text.len(), |length| start + length);
            let line = &self.text[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line_number = number;
            (start, number) = (end + 1, number + 1);
            if line.is_empty() || width > 1 && !line.contains(&delimiter) && line.trim_ascii().is_empty() {
                continue;
            }
            if before > 0 {
                before -= 1;
                continue;
            }
            if row % ATTENTION == 0 {
                stop.check()?;
            }
            origin.note_line(row, line_number);
            let (mut at, mut column) = (0, 0);
            while let Some(builder) = builders.get_mut(column) {
                let cell = &line[at..];
                let length = match builder.push_number(cell, delimiter) {
                    Some(length) => length,
                    None => {
                        let length = cell.iter().position(|&byte| byte == delimiter).unwrap_or(cell.len());
                        let pushed = builder.push(cell[..length].trim_ascii(), row);
                        pushed.map_err(|_| not_text(origin, row, column))?;
                        length
                    }
                };
                column += 1;
                at += length + 1;
                if at > line.len() {
                    break;
                }
            }
            if column != width || at <= line.len() {
                let fields = line.iter().filter(|&&byte| byte == delimiter).count() + 1;
                return self.check_shape(line, line_number, line_number, fields, width);
            }
            row += 1;
        }
        Ok(())
    }

    /// The texts of the rows that came before a column turned out to be textual.
    fn prefixes(&self, builders: &[Builder], before: usize, origin: &Origin) -> Result<Vec<Categories>> {
        let mut prefixes: Vec<Categories> = builders.iter().map(|_| Categories::default()).collect();
        let late: Vec<(usize, usize)> = builders
            .iter()
            .enumerate()
            .filter_map(|(j, builder)| match builder {
                Builder::Text { from, .. } if *from > 0 => Some((j, *from)),
                _ => None,
            })
            .collect();
        let Some(until) = late.iter().map(|&(_, from)| from).max() else { return Ok(prefixes) };
        let mut row = 0;
        self.each(builders.len(), before, |record, _| {
            for &(j, from) in &late {
                if row < from {
                    push_text(&mut prefixes[j], record[j].trim_ascii()).map_err(|_| not_text(origin, row, j))?;
                }
            }
            row += 1;
            Ok(row < until)
        })?;
        Ok(prefixes)
    }
}

impl Builder {
    /// Appends the number at the start of `text` where it is a plain one that ends at `delimiter` or with the text; the bytes
    /// that it takes.
    #[inline]
    fn push_number(&mut self, text: &[u8], delimiter: u8) -> Option<usize> {
        let Builder::Numbers { values, .. } = self else { return None };
        // A blank behind the delimiter is usual in some files.
        let blank = usize::from(delimiter != b' ' && text.first() == Some(&b' '));
        let (value, length) = short_decimal(&text[blank..])?;
        let length = blank + length;
        if text.get(length).is_some_and(|&next| next != delimiter) {
            return None;
        }
        values.push(value);
        Some(length)
    }

    #[inline]
    fn push(&mut self, cell: &[u8], row: usize) -> Result<(), std::str::Utf8Error> {
        match self {
            Builder::Numbers { values, infinite } => match parse(cell) {
                Some(value) => {
                    if value.is_infinite() && infinite.is_none() {
                        *infinite = Some(row);
                    }
                    values.push(value);
                }
                None if header::is_missing(cell) || cell == b"?" => values.push(f64::NAN),
                None => {
                    let mut categories = Categories::default();
                    push_text(&mut categories, cell)?;
                    *self = Builder::Text { from: row, categories };
                }
            },
            Builder::Text { categories, .. } => push_text(categories, cell)?,
        }
        Ok(())
    }

    /// The finished column; `Err` with a row that is infinite.
    fn finish(self, mut prefix: Categories) -> std::result::Result<ColumnData, usize> {
        match self {
            Builder::Numbers { infinite: Some(row), .. } => Err(row),
            Builder::Numbers { mut values, .. } => {
                values.shrink_to_fit();
                Ok(ColumnData::Numeric(values))
            }
            Builder::Text { categories, .. } => {
                prefix.append(categories);
                let (codes, levels) = prefix.finish();
                Ok(ColumnData::Text { codes, levels })
            }
        }
    }
}

fn push_text(categories: &mut Categories, cell: &[u8]) -> Result<(), std::str::Utf8Error> {
    if header::is_missing(cell) {
        categories.push_missing();
        return Ok(());
    }
    categories.push(cell)
}

fn not_text(origin: &Origin, row: usize, column: usize) -> Error {
    origin
        .error(row, "the cell is not valid UTF-8 text")
        .at_column(column as u64 + 1)
        .remedy("convert the file to UTF-8, for instance with iconv")
}

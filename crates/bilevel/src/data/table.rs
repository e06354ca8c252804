//! A file as it was read: a matrix or named columns, with labels, and the way back to lines of the file.

use std::path::{Path, PathBuf};

use super::design::DesignMatrix;
use super::read::Format;
use crate::Error;

/// Code of a missing cell in [`ColumnData::Text`].
pub const MISSING: u32 = u32::MAX;

/// The contents of a file.
#[derive(Debug, Clone)]
pub struct Table {
    /// Where the rows came from, for messages.
    pub origin: Origin,
    /// Format in which the file was written.
    pub format: Format,
    /// The features.
    pub contents: Contents,
    /// What is to be predicted, one entry per row, if the file (or the labels file) has it.
    pub labels: Option<Labels>,
    /// Name of the target column, where the format names it.
    pub target_name: Option<String>,
    /// True when the columns were named by the file, so that they can be matched by name.
    pub named: bool,
    /// Choices made for the user that he may want to know about.
    pub notes: Vec<String>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.contents.rows()
    }
}

/// Features as read.
#[derive(Debug, Clone)]
pub enum Contents {
    /// An `n x p` matrix of numbers (NaN: missing).
    Matrix(DesignMatrix),
    /// Columns of equal length, in the order of the file.
    Columns(Vec<Column>),
}

impl Contents {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Contents::Matrix(matrix) => matrix.rows(),
            Contents::Columns(columns) => columns.first().map_or(0, |column| column.data.len()),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        match self {
            Contents::Matrix(matrix) => matrix.cols(),
            Contents::Columns(columns) => columns.len(),
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in the header, or `x` and the number of the column.
    pub name: String,
    /// Number of the column in the file, counted from 1.
    pub number: usize,
    /// The cells.
    pub data: ColumnData,
}

/// The cells of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnData {
    /// Numbers; NaN where the cell is missing.
    Numeric(Vec<f64>),
    /// Categories.
    Text {
        /// For each row a position in `levels`, or [`MISSING`].
        codes: Vec<u32>,
        /// The distinct texts, sorted.
        levels: Vec<String>,
    },
}

impl ColumnData {
    /// Number of cells.
    pub fn len(&self) -> usize {
        match self {
            ColumnData::Numeric(values) => values.len(),
            ColumnData::Text { codes, .. } => codes.len(),
        }
    }

    /// True without cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first row that is not missing.
    pub(super) fn first_value(&self) -> Option<usize> {
        match self {
            ColumnData::Numeric(values) => values.iter().position(|value| !value.is_nan()),
            ColumnData::Text { codes, .. } => codes.iter().position(|&code| code != MISSING),
        }
    }

    /// Number of missing cells.
    pub fn missing(&self) -> usize {
        match self {
            ColumnData::Numeric(values) => values.iter().filter(|value| value.is_nan()).count(),
            ColumnData::Text { codes, .. } => codes.iter().filter(|&&code| code == MISSING).count(),
        }
    }
}

/// Labels as read, before it is decided what they mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// Numbers; NaN where missing.
    Numbers(Vec<f64>),
    /// Texts.
    Text {
        /// For each row a position in `levels`, or [`MISSING`].
        codes: Vec<u32>,
        /// The distinct texts, sorted.
        levels: Vec<String>,
    },
}

impl Labels {
    /// Number of labels.
    pub fn len(&self) -> usize {
        match self {
            Labels::Numbers(values) => values.len(),
            Labels::Text { codes, .. } => codes.len(),
        }
    }

    /// True without labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<ColumnData> for Labels {
    fn from(data: ColumnData) -> Self {
        match data {
            ColumnData::Numeric(values) => Labels::Numbers(values),
            ColumnData::Text { codes, levels } => Labels::Text { codes, levels },
        }
    }
}

/// The file behind a table and, for text formats, the line of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    path: PathBuf,
    /// From row `.0` on, row `r` stands on line `.1 + (r - .0)`; empty for formats without lines.
    runs: Vec<(usize, u64)>,
}

impl Origin {
    /// A file without lines.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Origin { path: path.into(), runs: Vec::new() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line of row `row` (counted from 0), for text formats.
    pub fn line(&self, row: usize) -> Option<u64> {
        let run = self.runs.partition_point(|&(first, _)| first <= row).checked_sub(1)?;
        let (first, line) = self.runs[run];
        Some(line + (row - first) as u64)
    }

    /// An input error that names the file and the place of row `row` (counted from 0).
    pub fn error(&self, row: usize, message: impl AsRef<str>) -> Error {
        match self.line(row) {
            Some(line) => Error::input(message.as_ref()).in_file(&self.path).at_line(line),
            None => Error::input(format!("row {}: {}", row + 1, message.as_ref())).in_file(&self.path),
        }
    }

    /// Notes where the rows of `more` stand, which follow the `rows` rows noted so far.
    pub(super) fn append(&mut self, rows: usize, more: &Origin) {
        more.runs.iter().for_each(|&(first, line)| self.note_line(rows + first, line));
    }

    /// Notes that the next row, number `row`, stands on `line`.
    pub(crate) fn note_line(&mut self, row: usize, line: u64) {
        if self.line(row) != Some(line) {
            self.runs.push((row, line));
        }
    }
}

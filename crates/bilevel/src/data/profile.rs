//! A description of a table: what there is, what is missing, what the target looks like.

use std::fmt;
use std::path::PathBuf;

use super::convert::each_nonzero;
use super::dataset::Target;
use super::design::{DesignMatrix, Precision, Storage};
use super::encode::{EncodeOptions, Encoder, Missing};
use super::read::Format;
use super::table::{Column, ColumnData, Contents, Labels, MISSING, Table};
use super::target::TargetKind;
use super::total::Total;
use crate::Result;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns of the file, without the target.
    pub columns: usize,
    /// Number of features after encoding.
    pub features: usize,
    /// Number of nonzero entries after encoding.
    pub stored: usize,
    /// Storage that the encoder chooses.
    pub storage: Storage,
    /// Precision of the design matrix.
    pub precision: Precision,
    /// The target, if there is one.
    pub target: Option<TargetProfile>,
    /// The columns; empty for files that hold a matrix.
    pub details: Vec<ColumnProfile>,
    /// Missing values in all columns.
    pub missing: usize,
    /// Names of the columns with one value only.
    pub constant: Vec<String>,
    /// Smallest and largest number.
    pub range: Option<(f64, f64)>,
    /// Choices made by the reader.
    pub notes: Vec<String>,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnProfile {
    /// Name of the column.
    pub name: String,
    /// Smallest, mean and largest number; none for categories or when all are missing.
    pub numbers: Option<[f64; 3]>,
    /// Number of categories; none for numbers.
    pub categories: Option<usize>,
    /// Number of missing values.
    pub missing: usize,
    /// True when there is one value only.
    pub constant: bool,
}

/// What the target holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetProfile {
    /// Name of the target column, where there is one.
    pub name: Option<String>,
    /// What it is taken for.
    pub kind: TargetKind,
    /// Number of missing labels.
    pub missing: usize,
    /// Rows of each class, in the order of the classes; empty for numbers.
    pub classes: Vec<(String, usize)>,
    /// Smallest, mean and largest number; none for classes.
    pub numbers: Option<[f64; 3]>,
}

impl Profile {
    /// Share of the entries that are nonzero.
    pub fn density(&self) -> f64 {
        self.stored as f64 / (self.rows as f64 * self.features as f64).max(1.0)
    }
}

/// Describes `table` as `options` would encode it; a column without any value is described, too.
///
/// # Errors
/// When there are too many categories.
pub fn profile(table: &Table, options: &EncodeOptions) -> Result<Profile> {
    // A column without any value cannot be filled in.
    let unfilled = EncodeOptions { missing: Missing::Error, ..*options };
    let (encoder, stored) =
        Encoder::learn_counting(table, options).or_else(|_| Encoder::learn_counting(table, &unfilled))?;
    let mut profile = Profile {
        path: table.origin.path().to_path_buf(),
        format: table.format,
        rows: table.rows(),
        columns: table.contents.columns(),
        features: encoder.features(),
        stored,
        storage: encoder.storage(),
        precision: encoder.precision(),
        target: table.labels.as_ref().map(|labels| target(labels, table.target_name.clone())),
        details: Vec::new(),
        missing: 0,
        constant: Vec::new(),
        range: None,
        notes: [table.notes.clone(), encoder.doubts(table.rows())].concat(),
    };
    match &table.contents {
        Contents::Matrix(matrix) => profile.describe_matrix(matrix),
        Contents::Columns(columns) => profile.describe_columns(columns),
    }
    Ok(profile)
}

impl Profile {
    fn describe_columns(&mut self, columns: &[Column]) {
        self.details = columns.iter().map(column).collect();
        self.missing = self.details.iter().map(|column| column.missing).sum();
        self.constant = self.details.iter().filter(|c| c.constant).map(|c| c.name.clone()).collect();
        let ranges = self.details.iter().filter_map(|column| column.numbers);
        self.range = ranges.map(|[least, _, most]| (least, most)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    }

    fn describe_matrix(&mut self, matrix: &DesignMatrix) {
        let p = matrix.cols();
        let (mut count, mut missing) = (vec![0usize; p], vec![0usize; p]);
        let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); p];
        let widen = |range: &mut (f64, f64), value: f64| *range = (range.0.min(value), range.1.max(value));
        each_nonzero(matrix, |_, j, value| {
            count[j] += 1;
            match value.is_nan() {
                true => missing[j] += 1,
                false => widen(&mut ranges[j], value),
            }
        });
        self.missing = missing.iter().sum();
        for j in 0..p {
            if count[j] < matrix.rows() {
                // Entries that are not stored are zeros.
                widen(&mut ranges[j], 0.0);
            }
            if missing[j] == 0 && ranges[j].0 == ranges[j].1 {
                self.constant.push(format!("x{}", j + 1));
            }
        }
        let known = ranges.into_iter().filter(|range| range.0 <= range.1);
        self.range = known.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    }
}

fn column(column: &Column) -> ColumnProfile {
    let missing = column.data.missing();
    let (numbers, categories, constant) = match &column.data {
        ColumnData::Numeric(values) => {
            let numbers = summary(values);
            (numbers, None, numbers.is_none_or(|[least, _, most]| least == most))
        }
        ColumnData::Text { levels, .. } => (None, Some(levels.len()), levels.len() < 2),
    };
    ColumnProfile { name: column.name.clone(), numbers, categories, missing, constant: constant && missing == 0 }
}

/// Smallest, mean and largest of the numbers that are present.
fn summary(values: &[f64]) -> Option<[f64; 3]> {
    let present = || values.iter().copied().filter(|value| !value.is_nan());
    let least = present().reduce(f64::min)?;
    let mut total = Total::ZERO;
    present().for_each(|value| total.add(value));
    Some([least, total.mean(present().count()), present().reduce(f64::max)?])
}

fn target(labels: &Labels, name: Option<String>) -> TargetProfile {
    let kind = Target::recognise(labels);
    let is_class = matches!(kind, TargetKind::Binary | TargetKind::Classes);
    match labels {
        Labels::Text { codes, levels } => {
            let mut counts = vec![0usize; levels.len()];
            codes.iter().filter(|&&code| code != MISSING).for_each(|&code| counts[code as usize] += 1);
            let missing = codes.len() - counts.iter().sum::<usize>();
            TargetProfile { name, kind, missing, classes: levels.iter().cloned().zip(counts).collect(), numbers: None }
        }
        Labels::Numbers(values) => {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            let missing = values.len() - sorted.len();
            let classes = sorted.chunk_by(|a, b| a == b).map(|equal| (format!("{}", equal[0] + 0.0), equal.len()));
            let classes = if is_class { classes.collect() } else { Vec::new() };
            TargetProfile { name, kind, missing, classes, numbers: if is_class { None } else { summary(values) } }
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "file      {} ({})", self.path.display(), self.format)?;
        writeln!(f, "rows      {}", self.rows)?;
        if self.columns == self.features {
            writeln!(f, "features  {}", self.features)?;
        } else {
            writeln!(f, "features  {} (from {} columns)", self.features, self.columns)?;
        }
        let storage = if self.storage == Storage::Dense { "dense" } else { "sparse" };
        let precision = if self.precision == Precision::F64 { "f64" } else { "f32" };
        let density = 100.0 * self.density();
        writeln!(f, "storage   {storage} {precision}, {} nonzero entries ({density:.3} %)", self.stored)?;
        if let Some((least, most)) = self.range {
            writeln!(f, "range     {} to {}", SixDigits(least), SixDigits(most))?;
        }
        writeln!(f, "missing   {}", self.missing)?;
        if !self.constant.is_empty() {
            let first: Vec<&str> = self.constant.iter().take(5).map(String::as_str).collect();
            let more = if self.constant.len() > 5 { ", ..." } else { "" };
            writeln!(f, "constant  {} ({}{more})", self.constant.len(), first.join(", "))?;
        }
        if let Some(target) = &self.target {
            target.fmt(f)?;
        }
        if !self.details.is_empty() {
            writeln!(f, "columns")?;
            let width = self.details.iter().map(|column| column.name.chars().count()).max().unwrap_or(0).min(30);
            for column in &self.details {
                write!(f, "  {:width$}  ", column.name)?;
                match (column.numbers, column.categories) {
                    (Some(numbers), _) => write_numbers(f, numbers)?,
                    (_, Some(1)) => f.write_str("1 category")?,
                    (_, Some(categories)) => write!(f, "{categories} categories")?,
                    _ => f.write_str("no values")?,
                }
                if column.missing > 0 {
                    write!(f, ", {} missing", column.missing)?;
                }
                writeln!(f)?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl fmt::Display for TargetProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target    ")?;
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        write!(f, "{}", self.kind)?;
        if let Some(numbers) = self.numbers {
            f.write_str(", ")?;
            write_numbers(f, numbers)?;
        }
        if self.missing > 0 {
            write!(f, ", {} missing", self.missing)?;
        }
        writeln!(f)?;
        for (name, count) in self.classes.iter().take(30) {
            writeln!(f, "  {name:12}  {count}")?;
        }
        if self.classes.len() > 30 {
            writeln!(f, "  and {} more classes", self.classes.len() - 30)?;
        }
        Ok(())
    }
}

fn write_numbers(f: &mut fmt::Formatter<'_>, [least, mean, most]: [f64; 3]) -> fmt::Result {
    write!(f, "{} to {}, mean {}", SixDigits(least), SixDigits(most), SixDigits(mean))
}

/// A number of a data file with about six digits, as far as it has them.
#[derive(Debug, Clone, Copy)]
pub struct SixDigits(pub f64);

impl fmt::Display for SixDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
            return write!(f, "{:.4e}", self.0);
        }
        let digits = if magnitude >= 1000.0 { 2 } else { 5 };
        let text = format!("{:.digits$}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

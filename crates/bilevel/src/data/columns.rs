//! Columns of a table to columns of a design matrix: numbers stay, categories become indicators.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::convert::{narrow, zeros};
use super::csr::CsrMatrix;
use super::dense::DenseMatrix;
use super::element::Element;
use super::read::suggestion;
use super::span::Span;
use super::table::{Column, ColumnData, MISSING, Origin};
use super::total::Total;
use crate::{Error, Result};

/// Name of the category of missing cells.
const MISSING_LEVEL: &str = "(missing)";
/// So many different numbers are no categories.
const MANY_NUMBERS: usize = 10;
/// A tenth as many texts among them, and so many at most, are mistakes.
const FEW_TEXTS: usize = 3;
/// Rows from which on texts that are different in nearly all of them are of no use, and whole numbers in order no chance.
const ENOUGH_ROWS: usize = 20;

/// How one column is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ColumnCode {
    pub(super) name: String,
    code: Code,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Code {
    /// One feature; the mean is there when missing values are filled in.
    Number {
        mean: Option<f64>,
        /// It is the number of the row in the training data.
        #[serde(skip)]
        numbers_rows: bool,
    },
    /// A feature for each category.
    Categories { levels: Vec<String> },
}

/// What must be known of a column to encode it, gathered from its parts.
pub(super) struct ColumnStatistics {
    name: String,
    rows: usize,
    missing: usize,
    cells: Cells,
}

enum Cells {
    Numbers {
        sum: Total,
        nonzero: usize,
        span: Span,
        /// The next number, while each is one more than that before it, from 0 or 1.
        next: Option<f64>,
    },
    Texts {
        levels: HashSet<String>,
    },
}

impl ColumnStatistics {
    pub(super) fn new(column: &Column) -> Self {
        let cells = match &column.data {
            ColumnData::Numeric(values) => {
                let next = values.first().copied().filter(|first| [0.0, 1.0].contains(first));
                Cells::Numbers { sum: Total::ZERO, nonzero: 0, span: Span::EMPTY, next }
            }
            ColumnData::Text { .. } => Cells::Texts { levels: HashSet::new() },
        };
        let mut this = ColumnStatistics { name: column.name.clone(), rows: 0, missing: 0, cells };
        this.add(column);
        this
    }

    /// Adds rows of the same column.
    pub(super) fn add(&mut self, column: &Column) {
        self.rows += column.data.len();
        self.missing += column.data.missing();
        match (&mut self.cells, &column.data) {
            (Cells::Numbers { sum, nonzero, span, next }, ColumnData::Numeric(values)) => {
                let follows = |next: f64, &value: &f64| (value == next).then_some(next + 1.0);
                *next = next.and_then(|next| values.iter().try_fold(next, follows));
                for &value in values.iter().filter(|value| !value.is_nan()) {
                    sum.add(value);
                    span.add(value);
                }
                *nonzero += values.iter().filter(|&&value| value != 0.0).count();
            }
            (Cells::Texts { levels }, ColumnData::Text { levels: more, .. }) => {
                for level in more {
                    if !levels.contains(level) {
                        levels.insert(level.clone());
                    }
                }
            }
            _ => unreachable!("the parts of a column are of one kind"),
        }
    }

    /// Whether single precision would leave little of the column.
    pub(super) fn needs_double(&self) -> bool {
        matches!(self.cells, Cells::Numbers { span, .. } if span.needs_double())
    }
}

impl ColumnCode {
    /// The code of a column and the number of nonzero entries it will have.
    pub(super) fn learn(column: &ColumnStatistics, impute: bool) -> Result<(Self, usize)> {
        let (code, nonzero) = match &column.cells {
            Cells::Numbers { sum, nonzero, next, .. } => {
                let count = column.rows - column.missing;
                if count == 0 && impute {
                    return Err(Error::input(format!("column '{}' holds no value at all", column.name))
                        .remedy("remove the column"));
                }
                let mean = impute.then(|| sum.mean(count));
                (Code::Number { mean, numbers_rows: next.is_some() }, *nonzero)
            }
            Cells::Texts { levels } => {
                let mut levels: Vec<String> = levels.iter().cloned().collect();
                levels.sort_unstable();
                if impute && column.missing > 0 && !levels.iter().any(|level| level == MISSING_LEVEL) {
                    levels.push(MISSING_LEVEL.to_string());
                }
                (Code::Categories { levels }, column.rows - if impute { 0 } else { column.missing })
            }
        };
        Ok((ColumnCode { name: column.name.clone(), code }, nonzero))
    }

    /// Number of features.
    pub(super) fn width(&self) -> usize {
        match &self.code {
            Code::Number { .. } => 1,
            Code::Categories { levels } => levels.len(),
        }
    }

    /// All texts of a column of texts.
    pub(super) fn levels(&self) -> Option<&[String]> {
        match &self.code {
            Code::Number { .. } => None,
            Code::Categories { levels } => Some(levels),
        }
    }

    /// Why a column of so many rows may not be what it is taken for.
    pub(super) fn doubt(&self, rows: usize) -> Option<String> {
        let levels = match &self.code {
            Code::Number { numbers_rows, .. } => {
                let told = || format!("column '{0}' only numbers the rows: --exclude {0} leaves it out", self.name);
                return (*numbers_rows && rows >= ENOUGH_ROWS).then(told);
            }
            Code::Categories { levels } => levels,
        };
        let levels: Vec<&str> = levels.iter().map(String::as_str).filter(|&level| level != MISSING_LEVEL).collect();
        let others = |is_number: fn(&str) -> bool| {
            let texts: Vec<&str> = levels.iter().copied().filter(|level| !is_number(level)).collect();
            let numbers = levels.len() - texts.len();
            let few = texts.len() <= FEW_TEXTS && 10 * texts.len() <= numbers;
            (numbers >= MANY_NUMBERS && few).then_some(texts)
        };
        let why = if let Some(texts) = others(|level| number(level).is_some()) {
            let texts: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
            format!(
                "because of {} among its numbers: correct that, or leave the cells empty and pass --missing impute",
                texts.join(", ")
            )
        } else if others(|level| level.contains(',') && number(&level.replacen(',', ".", 1)).is_some()).is_some() {
            "because its numbers have commas: write them with decimal points".to_string()
        } else if rows >= ENOUGH_ROWS && 10 * levels.len() >= 9 * rows {
            format!("{} in {rows} rows, which say nothing of other rows: --exclude leaves it out", levels.len())
        } else {
            return None;
        };
        Some(format!("column '{}' is taken for categories, {why}", self.name))
    }

    /// True for a numeric column.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.code, Code::Number { .. })
    }

    /// Names of the features.
    pub(super) fn feature_names(&self) -> Vec<String> {
        match &self.code {
            Code::Number { .. } => vec![self.name.clone()],
            Code::Categories { levels } => levels.iter().map(|level| format!("{}={level}", self.name)).collect(),
        }
    }

    /// `column` read as this code demands.
    fn match_data<'a>(&'a self, column: &'a Column, origin: &Origin) -> Result<Matched<'a>> {
        match (&self.code, &column.data) {
            (Code::Number { mean, .. }, ColumnData::Numeric(values)) => {
                Ok(Matched::Number { values: Cow::Borrowed(values), mean: *mean })
            }
            (Code::Number { mean, .. }, ColumnData::Text { codes, levels }) => {
                let numbers: Vec<Option<f64>> = levels.iter().map(|level| number(level)).collect();
                let cell = |(row, &code): (usize, &u32)| match numbers.get(code as usize) {
                    None => Ok(f64::NAN),
                    Some(Some(value)) => Ok(*value),
                    Some(None) => Err(origin
                        .error(row, format!("'{}' in column '{}' is no number", levels[code as usize], column.name))
                        .at_column(column.number as u64)
                        .remedy("the column was numeric in the training data")),
                };
                let values = codes.iter().enumerate().map(cell).collect::<Result<Vec<_>>>()?;
                Ok(Matched::Number { values: Cow::Owned(values), mean: *mean })
            }
            (Code::Categories { levels: known }, ColumnData::Text { codes, levels }) => {
                let indicator = levels.iter().map(|level| position(known, level)).collect();
                Ok(Matched::Category { codes: Cow::Borrowed(codes), indicator, missing: missing_level(known) })
            }
            (Code::Categories { levels: known }, ColumnData::Numeric(values)) => {
                // By chance this file holds only numbers where the training data held texts too.
                let position: HashMap<u64, u32> = known
                    .iter()
                    .zip(0u32..)
                    .filter_map(|(level, code)| Some((number(level)?.to_bits(), code)))
                    .collect();
                let other = known.len() as u32;
                let code = |&value: &f64| match value {
                    value if value.is_nan() => MISSING,
                    value => position.get(&(value + 0.0).to_bits()).copied().unwrap_or(other),
                };
                let mut indicator: Vec<Option<u32>> = (0..other).map(Some).collect();
                indicator.push(None);
                let codes = values.iter().map(code).collect();
                Ok(Matched::Category { codes: Cow::Owned(codes), indicator, missing: missing_level(known) })
            }
        }
    }
}

/// The number that `text` stands for; NaN for a question mark.
fn number(text: &str) -> Option<f64> {
    if text == "?" {
        return Some(f64::NAN);
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value + 0.0)
}

/// The place of `level` among sorted `levels`, behind which there may be the one of missing cells.
fn position(levels: &[String], level: &str) -> Option<u32> {
    let sorted = match levels.split_last() {
        Some((last, _)) if level == MISSING_LEVEL && last == level => return Some(levels.len() as u32 - 1),
        Some((last, others)) if last == MISSING_LEVEL => others,
        _ => levels,
    };
    sorted.binary_search_by(|other| other.as_str().cmp(level)).ok().map(|place| place as u32)
}

fn missing_level(levels: &[String]) -> Option<u32> {
    levels.iter().position(|level| level == MISSING_LEVEL).map(|position| position as u32)
}

/// A column of the file at hand, matched with its code.
enum Matched<'a> {
    Number { values: Cow<'a, [f64]>, mean: Option<f64> },
    Category { codes: Cow<'a, [u32]>, indicator: Vec<Option<u32>>, missing: Option<u32> },
}

/// Columns ready to be written into a matrix row by row.
pub(super) struct Encoding<'a, T> {
    rows: usize,
    features: usize,
    /// First feature of the column, the column, its cells.
    columns: Vec<(usize, &'a Column, Matched<'a>)>,
    impute: bool,
    origin: &'a Origin,
    element: std::marker::PhantomData<T>,
}

/// Matches the columns of a file with `codes`, by name or by position.
pub(super) fn encode_columns<'a, T: Element>(
    codes: &'a [ColumnCode],
    found: &'a [Column],
    by_name: bool,
    impute: bool,
    origin: &'a Origin,
) -> Result<Encoding<'a, T>> {
    let mut columns = Vec::with_capacity(codes.len());
    let mut features = 0;
    let matched = if by_name { by_names(codes, found, origin)? } else { by_positions(codes, found, origin)? };
    for (code, column) in codes.iter().zip(matched) {
        columns.push((features, column, code.match_data(column, origin)?));
        features += code.width();
    }
    let rows = found.first().map_or(0, |column| column.data.len());
    Ok(Encoding { rows, features, columns, impute, origin, element: std::marker::PhantomData })
}

/// What to say of a number that single precision cannot hold.
pub(super) fn too_large(value: f64, row: usize, column: &Column, origin: &Origin) -> Error {
    origin
        .error(row, format!("column '{}' is {value:e}, too large for single precision", column.name))
        .at_column(column.number as u64)
        .remedy("rescale the column or fit in double precision (--dtype f64)")
}

fn by_names<'c>(codes: &[ColumnCode], found: &'c [Column], origin: &Origin) -> Result<Vec<&'c Column>> {
    let known: HashMap<&str, &Column> = found.iter().map(|column| (column.name.as_str(), column)).collect();
    let column = |code: &ColumnCode| {
        known.get(code.name.as_str()).copied().ok_or_else(|| {
            let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
            Error::input(format!("there is no column '{}', which the model was trained on", code.name))
                .in_file(origin.path())
                .remedy(format!("{}; pass --header no if the first line is data", suggestion(&names, &code.name)))
        })
    };
    codes.iter().map(column).collect()
}

/// In their order; where the file has more columns, and those of the model are known by their numbers, by these.
fn by_positions<'c>(codes: &[ColumnCode], found: &'c [Column], origin: &Origin) -> Result<Vec<&'c Column>> {
    if codes.len() == found.len() {
        return Ok(found.iter().collect());
    }
    let numbered = |code: &ColumnCode| {
        let number: usize = code.name.strip_prefix('x')?.parse().ok()?;
        found.binary_search_by_key(&number, |column| column.number).ok().map(|at| &found[at])
    };
    let columns: Option<Vec<&Column>> = codes.iter().map(numbered).collect();
    columns.filter(|_| found.len() > codes.len()).ok_or_else(|| {
        Error::input(format!(
            "this file has {} columns of features, but the model was trained on {}",
            found.len(),
            codes.len()
        ))
        .in_file(origin.path())
        .remedy("give the same columns, or files with a header in both cases; name the target if the file has one")
    })
}

impl<T: Element> Encoding<'_, T> {
    /// Calls `entry(feature, value)` for the nonzero entries of row `row`, features rising.
    #[inline]
    fn row(&self, row: usize, mut entry: impl FnMut(usize, T)) -> Result<()> {
        for (first, column, cells) in &self.columns {
            match cells {
                Matched::Number { values, mean } => {
                    let mut value = values[row];
                    if value.is_nan() {
                        value = mean.ok_or_else(|| self.missing(row, column))?;
                    }
                    if value != 0.0 {
                        let narrowed = narrow(value, row, *first, self.origin);
                        entry(*first, narrowed.map_err(|_| too_large(value, row, column, self.origin))?);
                    }
                }
                Matched::Category { codes, indicator, missing } => {
                    let position = match codes[row] {
                        MISSING if self.impute => *missing,
                        MISSING => return Err(self.missing(row, column)),
                        code => indicator[code as usize],
                    };
                    if let Some(position) = position {
                        entry(first + position as usize, T::from_f64(1.0));
                    }
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn missing(&self, row: usize, column: &Column) -> Error {
        self.origin
            .error(row, format!("the value of column '{}' is missing", column.name))
            .at_column(column.number as u64)
            .remedy("fill it in, or train with --missing impute")
    }

    /// Every entry.
    pub(super) fn dense(self) -> Result<DenseMatrix<T>> {
        let mut values = zeros::<T>(self.rows, self.features, self.origin)?;
        for (row, cells) in values.chunks_exact_mut(self.features.max(1)).enumerate() {
            self.row(row, |feature, value| cells[feature] = value)?;
        }
        Ok(DenseMatrix::new(self.rows, self.features, values))
    }

    /// The nonzero entries.
    pub(super) fn sparse(self) -> Result<CsrMatrix<T>> {
        let guess = self.rows * self.columns.len();
        let (mut indices, mut values) = (Vec::with_capacity(guess), Vec::with_capacity(guess));
        let mut offsets = Vec::with_capacity(self.rows + 1);
        offsets.push(0);
        for row in 0..self.rows {
            self.row(row, |feature, value| {
                indices.push(feature as u32);
                values.push(value);
            })?;
            offsets.push(indices.len());
        }
        Ok(CsrMatrix::new(self.features, offsets, indices, values))
    }
}

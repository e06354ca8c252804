//! From tables to design matrices: categories to indicator columns, missing values filled in or refused.
//!
//! What is learned on the training file travels in the model file, so that every later file gets the same columns.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::columns::{ColumnCode, encode_columns};
use super::convert::{convert, each_nonzero, normalize_rows};
use super::dataset::{Dataset, Groups, Target};
use super::dense::DenseMatrix;
use super::design::{DesignMatrix, Precision, Storage};
use super::element::Element;
use super::learn::EncoderLearner;
use super::packed_table::encode_file;
use super::read::{KnownColumns, ReadOptions};
use super::table::{Contents, Labels, Origin, Table};
use crate::{Error, Result};

/// [`Storage::Auto`] is dense from this share of nonzero entries on.
pub const DENSE_FROM: f64 = 0.15;
/// Entries this much larger than those of other rare columns are in another unit.
const OTHER_UNIT: f64 = 30.0;

/// What to do about missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Refuse them, with the place of the first.
    #[default]
    Error,
    /// Numbers become the mean of the training data, missing categories a category of their own.
    Impute,
}

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// What to do about missing values.
    pub missing: Missing,
    /// Dense or sparse.
    pub storage: Storage,
    /// Precision of the design matrix. Numbers of a column that differ in fewer digits than single precision keeps, such as times in
    /// milliseconds, make it double.
    pub precision: Precision,
    /// Scale each row to unit Euclidean length, as is usual for word counts.
    pub normalize_rows: bool,
}

/// How tables become design matrices; learned on the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    pub(super) layout: Layout,
    pub(super) missing: Missing,
    pub(super) dense: bool,
    pub(super) double: bool,
    pub(super) normalize_rows: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// A matrix of this width; the means are there when missing values are filled in.
    Matrix { width: usize, means: Option<Vec<f64>> },
    /// Columns, matched by name if they have names.
    Columns { named: bool, columns: Vec<ColumnCode> },
}

/// A table made ready for multiplication.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `n x p` features, rows in the order of the file.
    pub design: DesignMatrix,
    /// Name of each of the `p` features.
    pub feature_names: Vec<String>,
    /// Source column of each feature.
    pub groups: Groups,
    /// Whether each feature is a measurement: a numeric column of a table, or a column of a matrix that is nonzero in
    /// [`DENSE_FROM`] of its rows or more. Nothing is, once rows were normalized: then all features have one unit.
    pub measured: Vec<bool>,
    /// The labels of the table.
    pub labels: Option<Labels>,
    /// Where the rows came from.
    pub origin: Origin,
}

impl Encoded {
    /// The rows with what is to be predicted of them; labels and origin are left out.
    pub fn with_target(self, target: Target) -> Dataset {
        let Encoded { design, feature_names, groups, measured, labels: _, origin: _ } = self;
        Dataset { design, target, feature_names, groups, measured, arrangement: None, weights: None }
    }
}

impl Encoder {
    /// Learns categories, means and the storage from the training table.
    ///
    /// # Errors
    /// When a column without any value shall be filled in, or there are too many categories.
    pub fn learn(table: &Table, options: &EncodeOptions) -> Result<Self> {
        Self::learn_counting(table, options).map(|(encoder, _)| encoder)
    }

    /// [`Encoder::learn`], and the number of nonzero entries that the design matrix will have.
    pub(super) fn learn_counting(table: &Table, options: &EncodeOptions) -> Result<(Self, usize)> {
        let mut learner = EncoderLearner::new(options);
        learner.add(table);
        learner.finish(table.origin.path())
    }

    /// For matrices of `features` features that are used as they are, stored as `options` says (dense where that is left
    /// open).
    pub fn of_matrices(features: usize, options: &EncodeOptions) -> Self {
        Encoder {
            layout: Layout::Matrix { width: features, means: None },
            missing: options.missing,
            dense: options.storage != Storage::Sparse,
            double: options.precision == Precision::F64,
            normalize_rows: options.normalize_rows,
        }
    }

    /// The options that lead to the same treatment of missing values, storage, precision and rows.
    pub fn options(&self) -> EncodeOptions {
        EncodeOptions {
            missing: self.missing,
            storage: self.storage(),
            precision: self.precision(),
            normalize_rows: self.normalize_rows,
        }
    }

    /// Number of features `p` that every design matrix of this encoder has.
    pub fn features(&self) -> usize {
        match &self.layout {
            Layout::Matrix { width, .. } => *width,
            Layout::Columns { columns, .. } => columns.iter().map(ColumnCode::width).sum(),
        }
    }

    /// Names of the features: the column, `column=category`, or `x1`, `x2`, ... for a matrix.
    pub fn feature_names(&self) -> Vec<String> {
        match &self.layout {
            Layout::Matrix { width, .. } => (1..=*width).map(|j| format!("x{j}")).collect(),
            Layout::Columns { columns, .. } => columns.iter().flat_map(ColumnCode::feature_names).collect(),
        }
    }

    /// The source column of each feature; for a matrix each feature is its own.
    pub fn groups(&self) -> Groups {
        match &self.layout {
            Layout::Matrix { .. } => Groups::singletons(&self.feature_names()),
            Layout::Columns { columns, .. } => Groups {
                of_feature: (0u32..)
                    .zip(columns)
                    .flat_map(|(group, column)| std::iter::repeat_n(group, column.width()))
                    .collect(),
                names: columns.iter().map(|column| column.name.clone()).collect(),
            },
        }
    }

    /// True when columns are matched by name: a later file without header cannot be told from one with other columns.
    pub fn named(&self) -> bool {
        matches!(self.layout, Layout::Columns { named: true, .. })
    }

    /// What is known of the columns of other files.
    pub fn known_columns(&self) -> Option<KnownColumns> {
        let Layout::Columns { named, columns } = &self.layout else { return None };
        let known = |column: &ColumnCode| (column.name.clone(), column.levels().map(<[String]>::to_vec));
        Some(KnownColumns { named: *named, columns: columns.iter().map(known).collect(), target: None })
    }

    /// Columns of the `rows` rows it was learned from that may not be what they were taken for, a sentence for each.
    pub fn doubts(&self, rows: usize) -> Vec<String> {
        match &self.layout {
            Layout::Matrix { .. } => Vec::new(),
            Layout::Columns { columns, .. } => columns.iter().filter_map(|column| column.doubt(rows)).collect(),
        }
    }

    /// Storage of the design matrices: dense or sparse.
    pub fn storage(&self) -> Storage {
        if self.dense { Storage::Dense } else { Storage::Sparse }
    }

    /// Precision of the design matrices.
    pub fn precision(&self) -> Precision {
        if self.double { Precision::F64 } else { Precision::F32 }
    }

    /// The design matrix of `table`, which may be another file than the one learned from.
    ///
    /// Columns are matched by name when both files name them (other columns are ignored), by position otherwise. A
    /// category that was not learned is zero in all its columns. A sparse matrix may be narrower than the one learned.
    ///
    /// # Errors
    /// When a column is missing or textual where numbers are needed, the width differs, or a value is missing and shall
    /// not be filled in.
    pub fn encode(&self, mut table: Table) -> Result<Encoded> {
        let (labels, origin) = (table.labels.take(), table.origin.clone());
        Ok(self.encoded(self.encode_rows(table)?, labels, origin))
    }

    /// [`Encoder::encode`] of the file `path`, block by block: beside the design matrix little memory is needed.
    ///
    /// # Errors
    /// Those of [`read`](super::read()) and [`Encoder::encode`].
    pub fn encode_file(&self, path: &Path, read: &ReadOptions) -> Result<Encoded> {
        encode_file(self, path, read)
    }

    /// `design`, which this encoder made, with what it says of the features.
    pub(super) fn encoded(&self, design: DesignMatrix, labels: Option<Labels>, origin: Origin) -> Encoded {
        let measured = self.measured(&design);
        Encoded { design, feature_names: self.feature_names(), groups: self.groups(), measured, labels, origin }
    }

    /// The design matrix of [`Encoder::encode`] alone.
    pub(super) fn encode_rows(&self, table: Table) -> Result<DesignMatrix> {
        let Table { origin, contents, named, .. } = table;
        let mut design = match (&self.layout, contents) {
            (Layout::Matrix { width, means }, Contents::Matrix(matrix)) => {
                let matrix = fit_width(matrix, *width, &origin)?;
                convert(self.fill(matrix, means.as_deref(), &origin)?, self.dense, self.double, &origin)?
            }
            (Layout::Columns { named: learned, columns }, Contents::Columns(found)) => {
                let impute = self.missing == Missing::Impute;
                match (self.dense, self.double) {
                    (true, false) => DesignMatrix::DenseF32(
                        encode_columns::<f32>(columns, &found, *learned && named, impute, &origin)?.dense()?,
                    ),
                    (true, true) => DesignMatrix::DenseF64(
                        encode_columns::<f64>(columns, &found, *learned && named, impute, &origin)?.dense()?,
                    ),
                    (false, false) => DesignMatrix::CsrF32(
                        encode_columns::<f32>(columns, &found, *learned && named, impute, &origin)?.sparse()?,
                    ),
                    (false, true) => DesignMatrix::CsrF64(
                        encode_columns::<f64>(columns, &found, *learned && named, impute, &origin)?.sparse()?,
                    ),
                }
            }
            (Layout::Matrix { .. }, _) => return Err(other_kind("columns", "a plain matrix", &origin)),
            (Layout::Columns { .. }, _) => return Err(other_kind("a plain matrix", "columns", &origin)),
        };
        if self.normalize_rows {
            normalize_rows(&mut design);
        }
        Ok(design)
    }

    /// See [`Encoded::measured`].
    pub(super) fn measured(&self, design: &DesignMatrix) -> Vec<bool> {
        match &self.layout {
            _ if self.normalize_rows => vec![false; design.cols()],
            Layout::Columns { columns, .. } => {
                columns.iter().flat_map(|column| std::iter::repeat_n(column.is_number(), column.width())).collect()
            }
            Layout::Matrix { .. } => measured_columns(design),
        }
    }

    /// Fills in or refuses the missing entries of a matrix.
    fn fill(&self, matrix: DesignMatrix, means: Option<&[f64]>, origin: &Origin) -> Result<DesignMatrix> {
        fn dense<T: Element>(
            mut matrix: DenseMatrix<T>,
            means: Option<&[f64]>,
            origin: &Origin,
        ) -> Result<DenseMatrix<T>> {
            let cols = matrix.cols();
            for (at, x) in matrix.values_mut().iter_mut().enumerate().filter(|(_, x)| x.to_f64().is_nan()) {
                let Some(means) = means else {
                    return Err(origin
                        .error(at / cols, format!("the value in column {} is missing (NaN)", at % cols + 1))
                        .remedy("fill it in, or train with --missing impute"));
                };
                *x = T::from_f64(means[at % cols]);
            }
            Ok(matrix)
        }
        Ok(match matrix {
            DesignMatrix::DenseF32(matrix) => DesignMatrix::DenseF32(dense(matrix, means, origin)?),
            DesignMatrix::DenseF64(matrix) => DesignMatrix::DenseF64(dense(matrix, means, origin)?),
            sparse => sparse,
        })
    }
}

fn other_kind(found: &str, learned: &str, origin: &Origin) -> Error {
    Error::input(format!("this file holds {found}, but the model was trained on {learned}"))
        .in_file(origin.path())
        .remedy("give a file in the format of the training data")
}

/// Widens a sparse matrix to `width`; any other difference is an error.
fn fit_width(mut matrix: DesignMatrix, width: usize, origin: &Origin) -> Result<DesignMatrix> {
    let found = matrix.cols();
    match &mut matrix {
        DesignMatrix::CsrF32(matrix) if found < width => matrix.widen(width),
        DesignMatrix::CsrF64(matrix) if found < width => matrix.widen(width),
        _ if found != width => {
            return Err(Error::input(format!("this file has {found} features, but the model was trained on {width}"))
                .in_file(origin.path())
                .remedy("give a file with the features of the training data"));
        }
        _ => {}
    }
    Ok(matrix)
}

/// The columns of a matrix without names that are taken for measurements (see [`Dataset::measured`]): those that are
/// nonzero in [`DENSE_FROM`] of the rows or more, and of the rarer ones those whose entries are thirty times as large as is
/// usual among them (root mean squares against their median): amounts beside indicators, say, and not counts of rare words.
///
/// [`Dataset::measured`]: super::Dataset::measured
pub fn measured_columns(design: &DesignMatrix) -> Vec<bool> {
    let (mut counts, mut squares) = (vec![0usize; design.cols()], vec![0.0; design.cols()]);
    each_nonzero(design, |_, j, x| {
        counts[j] += 1;
        squares[j] += x * x;
    });
    let enough = DENSE_FROM * design.rows() as f64;
    let is_rare = |j: &usize| counts[*j] > 0 && (counts[*j] as f64) < enough;
    let size = |j: usize| (squares[j] / counts[j] as f64).sqrt();
    let mut sizes: Vec<f64> = (0..design.cols()).filter(is_rare).map(size).collect();
    let middle = sizes.len() / 2;
    let usual = if sizes.is_empty() { 1.0 } else { *sizes.select_nth_unstable_by(middle, f64::total_cmp).1 };
    (0..design.cols()).map(|j| if is_rare(&j) { size(j) > OTHER_UNIT * usual } else { counts[j] > 0 }).collect()
}

//! Learning an encoder from a table, or from the blocks of one that is larger than memory.

use std::path::Path;

use super::columns::{ColumnCode, ColumnStatistics};
use super::convert::count_nonzero;
use super::dense::DenseMatrix;
use super::design::{DesignMatrix, Precision, Storage};
use super::element::Element;
use super::encode::{DENSE_FROM, EncodeOptions, Encoder, Layout, Missing};
use super::read::LARGEST_INDEX;
use super::span::FarColumns;
use super::table::{Contents, Table};
use super::total::Total;
use crate::{Error, Result};

/// Gathers what an [`Encoder`] must know, block by block.
pub(super) struct EncoderLearner {
    options: EncodeOptions,
    rows: usize,
    found: Option<Found>,
}

enum Found {
    Matrix { width: usize, stored: usize, sums: Option<Sums>, far: FarColumns },
    Columns { named: bool, columns: Vec<ColumnStatistics> },
}

/// Sums of the entries of each column that are present, and their number.
struct Sums {
    sums: Vec<Total>,
    counts: Vec<usize>,
}

impl EncoderLearner {
    pub(super) fn new(options: &EncodeOptions) -> Self {
        EncoderLearner { options: *options, rows: 0, found: None }
    }

    fn imputes(&self) -> bool {
        self.options.missing == Missing::Impute
    }

    /// Adds the rows of `table`, which has the columns of those before; a sparse matrix may have more or fewer.
    pub(super) fn add(&mut self, table: &Table) {
        self.rows += table.rows();
        let imputes = self.imputes();
        match (&mut self.found, &table.contents) {
            (found @ None, Contents::Matrix(matrix)) => {
                let sums = imputes.then(|| Sums::of(matrix)).flatten();
                let mut far = FarColumns::default();
                far.add_matrix(matrix);
                *found = Some(Found::Matrix { width: matrix.cols(), stored: count_nonzero(matrix), sums, far });
            }
            (found @ None, Contents::Columns(columns)) => {
                let columns = columns.iter().map(ColumnStatistics::new).collect();
                *found = Some(Found::Columns { named: table.named, columns });
            }
            (Some(Found::Matrix { width, stored, sums, far }), Contents::Matrix(matrix)) => {
                far.add_matrix(matrix);
                *width = matrix.cols().max(*width);
                *stored += count_nonzero(matrix);
                if let (Some(sums), Some(more)) = (sums, imputes.then(|| Sums::of(matrix)).flatten()) {
                    sums.add(&more);
                }
            }
            (Some(Found::Columns { columns: known, .. }), Contents::Columns(columns)) => {
                known.iter_mut().zip(columns).for_each(|(known, column)| known.add(column));
            }
            _ => unreachable!("the blocks of a file are of one kind"),
        }
    }

    /// The precision that the rows so far need: the one asked for, or double where single precision leaves too little.
    pub(super) fn precision(&self) -> Precision {
        match &self.found {
            Some(Found::Columns { columns, .. }) if columns.iter().any(ColumnStatistics::needs_double) => {
                Precision::F64
            }
            Some(Found::Matrix { far, .. }) if far.need_double() => Precision::F64,
            _ => self.options.precision,
        }
    }

    /// The encoder, and the number of nonzero entries that the design matrix will have.
    ///
    /// # Errors
    /// When a column without any value shall be filled in, or there are too many categories.
    pub(super) fn finish(self, path: &Path) -> Result<(Encoder, usize)> {
        let (imputes, options, precision) = (self.imputes(), self.options, self.precision());
        let in_file = |error: Error| error.in_file(path);
        let (layout, stored) = match self.found {
            None => return Err(in_file(Error::input("the file holds no rows"))),
            Some(Found::Matrix { width, stored, sums, .. }) => {
                let means = sums.map(Sums::means).transpose().map_err(in_file)?;
                (Layout::Matrix { width, means }, stored)
            }
            Some(Found::Columns { named, columns }) => {
                let (mut stored, mut codes) = (0, Vec::with_capacity(columns.len()));
                for column in &columns {
                    let (code, nonzero) = ColumnCode::learn(column, imputes).map_err(in_file)?;
                    stored += nonzero;
                    codes.push(code);
                }
                (Layout::Columns { named, columns: codes }, stored)
            }
        };
        let mut encoder = Encoder {
            layout,
            missing: options.missing,
            dense: options.storage == Storage::Dense,
            double: precision == Precision::F64,
            normalize_rows: options.normalize_rows,
        };
        let features = encoder.features();
        if features as u64 > LARGEST_INDEX {
            return Err(in_file(Error::input(format!(
                "{features} features arise, more than the {LARGEST_INDEX} supported"
            )))
            .remedy("remove columns of text that is different in every row"));
        }
        if options.storage == Storage::Auto {
            encoder.dense = stored as f64 >= DENSE_FROM * (self.rows as f64) * (features as f64);
        }
        Ok((encoder, stored))
    }
}

impl Sums {
    /// Those of a dense matrix; a sparse one has no missing entries.
    fn of(matrix: &DesignMatrix) -> Option<Self> {
        fn dense<T: Element>(matrix: &DenseMatrix<T>) -> Sums {
            let (mut sums, mut counts) = (vec![Total::ZERO; matrix.cols()], vec![0usize; matrix.cols()]);
            for i in 0..matrix.rows() {
                for (j, x) in matrix.row(i).iter().map(|x| x.to_f64()).enumerate().filter(|(_, x)| !x.is_nan()) {
                    sums[j].add(x);
                    counts[j] += 1;
                }
            }
            Sums { sums, counts }
        }
        match matrix {
            DesignMatrix::DenseF32(matrix) => Some(dense(matrix)),
            DesignMatrix::DenseF64(matrix) => Some(dense(matrix)),
            _ => None,
        }
    }

    fn add(&mut self, more: &Sums) {
        self.sums.iter_mut().zip(&more.sums).for_each(|(sum, more)| sum.join(*more));
        self.counts.iter_mut().zip(&more.counts).for_each(|(count, more)| *count += more);
    }

    fn means(self) -> Result<Vec<f64>> {
        if let Some(empty) = self.counts.iter().position(|&count| count == 0) {
            return Err(Error::input(format!("column {} holds no value at all", empty + 1)).remedy("remove it"));
        }
        Ok(self.sums.iter().zip(&self.counts).map(|(sum, &count)| sum.mean(count)).collect())
    }
}

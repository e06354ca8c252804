//! Features brought to standard deviation 1 (and mean 0, where zeros need not stay zeros), and coefficients brought back.
//!
//! One penalty for weights of features in different units means nothing: in dollars a feature would be penalised less than
//! in thousands of dollars. Shifting, by contrast, is for the numerics only: an intercept that is not penalised takes
//! it up and the fit stays the same. So sparse features, whose zeros must stay zeros, are scaled and not shifted, and
//! the same file gives the same model in dense and in sparse storage.

use serde::{Deserialize, Serialize};

use super::csr::CsrMatrix;
use super::dense::DenseMatrix;
use super::design::DesignMatrix;
use super::element::Element;
use super::row_ranges::RowRanges;
use crate::{Error, Result};

/// Feature `j` enters the fit as `(x_j - shift_j) / scale_j`; coefficients are folded back, so that a model always
/// speaks of the features as they are in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardization {
    /// Subtracted from each of the `p` features.
    pub shift: Vec<f64>,
    /// Divides each of the `p` features.
    pub scale: Vec<f64>,
    /// Features that are constant beside an intercept: they enter the fit as 0 and have weight 0. Their shift is
    /// of no account for a fit; in a mapped file it is their value, which is lost otherwise.
    pub constant: Vec<bool>,
}

impl Standardization {
    /// Changes nothing about `p` features.
    pub fn identity(p: usize) -> Self {
        Standardization { shift: vec![0.0; p], scale: vec![1.0; p], constant: vec![false; p] }
    }

    /// Means and standard deviations over `rows`, zeros included; each row counts by its entry of `weights`, one for
    /// each row of the matrix and all positive, where they are given.
    ///
    /// Features with values 0 and 1 only are left alone: they have no unit. Of a sparse matrix the same goes for all
    /// features that are not `measured` (see [`Encoded::measured`](super::Encoded)): counts of rare words say by their
    /// size that they are rare. Sparse features are never shifted, and without an intercept no feature is (the scale is
    /// still the standard deviation). Beside an intercept constant features are useless and marked as such; without one
    /// they are left alone, since one of them may serve as intercept.
    ///
    /// # Panics
    /// When `measured` does not have one entry per feature.
    pub fn learn(
        design: &DesignMatrix,
        rows: &RowRanges,
        weights: Option<&[f64]>,
        intercept: bool,
        measured: &[bool],
    ) -> Self {
        assert_eq!(measured.len(), design.cols(), "each feature is a measurement or not");
        let dense = |row: &dyn Fn(usize, &mut [f64])| Self::learn_dense(design.cols(), row, rows, weights, intercept);
        match design {
            DesignMatrix::DenseF32(m) => dense(&|i, numbers| widen(m.row(i).iter().copied(), numbers)),
            DesignMatrix::DenseF64(m) => dense(&|i, numbers| widen(m.row(i).iter().copied(), numbers)),
            DesignMatrix::Coded(m) => dense(&|i, numbers| widen(m.decoded_row(i), numbers)),
            DesignMatrix::CsrF32(matrix) => Self::learn_sparse(matrix, rows, weights, intercept, measured),
            DesignMatrix::CsrF64(matrix) => Self::learn_sparse(matrix, rows, weights, intercept, measured),
        }
    }

    /// As [`Self::learn_dense`] with sums over the stored entries; those that are not stored are added as zeros.
    fn learn_sparse<T: Element>(
        matrix: &CsrMatrix<T>,
        rows: &RowRanges,
        weights: Option<&[f64]>,
        intercept: bool,
        measured: &[bool],
    ) -> Self {
        let p = matrix.cols();
        let mut this = Self::identity(p);
        let n = total(rows, weights);
        let mut columns = vec![StoredColumn::EMPTY; p];
        each_row(rows, weights, |i, weight| {
            let (indices, values) = matrix.row(i);
            for (&j, x) in indices.iter().zip(values) {
                columns[j as usize].add(weight, x.to_f64());
            }
        });
        for (j, column) in columns.iter_mut().enumerate() {
            column.finish(rows.len(), n);
            this.constant[j] = column.constant && intercept && n > 0.0;
            column.scaled = measured[j] && !column.constant && !column.indicator;
        }
        if !columns.iter().any(|column| column.scaled) {
            // Indicators and counts stay as they are: no second look at the entries is needed.
            return this;
        }
        each_row(rows, weights, |i, weight| {
            let (indices, values) = matrix.row(i);
            for (&j, x) in indices.iter().zip(values) {
                let column = &mut columns[j as usize];
                let difference = x.to_f64() - column.mean;
                column.variance += weight * difference * difference / n;
            }
        });
        for (scale, column) in this.scale.iter_mut().zip(&columns) {
            let deviation = column.variance.sqrt();
            if column.scaled && deviation.is_normal() {
                *scale = deviation;
            }
        }
        this
    }

    /// From rows that `row(i, numbers)` hands out.
    fn learn_dense(
        p: usize,
        row: impl Fn(usize, &mut [f64]),
        rows: &RowRanges,
        weights: Option<&[f64]>,
        intercept: bool,
    ) -> Self {
        let mut this = Self::identity(p);
        let n = total(rows, weights);
        if rows.is_empty() {
            return this;
        }
        let (mut first, mut numbers) = (vec![0.0; p], vec![0.0; p]);
        row(rows.row(0), &mut first);
        let (mut mean, mut indicator, mut constant) = (vec![0.0; p], vec![true; p], vec![true; p]);
        each_row(rows, weights, |i, weight| {
            row(i, &mut numbers);
            for (j, &x) in numbers.iter().enumerate() {
                // Differences to the first row keep digits when a feature is far from 0.
                mean[j] += weight * (x - first[j]);
                indicator[j] &= x == 0.0 || x == 1.0;
                constant[j] &= x == first[j];
            }
        });
        mean.iter_mut().zip(&first).for_each(|(mean, first)| *mean = first + *mean / n);
        let mut variance = vec![0.0; p];
        each_row(rows, weights, |i, weight| {
            row(i, &mut numbers);
            for (j, &x) in numbers.iter().enumerate() {
                variance[j] += weight * (x - mean[j]) * (x - mean[j]) / n;
            }
        });
        for j in 0..p {
            if constant[j] {
                this.constant[j] = intercept;
                continue;
            }
            let deviation = variance[j].sqrt();
            if indicator[j] || !deviation.is_normal() {
                continue;
            }
            this.scale[j] = deviation;
            if intercept {
                this.shift[j] = mean[j];
            }
        }
        this
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.shift.len()
    }

    /// True when this describes `features` features, with scales that can be divided by.
    pub(super) fn fits(&self, features: usize) -> bool {
        let finite = |x: &f64| x.is_finite();
        [self.shift.len(), self.scale.len(), self.constant.len()] == [features; 3]
            && self.shift.iter().all(finite)
            && self.scale.iter().all(|x| x.is_finite() && *x > 0.0)
    }

    /// True when only an intercept makes good what is done to the features.
    pub fn needs_intercept(&self) -> bool {
        self.shift.iter().any(|&shift| shift != 0.0) || self.constant.contains(&true)
    }

    /// True when nothing would change.
    pub fn is_identity(&self) -> bool {
        self.shift.iter().all(|&shift| shift == 0.0)
            && self.scale.iter().all(|&scale| scale == 1.0)
            && !self.constant.contains(&true)
    }

    /// Standardizes `design` in place.
    ///
    /// # Errors
    /// When the number of features differs, or when a sparse matrix would have to be shifted.
    pub fn apply(&self, design: &mut DesignMatrix) -> Result<()> {
        if design.cols() != self.features() {
            let message = format!("the matrix has {} features, the standardization {}", design.cols(), self.features());
            return Err(Error::input(message));
        }
        match design {
            DesignMatrix::DenseF32(matrix) => self.apply_dense(matrix),
            DesignMatrix::DenseF64(matrix) => self.apply_dense(matrix),
            DesignMatrix::Coded(matrix) => {
                matrix.transform(|j| (!self.constant[j]).then_some((self.shift[j], self.scale[j])));
            }
            _ if self.is_identity() => {}
            _ if (0..self.features()).any(|j| self.shift[j] != 0.0 && !self.constant[j]) => {
                return Err(Error::input("a sparse matrix cannot be shifted").remedy("use dense storage"));
            }
            DesignMatrix::CsrF32(matrix) => matrix.map_values(|j, x| self.scaled(j, x)),
            DesignMatrix::CsrF64(matrix) => matrix.map_values(|j, x| self.scaled(j, x)),
        }
        Ok(())
    }

    /// The value `x` of feature `j` as it enters the fit.
    fn scaled(&self, j: usize, x: f64) -> f64 {
        if self.constant[j] { 0.0 } else { (x - self.shift[j]) / self.scale[j] }
    }

    fn apply_dense<T: Element>(&self, matrix: &mut DenseMatrix<T>) {
        if self.is_identity() || self.shift.is_empty() {
            return;
        }
        for row in matrix.values_mut().chunks_exact_mut(self.shift.len()) {
            for (j, x) in row.iter_mut().enumerate() {
                *x = T::from_f64(self.scaled(j, x.to_f64()));
            }
        }
    }

    /// Turns coefficients for the original features into those for standardized ones, in place: the inverse of
    /// [`Standardization::fold_back`], with one intercept for each output.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn unfold(&self, coef: &mut [f64], intercept: &mut [f64]) {
        let outputs = intercept.len();
        assert_eq!(coef.len(), self.features() * outputs, "coef must have p x C entries");
        for (j, weights) in coef.chunks_exact_mut(outputs.max(1)).enumerate() {
            for (weight, intercept) in weights.iter_mut().zip(intercept.iter_mut()) {
                *intercept += *weight * self.shift[j];
                *weight *= self.scale[j];
            }
        }
    }

    /// Turns the coefficients of a fit on standardized features into those for the original ones, in place.
    ///
    /// `coef` is `p x C`, feature after feature (`coef[j * C + c]`); `intercept` has `C` entries, or none without
    /// intercept (then nothing has been shifted).
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn fold_back(&self, coef: &mut [f64], intercept: &mut [f64]) {
        let p = self.features();
        if p == 0 {
            return;
        }
        assert_eq!(coef.len() % p, 0, "coef must have p x C entries");
        let outputs = coef.len() / p;
        assert!(intercept.is_empty() || intercept.len() == outputs, "intercept must have C entries");
        for (j, weights) in coef.chunks_exact_mut(outputs.max(1)).enumerate() {
            for (c, weight) in weights.iter_mut().enumerate() {
                *weight = if self.constant[j] { 0.0 } else { *weight / self.scale[j] };
                if let Some(intercept) = intercept.get_mut(c) {
                    *intercept -= *weight * self.shift[j];
                }
            }
        }
    }
}

/// A column of which only the nonzero entries are stored.
#[derive(Clone)]
struct StoredColumn {
    first: f64,
    /// Sum of the differences to `first`.
    sum: f64,
    /// What the rows with entries count.
    stored: f64,
    count: usize,
    indicator: bool,
    constant: bool,
    /// True when the scale shall be the standard deviation.
    scaled: bool,
    mean: f64,
    variance: f64,
}

impl StoredColumn {
    const EMPTY: Self = StoredColumn {
        first: f64::NAN,
        sum: 0.0,
        stored: 0.0,
        count: 0,
        indicator: true,
        constant: true,
        scaled: false,
        mean: 0.0,
        variance: 0.0,
    };

    #[inline(always)]
    fn add(&mut self, weight: f64, x: f64) {
        if self.count == 0 {
            self.first = x;
        }
        self.count += 1;
        self.stored += weight;
        self.sum += weight * (x - self.first);
        self.indicator &= x == 0.0 || x == 1.0;
        self.constant &= x == self.first;
    }

    /// The mean of `rows` rows that count `n`, and the part of the variance that the zeros make: with the mean at hand both
    /// parts are sums of squares, and nothing cancels.
    fn finish(&mut self, rows: usize, n: f64) {
        if self.stored > 0.0 {
            self.constant &= self.count == rows || self.first == 0.0;
            self.mean = (self.first + self.sum / self.stored) * (self.stored / n);
        }
        self.variance = (n - self.stored) / n * self.mean * self.mean;
    }
}

/// Calls `row` with each row and what it counts.
fn each_row(rows: &RowRanges, weights: Option<&[f64]>, mut row: impl FnMut(usize, f64)) {
    rows.ranges().iter().for_each(|range| range.clone().for_each(|i| row(i, weight_of(weights, i))));
}

fn widen<T: Element>(row: impl Iterator<Item = T>, numbers: &mut [f64]) {
    numbers.iter_mut().zip(row).for_each(|(number, x)| *number = x.to_f64());
}

/// What a row counts.
fn weight_of(weights: Option<&[f64]>, row: usize) -> f64 {
    weights.map_or(1.0, |weights| weights[row])
}

/// What all rows count together.
fn total(rows: &RowRanges, weights: Option<&[f64]>) -> f64 {
    match weights {
        None => rows.len() as f64,
        Some(weights) => rows.ranges().iter().flat_map(|range| &weights[range.clone()]).sum(),
    }
}

//! Weights of words: counts times the logarithm of how rare a word is, rows of unit length.

use super::csr::CsrMatrix;
use super::dataset::{Dataset, Groups};
use super::design::DesignMatrix;
use super::element::Element;
use crate::{Error, Result};

/// `x_ij -> x_ij ln(n / n_j)`, `n_j` the number of the `n` rows in which feature `j` is not zero, then rows of unit
/// length; features of few rows are left out. Learned on training rows (Salton, Buckley 1988).
#[derive(Debug, Clone, PartialEq)]
pub struct TfIdf {
    /// Feature kept, its number among those kept, and its weight; nothing for the others.
    weight: Vec<Option<(u32, f64)>>,
    kept: usize,
}

impl TfIdf {
    /// Learns the weights of features that are not zero in at least `min_rows` rows, and not in all.
    ///
    /// # Errors
    /// Input, for a dense matrix, or when no feature is left.
    pub fn learn(design: &DesignMatrix, min_rows: usize) -> Result<Self> {
        let counts = match design {
            DesignMatrix::CsrF32(matrix) => row_counts(matrix),
            DesignMatrix::CsrF64(matrix) => row_counts(matrix),
            _ => return Err(Error::input("word counts must be stored sparsely").remedy("use sparse storage")),
        };
        let (n, mut kept) = (design.rows(), 0);
        let weight = counts.into_iter().map(|count| {
            (count >= min_rows.max(1) && count < n).then(|| {
                kept += 1;
                (kept as u32 - 1, (n as f64 / count as f64).ln())
            })
        });
        let weight = weight.collect();
        match kept {
            0 => Err(Error::input(format!("no feature is nonzero in {min_rows} rows or more"))),
            _ => Ok(TfIdf { weight, kept }),
        }
    }

    /// Number of features kept.
    pub fn features(&self) -> usize {
        self.kept
    }

    /// The data set with weighted features.
    ///
    /// # Errors
    /// Input, for a dense matrix or another number of features.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        let design = match &data.design {
            _ if data.features() != self.weight.len() => {
                let (found, needed) = (data.features(), self.weight.len());
                return Err(Error::input(format!("{found} features, {needed} when the weights were learned")));
            }
            DesignMatrix::CsrF32(matrix) => DesignMatrix::CsrF32(self.weigh(matrix)),
            DesignMatrix::CsrF64(matrix) => DesignMatrix::CsrF64(self.weigh(matrix)),
            _ => return Err(Error::input("word counts must be stored sparsely").remedy("use sparse storage")),
        };
        let names = data.feature_names.iter().zip(&self.weight).filter(|(_, weight)| weight.is_some());
        let feature_names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        Ok(Dataset {
            design,
            target: data.target.clone(),
            groups: Groups::singletons(&feature_names),
            measured: vec![false; feature_names.len()],
            arrangement: None,
            feature_names,
            weights: data.weights.clone(),
        })
    }

    fn weigh<T: Element>(&self, matrix: &CsrMatrix<T>) -> CsrMatrix<T> {
        let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for i in 0..matrix.rows() {
            let (columns, counts) = matrix.row(i);
            let first = values.len();
            let mut squares = 0.0;
            let mut weighted = Vec::with_capacity(columns.len());
            for (&column, count) in columns.iter().zip(counts) {
                if let Some((index, weight)) = self.weight[column as usize] {
                    let value = count.to_f64() * weight;
                    squares += value * value;
                    indices.push(index);
                    weighted.push(value);
                }
            }
            let length = if squares > 0.0 { squares.sqrt() } else { 1.0 };
            values.extend(weighted.into_iter().map(|value| T::from_f64(value / length)));
            debug_assert_eq!(values.len() - first, indices.len() - first);
            offsets.push(values.len());
        }
        CsrMatrix::new(self.kept, offsets, indices, values)
    }
}

/// Number of rows in which each column is not zero.
fn row_counts<T: Element>(matrix: &CsrMatrix<T>) -> Vec<usize> {
    let mut counts = vec![0; matrix.cols()];
    for (&column, &value) in matrix.indices().iter().zip(matrix.values()) {
        counts[column as usize] += usize::from(value != T::default());
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Target;

    #[test]
    fn rare_words_weigh_more_and_rows_have_unit_length() {
        // Counts: [3 1 0 1], [0 1 2 1], [0 0 1 1], [1 0 0 1]; the last word is everywhere.
        let (offsets, indices) = (vec![0, 3, 6, 8, 10], vec![0, 1, 3, 1, 2, 3, 2, 3, 0, 3]);
        let counts = CsrMatrix::new(4, offsets, indices, vec![3., 1., 1., 1., 2., 1., 1., 1., 1., 1.]);
        let data = Dataset::new(counts, Target::Values(vec![0.0; 4].into())).unwrap();
        let data = data.with_feature_names(["a", "b", "c", "d"]).unwrap();
        let weights = TfIdf::learn(&data.design, 2).unwrap();
        assert_eq!(weights.features(), 3);
        let found = weights.apply(&data).unwrap();
        assert_eq!(found.feature_names, ["a", "b", "c"]);
        let DesignMatrix::CsrF64(matrix) = &found.design else { panic!("sparse stays sparse") };
        let (columns, values) = matrix.row(0);
        assert_eq!(columns, [0, 1]);
        let length = 10f64.sqrt();
        assert!((values[0] - 3.0 / length).abs() < 1e-12 && (values[1] - 1.0 / length).abs() < 1e-12, "{values:?}");
        assert!(TfIdf::learn(&data.design, 9).unwrap_err().is_input());
    }
}

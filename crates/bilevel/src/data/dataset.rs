//! A data set ready for a model: numbers, a target, and the names that lead back to the user's file.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::design::DesignMatrix;
use super::encode::measured_columns;
use super::reorder::reorder;
use super::standardize::Standardization;
use crate::Result;

/// What messages call data that are put together.
const GIVEN: &str = "given";

/// Rows of features with their target.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `n x p` features.
    pub design: DesignMatrix,
    /// What is to be predicted, `n` entries.
    pub target: Target,
    /// Name of each of the `p` features.
    pub feature_names: Vec<String>,
    /// Group of each of the `p` features (for CSV files the source column).
    pub groups: Groups,
    /// Whether each of the `p` features is a measurement, whose size depends on the unit it was measured in.
    ///
    /// Only [`Standardization::learn`](super::Standardization::learn) on sparse data asks; see there.
    pub measured: Vec<bool>,
    /// How the rows were arranged when they were written to a mapped file; none for rows as they come.
    pub arrangement: Option<Arrangement>,
    /// How much each of the `n` rows counts, in fits and in figures alike; all count the same where absent.
    ///
    /// A row of weight 2 counts like two equal rows, one of weight 0 as if it were not there. Only ratios matter.
    pub weights: Option<Vec<f64>>,
}

/// What was done to rows before they were written to a file from which they are used as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrangement {
    /// Seed of the random order of the rows.
    pub seed: u64,
    /// Features are stored as `(x_j - shift_j) / scale_j`; none where they are as they came.
    pub standardization: Option<Standardization>,
    /// The target as the numbers that losses take, `n` entries: class codes, or the values.
    pub numbers: Buffer<f64>,
}

impl Arrangement {
    fn select(&self, order: &[u32]) -> Self {
        Arrangement { numbers: order.iter().map(|&row| self.numbers[row as usize]).collect(), ..self.clone() }
    }
}

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Class codes `0..names.len()` and the labels they stand for, as written in the file.
    Classes {
        /// One code per row.
        codes: Buffer<u32>,
        /// Label of each code.
        names: Vec<String>,
    },
    /// Real numbers or counts.
    Values(Buffer<f64>),
}

impl Target {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Target::Classes { codes, .. } => codes.len(),
            Target::Values(values) => values.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows `order[0], order[1], ...` in that order, each of them once, without a second copy of them all.
    ///
    /// # Panics
    /// When `order` is no order of the rows.
    #[must_use]
    pub fn into_order(self, order: &[u32]) -> Self {
        match self {
            Target::Classes { codes, names } => {
                Target::Classes { codes: reorder(codes.into_vec(), |row| row, order).into(), names }
            }
            Target::Values(values) => Target::Values(reorder(values.into_vec(), |row| row, order).into()),
        }
    }

    /// The rows `order[0], order[1], ...` in that order.
    #[must_use]
    pub fn select(&self, order: &[u32]) -> Self {
        match self {
            Target::Classes { codes, names } => {
                Target::Classes { codes: order.iter().map(|&row| codes[row as usize]).collect(), names: names.clone() }
            }
            Target::Values(values) => Target::Values(order.iter().map(|&row| values[row as usize]).collect()),
        }
    }
}

/// A partition of the features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Group of each feature, in `0..names.len()`.
    pub of_feature: Vec<u32>,
    /// Name of each group.
    pub names: Vec<String>,
}

impl Groups {
    /// Each feature a group of its own.
    pub fn singletons(feature_names: &[String]) -> Self {
        Groups { of_feature: (0..feature_names.len() as u32).collect(), names: feature_names.to_vec() }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True without groups.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// True when every feature is its own group, so that groups add nothing to features.
    pub fn are_singletons(&self) -> bool {
        self.names.len() == self.of_feature.len()
    }
}

impl<'a> From<&'a Dataset> for Cow<'a, Dataset> {
    fn from(data: &'a Dataset) -> Self {
        Cow::Borrowed(data)
    }
}

impl From<Dataset> for Cow<'_, Dataset> {
    fn from(data: Dataset) -> Self {
        Cow::Owned(data)
    }
}

impl Dataset {
    /// The rows of a matrix with their target. Features are called `x1`, `x2`, ..., each is a group of its own, and all rows
    /// count the same.
    ///
    /// ```
    /// use bilevel::data::{Dataset, DenseMatrix, Target};
    ///
    /// let features = DenseMatrix::try_new(3, 2, vec![0.5, 1.0, 0.7, 2.0, 0.1, 3.0])?;
    /// let data = Dataset::new(features, Target::Values(vec![1.2, 1.9, 3.1].into()))?
    ///     .with_feature_names(["width", "length"])?
    ///     .with_weights(vec![1.0, 1.0, 2.0])?;
    /// assert_eq!((data.rows(), data.features()), (3, 2));
    /// # Ok::<(), bilevel::Error>(())
    /// ```
    ///
    /// # Errors
    /// Input, when there is not one target a row, or the code of a class has no name.
    pub fn new(design: impl Into<DesignMatrix>, target: Target) -> Result<Self> {
        let design = design.into();
        let feature_names: Vec<String> = (1..=design.cols()).map(|j| format!("x{j}")).collect();
        let measured = if design.is_sparse() { measured_columns(&design) } else { vec![true; design.cols()] };
        let groups = Groups::singletons(&feature_names);
        let data = Dataset { design, target, feature_names, groups, measured, arrangement: None, weights: None };
        data.check_parts(GIVEN)?;
        Ok(data)
    }

    /// The same with these names of the features, and of their groups where each is a group of its own.
    ///
    /// # Errors
    /// Input, when there is not one name a feature.
    pub fn with_feature_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Result<Self> {
        self.feature_names = names.into_iter().map(Into::into).collect();
        if self.groups.are_singletons() {
            self.groups = Groups::singletons(&self.feature_names);
        }
        self.check_parts(GIVEN)?;
        Ok(self)
    }

    /// The same with these groups of features.
    ///
    /// # Errors
    /// Input, when there is not one group a feature, or a group has no name.
    pub fn with_groups(mut self, groups: Groups) -> Result<Self> {
        self.groups = groups;
        self.check_parts(GIVEN)?;
        Ok(self)
    }

    /// The same with [weights of the rows](Dataset::weights).
    ///
    /// # Errors
    /// Input, when there is not one weight a row, a weight is negative or no number, or all are zero.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self> {
        self.weights = Some(weights);
        self.check_parts(GIVEN)?;
        Ok(self)
    }

    /// Number of rows `n`.
    pub fn rows(&self) -> usize {
        self.design.rows()
    }

    /// Number of features `p`.
    pub fn features(&self) -> usize {
        self.design.cols()
    }

    /// The rows `order[0], order[1], ...` in that order, each of them once, without a second copy of the features.
    ///
    /// # Panics
    /// When `order` is no order of the rows.
    #[must_use]
    pub fn into_order(self, order: &[u32]) -> Self {
        // The features come first: what else is copied meanwhile is in memory beside them.
        let design = self.design.into_order(order);
        let target = self.target.into_order(order);
        let arrangement = self.arrangement.map(|arrangement| arrangement.select(order));
        let weights = self.weights.map(|weights| reorder(weights, |row| row, order));
        Dataset { design, target, arrangement, weights, ..self }
    }

    /// The rows `rows`, which stay where they are.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn range(&self, rows: Range<usize>) -> Self {
        Dataset {
            design: self.design.range(rows.clone()),
            weights: self.weights.as_ref().map(|weights| weights[rows.clone()].to_vec()),
            target: match &self.target {
                Target::Classes { codes, names } => {
                    Target::Classes { codes: codes.slice(rows.clone()), names: names.clone() }
                }
                Target::Values(values) => Target::Values(values.slice(rows.clone())),
            },
            arrangement: self
                .arrangement
                .as_ref()
                .map(|arrangement| Arrangement { numbers: arrangement.numbers.slice(rows), ..arrangement.clone() }),
            ..self.clone()
        }
    }

    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select(&self, order: &[u32]) -> Self {
        Dataset {
            design: self.design.select_rows(order),
            target: self.target.select(order),
            feature_names: self.feature_names.clone(),
            groups: self.groups.clone(),
            measured: self.measured.clone(),
            arrangement: self.arrangement.as_ref().map(|arrangement| arrangement.select(order)),
            weights: self.weights.as_ref().map(|weights| order.iter().map(|&row| weights[row as usize]).collect()),
        }
    }
}

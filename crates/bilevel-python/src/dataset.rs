//! A data set held by Python: made once from arrays, used by everything that computes.

use bilevel::data::{Arrangement, Buffer, Dataset, Groups, Target};
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::raise;
use crate::matrix;

/// Rows of features with their target, names, groups and weights.
#[pyclass(name = "Dataset", module = "bilevel._core", frozen)]
pub struct PyDataset {
    pub inner: Dataset,
}

/// What is to be predicted, as Python hands it over.
#[derive(FromPyObject)]
pub enum TargetArray<'py> {
    /// Codes of the classes, from 0.
    #[pyo3(transparent)]
    Codes(PyReadonlyArray1<'py, u32>),
    /// Numbers.
    #[pyo3(transparent)]
    Values(PyReadonlyArray1<'py, f64>),
}

#[pymethods]
impl PyDataset {
    /// `classes` are the names of the codes in `y`; `groups` the number of each feature's group in `group_names`. Rows that
    /// are `shuffled` already are used where they lie.
    #[new]
    #[pyo3(signature = (x, y, *, classes, feature_names, groups, group_names, weights, shuffled=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        x: &Bound<'_, PyAny>,
        y: TargetArray<'_>,
        classes: Vec<String>,
        feature_names: Vec<String>,
        groups: Option<PyReadonlyArray1<'_, u32>>,
        group_names: Vec<String>,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        shuffled: bool,
    ) -> PyResult<Self> {
        let design = matrix::design(x)?;
        let target = match y {
            TargetArray::Codes(codes) => Target::Classes { codes: codes.as_array().to_vec().into(), names: classes },
            TargetArray::Values(values) => Target::Values(values.as_array().to_vec().into()),
        };
        if let Target::Values(values) = &target
            && values.iter().any(|value| !value.is_finite())
        {
            return Err(PyValueError::new_err("the target must be a finite number for each row"));
        }
        let mut inner =
            Dataset::new(design, target).and_then(|data| data.with_feature_names(feature_names)).map_err(raise)?;
        if let Some(of_feature) = groups {
            let groups = Groups { of_feature: of_feature.as_array().to_vec(), names: group_names };
            inner = inner.with_groups(groups).map_err(raise)?;
        }
        inner.weights = weights.map(|weights| weights.as_array().to_vec());
        inner.arrangement =
            shuffled.then(|| Arrangement { seed: 0, standardization: None, numbers: numbers(&inner.target) });
        Ok(PyDataset { inner })
    }

    /// `(rows, features)`.
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.inner.rows(), self.inner.features())
    }

    /// Address of the first number of the features: that of the array they came in, where none was copied.
    #[getter]
    fn address(&self) -> usize {
        matrix::address(&self.inner.design)
    }

    fn __repr__(&self) -> String {
        format!("Dataset({} rows, {} features)", self.inner.rows(), self.inner.features())
    }
}

/// The target as losses take it.
fn numbers(target: &Target) -> Buffer<f64> {
    match target {
        Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        Target::Values(values) => values.iter().copied().collect(),
    }
}

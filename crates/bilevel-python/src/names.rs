//! Closed sets by their names, the same ones as on the command line.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

/// The member of a closed set that is called `name`; `option` says where the name came from.
pub fn named<T: DeserializeOwned>(option: &str, name: &str) -> PyResult<T> {
    let text: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(text).map_err(|error| PyValueError::new_err(format!("{option}: {error}")))
}

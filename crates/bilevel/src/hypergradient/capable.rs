//! A map with what it can do, for methods that are chosen at run time.
//!
//! The estimators say in their signatures what they need of a map, and a program that asks too much does not compile.
//! Where the method is a value ([`Method`](super::Method)), the question is asked when it is used, and answered by an
//! error that names what is missing.

use crate::error::{Error, Result};
use crate::lower::{Jvp, JvpLambda, StochasticMap, Symmetric};
use crate::row_sums::RowSums;

/// A map and its capabilities, each the map itself once more.
#[derive(Clone, Copy)]
pub struct Capable<'a> {
    map: &'a dyn StochasticMap,
    symmetric: Option<&'a dyn Symmetric>,
    row_sums: Option<&'a dyn RowSums>,
    jvp: Option<&'a dyn Jvp>,
    jvp_lambda: Option<&'a dyn JvpLambda>,
}

impl<'a> Capable<'a> {
    /// A map of which nothing else is known.
    pub fn new(map: &'a dyn StochasticMap) -> Self {
        Capable { map, symmetric: None, row_sums: None, jvp: None, jvp_lambda: None }
    }

    /// A symmetric mean over rows, such as the gradient step of a loss.
    pub fn gradient_step<M: Symmetric + RowSums>(map: &'a M) -> Self {
        Capable { symmetric: Some(map), row_sums: Some(map), jvp: Some(map), ..Capable::new(map) }
    }

    /// Adds that `map` is symmetric.
    #[must_use]
    pub fn symmetric<M: Symmetric>(self, map: &'a M) -> Self {
        Capable { symmetric: Some(map), jvp: Some(map), ..self }
    }

    /// Adds that `map` is a mean over rows.
    #[must_use]
    pub fn row_sums<M: RowSums>(self, map: &'a M) -> Self {
        Capable { row_sums: Some(map), ..self }
    }

    /// Adds that `map` multiplies with `d1Phi`.
    #[must_use]
    pub fn jvp<M: Jvp>(self, map: &'a M) -> Self {
        Capable { jvp: Some(map), ..self }
    }

    /// Adds that `map` multiplies with both Jacobians.
    #[must_use]
    pub fn jvp_lambda<M: JvpLambda>(self, map: &'a M) -> Self {
        Capable { jvp: Some(map), jvp_lambda: Some(map), ..self }
    }

    /// The map.
    pub fn map(&self) -> &'a dyn StochasticMap {
        self.map
    }

    pub(crate) fn as_symmetric(&self, method: &str) -> Result<&'a dyn Symmetric> {
        self.symmetric.ok_or_else(|| missing(method, "a map with symmetric d1Phi"))
    }

    pub(crate) fn as_row_sums(&self, method: &str) -> Result<&'a dyn RowSums> {
        self.row_sums.ok_or_else(|| missing(method, "a map that is a mean over rows"))
    }

    pub(crate) fn as_jvp(&self, method: &str) -> Result<&'a dyn Jvp> {
        self.jvp.ok_or_else(|| missing(method, "products with d1Phi"))
    }

    pub(crate) fn as_jvp_lambda(&self, method: &str) -> Result<&'a dyn JvpLambda> {
        self.jvp_lambda.ok_or_else(|| missing(method, "products with d1Phi and d2Phi"))
    }
}

/// Which capabilities there are.
impl std::fmt::Debug for Capable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capable")
            .field("dims", &self.map.dims())
            .field("symmetric", &self.symmetric.is_some())
            .field("row_sums", &self.row_sums.is_some())
            .field("jvp", &self.jvp.is_some())
            .field("jvp_lambda", &self.jvp_lambda.is_some())
            .finish_non_exhaustive()
    }
}

fn missing(method: &str, what: &str) -> Error {
    Error::input(format!("{method} needs {what}, which this map does not offer"))
        .remedy("choose another method, or give the map that capability")
}

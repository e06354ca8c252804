//! Both levels and the set of admissible hyperparameters.

use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::lower::{Dims, FirstOrder};
use crate::row_sums::{RowSumLoss, RowSumObjective};

/// A lower level that all algorithms can run on: a loss over rows whose derivative in `lambda` is known too.
pub trait LowerLoss: FirstOrder + RowSumLoss {}

impl<L: FirstOrder + RowSumLoss> LowerLoss for L {}

/// `min_lambda E(w(lambda), lambda)` over a box, `w(lambda) = argmin_w g(w, lambda)`.
#[derive(Clone, Copy)]
pub struct Bilevel<'a> {
    /// The loss `g`.
    pub lower: &'a dyn LowerLoss,
    /// The objective `E`.
    pub upper: &'a dyn RowSumObjective,
    /// The box of the hyperparameters.
    pub domain: &'a Domain,
}

impl std::fmt::Debug for Bilevel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bilevel").field("dims", &self.dims()).field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Bilevel<'_> {
    /// Lengths of `w` and `lambda`.
    pub fn dims(&self) -> Dims {
        self.lower.dims()
    }

    /// Checks that all parts have the same sizes.
    ///
    /// # Errors
    /// Input.
    pub fn validate(&self) -> Result<()> {
        let dims = self.dims();
        if self.upper.dims() != dims {
            let upper = self.upper.dims();
            return Err(Error::input(format!("the two levels differ in size: lower {dims:?}, upper {upper:?}")));
        }
        if self.domain.len() != dims.lambda {
            let m = self.domain.len();
            return Err(Error::input(format!("the domain has {m} components, the problem {}", dims.lambda)));
        }
        Ok(())
    }
}

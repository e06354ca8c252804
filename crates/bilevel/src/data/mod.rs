//! Data: from a file to a design matrix with a target.
//!
//! [`read`](mod@read) turns files into a [`Table`], an [`Encoder`] learned on the training file turns tables into a
//! [`Dataset`], and a [`DesignMatrix`] multiplies. Dense against sparse and single against double precision are decided
//! inside the design matrix and nowhere else.

mod csr;
mod dataset;
mod dense;
mod design;
pub mod passes;

pub use csr::CsrMatrix;
pub use dataset::{Dataset, Groups, Target};
pub use dense::DenseMatrix;
pub use design::{DesignMatrix, Element, Precision, RowPick, RowRanges, Storage};
pub use passes::{Pass, chunk_rows};

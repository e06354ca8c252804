//! Data: from a file to a design matrix with a target.
//!
//! [`read`](mod@read) turns files into a [`Table`], an [`Encoder`] learned on the training file turns tables into a
//! [`Dataset`], and a [`DesignMatrix`] multiplies. Dense against sparse and single against double precision are decided
//! inside the design matrix and nowhere else. A [`Schema`] is what was learned on the training file, from the first step to the
//! last:
//!
//! ```
//! use std::path::Path;
//!
//! use bilevel::data::{LearnOptions, Learned, ReadOptions, Schema};
//!
//! let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data"));
//! let Learned { schema, data, .. } = Schema::learn(&folder.join("pendigits.gz"), &LearnOptions::default())?;
//! assert_eq!((data.rows(), data.features(), schema.labels.names().len()), (7494, 16, 10));
//! // Other files get the same features and codes of classes.
//! let (test, _) = schema.read(&folder.join("pendigits.t.gz"), &ReadOptions::default())?;
//! assert_eq!(test.feature_names, data.feature_names);
//! # Ok::<(), bilevel::Error>(())
//! ```

mod buffer;
mod checks;
mod coded;
mod column_part;
mod columns;
mod convert;
mod csr;
#[cfg(target_arch = "x86_64")]
mod csr_avx2;
mod csr_outputs;
mod csr_row;
mod dataset;
mod dense;
mod dense_outputs;
mod design;
mod element;
mod encode;
mod grid;
mod groups;
mod kernel;
mod label_counts;
mod lanes;
mod learn;
pub mod mapped;
mod narrow_outputs;
mod output_lanes;
mod outputs;
mod packed;
mod packed_table;
mod panels;
pub mod passes;
mod piece;
mod profile;
pub mod read;
mod relabel;
mod reorder;
mod row_ranges;
pub(crate) mod sampled;
mod schema;
mod span;
mod split;
mod standardize;
mod table;
mod target;
mod tf_idf;
mod total;
mod transpose;

pub use buffer::{Access, Buffer};
pub use coded::CodedMatrix;
pub use csr::CsrMatrix;
pub use dataset::{Arrangement, Dataset, Groups, Target};
pub use dense::DenseMatrix;
pub use design::{DesignMatrix, Precision, Storage};
pub use element::Element;
pub use encode::{DENSE_FROM, EncodeOptions, Encoded, Encoder, Missing, measured_columns};
pub(crate) use kernel::KernelRows;
pub use packed_table::PackedTable;
pub use passes::Pass;
pub use profile::{ColumnProfile, Profile, SixDigits, TargetProfile, profile};
pub use read::{Format, KnownColumns, ReadOptions, read};
pub use relabel::Relabel;
pub use row_ranges::{RowPick, RowRanges};
pub use schema::{LearnOptions, Learned, Schema};
pub use split::{Parts, stratified_order};
pub use standardize::Standardization;
pub use table::{Column, ColumnData, Contents, Labels, MISSING, Origin, Table};
pub use target::{LabelMap, TargetKind};
pub use tf_idf::TfIdf;

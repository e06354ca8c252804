//! What is learned of one file and holds for all others: how their columns become features, and their labels a target.
//!
//! A model is worth nothing without it, so it travels in the model file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Groups};
use super::encode::{EncodeOptions, Encoded, Encoder};
use super::packed_table::PackedTable;
use super::read::{Format, KnownColumns, ReadOptions};
use super::relabel::Relabel;
use super::table::Origin;
use super::target::{LabelMap, TargetKind};
use crate::{Error, Result};

/// From files to data sets, all like the one it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// From tables to features.
    pub encoder: Encoder,
    /// From labels to targets.
    pub labels: LabelMap,
    /// New names of labels, applied before.
    pub relabel: Relabel,
    /// Name or number of the target column of the training file, where it had one.
    pub target_name: Option<String>,
    /// Groups of the features.
    pub groups: Groups,
}

/// How to learn from a file.
#[derive(Debug, Clone, Default)]
pub struct LearnOptions {
    /// How the file is read, in the precision of [`LearnOptions::encode`].
    pub read: ReadOptions,
    /// How its rows are encoded.
    pub encode: EncodeOptions,
    /// What the target is, where it shall not be found out.
    pub kind: Option<TargetKind>,
    /// The class whose probability is modelled, of two.
    pub positive: Option<String>,
    /// New names of labels, each of which must occur.
    pub relabel: Relabel,
    /// Groups of features, in a file that [`Groups::read`] reads; by default each source column is a group.
    pub groups: Option<PathBuf>,
}

/// What a file was made into.
#[derive(Debug, Clone)]
pub struct Learned {
    /// What holds for other files.
    pub schema: Schema,
    /// The rows of the file.
    pub data: Dataset,
    /// Format in which the file was written.
    pub format: Format,
    /// Choices made for the user that he may want to know about.
    pub notes: Vec<String>,
}

impl Schema {
    /// Reads the training file `path`, plain or compressed, and learns from it.
    ///
    /// # Errors
    /// Those of [`read`](super::read()), [`Encoder::learn`], [`LabelMap::learn`], [`LabelMap::with_positive`] and
    /// [`Groups::read`]; input, where no row has a label that shall be renamed.
    pub fn learn(path: &Path, options: &LearnOptions) -> Result<Learned> {
        let read = ReadOptions { precision: options.encode.precision, ..options.read.clone() };
        let mut table = PackedTable::read(path, &read, &options.encode)?;
        let in_file = |error: Error| error.in_file(path);
        let found = options.relabel.checked(table.labels.take().ok_or_else(|| no_target(path))?).map_err(in_file)?;
        let mut labels = LabelMap::learn(&found, options.kind, &table.origin)?;
        if let Some(positive) = &options.positive {
            labels = labels.with_positive(positive).map_err(in_file)?;
        }
        let target = labels.apply(&found, &table.origin)?;
        drop(found);
        let (encoder, target_name) = (table.encoder().clone(), table.target_name.take());
        let (format, notes) = (table.format, std::mem::take(&mut table.notes));
        let mut data = table.encode()?.with_target(target);
        if let Some(path) = &options.groups {
            data.groups = Groups::read(path, &data.feature_names, &data.groups)?;
        }
        let schema =
            Schema { encoder, labels, relabel: options.relabel.clone(), target_name, groups: data.groups.clone() };
        Ok(Learned { schema, data, format, notes })
    }

    /// The rows of another file with their target, and where they stand. The target has the name that it had in the training
    /// file, unless `options` say otherwise.
    ///
    /// # Errors
    /// Those of [`Encoder::encode_file`] and [`LabelMap::apply`].
    pub fn read(&self, path: &Path, options: &ReadOptions) -> Result<(Dataset, Origin)> {
        let mut encoded = self.encode_file(path, options)?;
        let labels = encoded.labels.take().ok_or_else(|| no_target(path))?;
        let target = self.labels.apply(&self.relabel.apply(labels), &encoded.origin)?;
        let origin = encoded.origin.clone();
        Ok((Dataset { groups: self.groups.clone(), ..encoded.with_target(target) }, origin))
    }

    /// The features of another file, which needs no target; one that `options` name must be there.
    ///
    /// # Errors
    /// Those of [`Encoder::encode_file`].
    pub fn read_features(&self, path: &Path, options: &ReadOptions) -> Result<Encoded> {
        self.encode_file(path, &ReadOptions { target_required: options.target.is_some(), ..options.clone() })
    }

    /// What is known of the columns of other files.
    pub fn known_columns(&self) -> Option<KnownColumns> {
        let target = self.target_name.clone();
        self.encoder.known_columns().map(|known| KnownColumns { target, ..known })
    }

    fn encode_file(&self, path: &Path, options: &ReadOptions) -> Result<Encoded> {
        let known = options.known.clone().or_else(|| self.known_columns());
        self.encoder.encode_file(path, &ReadOptions { known, ..options.clone() })
    }
}

fn no_target(path: &Path) -> Error {
    Error::input("there is no target").in_file(path).remedy("name it with --target, or give --labels FILE")
}

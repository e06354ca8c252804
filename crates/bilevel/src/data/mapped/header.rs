//! What the header of a mapped file says.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::dataset::Groups;
use crate::data::encode::Encoder;
use crate::data::relabel::Relabel;
use crate::data::schema::Schema;
use crate::data::standardize::Standardization;
use crate::data::target::LabelMap;

/// Order in which entries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// All entries, row after row.
    Dense,
    /// Compressed sparse rows.
    Csr,
}

/// Number type of the stored entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// Consecutive numbers in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// `values`, `offsets`, `indices`, `numbers` or `codes`.
    pub name: String,
    /// First byte in the file.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// CRC-32 of these bytes.
    pub crc32: u32,
}

/// Smallest, mean and largest number of a target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumberSummary {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

/// Where the rows came from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the file that was converted, without its folder.
    pub file: String,
    /// Its format.
    pub format: String,
    /// Name or number of its target column, where it had one.
    pub target_name: Option<String>,
    /// Whether it had a header, where there could be one.
    pub named: Option<bool>,
    /// New names of labels, in the form `NEW=A,B,..`.
    pub relabel: Vec<String>,
    /// Program that wrote the file.
    pub program: String,
}

/// The header of a mapped file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Number of rows `n`.
    pub rows: usize,
    /// Number of features `p`.
    pub features: usize,
    /// Order in which entries are stored.
    pub layout: Layout,
    /// Type of the entries.
    pub element: ElementType,
    /// Number of entries that are stored and not zero.
    pub nonzero: u64,
    /// The sections, in any order.
    pub sections: Vec<Section>,
    /// Kind of the target and names of its classes.
    pub labels: LabelMap,
    /// Number of rows of each class; empty for numbers.
    pub class_counts: Vec<u64>,
    /// Range of the target, in class codes for classes.
    pub target: NumberSummary,
    /// Names of the features; none where they are those of the encoder.
    pub feature_names: Option<Vec<String>>,
    /// Groups of the features; none where they are those of the encoder.
    pub groups: Option<Groups>,
    /// Whether each feature is a measurement.
    pub measured: Vec<bool>,
    /// What was done to the features; none where they are as they came.
    pub standardization: Option<Standardization>,
    /// From other files to these features, before they are standardized.
    pub encoder: Encoder,
    /// Seed of the order of the rows.
    pub seed: u64,
    /// Where the rows came from.
    pub provenance: Provenance,
}

impl Header {
    /// The section `name`.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Names of the features.
    pub fn feature_names(&self) -> Vec<String> {
        self.feature_names.clone().unwrap_or_else(|| self.encoder.feature_names())
    }

    /// Groups of the features.
    pub fn groups(&self) -> Groups {
        self.groups.clone().unwrap_or_else(|| self.encoder.groups())
    }

    /// What the file says of other files.
    ///
    /// # Errors
    /// Input, when the new names of labels have another form than they should.
    pub fn schema(&self) -> Result<Schema> {
        Ok(Schema {
            encoder: self.encoder.clone(),
            labels: self.labels.clone(),
            relabel: Relabel::parse(&self.provenance.relabel)?,
            target_name: self.provenance.target_name.clone(),
            groups: self.groups(),
        })
    }

    /// What is wrong with lengths and names, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let p = self.features;
        let fits = [
            (self.rows > 0 && self.rows < u32::MAX as usize, "the number of rows"),
            (p > 0 && self.encoder.features() == p, "the encoder"),
            (self.feature_names.as_ref().is_none_or(|names| names.len() == p), "the names of the features"),
            (self.groups.as_ref().is_none_or(|groups| fits(groups, p)), "the groups"),
            (self.measured.len() == p, "`measured`"),
            (self.standardization.as_ref().is_none_or(|s| s.fits(p)), "the standardization"),
            (self.class_counts.len() == self.labels.names().len(), "the class counts"),
        ];
        fits.into_iter().find(|(right, _)| !right).map(|(_, what)| format!("{what} cannot be right"))
    }
}

fn fits(groups: &Groups, features: usize) -> bool {
    groups.of_feature.len() == features && groups.of_feature.iter().all(|&group| (group as usize) < groups.len())
}

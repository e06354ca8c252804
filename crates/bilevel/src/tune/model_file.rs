//! The file in which a tuned model is kept, with all that is needed to use it on other files.
//!
//! ```text
//! 0   8 bytes   BILEVEL\n
//! 8   u32       version of the format
//! 12  u32       CRC-32 of the version and of everything from byte 16 on
//! 16  u64       length of the text that follows
//! 24            text (JSON): loss, encoder, labels, names
//!               f64 ...: weights, intercepts, log-penalties
//! ```
//!
//! All numbers are little-endian. The first 16 bytes mean the same in every version, so that an old program can tell a
//! newer file from a damaged one. The same model always gives the same bytes.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ending::Ending;
use super::model::LinearModel;
use super::options::Penalties;
use super::outcome::Tuned;
use crate::data::{Origin, ReadOptions, Schema};
use crate::problems::glm::Loss;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"BILEVEL\n";
const VERSION: u32 = 1;
const HEAD: usize = 24;

/// A tuned model with the way from a file to its features and from its outputs to labels.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedModel {
    /// The model.
    pub model: LinearModel,
    /// Log-penalties it was fitted with, one per hyperparameter.
    pub lambda: Vec<f64>,
    /// Everything else.
    pub about: About,
}

/// Where a model came from and how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// From files to data sets.
    #[serde(flatten)]
    pub schema: Schema,
    /// Kind of penalty.
    pub penalties: Penalties,
    /// Name of each hyperparameter.
    pub lambda_names: Vec<String>,
    /// Why the tuning or the cleaning ended.
    pub status: Ending,
    /// How hypergradients were computed.
    pub method: String,
    /// How the hyperparameters were judged, in words.
    pub criterion: String,
    /// The command that repeats the tuning; empty where there was none.
    pub command: String,
}

/// The text of the file.
#[derive(Serialize, Deserialize)]
struct Text<'a> {
    loss: Loss,
    features: usize,
    outputs: usize,
    hyperparameters: usize,
    about: Cow<'a, About>,
}

impl SavedModel {
    /// The tuned model, whose training rows were read by `schema`.
    pub fn new(tuned: &Tuned, schema: Schema) -> Self {
        SavedModel {
            model: tuned.model.clone(),
            lambda: tuned.lambda.clone(),
            about: About {
                schema,
                penalties: tuned.penalties,
                lambda_names: tuned.lambda_names.clone(),
                status: tuned.status,
                method: tuned.method.clone(),
                criterion: tuned.criterion.clone(),
                command: String::new(),
            },
        }
    }

    /// The contents of the file.
    ///
    /// # Errors
    /// Numeric, when the model holds numbers that are not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let model = &self.model;
        let numbers = || model.coef.iter().chain(&model.intercept).chain(&self.lambda);
        if !numbers().all(|x| x.is_finite()) {
            return Err(Error::numeric("the model holds numbers that are not finite and is not saved"));
        }
        let text = Text {
            loss: model.loss,
            features: model.features,
            outputs: model.outputs,
            hyperparameters: self.lambda.len(),
            about: Cow::Borrowed(&self.about),
        };
        let text = serde_json::to_vec(&text).map_err(|error| Error::numeric(format!("cannot save: {error}")))?;
        let mut bytes = Vec::with_capacity(HEAD + text.len() + 8 * numbers().count());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&text);
        numbers().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// The model in the contents of a file.
    ///
    /// # Errors
    /// Input, when they are no model, damaged, or of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(Error::input("this is not a model file")
                .remedy("give the file `model` from the folder that `bilevel tune` wrote"));
        }
        if bytes.len() < HEAD || u32_at(bytes, 12) != checksum(bytes) {
            return Err(damaged());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Error::input(format!(
                "the model file has version {version}, and this program reads version {VERSION}"
            ))
            .remedy("update bilevel, or tune again with this version"));
        }
        let (text, numbers) = bytes[HEAD..].split_at_checked(u64_at(bytes, 16) as usize).ok_or_else(damaged)?;
        let text: Text<'_> = serde_json::from_slice(text).map_err(|_| damaged())?;
        let mut numbers = numbers.chunks(8).map(|chunk| chunk.try_into().map(f64::from_le_bytes));
        let mut take = |count: usize| -> Result<Vec<f64>> {
            let taken: Vec<f64> = numbers.by_ref().take(count).collect::<Result<_, _>>().map_err(|_| damaged())?;
            if taken.len() == count && taken.iter().all(|x| x.is_finite()) { Ok(taken) } else { Err(damaged()) }
        };
        let Text { loss, features, outputs, hyperparameters, about } = text;
        let coef = take(features.checked_mul(outputs).ok_or_else(damaged)?)?;
        let (intercept, lambda) = (take(outputs)?, take(hyperparameters)?);
        let about = about.into_owned();
        let fits = outputs == loss.outputs()
            && about.schema.encoder.features() == features
            && about.schema.groups.of_feature.len() == features
            && (!loss.is_classifier() || about.schema.labels.names().len() == outputs.max(2));
        if !fits || numbers.next().is_some() {
            return Err(damaged());
        }
        let model = LinearModel { loss, features, outputs, coef, intercept };
        Ok(SavedModel { model, lambda, about })
    }

    /// Reads the model file `path`.
    ///
    /// # Errors
    /// Those of [`SavedModel::from_bytes`], or when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, &error))?;
        Self::from_bytes(&bytes).map_err(|error| error.in_file(path))
    }

    /// Writes the model file `path`, under another name until it is whole.
    ///
    /// # Errors
    /// Those of [`SavedModel::to_bytes`], or when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = Path::new(&temporary);
        let written = std::fs::write(temporary, self.to_bytes()?).and_then(|()| std::fs::rename(temporary, path));
        written.map_err(|error| {
            let _ = std::fs::remove_file(temporary);
            Error::io(path, &error)
        })
    }

    /// The margins of the rows in the file `path`, as [`LinearModel::margins`] gives them, and where the rows stand. The file
    /// needs no target.
    ///
    /// # Errors
    /// Those of [`Schema::read_features`].
    pub fn margins_in_file(&self, path: &Path, options: &ReadOptions) -> Result<(Vec<f64>, Origin)> {
        let encoded = self.about.schema.read_features(path, options)?;
        Ok((self.model.margins_of(&encoded.design)?, encoded.origin))
    }

    /// Predictions for the rows in the file `path`, as [`LinearModel::predict`] gives them. The file needs no target.
    ///
    /// # Errors
    /// Those of [`Schema::read_features`].
    pub fn predict_file(&self, path: &Path, options: &ReadOptions) -> Result<Vec<f64>> {
        let (mut margins, _) = self.margins_in_file(path, options)?;
        self.model.loss.predict(&mut margins);
        Ok(margins)
    }
}

fn damaged() -> Error {
    Error::input("the model file is damaged or cut short").remedy("copy it again, or tune again")
}

/// CRC-32 of everything but the magic bytes and the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[8..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        Column, ColumnData, Contents, EncodeOptions, Encoder, Format, LabelMap, Labels, Origin, Relabel, Table,
    };
    use proptest::prelude::*;

    fn saved() -> SavedModel {
        let text = |texts: &[&str], codes: &[u32]| ColumnData::Text {
            codes: codes.to_vec(),
            levels: texts.iter().map(|text| text.to_string()).collect(),
        };
        let column = |number: usize, name: &str, data| Column { name: name.into(), number, data };
        let table = Table {
            origin: Origin::new("train.csv"),
            format: Format::Delimited,
            contents: Contents::Columns(vec![
                column(1, "age", ColumnData::Numeric(vec![0.1, 1.0 / 3.0, 7e-300, 2.5])),
                column(2, "town", text(&["Genova", "Ulm", "Zürich"], &[0, 1, 2, 1])),
            ]),
            labels: None,
            target_name: Some("late".into()),
            named: true,
            notes: Vec::new(),
        };
        let labels = Labels::Text { codes: vec![0, 1, 1, 0], levels: vec!["no".into(), "yes".into()] };
        let encoder = Encoder::learn(&table, &EncodeOptions::default()).unwrap();
        let features = encoder.features();
        SavedModel {
            model: LinearModel {
                loss: Loss::Logistic,
                features,
                outputs: 1,
                coef: (0..features).map(|j| 0.1 * (j as f64).exp()).collect(),
                intercept: vec![-1.0 / 3.0],
            },
            lambda: vec![-2.5, 0.1 + 0.2],
            about: About {
                schema: Schema {
                    groups: encoder.groups(),
                    encoder,
                    labels: LabelMap::learn(&labels, None, &table.origin).unwrap(),
                    relabel: Relabel::parse(&["yes=1,2", "no=*"]).unwrap(),
                    target_name: Some("late".into()),
                },
                penalties: Penalties::PerGroup,
                lambda_names: vec!["age".into(), "town".into()],
                status: Ending::Converged,
                method: "exact".into(),
                criterion: "5 folds".into(),
                command: "bilevel tune train.csv".into(),
            },
        }
    }

    #[test]
    fn what_is_saved_is_read_and_always_the_same() {
        let saved = saved();
        let bytes = saved.to_bytes().unwrap();
        assert_eq!(SavedModel::from_bytes(&bytes).unwrap(), saved);
        assert_eq!(saved.clone().to_bytes().unwrap(), bytes);
    }

    /// Files that were written before must be read, and programs of others read this text.
    #[test]
    fn the_text_names_the_parts_of_the_schema_side_by_side() {
        let about = serde_json::to_string(&saved().about).unwrap();
        let names = ["encoder", "labels", "relabel", "target_name", "groups", "penalties", "lambda_names"];
        let places = names.map(|name| about.find(&format!("\"{name}\":")).unwrap());
        assert!(places[0] == 1 && places.is_sorted(), "{about}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_not_saved() {
        let mut saved = saved();
        saved.model.coef[0] = f64::NAN;
        assert!(saved.to_bytes().unwrap_err().is_numeric());
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = saved().to_bytes().unwrap();
        bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
        let sum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        let message = SavedModel::from_bytes(&bytes).unwrap_err().to_string();
        assert!(message.contains("version 7") && message.contains("version 1"), "{message}");
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = saved().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(SavedModel::from_bytes(&bytes[..length]).unwrap_err().is_input(), "{length}");
        }
        assert!(SavedModel::from_bytes(&[&bytes[..], b"x"].concat()).unwrap_err().is_input());
    }

    /// A length that cannot be, under a checksum that is right, is an error too.
    #[test]
    fn lengths_are_not_trusted() {
        for length in [0, 1, u64::MAX, u64::MAX - HEAD as u64, 1 << 40] {
            let mut bytes = saved().to_bytes().unwrap();
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            let sum = checksum(&bytes);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
            assert!(SavedModel::from_bytes(&bytes).unwrap_err().is_input(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_noticed(at in any::<prop::sample::Index>(), change in 1..=255u8) {
            let mut bytes = saved().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(SavedModel::from_bytes(&bytes).unwrap_err().is_input());
        }

        #[test]
        fn junk_is_no_model(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&MAGIC[..], &junk].concat();
            prop_assert!(SavedModel::from_bytes(&junk).is_err() && SavedModel::from_bytes(&bytes).is_err());
        }
    }
}

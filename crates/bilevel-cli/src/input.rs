//! From files to data sets, and what to tell the user about them.

use std::path::PathBuf;

use bilevel::Result;
use bilevel::data::{
    self, Dataset, DesignMatrix, Element, EncodeOptions, Encoder, LearnOptions, ReadOptions, Relabel, Target,
    TargetKind,
};

use crate::args::{self, DataArgs, EncodingArgs, YesNo};
use crate::numbers;

/// The library's view of how a file is to be read.
pub fn read_options(how: &DataArgs) -> ReadOptions {
    ReadOptions {
        target: how.target.clone(),
        exclude: how.exclude.clone(),
        labels: how.labels.clone(),
        header: how.header.map(|header| header == YesNo::Yes),
        delimiter: how.delimiter,
        ..ReadOptions::default()
    }
}

/// The library's view of how features are to be encoded.
pub fn encode_options(args: &EncodingArgs) -> EncodeOptions {
    EncodeOptions {
        missing: args.missing.into(),
        storage: args.storage.into(),
        precision: args.dtype.into(),
        normalize_rows: args.normalize_rows,
    }
}

impl From<args::Dtype> for data::Precision {
    fn from(dtype: args::Dtype) -> Self {
        match dtype {
            args::Dtype::F32 => data::Precision::F32,
            args::Dtype::F64 => data::Precision::F64,
        }
    }
}

impl From<args::Storage> for data::Storage {
    fn from(storage: args::Storage) -> Self {
        match storage {
            args::Storage::Auto => data::Storage::Auto,
            args::Storage::Dense => data::Storage::Dense,
            args::Storage::Sparse => data::Storage::Sparse,
        }
    }
}

impl From<args::Missing> for data::Missing {
    fn from(missing: args::Missing) -> Self {
        match missing {
            args::Missing::Error => data::Missing::Error,
            args::Missing::Impute => data::Missing::Impute,
        }
    }
}

/// The library's view of what is to be learned from the training file.
pub fn learn_options(
    how: &DataArgs,
    encoding: &EncodingArgs,
    kind: Option<TargetKind>,
    groups: Option<&PathBuf>,
) -> Result<LearnOptions> {
    Ok(LearnOptions {
        read: read_options(how),
        encode: encode_options(encoding),
        kind,
        positive: encoding.positive_class.clone(),
        relabel: Relabel::parse(&encoding.classes)?,
        groups: groups.cloned(),
    })
}

/// What a data set holds, in pairs of a name and a text.
pub fn describe(dataset: &Dataset, encoder: &Encoder, kind: TargetKind) -> Vec<(String, String)> {
    let (rows, features) = (dataset.rows(), dataset.features());
    let mut size =
        format!("{}, {}", numbers::counted(rows, "row", "rows"), numbers::counted(features, "feature", "features"));
    if !dataset.groups.are_singletons() {
        size += &format!(" in {}", numbers::counted(dataset.groups.len(), "group", "groups"));
    }
    let storage = if encoder.storage() == data::Storage::Dense { "dense" } else { "sparse" };
    let precision = if encoder.precision() == data::Precision::F64 { "f64" } else { "f32" };
    let density = numbers::percent(nonzero(&dataset.design) as f64 / (rows as f64 * features as f64));
    vec![
        ("training data".into(), size),
        ("storage".into(), format!("{storage} {precision}, {density} of the entries nonzero")),
        ("target".into(), describe_target(&dataset.target, kind)),
    ]
}

/// Number of entries that are not zero.
fn nonzero(design: &DesignMatrix) -> usize {
    fn count<T: Element>(values: &[T]) -> usize {
        values.iter().filter(|&&value| value != T::default()).count()
    }
    match design {
        DesignMatrix::DenseF32(m) => count(m.values()),
        DesignMatrix::DenseF64(m) => count(m.values()),
        DesignMatrix::Coded(m) => (0..m.rows()).map(|i| m.decoded_row(i).filter(|x| *x != 0.0).count()).sum(),
        DesignMatrix::CsrF32(m) => count(m.values()),
        DesignMatrix::CsrF64(m) => count(m.values()),
    }
}

/// `two classes: <=50K (24,720), >50K (7,841)`, `real numbers from 1 to 29, mean 9.93368`.
pub fn describe_target(target: &Target, kind: TargetKind) -> String {
    match target {
        Target::Classes { codes, names } => {
            let mut counts = vec![0; names.len()];
            codes.iter().for_each(|&code| counts[code as usize] += 1);
            describe_classes(names, &counts)
        }
        Target::Values(values) => {
            let (min, max) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &y| (a.min(y), b.max(y)));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let [min, mean, max] = [min, mean, max].map(data::SixDigits);
            format!("{kind} from {min} to {max}, mean {mean}")
        }
    }
}

/// Classes with the numbers of their rows.
pub fn describe_classes(names: &[String], counts: &[usize]) -> String {
    let shown = names.iter().zip(counts).take(10);
    let list: Vec<_> = shown.map(|(name, &count)| format!("{name} ({})", numbers::count(count))).collect();
    let more = if names.len() > list.len() { ", …" } else { "" };
    let classes = if names.len() == 2 { "two classes".into() } else { format!("{} classes", names.len()) };
    format!("{classes}: {}{more}", list.join(", "))
}

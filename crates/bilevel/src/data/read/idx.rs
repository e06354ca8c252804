//! IDX, the format of MNIST: a type, the extents in big-endian order, the numbers.
//!
//! Each image becomes a row. Bytes are pixels and are divided by 255; many of them stay as they lie in the file. The labels
//! stand in a second file beside the first, whose name says `labels` and `idx1` instead of `images` and `idx3`.

use std::path::{Path, PathBuf};

use super::ReadOptions;
use super::bytes::Bytes;
use super::sniff::without_compression;
use crate::data::coded::CodedMatrix;
use crate::data::dense::DenseMatrix;
use crate::data::design::{DesignMatrix, Precision};
use crate::data::element::Element;
use crate::data::grid::Grid;
use crate::data::table::Labels;
use crate::{Error, Result};

pub(super) fn read(path: &Path, bytes: Bytes, options: &ReadOptions) -> Result<(DesignMatrix, Option<Labels>)> {
    let array = Array::parse(&bytes).map_err(|error| error.in_file(path))?;
    let (kind, entries) = (array.kind, array.data.len());
    let design = match options.precision {
        Precision::F32 if kind == PIXELS && CodedMatrix::pays(entries) => array.shape().map(|(rows, cols)| {
            let header = bytes.len() - entries;
            let grid = Grid { shift: 0.0, scale: PIXEL };
            DesignMatrix::Coded(CodedMatrix::on_one_grid(rows, cols, bytes.into_vec_from(header), grid))
        }),
        Precision::F32 => array.matrix().map(DesignMatrix::DenseF32),
        Precision::F64 => array.matrix().map(DesignMatrix::DenseF64),
    };
    let design = design.map_err(|error| error.in_file(path))?;
    let labels = match labels_beside(path) {
        Some(beside) if options.labels.is_none() => Some(super::labels::read(&beside)?),
        _ => None,
    };
    Ok((design, labels))
}

/// The labels in an IDX file that holds one number per row.
pub(super) fn labels(bytes: &[u8]) -> Result<Labels> {
    let array = Array::parse(bytes)?;
    if array.extents.len() != 1 {
        return Err(Error::input(format!("labels need one number per row, but the extents are {:?}", array.extents)));
    }
    Ok(Labels::Numbers(array.values(1.0)))
}

/// `train-labels-idx1-ubyte.gz` for `train-images-idx3-ubyte.gz`, in whatever compression it exists.
fn labels_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    if !name.contains("images") {
        return None;
    }
    let name = without_compression(name).replace("images", "labels").replace("idx3", "idx1");
    ["", ".gz", ".xz", ".bz2", ".zst"]
        .iter()
        .map(|ending| path.with_file_name(format!("{name}{ending}")))
        .find(|candidate| candidate.is_file() && candidate != path)
}

/// Whether `bytes` begin like an IDX file.
pub(super) fn is_idx(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, 8 | 9 | 11..=14, 1..=8, ..])
}

/// The type of bytes without sign.
const PIXELS: u8 = 8;
/// What such a byte is a multiple of.
const PIXEL: f64 = 1.0 / 255.0;

struct Array<'a> {
    kind: u8,
    extents: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        if !is_idx(bytes) {
            return Err(Error::input("the first four bytes are not those of an IDX file")
                .remedy("download the file again, or name the format if it is another one"));
        }
        let (kind, dimensions) = (bytes[2], usize::from(bytes[3]));
        let header = 4 + 4 * dimensions;
        let Some(extents) = bytes.get(4..header) else {
            return Err(Error::input("the file is cut short within its header").remedy("copy the file again"));
        };
        let extents: Vec<usize> =
            extents.chunks_exact(4).map(|e| u32::from_be_bytes([e[0], e[1], e[2], e[3]]) as usize).collect();
        let size = match kind {
            PIXELS | 9 => 1,
            11 => 2,
            14 => 8,
            _ => 4,
        };
        let data = &bytes[header..];
        let needed = extents.iter().try_fold(size, |product: usize, &extent| product.checked_mul(extent));
        if needed != Some(data.len()) {
            let needed = needed.map_or("very many".to_string(), |needed| needed.to_string());
            return Err(Error::input(format!(
                "the extents {extents:?} need {needed} bytes, but {} follow",
                data.len()
            ))
            .remedy("copy or download the file again"));
        }
        Ok(Array { kind, extents, data })
    }

    /// All numbers, bytes multiplied by `byte_scale`.
    fn values<T: Element>(&self, byte_scale: f64) -> Vec<T> {
        macro_rules! convert {
            ($type:ty) => {
                self.data
                    .chunks_exact(size_of::<$type>())
                    .map(|chunk| {
                        let mut bytes = [0u8; size_of::<$type>()];
                        bytes.copy_from_slice(chunk);
                        T::from_f64(<$type>::from_be_bytes(bytes) as f64)
                    })
                    .collect()
            };
        }
        match self.kind {
            PIXELS => {
                let scaled: Vec<T> = (0..256).map(|byte| T::from_f64(f64::from(byte) * byte_scale)).collect();
                self.data.iter().map(|&byte| scaled[usize::from(byte)]).collect()
            }
            9 => convert!(i8),
            11 => convert!(i16),
            12 => convert!(i32),
            13 => convert!(f32),
            _ => convert!(f64),
        }
    }

    /// Rows and columns.
    fn shape(&self) -> Result<(usize, usize)> {
        let rows = self.extents[0];
        let cols = self.extents[1..].iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        match cols.filter(|_| rows > 0) {
            Some(cols) => Ok((rows, cols)),
            None => Err(Error::input(format!("the extents {:?} hold no numbers", self.extents))),
        }
    }

    fn matrix<T: Element>(&self) -> Result<DenseMatrix<T>> {
        let (rows, cols) = self.shape()?;
        let values = self.values::<T>(PIXEL);
        if values.iter().any(|value| value.to_f64().is_infinite()) {
            return Err(Error::input("the file holds infinite numbers"));
        }
        Ok(DenseMatrix::new(rows, cols, values))
    }
}

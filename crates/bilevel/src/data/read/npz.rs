//! NumPy archives: arrays `X` and `y`, or a matrix in compressed sparse rows as SciPy's `save_npz` writes it.

use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;

use super::npy::Array;
use super::target::suggestion;
use super::{LARGEST_INDEX, ReadOptions};
use crate::data::convert::convert;
use crate::data::csr::CsrMatrix;
use crate::data::design::{DesignMatrix, Precision};
use crate::data::element::Element;
use crate::data::span::FarColumns;
use crate::data::table::{Labels, Origin};
use crate::{Error, Result};

pub(super) fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<(DesignMatrix, Option<Labels>)> {
    read_archive(path, bytes, options).map_err(|error| error.in_file(path))
}

fn read_archive(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<(DesignMatrix, Option<Labels>)> {
    let mut archive = Archive(ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?);
    let names = archive.names();
    let design = if names.iter().any(|name| name == "indptr") {
        sparse(path, &mut archive, options)?
    } else if let Some(name) = names.iter().find(|name| *name == "X" || *name == "x") {
        let bytes = archive.member(name)?;
        within(name, Array::parse(&bytes).and_then(|array| array.matrix(options.precision)))?
    } else {
        if names.is_empty() {
            return Err(Error::input("this is a zip archive without arrays of NumPy")
                .remedy("unpack it and give the file inside"));
        }
        return Err(Error::input("the archive holds no array 'X'")
            .remedy(format!("save it with numpy.savez(file, X=..., y=...); the arrays are {}", names.join(", "))));
    };
    let wanted = options.target.as_deref().unwrap_or("y");
    if names.iter().any(|name| name == wanted) {
        let bytes = archive.member(wanted)?;
        return Ok((design, Some(within(wanted, Array::parse(&bytes).and_then(|array| array.labels()))?)));
    }
    if options.target.is_some() && options.target_required && options.labels.is_none() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return Err(Error::input(format!("there is no array '{wanted}'")).remedy(suggestion(&names, wanted)));
    }
    Ok((design, None))
}

fn damaged(error: zip::result::ZipError) -> Error {
    Error::input(format!("the archive is damaged or cut short ({error})")).remedy("copy or download the file again")
}

/// Names the array in which the fault is.
fn within<T>(name: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::input(format!("array '{name}': {error}")))
}

struct Archive<'a>(ZipArchive<Cursor<&'a [u8]>>);

impl Archive<'_> {
    /// Names of the arrays, without their ending.
    fn names(&self) -> Vec<String> {
        let names = self.0.file_names().filter_map(|name| name.ok());
        names.filter_map(|name| name.strip_suffix(".npy").map(str::to_string)).collect()
    }

    fn member(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut file = self
            .0
            .by_name(&format!("{name}.npy"))
            .map_err(|_| Error::input(format!("the archive holds no array '{name}', or a damaged one")))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| {
            Error::input(format!("array '{name}' is damaged or cut short ({error})"))
                .remedy("copy or download the file again")
        })?;
        Ok(bytes)
    }

    fn integers(&mut self, name: &str) -> Result<Vec<usize>> {
        let bytes = self.member(name)?;
        within(name, Array::parse(&bytes).and_then(|array| array.integers()))
    }
}

fn sparse(path: &Path, archive: &mut Archive<'_>, options: &ReadOptions) -> Result<DesignMatrix> {
    if let Ok(bytes) = archive.member("format") {
        let format = Array::parse(&bytes).ok().and_then(|array| array.text(0)).unwrap_or_default();
        if format != "csr" {
            return Err(Error::input(format!("the sparse matrix is stored as '{format}', not as 'csr'"))
                .remedy("save matrix.tocsr()"));
        }
    }
    let parts = Parts {
        shape: archive.integers("shape")?,
        offsets: archive.integers("indptr")?,
        indices: archive.integers("indices")?,
        data: archive.member("data")?,
    };
    let data = within("data", Array::parse(&parts.data))?;
    if options.precision == Precision::F32 && !data.is_rounded() {
        return Ok(DesignMatrix::CsrF32(parts.matrix()?));
    }
    let matrix = DesignMatrix::CsrF64(parts.matrix()?);
    let mut far = FarColumns::default();
    far.add_matrix(&matrix);
    let double = options.precision == Precision::F64 || far.need_double();
    convert(matrix, false, double, &Origin::new(path))
}

struct Parts {
    shape: Vec<usize>,
    offsets: Vec<usize>,
    indices: Vec<usize>,
    data: Vec<u8>,
}

impl Parts {
    /// The matrix, with the entries of each row sorted and zeros dropped.
    fn matrix<T: Element>(&self) -> Result<CsrMatrix<T>> {
        let values = within("data", Array::parse(&self.data).and_then(|array| array.finite::<T>()))?;
        let [rows, cols] = self.shape[..] else {
            return Err(Error::input("array 'shape' must hold rows and columns"));
        };
        if cols as u64 > LARGEST_INDEX {
            return Err(Error::input(format!("{cols} columns are more than the {LARGEST_INDEX} supported")));
        }
        let spans = self.offsets.first() == Some(&0)
            && self.offsets.len().checked_sub(1) == Some(rows)
            && self.offsets.windows(2).all(|pair| pair[0] <= pair[1])
            && self.offsets.last() == Some(&values.len())
            && self.indices.len() == values.len();
        if !spans {
            return Err(Error::input("arrays 'indptr', 'indices', 'data' and 'shape' do not belong together"));
        }
        let mut offsets = vec![0];
        let (mut kept, mut stored) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        let mut row: Vec<(usize, T)> = Vec::new();
        for span in self.offsets.windows(2) {
            row.clear();
            row.extend(self.indices[span[0]..span[1]].iter().copied().zip(values[span[0]..span[1]].iter().copied()));
            row.sort_by_key(|&(index, _)| index);
            let number = offsets.len();
            if row.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(Error::input(format!("row {number} holds an entry twice"))
                    .remedy("call matrix.sum_duplicates() before saving"));
            }
            if row.last().is_some_and(|&(index, _)| index >= cols) {
                return Err(Error::input(format!("row {number} holds an index outside the {cols} columns")));
            }
            for &(index, value) in row.iter().filter(|(_, value)| *value != T::default()) {
                kept.push(index as u32);
                stored.push(value);
            }
            offsets.push(kept.len());
        }
        Ok(CsrMatrix::new(cols, offsets, kept, stored))
    }
}

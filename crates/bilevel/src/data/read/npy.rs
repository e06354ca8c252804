//! NumPy arrays: `.npy` files and the members of `.npz` archives.

use std::path::Path;

use super::ReadOptions;
use super::categories::Categories;
use super::shown;
use crate::data::dense::DenseMatrix;
use crate::data::design::{DesignMatrix, Precision};
use crate::data::element::Element;
use crate::data::span::FarColumns;
use crate::data::table::Labels;
use crate::{Error, Result};

/// The matrix of an `.npy` file, `n` or `n x p` numbers; labels come from elsewhere.
pub(super) fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<(DesignMatrix, Option<Labels>)> {
    let array = Array::parse(bytes).map_err(|error| error.in_file(path))?;
    Ok((array.matrix(options.precision).map_err(|error| error.in_file(path))?, None))
}

/// An array whose header has been read.
pub(super) struct Array<'a> {
    pub(super) shape: Vec<usize>,
    kind: Kind,
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
    fortran: bool,
    data: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
    /// UCS-4 text.
    Unicode,
    Bytes,
}

impl<'a> Array<'a> {
    /// Reads the header and checks that the data are complete.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let cut = || Error::input("the array is cut short").remedy("copy the file again");
        let rest = bytes
            .strip_prefix(b"\x93NUMPY")
            .ok_or_else(|| Error::input("this is no NumPy array, it does not begin with \\x93NUMPY"))?;
        let major = *rest.first().ok_or_else(cut)?;
        let (length, rest) = match major {
            1 => {
                let length = rest.get(2..4).ok_or_else(cut)?;
                (usize::from(u16::from_le_bytes([length[0], length[1]])), &rest[4..])
            }
            2 | 3 => {
                let length = rest.get(2..6).ok_or_else(cut)?;
                (u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize, &rest[6..])
            }
            _ => return Err(Error::input(format!("version {major} of the NumPy array format is not known"))),
        };
        let header = rest.get(..length).ok_or_else(cut)?;
        let header = std::str::from_utf8(header).map_err(|_| Error::input("the header of the array is not text"))?;
        let (kind, size, big_endian) = element_type(header)?;
        let shape = shape(header)?;
        let fortran = field(header, "fortran_order")?.starts_with("True");
        let needed = shape.iter().try_fold(size, |product, &extent| product.checked_mul(extent));
        let data = &rest[length..];
        let needed = needed.filter(|&needed| needed <= data.len()).ok_or_else(|| {
            Error::input(format!(
                "the array is cut short: its shape is {shape:?}, but only {} bytes follow",
                data.len()
            ))
            .remedy("copy the file again")
        })?;
        Ok(Array { shape, kind, size, big_endian, fortran, data: &data[..needed] })
    }

    /// Number of elements.
    fn len(&self) -> usize {
        self.data.len() / self.size.max(1)
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Unicode | Kind::Bytes)
    }

    /// All elements as numbers, in the order in which they are stored.
    fn numbers<T: Element>(&self) -> Result<Vec<T>> {
        self.decode(self.data)
    }

    /// `data`, some elements, as numbers.
    fn decode<T: Element>(&self, data: &[u8]) -> Result<Vec<T>> {
        macro_rules! convert {
            ($type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let chunks = data.chunks_exact(SIZE).map(|chunk| {
                    let mut bytes = [0u8; SIZE];
                    bytes.copy_from_slice(chunk);
                    let value =
                        if self.big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) };
                    T::from_f64(value as f64)
                });
                Ok(chunks.collect())
            }};
        }
        match (self.kind, self.size) {
            (Kind::Float, 4) => convert!(f32),
            (Kind::Float, 8) => convert!(f64),
            (Kind::Signed, 1) => convert!(i8),
            (Kind::Signed, 2) => convert!(i16),
            (Kind::Signed, 4) => convert!(i32),
            (Kind::Signed, 8) => convert!(i64),
            (Kind::Unsigned | Kind::Bool, 1) => convert!(u8),
            (Kind::Unsigned, 2) => convert!(u16),
            (Kind::Unsigned, 4) => convert!(u32),
            (Kind::Unsigned, 8) => convert!(u64),
            (Kind::Unicode | Kind::Bytes, _) => Err(Error::input("the array holds texts where numbers are needed")),
            (kind, size) => Err(Error::input(format!("{}-bit {kind:?} elements are not supported", 8 * size))
                .remedy("convert the array to float32 or float64")),
        }
    }

    /// Whether single precision rounds some numbers of this type.
    pub(super) fn is_rounded(&self) -> bool {
        match self.kind {
            Kind::Float => self.size > 4,
            Kind::Signed | Kind::Unsigned => self.size >= 4,
            Kind::Bool | Kind::Unicode | Kind::Bytes => false,
        }
    }

    /// The array as `n x p` matrix; NaN stays (missing), infinities are an error. It has double precision, too, where single
    /// precision would spoil a column.
    pub(super) fn matrix(&self, precision: Precision) -> Result<DesignMatrix> {
        let precision = if self.is_rounded() && self.needs_double()? { Precision::F64 } else { precision };
        Ok(match precision {
            Precision::F32 => DesignMatrix::DenseF32(self.dense()?),
            Precision::F64 => DesignMatrix::DenseF64(self.dense()?),
        })
    }

    /// Rows and columns.
    fn extents(&self) -> Result<(usize, usize)> {
        match *self.shape {
            [rows] => Ok((rows, 1)),
            [rows, cols] => Ok((rows, cols)),
            _ => Err(Error::input(format!("the array has {} dimensions, {:?}", self.shape.len(), self.shape))
                .remedy("reshape it to rows x features")),
        }
    }

    /// Whether single precision would spoil a column.
    fn needs_double(&self) -> Result<bool> {
        let (rows, cols) = self.extents()?;
        let mut far = FarColumns::default();
        let mut gathered = Vec::new();
        for i in 0..rows {
            let row = match self.fortran {
                false => &self.data[i * cols * self.size..][..cols * self.size],
                true => {
                    gathered.clear();
                    let element = |j: usize| &self.data[(j * rows + i) * self.size..][..self.size];
                    (0..cols).for_each(|j| gathered.extend_from_slice(element(j)));
                    &gathered
                }
            };
            far.add_dense(&self.decode::<f64>(row)?);
            if !far.any() {
                break;
            }
        }
        Ok(far.need_double())
    }

    fn dense<T: Element>(&self) -> Result<DenseMatrix<T>> {
        let (rows, cols) = self.extents()?;
        let mut values = self.numbers::<T>()?;
        if self.fortran && cols > 1 {
            values =
                (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))).map(|(i, j)| values[j * rows + i]).collect();
        }
        if let Some(at) = values.iter().position(|value| value.to_f64().is_infinite()) {
            return Err(Error::input(format!(
                "row {}, column {} is infinite or too large for the precision",
                at / cols + 1,
                at % cols + 1
            ))
            .remedy("correct it, use --dtype f64, or write NaN and pass --missing impute"));
        }
        Ok(DenseMatrix::new(rows, cols, values))
    }

    /// The array as labels: `n` or `n x 1` numbers or texts.
    pub(super) fn labels(&self) -> Result<Labels> {
        if !matches!(*self.shape, [_] | [_, 1]) {
            return Err(Error::input(format!("labels need an array of n numbers or texts, not {:?}", self.shape)));
        }
        if !self.is_text() {
            return Ok(Labels::Numbers(self.numbers()?));
        }
        let mut categories = Categories::default();
        for row in 0..self.shape[0] {
            let not_text = || Error::input(format!("label {} is not valid text", row + 1));
            let text = self.text(row).ok_or_else(not_text)?;
            categories.push(text.as_bytes()).map_err(|_| not_text())?;
        }
        let (codes, levels) = categories.finish();
        Ok(Labels::Text { codes, levels })
    }

    /// Element `at` as text, without the zeros that pad it.
    pub(super) fn text(&self, at: usize) -> Option<String> {
        let bytes = self.data.get(at * self.size..(at + 1) * self.size)?;
        let text = match self.kind {
            Kind::Bytes => std::str::from_utf8(bytes).ok()?.to_string(),
            Kind::Unicode => {
                let mut text = String::new();
                for c in bytes.chunks_exact(4) {
                    let c = [c[0], c[1], c[2], c[3]];
                    let code = if self.big_endian { u32::from_be_bytes(c) } else { u32::from_le_bytes(c) };
                    text.push(char::from_u32(code)?);
                }
                text
            }
            _ => return None,
        };
        Some(text.trim_end_matches('\0').to_string())
    }

    /// The array as non-negative integers (offsets, indices, a shape).
    pub(super) fn integers(&self) -> Result<Vec<usize>> {
        if !matches!(self.kind, Kind::Signed | Kind::Unsigned) {
            return Err(Error::input("integers are needed"));
        }
        let values = self.numbers::<f64>()?;
        debug_assert_eq!(values.len(), self.len());
        if values.iter().any(|&value| value < 0.0 || value > 2f64.powi(53)) {
            return Err(Error::input("negative or huge integers"));
        }
        Ok(values.into_iter().map(|value| value as usize).collect())
    }

    /// All elements as finite numbers.
    pub(super) fn finite<T: Element>(&self) -> Result<Vec<T>> {
        let values = self.numbers::<T>()?;
        match values.iter().position(|value| !value.to_f64().is_finite()) {
            Some(at) => Err(Error::input(format!("entry {} is not a finite number", at + 1))),
            None => Ok(values),
        }
    }
}

/// The text after `'name':` in the header.
fn field<'h>(header: &'h str, name: &str) -> Result<&'h str> {
    header
        .split_once(&format!("'{name}'"))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .ok_or_else(|| Error::input(format!("the header of the array lacks '{name}'")))
}

fn element_type(header: &str) -> Result<(Kind, usize, bool)> {
    let descr = field(header, "descr")?;
    let unsupported = |what: &str| {
        Error::input(format!("arrays of {what} are not supported")).remedy("convert the array to float32 or float64")
    };
    let Some(text) = descr.strip_prefix('\'').and_then(|rest| rest.split('\'').next()) else {
        return Err(unsupported("records"));
    };
    let order = text.chars().next().filter(|c| "<>|=".contains(*c));
    let rest = &text[order.map_or(0, |_| 1)..];
    let mut chars = rest.chars();
    let kind = match chars.next() {
        Some('f') => Kind::Float,
        Some('i') => Kind::Signed,
        Some('u') => Kind::Unsigned,
        Some('b') => Kind::Bool,
        Some('U') => Kind::Unicode,
        Some('S') => Kind::Bytes,
        Some('O') => return Err(unsupported("Python objects")),
        _ => return Err(unsupported(&format!("type '{}'", shown(text.as_bytes())))),
    };
    let unit = if kind == Kind::Unicode { 4 } else { 1 };
    let size = chars.as_str().parse::<usize>().ok().and_then(|size| size.checked_mul(unit));
    let size = size.filter(|size| (1..=1 << 20).contains(size));
    let size = size.ok_or_else(|| unsupported(&format!("type '{}'", shown(text.as_bytes()))))?;
    Ok((kind, size, order == Some('>')))
}

fn shape(header: &str) -> Result<Vec<usize>> {
    let bad = || Error::input("the header of the array has no valid shape");
    let inner = field(header, "shape")?.strip_prefix('(').and_then(|rest| rest.split(')').next()).ok_or_else(bad)?;
    let extents = inner.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    let shape: Vec<usize> =
        extents.map(|extent| extent.trim_end_matches('L').parse().map_err(|_| bad())).collect::<Result<_>>()?;
    if shape.len() > 32 { Err(bad()) } else { Ok(shape) }
}

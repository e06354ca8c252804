//! Parquet files of numbers, truth values and texts into the same columns as delimited text.

use std::path::Path;

use parquet::basic::ConvertedType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::categories::Categories;
use super::{Format, ReadOptions, header, target};
use crate::data::table::{Column, ColumnData, Contents, Origin, Table};
use crate::{Error, Result};

/// Records read at a time.
const BATCH: usize = 1 << 14;

pub(super) fn read(path: &Path, bytes: super::bytes::Bytes, options: &ReadOptions) -> Result<Table> {
    // Damaged files make the decoder panic in places.
    let columns = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_columns(bytes)))
        .unwrap_or_else(|_| Err(Error::input("the file is damaged").remedy("copy or download the file again")))
        .map_err(|error| error.in_file(path))?;
    let mut table = Table {
        origin: Origin::new(path),
        format: Format::Parquet,
        contents: Contents::Columns(columns),
        labels: None,
        target_name: None,
        named: true,
        notes: Vec::new(),
    };
    if table.contents.columns() == 0 {
        return Err(Error::input("the file holds no columns").in_file(path));
    }
    target::take(&mut table, options)?;
    Ok(table)
}

fn damaged(error: parquet::errors::ParquetError) -> Error {
    Error::input(format!("the file is damaged or cut short ({error})")).remedy("copy or download the file again")
}

fn read_columns(bytes: super::bytes::Bytes) -> Result<Vec<Column>> {
    let reader = SerializedFileReader::new(bytes::Bytes::from_owner(bytes)).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns = Vec::with_capacity(schema.num_columns());
    for index in 0..schema.num_columns() {
        let descriptor = schema.column(index);
        let name = descriptor.name().to_string();
        if descriptor.max_rep_level() > 0 || descriptor.path().parts().len() > 1 {
            return Err(Error::input(format!("column '{}' is nested", descriptor.path().string()))
                .remedy("store one value per row and column"));
        }
        let mut cells = Cells::default();
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(damaged)?;
            cells.read(group.get_column_reader(index).map_err(damaged)?, &descriptor)?;
        }
        let data = cells.finish(&name, index)?;
        columns.push(Column { name, number: index + 1, data });
    }
    Ok(columns)
}

#[derive(Default)]
struct Cells {
    numbers: Vec<f64>,
    texts: Categories,
    textual: bool,
}

impl Cells {
    fn read(&mut self, reader: ColumnReader, descriptor: &ColumnDescriptor) -> Result<()> {
        let unsupported = |what: &str| {
            Error::input(format!("column '{}' holds {what}, which is not supported", descriptor.name()))
                .remedy("convert the column to numbers or texts")
        };
        let nullable = descriptor.max_def_level() > 0;
        let decimal = descriptor.converted_type() == ConvertedType::DECIMAL;
        let unit = if decimal { 10f64.powi(descriptor.type_scale()) } else { 1.0 };
        let unsigned = matches!(descriptor.converted_type(), ConvertedType::UINT_64 | ConvertedType::UINT_32);
        let numbers = &mut self.numbers;
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                each(reader, nullable, |cell| numbers.push(cell.map_or(f64::NAN, |&x| f64::from(u8::from(x)))))
            }
            ColumnReader::Int32ColumnReader(reader) => each(reader, nullable, |cell| {
                let value = |&x: &i32| if unsigned { f64::from(x as u32) } else { f64::from(x) };
                numbers.push(cell.map_or(f64::NAN, |x| value(x) / unit));
            }),
            ColumnReader::Int64ColumnReader(reader) => each(reader, nullable, |cell| {
                let value = |&x: &i64| if unsigned { x as u64 as f64 } else { x as f64 };
                numbers.push(cell.map_or(f64::NAN, |x| value(x) / unit));
            }),
            ColumnReader::FloatColumnReader(reader) => {
                each(reader, nullable, |cell| numbers.push(cell.map_or(f64::NAN, |&x| f64::from(x))))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                each(reader, nullable, |cell| numbers.push(cell.map_or(f64::NAN, |&x| x)))
            }
            ColumnReader::ByteArrayColumnReader(reader) if !decimal => {
                self.textual = true;
                let data = |array: &ByteArray| array.data().to_vec();
                read_texts(reader, nullable, &mut self.texts, data, descriptor.name())
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) if !decimal => {
                self.textual = true;
                let data = |array: &FixedLenByteArray| array.data().to_vec();
                read_texts(reader, nullable, &mut self.texts, data, descriptor.name())
            }
            ColumnReader::Int96ColumnReader(_) => Err(unsupported("96-bit time stamps")),
            _ => Err(unsupported("decimal numbers of more than 64 bits")),
        }
    }

    fn finish(self, name: &str, index: usize) -> Result<ColumnData> {
        if self.textual {
            let (codes, levels) = self.texts.finish();
            return Ok(ColumnData::Text { codes, levels });
        }
        if let Some(row) = self.numbers.iter().position(|value| value.is_infinite()) {
            return Err(Error::input(format!("row {}: column '{name}' holds an infinite number", row + 1))
                .at_column(index as u64 + 1)
                .remedy("correct it, or leave the cell empty and pass --missing impute"));
        }
        Ok(ColumnData::Numeric(self.numbers))
    }
}

/// Calls `cell` for every row, with `None` for a missing value.
fn each<D: DataType>(
    mut reader: ColumnReaderImpl<D>,
    nullable: bool,
    mut cell: impl FnMut(Option<&D::T>),
) -> Result<()> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let wanted = nullable.then_some(&mut levels);
        let (records, _, _) = reader.read_records(BATCH, wanted, None, &mut values).map_err(damaged)?;
        if records == 0 {
            return Ok(());
        }
        if !nullable {
            values.iter().for_each(|value| cell(Some(value)));
            continue;
        }
        let mut present = values.iter();
        levels.iter().for_each(|&level: &i16| cell(if level > 0 { present.next() } else { None }));
    }
}

fn read_texts<D: DataType, B: AsRef<[u8]>>(
    reader: ColumnReaderImpl<D>,
    nullable: bool,
    texts: &mut Categories,
    data: impl Fn(&D::T) -> B,
    name: &str,
) -> Result<()>
where
    D::T: 'static,
{
    let mut valid = true;
    each(reader, nullable, |cell| match cell {
        Some(cell) if !header::is_missing(data(cell).as_ref()) => valid &= texts.push(data(cell).as_ref()).is_ok(),
        _ => texts.push_missing(),
    })?;
    if valid { Ok(()) } else { Err(Error::input(format!("column '{name}' holds bytes that are not UTF-8 text"))) }
}

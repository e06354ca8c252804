//! Parquet files, written here and read back.
#![cfg(feature = "parquet")]

mod common;

use std::sync::Arc;

use bilevel::data::*;
use common::Scratch;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Columns `x` (numbers, the second missing), `n` (integers), `city` (texts) and `y`, in two row groups.
fn bytes(compression: parquet::basic::Compression) -> Vec<u8> {
    let schema = "message rows { optional double x; required int64 n; optional binary city (UTF8); required int64 y; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5, 3.5], Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1, 2, 3], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let cities = [ByteArray::from("Ulm"), ByteArray::from("Bonn")];
        column.typed::<ByteArrayType>().write_batch(&cities, Some(&[1, 1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[0, 1, 0], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn columns_of_all_kinds() {
    use parquet::basic::Compression::*;
    for compression in [UNCOMPRESSED, SNAPPY, LZ4_RAW, GZIP(Default::default()), ZSTD(Default::default())] {
        let file = Scratch::new("a.parquet", bytes(compression));
        let table = read(&file.0, &ReadOptions::default()).unwrap();
        assert_eq!(table.target_name.as_deref(), Some("y"));
        assert_eq!(table.labels, Some(Labels::Numbers(vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0])));
        let options = EncodeOptions { missing: Missing::Impute, storage: Storage::Dense, ..Default::default() };
        let encoded = Encoder::learn(&table, &options).unwrap().encode(table).unwrap();
        assert_eq!(encoded.feature_names, ["x", "n", "city=Bonn", "city=Ulm", "city=(missing)"]);
        let DesignMatrix::DenseF32(matrix) = encoded.design else { panic!("dense is asked for") };
        assert_eq!(matrix.row(0), [1.5, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(matrix.row(4), [2.5, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(matrix.row(5), [3.5, 3.0, 0.0, 0.0, 1.0]);
    }
}

#[test]
fn a_missing_value_names_row_and_column() {
    let file = Scratch::new("a.parquet", bytes(parquet::basic::Compression::UNCOMPRESSED));
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let error = Encoder::learn(&table, &EncodeOptions::default()).unwrap().encode(table).unwrap_err().to_string();
    assert!(error.contains("row 2: the value of column 'x' is missing"), "{error}");
}

#[test]
fn damaged_files() {
    let whole = bytes(parquet::basic::Compression::SNAPPY);
    for cut in [4, 10, whole.len() / 2, whole.len() - 1] {
        let file = Scratch::new("a.parquet", &whole[..cut]);
        assert!(read(&file.0, &ReadOptions::default()).is_err_and(|error| error.is_input()), "cut at {cut}");
    }
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let file = Scratch::new("a.parquet", bytes);
        let _ = read(&file.0, &ReadOptions::default());
    }
}

//! What is written is read: round trips through every format, and random bytes that must not make a reader panic.

use crate::common::*;
use bilevel::data::*;
use proptest::prelude::*;

/// Rows of finite numbers, some of them zero; at least one row and column.
fn matrix() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let number = prop_oneof![Just(0.0), (-1000i32..1000).prop_map(f64::from), -1e6..1e6f64, proptest::num::f64::NORMAL];
    (1usize..12, 1usize..7).prop_flat_map(move |(rows, cols)| {
        proptest::collection::vec(proptest::collection::vec(number.clone(), cols), rows)
    })
}

fn double() -> ReadOptions {
    ReadOptions { precision: Precision::F64, ..ReadOptions::default() }
}

/// The matrix that a table encodes to, as rows.
fn rows(table: Table) -> Vec<Vec<f64>> {
    let options = EncodeOptions { precision: Precision::F64, storage: Storage::Dense, ..Default::default() };
    let DesignMatrix::DenseF64(matrix) = Encoder::learn(&table, &options).unwrap().encode(table).unwrap().design else {
        panic!("dense double precision is asked for");
    };
    (0..matrix.rows()).map(|i| matrix.row(i).to_vec()).collect()
}

fn numbers(table: &Table) -> Vec<f64> {
    match table.labels.clone().unwrap() {
        Labels::Numbers(values) => values,
        Labels::Text { .. } => panic!("numbers are expected"),
    }
}

fn flat(matrix: &[Vec<f64>], fortran: bool) -> Vec<f64> {
    if fortran {
        (0..matrix[0].len()).flat_map(|j| matrix.iter().map(move |row| row[j])).collect()
    } else {
        matrix.concat()
    }
}

/// Beginnings that lead into the depths of a reader.
const MAGIC: &[&[u8]] = &[
    b"",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,)",
    b"PK\x03\x04",
    b"\0\0\x08\x03",
    b"\0\0\x0d\x01\0\0\0\x08",
    b"\x1f\x8b\x08\0",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"PAR1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn svmlight(matrix in matrix(), scientific: bool, base in 0usize..3) {
        let mut text = String::from("# written by a test\n");
        for (i, row) in matrix.iter().enumerate() {
            text += &format!("{} qid:{i}", i as f64 - 0.5);
            for (j, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                text += &if scientific { format!(" {}:{x:e}", j + 1) } else { format!("\t{}:{x}", j + 1) };
            }
            text += ["\n", " # remark 1:2\r\n", "# 1:2\n\n"][(i + base) % 3];
        }
        let file = Scratch::new("a.svm", text);
        let options = ReadOptions { features: Some(matrix[0].len()), ..double() };
        let table = read(&file.0, &options).unwrap();
        prop_assert_eq!(numbers(&table), (0..matrix.len()).map(|i| i as f64 - 0.5).collect::<Vec<_>>());
        prop_assert_eq!(rows(table), matrix);
    }

    #[test]
    fn delimited(matrix in matrix(), delimiter in prop_oneof![Just(','), Just('\t'), Just(';'), Just('|')], header: bool) {
        let join = |cells: Vec<String>| cells.join(&delimiter.to_string()) + "\n";
        let mut text = String::new();
        if header {
            text += &join((0..=matrix[0].len()).map(|j| format!("\"column, {j}\"")).collect());
        }
        for (i, row) in matrix.iter().enumerate() {
            text += &join(row.iter().chain([&(i as f64)]).map(f64::to_string).collect());
        }
        let file = Scratch::new("a.txt", text);
        let table = read(&file.0, &double()).unwrap();
        prop_assert_eq!(table.named, header);
        prop_assert_eq!(table.origin.line(0), Some(if header { 2 } else { 1 }));
        prop_assert_eq!(numbers(&table), (0..matrix.len()).map(|i| i as f64).collect::<Vec<_>>());
        prop_assert_eq!(rows(table), matrix);
    }

    #[test]
    fn numpy_arrays(matrix in matrix(), fortran: bool, big: bool) {
        let shape = format!("({}, {})", matrix.len(), matrix[0].len());
        let values = flat(&matrix, fortran);
        let bytes: Vec<u8> = values.iter().flat_map(|x| if big { x.to_be_bytes() } else { x.to_le_bytes() }).collect();
        let x = npy(if big { "'>f8'" } else { "'<f8'" }, fortran, &shape, &bytes);
        let y: Vec<f64> = (0..matrix.len()).map(|i| i as f64).collect();
        let labels = npy("'<f8'", false, &format!("({},)", y.len()), &doubles(&y));
        let file = Scratch::new("x.npy", &x);
        file.beside("y.npy", &labels);
        let table = read(&file.0, &ReadOptions { labels: Some(file.0.with_file_name("y.npy")), ..double() }).unwrap();
        prop_assert_eq!(numbers(&table), y.clone());
        prop_assert_eq!(rows(table), matrix.clone());
        let archive = Scratch::new("a.npz", npz(&[("X", x), ("y", labels)]));
        let table = read(&archive.0, &double()).unwrap();
        prop_assert_eq!(numbers(&table), y);
        prop_assert_eq!(rows(table), matrix);
    }

    #[test]
    fn sparse_numpy_archives(matrix in matrix()) {
        let (mut indptr, mut indices, mut data) = (vec![0i64], vec![], vec![]);
        for row in &matrix {
            // Columns in falling order: SciPy does not sort them.
            for (j, x) in row.iter().enumerate().rev().filter(|(_, x)| **x != 0.0) {
                indices.push(j as i64);
                data.push(*x);
            }
            indptr.push(indices.len() as i64);
        }
        let array = |v: &[i64]| npy("'<i8'", false, &format!("({},)", v.len()), &integers(v));
        let shape = array(&[matrix.len() as i64, matrix[0].len() as i64]);
        let data = npy("'<f8'", false, &format!("({},)", data.len()), &doubles(&data));
        let parts = [("indptr", array(&indptr)), ("indices", array(&indices)), ("data", data), ("shape", shape)];
        let file = Scratch::new("a.npz", npz(&parts));
        let table = read(&file.0, &ReadOptions { target_required: false, ..double() }).unwrap();
        prop_assert_eq!(rows(table), matrix);
    }

    #[test]
    fn idx_images(pixels in proptest::collection::vec(any::<u8>(), 12), labels in proptest::collection::vec(any::<u8>(), 2)) {
        let file = Scratch::new("t-images-idx3-ubyte.gz", &compressed(&idx(&[2, 2, 3], &pixels))[0].1);
        file.beside("t-labels-idx1-ubyte", idx(&[2], &labels));
        let table = read(&file.0, &double()).unwrap();
        prop_assert_eq!(numbers(&table), labels.iter().map(|&label| f64::from(label)).collect::<Vec<_>>());
        let scaled: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel) * (1.0 / 255.0)).collect();
        prop_assert_eq!(rows(table).concat(), scaled);
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        magic in proptest::sample::select(MAGIC),
        name in prop_oneof![Just("a"), Just("a.csv"), Just("a.svm"), Just("a.npy"), Just("a.npz"), Just("a-ubyte")],
    ) {
        let file = Scratch::new(name, [magic, &bytes].concat());
        let _ = read(&file.0, &ReadOptions { target_required: false, ..ReadOptions::default() });
        let _ = read(&file.0, &ReadOptions { labels: Some(file.0.clone()), ..ReadOptions::default() });
        for format in [Format::Svmlight, Format::Delimited, Format::Npy, Format::Npz, Format::Idx, Format::Parquet] {
            let _ = read(&file.0, &ReadOptions { format: Some(format), ..ReadOptions::default() });
        }
    }

    #[test]
    fn random_text_never_panics(text in "([-+0-9.e:,;|\t\"#a?]| |\n|\r|nan|inf|NA|qid:){0,120}") {
        for name in ["a", "a.csv", "a.svm"] {
            let file = Scratch::new(name, &text);
            for target_required in [false, true] {
                let options = ReadOptions { target_required, ..ReadOptions::default() };
                let Ok(table) = read(&file.0, &options) else { continue };
                let options = EncodeOptions { missing: Missing::Impute, ..Default::default() };
                let _ = profile(&table, &options).map(|profile| profile.to_string());
                if let Some(labels) = &table.labels {
                    let _ = LabelMap::learn(labels, None, &table.origin);
                }
                if let Ok(encoder) = Encoder::learn(&table, &options) {
                    prop_assert!(encoder.encode(table).is_ok());
                }
            }
        }
    }
}

#[test]
fn other_element_types_of_numpy_arrays() {
    let read_as = |descr: &str, bytes: &[u8]| {
        let file = Scratch::new("a.npy", npy(descr, false, "(2,)", bytes));
        rows(read(&file.0, &ReadOptions { target_required: false, ..double() }).unwrap()).concat()
    };
    assert_eq!(read_as("'|u1'", &[1, 255]), [1.0, 255.0]);
    assert_eq!(read_as("'|i1'", &[1, 255]), [1.0, -1.0]);
    assert_eq!(read_as("'|b1'", &[1, 0]), [1.0, 0.0]);
    assert_eq!(read_as("'<i2'", &[1, 0, 255, 255]), [1.0, -1.0]);
    assert_eq!(read_as("'>i4'", &[0, 0, 0, 1, 0, 0, 1, 0]), [1.0, 256.0]);
    assert_eq!(read_as("'<f4'", &[0, 0, 128, 63, 0, 0, 0, 64]), [1.0, 2.0]);
}

/// Such frames hold sizes or an index; parallel compressors and seekable archives write them.
#[test]
fn zstd_frames_that_hold_no_data_are_skipped() {
    let frame = compressed(b"1 1:1\n0 1:2\n")[3].1.clone();
    let skipped = |magic: u8, bytes: &[u8]| {
        let length = (bytes.len() as u32).to_le_bytes();
        [&[magic, 0x2a, 0x4d, 0x18], &length[..], bytes].concat()
    };
    let parts = [skipped(0x50, b"size"), frame.clone(), skipped(0x5e, &[0; 9]), skipped(0x51, b""), frame];
    let file = Scratch::new("a.zst", parts.concat());
    assert_eq!(read(&file.0, &double()).unwrap().rows(), 4);
    assert_eq!(
        PackedTable::read(&file.0, &double(), &EncodeOptions::default()).unwrap().encode().unwrap().design.rows(),
        4
    );
    let cut = Scratch::new("a.zst", [&parts.concat()[..], &skipped(0x50, b"size")[..10]].concat());
    assert!(read(&cut.0, &double()).unwrap_err().to_string().contains("the zstd archive is damaged or cut short"));
}

/// It is no part of the first label.
#[test]
fn byte_order_marks_are_no_text() {
    for (name, text) in
        [("a.svm", "1 1:1\n0 1:2\n1 1:3\n"), ("a", "1 1:1\n0 1:2\n1 1:3\n"), ("a.csv", "1,1\n2,0\n3,1\n")]
    {
        let file = Scratch::new(name, format!("\u{feff}{text}"));
        let packed = PackedTable::read(&file.0, &double(), &EncodeOptions::default()).unwrap();
        assert_eq!(packed.labels, Some(Labels::Numbers(vec![1.0, 0.0, 1.0])), "{name}");
        assert_eq!(numbers(&read(&file.0, &double()).unwrap()), [1.0, 0.0, 1.0], "{name}");
    }
}

#[test]
fn text_labels_in_every_place() {
    let expected = Labels::Text { codes: vec![1, 0, 1], levels: vec!["cat".into(), "dog".into()] };
    let svm = Scratch::new("a.svm", "dog 1:1\ncat 2:1\ndog 1:3 # remark\n");
    assert_eq!(read(&svm.0, &double()).unwrap().labels.unwrap(), expected);
    let late = Scratch::new("a.svm", "1 1:1\ncat 2:1\n1 1:3\n");
    let levels = vec!["1".to_string(), "cat".into()];
    let labels = read(&late.0, &double()).unwrap().labels.unwrap();
    assert_eq!(labels, Labels::Text { codes: vec![0, 1, 0], levels });
    let unicode: Vec<u8> = "dogcatdog".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    for (name, bytes) in [
        ("y.txt", b"dog\ncat\r\ndog\n".to_vec()),
        ("y.npy", npy("'<U3'", false, "(3,)", &unicode)),
        ("y.npy", npy("'|S4'", false, "(3, 1)", b"dog\0cat\0dog\0")),
    ] {
        let labels = Scratch::new(name, bytes);
        let table = read(&svm.0, &ReadOptions { labels: Some(labels.0.clone()), ..double() }).unwrap();
        assert_eq!(table.labels.unwrap(), expected);
    }
}

#[test]
fn svmlight_without_labels_for_prediction() {
    let file = Scratch::new("a.svm", "1:0.5 2:1\n2:3\n");
    let table = read(&file.0, &ReadOptions { target_required: false, ..double() }).unwrap();
    assert!(table.labels.is_none());
    assert_eq!(rows(table), [[0.5, 1.0], [0.0, 3.0]]);
}

#[test]
fn missing_values_of_delimited_text() {
    let file = Scratch::new("a.csv", "n,c,y\n?,?,1\n1.0,a,2\n-1.#IND,,3\n3,-1.#QNAN,4\n");
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let Contents::Columns(columns) = &table.contents else { panic!() };
    let ColumnData::Numeric(values) = &columns[0].data else { panic!("{:?}", columns[0]) };
    assert_eq!(values.iter().map(|value| value.is_nan()).collect::<Vec<_>>(), [true, false, true, false]);
    let levels = vec!["?".to_string(), "a".into()];
    assert_eq!(columns[1].data, ColumnData::Text { codes: vec![0, 1, MISSING, MISSING], levels });
    let impute = EncodeOptions { missing: Missing::Impute, ..Default::default() };
    let encoder = Encoder::learn(&table, &impute).unwrap();
    assert_eq!(encoder.feature_names(), ["n", "c=?", "c=a", "c=(missing)"]);
    let DesignMatrix::DenseF32(matrix) = encoder.encode(table).unwrap().design else { panic!() };
    assert_eq!(matrix.row(0), [2.0, 1.0, 0.0, 0.0]);
    assert_eq!(matrix.row(2), [2.0, 0.0, 0.0, 1.0]);
}

#[test]
fn a_mean_of_large_numbers_is_no_infinity() {
    let text = "a,y\n1.5e308,1\n1.6e308,2\n,3\n1.7e308,4\n";
    let array = npy("'<f8'", false, "(4, 1)", &doubles(&[1.5e308, 1.6e308, f64::NAN, 1.7e308]));
    for (name, bytes) in [("a.csv", text.as_bytes().to_vec()), ("a.npy", array)] {
        let file = Scratch::new(name, bytes);
        let table =
            read(&file.0, &ReadOptions { target_required: false, target: Some("y".into()), ..double() }).unwrap();
        let options = EncodeOptions { missing: Missing::Impute, precision: Precision::F64, ..Default::default() };
        let found = profile(&table, &options).unwrap().details;
        assert!(found.iter().all(|column| column.numbers.is_some_and(|[_, mean, _]| mean.is_finite())), "{found:?}");
        let design = Encoder::learn(&table, &options).unwrap().encode(table).unwrap().design;
        let DesignMatrix::DenseF64(matrix) = design else { panic!() };
        assert!((matrix.row(2)[0] / 1.6e308 - 1.0).abs() < 1e-12, "{name}: {:?}", matrix.row(2));
    }
}

#[test]
fn a_tsv_file_has_tabs_between_its_fields() {
    let text = "city\tn,m\ty\nUlm, Neu\t1\t0\nRio, Rio\t2\t1\nBonn, Bonn\t3\t0\n";
    for name in ["a.tsv", "A.TSV"] {
        assert_eq!(read(&Scratch::new(name, text).0, &double()).unwrap().contents.columns(), 2);
    }
    let commas = Scratch::new("b.tsv", "a,y\n1,2\n");
    assert_eq!(read(&commas.0, &double()).unwrap().contents.columns(), 1);
}

#[test]
fn the_range_of_a_matrix_leaves_out_what_is_missing() {
    let array = npy("'<f8'", false, "(3, 2)", &doubles(&[2.0, f64::NAN, 5.0, f64::NAN, f64::NAN, f64::NAN]));
    let file = Scratch::new("a.npy", array);
    let table = read(&file.0, &ReadOptions { target_required: false, ..double() }).unwrap();
    let options = EncodeOptions { missing: Missing::Impute, ..Default::default() };
    let found = profile(&table, &options).unwrap();
    assert_eq!((found.range, found.missing, found.constant), (Some((2.0, 5.0)), 4, Vec::new()));
}

#[test]
fn a_column_that_turns_out_to_be_text_keeps_its_early_cells() {
    let file = Scratch::new("a.csv", "c,y\n1.0,1\n1,2\n?,3\nx,4\n1.0,5\n");
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let Contents::Columns(columns) = &table.contents else { panic!() };
    let levels: Vec<String> = ["1", "1.0", "?", "x"].map(String::from).to_vec();
    assert_eq!(columns[0].data, ColumnData::Text { codes: vec![1, 0, 2, 3, 1], levels });
}

#[test]
fn the_target_by_name_number_and_custom() {
    let take = |text: &str, target: Option<&str>| {
        let file = Scratch::new("a.csv", text);
        let table = read(&file.0, &ReadOptions { target: target.map(String::from), ..double() }).unwrap();
        (table.target_name.clone().unwrap(), numbers(&table), table.notes.len())
    };
    let text = "a,Label,b\n1,2,3\n4,5,6\n";
    assert_eq!(take(text, None), ("Label".into(), vec![2.0, 5.0], 0));
    assert_eq!(take(text, Some("a")), ("a".into(), vec![1.0, 4.0], 0));
    assert_eq!(take(text, Some("3")), ("b".into(), vec![3.0, 6.0], 0));
    assert_eq!(take("1,2\n3,4\n", None), ("2".into(), vec![2.0, 4.0], 1));
    assert_eq!(take("1,2\n3,4\n", Some("1")), ("1".into(), vec![1.0, 3.0], 0));
}

#[test]
fn many_pixels_stay_bytes_and_mean_the_same() {
    // Most pixels are dark, the first column is constant, and the second has two values.
    let (rows, cols) = (700u32, 30 * 30u32);
    let pixel = |k: u32| match (k % cols, k / cols) {
        (0, _) => 7,
        (1, i) => {
            if i % 3 == 0 {
                255
            } else {
                0
            }
        }
        (j, i) => ((i * 31 + j * j * 17) % 409).saturating_sub(153) as u8,
    };
    let pixels: Vec<u8> = (0..rows * cols).map(pixel).collect();
    let labels: Vec<u8> = (0..rows).map(|i| (i % 10) as u8).collect();
    let file = Scratch::new("t-images-idx3-ubyte.gz", &compressed(&idx(&[rows, 30, 30], &pixels))[0].1);
    file.beside("t-labels-idx1-ubyte", idx(&[rows], &labels));
    let encoded = |options: &EncodeOptions, read_options: &ReadOptions| {
        let table = read(&file.0, read_options).unwrap();
        Encoder::learn(&table, options).unwrap().encode(table).unwrap()
    };
    let bytes = encoded(&EncodeOptions::default(), &ReadOptions::default());
    assert!(matches!(bytes.design, DesignMatrix::Coded(_)), "a byte an entry is enough");
    let wide = encoded(&EncodeOptions { precision: Precision::F64, ..Default::default() }, &double());
    let DesignMatrix::DenseF64(matrix) = &wide.design else { panic!("double precision is asked for") };
    let single: Vec<f32> = matrix.values().iter().map(|&x| x as f32).collect();
    let single = DesignMatrix::DenseF32(DenseMatrix::new(rows as usize, cols as usize, single));
    assert_eq!(bytes.measured, wide.measured);
    let DesignMatrix::Coded(codes) = &bytes.design else { unreachable!() };
    assert_eq!(DesignMatrix::DenseF32(codes.decode()), single);
    let all = RowRanges::all(rows as usize);
    let learn = |design| Standardization::learn(design, &all, None, true, &wide.measured);
    assert_eq!(learn(&bytes.design), learn(&single));
    let sparse = EncodeOptions { storage: Storage::Sparse, ..Default::default() };
    let DesignMatrix::CsrF32(from_bytes) = encoded(&sparse, &ReadOptions::default()).design else {
        panic!("sparse storage is asked for")
    };
    assert_eq!(from_bytes.stored(), pixels.iter().filter(|&&x| x != 0).count());
}

#[test]
fn text_is_not_read_on_after_the_signal() {
    let over = bilevel::stop::StopSignal::new(Some(std::time::Duration::ZERO), None);
    let texts = ["1 1:2\n-1 2:1\n1 1:1\n", "a,b,y\n1,2,0\n2,3,1\n", "a,b,y\n1,\"2\",0\n2,3,1\n"];
    for (number, text) in texts.into_iter().enumerate() {
        let file = Scratch::new(&format!("stopped-{number}"), text);
        read(&file.0, &double()).unwrap();
        let error = read(&file.0, &ReadOptions { stop: over.clone(), ..double() }).unwrap_err();
        assert!(error.is_interrupted(), "{text:?}: {error}");
    }
}

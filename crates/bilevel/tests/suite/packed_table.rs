//! Files of several blocks, encoded block by block: the same as the whole file at once, in little more than the memory of
//! the design matrix.

use std::fmt::Write as _;

use crate::common::{Scratch, doubles, integers, npy, npz};
use bilevel::data::{
    DesignMatrix, EncodeOptions, Encoded, Encoder, Labels, Missing, PackedTable, Precision, ReadOptions, Storage, read,
};
use bilevel::sample::{Purpose, Rng};

/// Encodes the file at once, block by block, and block by block with what is known of it already.
fn three_ways(file: &Scratch, read_options: &ReadOptions, options: &EncodeOptions) -> [(Encoder, Encoded); 3] {
    let table = read(&file.0, read_options).unwrap();
    let encoder = Encoder::learn(&table, options).unwrap();
    let whole = encoder.encode(table).unwrap();
    let table = PackedTable::read(&file.0, read_options, options).unwrap();
    let learned = table.encoder().clone();
    let packed = table.encode().unwrap();
    let again = encoder.encode_file(&file.0, read_options).unwrap();
    [(encoder.clone(), whole), (learned, packed), (encoder, again)]
}

fn assert_equal([whole, others @ ..]: [(Encoder, Encoded); 3]) {
    for (way, other) in others.into_iter().enumerate() {
        assert_eq!(other.0, whole.0, "encoder {way}");
        assert!(other.1.design == whole.1.design, "design {way}");
        assert!(other.1.labels == whole.1.labels, "labels {way}");
        assert_eq!(other.1.measured, whole.1.measured);
        let lines = |encoded: &Encoded| [0, 1, 70_000].map(|row| encoded.origin.line(row));
        assert_eq!(lines(&other.1), lines(&whole.1), "lines {way}");
    }
}

/// Numbers, categories, a number that is missing now and then, a column of numbers with one late text, textual labels.
fn csv(rows: usize) -> String {
    let mut rng = Rng::stream(5, Purpose::Start, 0);
    let mut text = String::from("size,colour,holes,late,kind\n");
    for row in 0..rows {
        let colour = ["red", "green", "blue", "a colour that has no name"][rng.below(4)];
        let late = if row == rows - 10 { "other".into() } else { format!("{}", rng.below(3)) };
        let hole = if row % 1000 == 17 { String::new() } else { format!("{:e}", rng.uniform()) };
        writeln!(text, "{:.4},{colour},{hole},{late},{}", rng.uniform(), ["no", "yes"][rng.below(2)]).unwrap();
        if row % 30_000 == 0 {
            text.push('\n');
        }
    }
    text
}

/// Times in milliseconds differ in a few steps of single precision.
#[test]
fn numbers_far_from_zero_keep_their_digits() {
    let start = 1_700_000_000_000u64;
    for rows in [300, 400_000] {
        let mut text = String::from("time,size,y\n");
        (0..rows).for_each(|i| writeln!(text, "{},{},{}", start + 7 * i, i % 10, i % 2).unwrap());
        let file = Scratch::new("times.csv", &text);
        for (_, encoded) in three_ways(&file, &ReadOptions::default(), &EncodeOptions::default()) {
            let DesignMatrix::DenseF64(design) = &encoded.design else { panic!("single precision keeps no digit") };
            assert!((0..rows).all(|i| design.row(i as usize) == [(start + 7 * i) as f64, (i % 10) as f64]));
        }
    }
    // A year of them in seconds is told apart well enough, and whole numbers up to 2^24 are not rounded at all.
    let text: String = (0..300).map(|i| format!("{},{}\n", 1_700_000_000 + 100_000 * i, 16_000_000 + i)).collect();
    let file = Scratch::new("seconds.csv", &text);
    let options = ReadOptions { target_required: false, ..ReadOptions::default() };
    let encoder = Encoder::learn(&read(&file.0, &options).unwrap(), &EncodeOptions::default()).unwrap();
    assert_eq!(encoder.precision(), Precision::F32);
}

/// Whoever reads a file for an encoder of double precision need not ask for it.
#[test]
fn files_for_an_encoder_of_double_precision_are_read_in_it() {
    let options = EncodeOptions { precision: Precision::F64, storage: Storage::Dense, ..EncodeOptions::default() };
    let encoder = Encoder::of_matrices(1, &options);
    let values = [1.0 + 1e-12, 1.0 + 2e-12];
    let array = npy("'<f8'", false, "(2, 1)", &doubles(&values));
    for (name, bytes) in [
        ("x.svm", format!("1 1:{}\n0 1:{}\n", values[0], values[1]).into_bytes()),
        ("x.npz", npz(&[("X", array.clone())])),
        ("x.npy", array),
    ] {
        let file = Scratch::new(name, bytes);
        let read = ReadOptions { target_required: false, ..ReadOptions::default() };
        let DesignMatrix::DenseF64(design) = encoder.encode_file(&file.0, &read).unwrap().design else { panic!() };
        assert_eq!(design.values(), values, "{name}");
    }
}

/// That is known when rows are waiting already; whether they are rounded by single precision does not matter.
#[test]
fn numbers_that_turn_out_to_be_far_from_zero_keep_their_digits() {
    let (rows, change) = (90_000u64, 80_000);
    for start in [13_000_000 * 131_072u64, 13_000_000 * 131_072 + 7] {
        let time = |i: u64| start + 7 * i.saturating_sub(change);
        for (name, before) in [("times.csv", ""), ("times.svm", "1:")] {
            let line = |i: u64| match before {
                "" => format!("{},{:60}\n", time(i), i % 2),
                _ => format!("{} 1:{:<60}\n", i % 2, time(i)),
            };
            let file = Scratch::new(name, (0..rows).map(line).collect::<String>());
            for (_, encoded) in three_ways(&file, &ReadOptions::default(), &EncodeOptions::default()) {
                let DesignMatrix::DenseF64(design) = &encoded.design else { panic!("single precision keeps no digit") };
                assert!((0..rows).all(|i| design.row(i as usize) == [time(i) as f64]), "{name}, {start}");
            }
        }
    }
}

#[test]
fn matrices_far_from_zero_keep_their_digits() {
    let start = 1_700_000_000_000i64;
    let times: Vec<f64> = (0..40).map(|i| (start + 7 * i) as f64).collect();
    let integers = |values: &[f64]| integers(&values.iter().map(|&x| x as i64).collect::<Vec<_>>());
    // Beside a column of ones and one with a missing value; constant columns need no digits.
    let beside = |j: usize, i: usize| [1.0, if i == 3 { f64::NAN } else { 0.1 * i as f64 }, 0.1][j];
    let rows: Vec<f64> = (0..40).flat_map(|i| [times[i], beside(0, i), beside(1, i), beside(2, i)]).collect();
    let columns: Vec<f64> = (0..4).flat_map(|j| (0..40).map(move |i| 4 * i + j)).map(|at| rows[at]).collect();
    let whole = |v: Vec<i64>| {
        npy("'<i8'", false, &format!("({},)", v.len()), &v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
    };
    let sparse = npz(&[
        ("indptr", whole((0..=40).map(|i| 2 * i).collect())),
        ("indices", whole((0..40).flat_map(|_| [1, 0]).collect())),
        ("data", npy("'<f8'", false, "(80,)", &doubles(&times.iter().flat_map(|&x| [0.1, x]).collect::<Vec<_>>()))),
        ("shape", whole(vec![40, 2])),
    ]);
    let svmlight: String = times.iter().map(|x| format!("1:{x} 2:0.1\n")).collect();
    let impute = EncodeOptions { missing: Missing::Impute, storage: Storage::Dense, ..EncodeOptions::default() };
    let read_options = ReadOptions { target_required: false, ..ReadOptions::default() };
    let encode = |name: &str, bytes: Vec<u8>| {
        let file = Scratch::new(name, bytes);
        let encoded = PackedTable::read(&file.0, &read_options, &impute).unwrap().encode().unwrap();
        assert!(read(&file.0, &read_options).is_ok());
        encoded.design
    };
    for (name, bytes) in [
        ("c.npy", npy("'<f8'", false, "(40, 4)", &doubles(&rows))),
        ("fortran.npy", npy("'<f8'", true, "(40, 4)", &doubles(&columns))),
        ("i8.npy", npy("'<i8'", false, "(40, 1)", &integers(&times))),
        ("a.npz", npz(&[("X", npy("'<f8'", false, "(40, 4)", &doubles(&rows)))])),
        ("sparse.npz", sparse),
        ("a.svm", svmlight.into_bytes()),
    ] {
        let DesignMatrix::DenseF64(design) = encode(name, bytes) else { panic!("{name}: single precision") };
        assert!((0..40).all(|i| design.row(i)[0] == times[i]), "{name}");
    }
    let near: Vec<f64> = rows.iter().enumerate().map(|(at, &x)| if at % 4 == 0 { x - times[0] } else { x }).collect();
    let design = encode("near.npy", npy("'<f8'", false, "(40, 4)", &doubles(&near)));
    assert!(matches!(design, DesignMatrix::DenseF32(_)), "constant columns and small numbers need no more");
}

#[test]
fn columns_that_may_be_no_categories_are_doubted() {
    let doubts = |cell: &dyn Fn(usize) -> String| {
        let text: String = (0..60).map(|i| format!("{};{i}\n", cell(i))).collect();
        let file = Scratch::new("doubts.csv", format!("a;y\n{text}"));
        PackedTable::read(&file.0, &ReadOptions::default(), &EncodeOptions::default()).unwrap().notes
    };
    let found = |cell: &dyn Fn(usize) -> String, part: &str| {
        let doubts = doubts(cell);
        assert!(doubts.len() == 1 && doubts[0].contains("'a'") && doubts[0].contains(part), "{part}: {doubts:?}");
    };
    found(&|i| if i == 41 { "12kg".into() } else { format!("{}", i % 25) }, "because of '12kg'");
    found(&|i| format!("{},{}", i % 25, i % 7), "decimal points");
    found(&|i| format!("row {i}"), "categories, 60 in 60 rows");
    found(&|i| format!("{i}"), "numbers the rows: --exclude a");
    found(&|i| format!("{}", i + 1), "numbers the rows");
    for cell in [
        |i| format!("{}", i % 7),
        |i| format!("k{}", i % 7),
        |i| format!("{}", i + 2),
        |i| if i % 5 == 4 { "4+".into() } else { format!("{}", i % 5) },
    ] {
        assert_eq!(doubts(&cell), Vec::<String>::new());
    }
}

/// As old spreadsheets write them: no block but the first begins with the names.
#[test]
fn lines_may_end_with_a_carriage_return_alone() {
    let rows = 80_000;
    let line = |i: usize| format!("{}.5,\"k{:0>60}\",{}\r", i % 97, i % 3, i % 2);
    let text = (0..rows).map(line).collect::<String>();
    assert!(text.len() > 5 << 20, "more than one block: {}", text.len());
    let file = Scratch::new("old.csv", format!("a,b,y\r{text}"));
    let table = PackedTable::read(&file.0, &ReadOptions::default(), &EncodeOptions::default()).unwrap();
    assert_eq!(table.encode().unwrap().design.rows(), rows);
}

/// Spreadsheets write an empty row above the names as a record without cells.
#[test]
fn names_may_stand_below_empty_records() {
    for (head, quoted) in [(",,\n", false), ("\n,,\n  \n,,\n", false), (",,\n", true)] {
        let line = |i: usize| {
            if quoted { format!("\"{i}\",k{},{}\n", i % 3, i % 2) } else { format!("{i},k{},{}\n", i % 3, i % 2) }
        };
        let file = Scratch::new("sheet.csv", format!("{head}a,b,y\n{}", (5..45).map(line).collect::<String>()));
        for (_, encoded) in three_ways(&file, &ReadOptions::default(), &EncodeOptions::default()) {
            assert_eq!(encoded.feature_names, ["a", "b=k0", "b=k1", "b=k2"]);
            assert_eq!(encoded.design.rows(), 40);
        }
    }
}

/// Names alone may take more than a block.
#[test]
fn tables_may_be_wide() {
    let columns = 30_000;
    let join = |cells: Vec<String>| cells.join(",") + "\n";
    let header = join((0..columns).map(|j| format!("measurement {j:0>180}")).chain(["kind".into()]).collect());
    assert!(header.len() > 5 << 20, "more than the first block: {}", header.len());
    let row =
        |i: usize| join((0..columns).map(|j| format!("{}", (i + j) % 7)).chain([format!("k{}", i % 2)]).collect());
    let file = Scratch::new("wide.csv", (0..4).map(row).fold(header, |text, row| text + &row));
    let options = EncodeOptions { storage: Storage::Dense, ..EncodeOptions::default() };
    for (encoder, encoded) in three_ways(&file, &ReadOptions::default(), &options) {
        assert_eq!(encoder.features(), columns);
        assert_eq!(encoded.design.rows(), 4);
    }
}

/// Such a file has no column more for it.
#[test]
fn rows_may_end_with_a_delimiter() {
    for (rows, header) in [(40, "a,b,y,\n"), (40, ""), (300_000, "a,b,y,\n")] {
        let line = |i: usize, end: &str| format!("{}.25,k{},{}{end}\n", i % 13, i % 3, i % 2);
        let closed =
            Scratch::new("closed.csv", format!("{header}{}", (0..rows).map(|i| line(i, ",")).collect::<String>()));
        let open = header.trim_end_matches(",\n");
        let open = if open.is_empty() { String::new() } else { format!("{open}\n") };
        let open = Scratch::new("open.csv", format!("{open}{}", (0..rows).map(|i| line(i, "")).collect::<String>()));
        let expected = read(&open.0, &ReadOptions::default()).unwrap();
        let expected = Encoder::learn(&expected, &EncodeOptions::default()).unwrap().encode(expected).unwrap();
        for (_, encoded) in three_ways(&closed, &ReadOptions::default(), &EncodeOptions::default()) {
            assert!(encoded.design == expected.design && encoded.labels == expected.labels);
        }
        let end = if rows > 1000 { rows - 1 } else { 250 };
        let text = |i: usize| line(i, if i == end { ",7" } else { "," });
        let late = Scratch::new("late.csv", format!("{header}{}", (0..=end).map(text).collect::<String>()));
        let error = PackedTable::read(&late.0, &ReadOptions::default(), &EncodeOptions::default()).unwrap_err();
        let at = format!("late.csv:{}:4: column 4 holds something", end + 1 + usize::from(!header.is_empty()));
        assert!(error.to_string().contains(&at), "{error}");
    }
    // A column that has a name is there.
    let named = Scratch::new("named.csv", "a,y,b\n1,0,\n2,1,\n3,0,\n");
    assert_eq!(read(&named.0, &ReadOptions::default()).unwrap().rows(), 3);
}

#[test]
fn columns_are_left_out() {
    let rows: String = (0..40).map(|i| format!("id{i},{},{}\n", i % 7, i % 2)).collect();
    for (head, names) in [("id,size,y\n", ["id", "size", "y"]), ("", ["1", "2", "3"])] {
        let file = Scratch::new("train.csv", format!("{head}{rows}"));
        let exclude = |names: &[&str]| ReadOptions {
            exclude: names.iter().map(|&name| name.into()).collect(),
            ..ReadOptions::default()
        };
        for encoded in three_ways(&file, &exclude(&names[..1]), &EncodeOptions::default()) {
            assert_eq!((encoded.1.design.cols(), encoded.1.labels.as_ref().map(Labels::len)), (1, Some(40)));
        }
        // The last of those that are left is the target.
        let table = read(&file.0, &exclude(&["3", "1"])).unwrap_err();
        assert!(table.to_string().contains("no features are left"), "{table}");
        let error = read(&file.0, &exclude(&[names[0], names[0]])).unwrap_err();
        assert!(error.is_input() && error.to_string().contains(&format!("no column '{}'", names[0])), "{error}");
    }
    let file = Scratch::new("rows.svm", "1 1:2\n0 1:3\n");
    let error = read(&file.0, &ReadOptions { exclude: vec!["x1".into()], ..ReadOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("--exclude"), "{error}");
}

/// Each file is looked at for itself.
#[test]
fn headers_are_told_from_rows_by_the_columns_that_are_known() {
    let rows = "red,s\nblue,m\nred,m\nblue,s\n";
    let encoder = |text: &str| {
        let file = Scratch::new("train.csv", text);
        let options = ReadOptions { target_required: false, ..ReadOptions::default() };
        Encoder::learn(&read(&file.0, &options).unwrap(), &EncodeOptions::default()).unwrap()
    };
    let encode = |encoder: &Encoder, text: String| {
        let file = Scratch::new("other.csv", text);
        let options = ReadOptions { target_required: false, ..ReadOptions::default() };
        encoder.encode_file(&file.0, &options).map(|encoded| encoded.design)
    };
    let (named, unnamed) = (encoder(&format!("color,size\n{rows}")), encoder(rows));
    assert!(named.named() && !unnamed.named());
    let design = encode(&named, format!("color,size\n{rows}")).unwrap();
    for text in [rows.to_string(), "size,color\ns,red\nm,blue\nm,red\ns,blue\n".into(), format!("Color,size\n{rows}")] {
        let found = encode(&named, text.clone());
        match text.starts_with("Color") {
            false => assert!(found.unwrap() == design, "{text}"),
            true => assert!(found.unwrap_err().to_string().contains("did you mean 'Color'"), "names differ in case"),
        }
    }
    for text in [rows.to_string(), format!("color,size\n{rows}")] {
        assert!(encode(&unnamed, text.clone()).unwrap() == design, "{text}");
    }
    // A first row that looks like no other is one still, if its texts or numbers are known.
    assert_eq!(encode(&unnamed, "red,s\nblue,m\nblue,m\n".into()).unwrap().rows(), 3);
    assert_eq!(encode(&unnamed, "red,s\nblue,m\nblue,7\n".into()).unwrap().rows(), 3);
    let mixed = encoder("red,1\nblue,2\nred,3\nblue,4\n");
    for text in ["blue,5\nred,6\nred,7\n", "color,5\nred,6\nblue,7\n"] {
        assert_eq!(encode(&mixed, text.into()).unwrap().rows(), 3, "{text}");
    }
}

#[test]
fn columns_of_several_blocks_are_encoded_as_one() {
    let text = csv(160_000);
    assert!(text.len() > 5 << 20, "more than one block: {}", text.len());
    let file = Scratch::new("columns.csv", &text);
    for (storage, precision) in [(Storage::Dense, Precision::F32), (Storage::Auto, Precision::F64)] {
        let options = EncodeOptions { missing: Missing::Impute, storage, precision, ..EncodeOptions::default() };
        assert_equal(three_ways(&file, &ReadOptions::default(), &options));
    }
    let (missing, options) = (EncodeOptions::default(), ReadOptions::default());
    let error = PackedTable::read(&file.0, &options, &missing).unwrap().encode().unwrap_err();
    let whole = read(&file.0, &options).unwrap();
    let expected = Encoder::learn(&whole, &missing).unwrap().encode(whole).unwrap_err();
    assert_eq!(error.to_string(), expected.to_string(), "the first place is named");
}

#[test]
fn sparse_rows_of_several_blocks_are_encoded_as_one() {
    let mut rng = Rng::stream(6, Purpose::Start, 0);
    let mut text = String::new();
    for row in 0..220_000usize {
        // The widest row is in the second block.
        let (last, label) = (if row == 120_000 { 900 } else { 40 }, ["a", "b"][rng.below(2)]);
        writeln!(text, "{label} 1:1 {}:1 {}:{:.6} {last}:-2", 2 + rng.below(7), 9 + rng.below(9), rng.uniform())
            .unwrap();
    }
    assert!(text.len() > 5 << 20, "more than one block: {}", text.len());
    let file = Scratch::new("rows.svm", &text);
    for storage in [Storage::Auto, Storage::Dense] {
        for precision in [Precision::F32, Precision::F64] {
            let options = EncodeOptions { storage, precision, normalize_rows: true, ..EncodeOptions::default() };
            let read_options = ReadOptions { precision, ..ReadOptions::default() };
            assert_equal(three_ways(&file, &read_options, &options));
        }
    }
}

#[test]
fn numbers_too_large_for_single_precision_are_named_as_they_were_written() {
    let mut text = csv(160_000).replace(",,", ",0,");
    text.push_str("1e39,red,0,0,no\n");
    let file = Scratch::new("large.csv", &text);
    let table = PackedTable::read(&file.0, &ReadOptions::default(), &EncodeOptions::default()).unwrap();
    let error = table.encode().unwrap_err().to_string();
    assert!(error.contains("column 'size' is 1e39") && error.contains(":160008:"), "{error}");
}

/// Resident memory of this process at its highest since it was reset.
#[cfg(target_os = "linux")]
mod memory {
    use super::*;

    fn peak() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// Runs this test alone in a process of its own: the memory of the others would count.
    #[test]
    fn a_file_takes_the_memory_of_its_matrix() {
        if std::env::var_os("BILEVEL_TEST_ALONE").is_none() {
            let run = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "packed_table::memory::a_file_takes_the_memory_of_its_matrix", "--nocapture"])
                .env("BILEVEL_TEST_ALONE", "1")
                .output()
                .unwrap();
            let told = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            assert!(run.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let (rows, cols) = (400_000, 40);
        let file = {
            let mut rng = Rng::stream(7, Purpose::Start, 0);
            let lines: Vec<String> = (0..50)
                .map(|_| (0..cols).map(|_| format!("{:.2},", rng.uniform())).collect::<String>() + "0\n")
                .collect();
            let file = Scratch::new("memory.csv", "");
            let mut out = std::io::BufWriter::new(std::fs::File::create(&file.0).unwrap());
            (0..rows).for_each(|_| std::io::Write::write_all(&mut out, lines[rng.below(50)].as_bytes()).unwrap());
            file
        };
        let options = ReadOptions { target: Some("41".into()), ..ReadOptions::default() };
        let encode = EncodeOptions::default();
        if std::fs::write("/proc/self/clear_refs", "5").is_err() {
            return;
        }
        let before = peak();
        let encoded = PackedTable::read(&file.0, &options, &encode).unwrap().encode().unwrap();
        assert!(matches!(encoded.design, DesignMatrix::DenseF32(_)));
        // The labels are kept as numbers, and blocks of four megabytes are parsed for each thread.
        let (matrix, labels, blocks) = (4 * rows * cols, 8 * rows, (rayon::current_num_threads() + 1) << 24);
        let used = peak() - before;
        let most = matrix + matrix / 5 + 2 * labels + blocks;
        assert!(used < most, "{used} bytes for a matrix of {matrix}, at most {most} are wanted");
    }
}

//! Mapped files: what is written is read, damage is found, and a conversion is what reading in memory gives.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::common::{Scratch, compressed};
use bilevel::data::mapped::{ConvertOptions, Header, MappedRows, convert};
use bilevel::data::{
    Dataset, DesignMatrix, EncodeOptions, Encoder, LearnOptions, Learned, Missing, Precision, ReadOptions, RowRanges,
    Schema, Standardization, Storage, Target, read,
};
use proptest::prelude::*;

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

fn options() -> ConvertOptions<'static> {
    ConvertOptions {
        learn: LearnOptions::default(),
        standardize: true,
        intercept: true,
        seed: 7,
        like: None,
        program: "a test".into(),
    }
}

/// The same with rows encoded so.
fn encoded(encode: EncodeOptions) -> ConvertOptions<'static> {
    ConvertOptions { learn: LearnOptions { encode, ..LearnOptions::default() }, ..options() }
}

fn converted(input: &Path, output: &Path, options: &ConvertOptions<'_>) -> bilevel::Result<MappedRows> {
    convert(input, output, options, &mut |_, _, _| ControlFlow::Continue(()))?;
    let rows = MappedRows::open(output)?;
    rows.verify(&mut |_, _| true)?;
    Ok(rows)
}

/// The file in memory, with the standardization that tuning applies.
fn in_memory(input: &Path, options: &ConvertOptions<'_>) -> (Dataset, Schema) {
    let Learned { schema, mut data, .. } = Schema::learn(input, &options.learn).unwrap();
    if options.standardize {
        let all = RowRanges::all(data.rows());
        let standardization = Standardization::learn(&data.design, &all, None, options.intercept, &data.measured);
        standardization.apply(&mut data.design).unwrap();
    }
    (data, schema)
}

/// The rows with their targets, each as a list of numbers, sorted.
fn rows(data: &Dataset) -> Vec<Vec<f64>> {
    let y: Vec<f64> = match &data.target {
        Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        Target::Values(values) => values.to_vec(),
    };
    let mut rows: Vec<Vec<f64>> = (0..data.rows())
        .map(|i| {
            let mut row = vec![0.0; data.features() + 1];
            data.design.add_scaled_row(i, &vec![1.0; data.features()], &mut row[..data.features()]);
            row[data.features()] = y[i];
            row
        })
        .collect();
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    rows
}

fn apart(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs() / (1.0 + a.abs())).fold(0.0, f64::max)
}

#[test]
fn a_conversion_holds_the_rows_that_reading_gives() {
    let scratch = Scratch::new("x", "");
    let output = scratch.0.with_file_name("out.bilevel");
    for (name, encode) in [
        ("a9a.gz", EncodeOptions::default()),
        ("abalone_scale.bz2", EncodeOptions { precision: Precision::F64, ..Default::default() }),
        ("german.numer.gz", EncodeOptions { storage: Storage::Sparse, ..Default::default() }),
        ("german.numer.gz", EncodeOptions { normalize_rows: true, ..Default::default() }),
        ("adult.csv.gz", EncodeOptions { missing: Missing::Impute, ..Default::default() }),
    ] {
        for standardize in [true, false] {
            let options = ConvertOptions { standardize, ..encoded(encode) };
            let found = converted(&bundled(name), &output, &options).unwrap();
            let (data, schema) = in_memory(&bundled(name), &options);
            let header = found.header();
            assert_eq!(header.schema().unwrap(), schema, "{name}");
            let mapped = found.dataset().unwrap();
            assert_eq!(mapped.measured, data.measured, "{name}");
            assert_eq!((&mapped.feature_names, &mapped.groups), (&data.feature_names, &data.groups), "{name}");
            let counts: u64 = header.class_counts.iter().sum();
            assert!(counts == 0 || counts == data.rows() as u64);
            let distance = apart(&rows(&mapped), &rows(&data));
            assert!(distance < 1e-5, "{name}, standardized {standardize}: rows {distance} apart");
            assert_ne!(mapped.target, data.target, "{name}: the order is another one");
        }
    }
}

/// Blocks are cut wherever 4 MiB end; a file of several blocks must give what one block gives.
#[test]
fn files_of_many_blocks_are_cut_between_rows() {
    let mut text = String::from("x,\"town, \"\"or so\"\"\",y\n");
    let (mut i, mut seed) = (0u64, 1u64);
    while text.len() < 13 << 20 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let town = ["Ulm", "\"Rio\nde Janeiro\"", "\"a \"\"b\"\"\"", "x y"][(seed >> 60) as usize % 4];
        text += &format!("{}.{},{town},{}\n", seed >> 50, i % 10, if seed >> 63 == 0 { "no" } else { "yes" });
        i += 1;
    }
    // Late texts among numbers: everything begins again.
    let late = text.clone() + "many,Ulm,no\nmore,Ulm,yes\n";
    let plain = Scratch::new("blocks.csv", &text);
    for (name, text) in [("late.csv", late)].into_iter().chain([("blocks.csv.2", text.clone())]) {
        plain.beside(name, text);
    }
    // A line that begins with a digit begins a row: the other kind is within quotes.
    let six = (6usize << 20..).find(|&at| text.as_bytes()[at - 1] == b'\n' && text.as_bytes()[at].is_ascii_digit());
    let six = &text[..six.unwrap()];
    plain.beside("six.csv", six);
    compressed(six.as_bytes()).into_iter().for_each(|(name, bytes)| plain.beside(name, bytes));
    let output = plain.0.with_file_name("out.bilevel");
    for name in ["blocks.csv", "blocks.csv.2"] {
        let input = plain.0.with_file_name(name);
        let mapped = converted(&input, &output, &options()).unwrap();
        let (data, schema) = in_memory(&input, &options());
        let table = read(&input, &ReadOptions::default()).unwrap();
        let encoder = Encoder::learn(&table, &EncodeOptions::default()).unwrap();
        assert_eq!((&mapped.header().encoder, &schema.encoder), (&encoder, &encoder));
        let (as_they_came, _) = in_memory(&input, &ConvertOptions { standardize: false, ..options() });
        assert!(as_they_came.design == encoder.encode(table).unwrap().design, "{name}: read in blocks and at once");
        assert!(apart(&rows(&mapped.dataset().unwrap()), &rows(&data)) < 1e-5, "{name}");
    }
    let late = plain.0.with_file_name("late.csv");
    let (found, expected) = (data_shape(&late, &output), read(&late, &ReadOptions::default()).unwrap());
    assert_eq!(found.0, expected.rows());
    assert!(found.1 > 1000, "numbers have become categories: {} features", found.1);
    let expected = read(&plain.0.with_file_name("six.csv"), &ReadOptions::default()).unwrap().rows();
    for name in ["gzip", "bzip2", "xz", "zstd"] {
        assert_eq!(data_shape(&plain.0.with_file_name(name), &output).0, expected, "{name}");
    }
}

/// What single precision would spoil is dealt out in double precision, though other rows were not.
#[test]
fn numbers_that_turn_out_to_be_far_from_zero_keep_their_digits() {
    let start = 13_000_000 * 131_072u64;
    let time = |i: u64| start + 7 * i.saturating_sub(80_000);
    let text: String = (0..90_000).map(|i| format!("{},{:60}\n", time(i), i % 2)).collect();
    let scratch = Scratch::new("times.csv", text);
    let options = ConvertOptions { standardize: false, ..options() };
    let mapped = converted(&scratch.0, &scratch.0.with_file_name("out.bilevel"), &options).unwrap();
    let found: Vec<f64> = rows(&mapped.dataset().unwrap()).iter().map(|row| row[0]).collect();
    let mut expected: Vec<f64> = (0..90_000).map(|i| time(i) as f64).collect();
    expected.sort_by(f64::total_cmp);
    assert!(found == expected, "some digits were lost");
}

fn data_shape(input: &Path, output: &Path) -> (usize, usize) {
    let options = ConvertOptions { standardize: false, ..options() };
    let mapped = converted(input, output, &options).unwrap();
    (mapped.header().rows, mapped.header().features)
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let scratch = Scratch::new("x", "");
    let bytes = |seed: u64, threads: usize| {
        let output = scratch.0.with_file_name(format!("{seed}-{threads}.bilevel"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| converted(&bundled("a9a.gz"), &output, &ConvertOptions { seed, ..options() }).unwrap());
        std::fs::read(output).unwrap()
    };
    let one = bytes(1, 1);
    assert!(one == bytes(1, 3), "threads change the bytes");
    assert!(one != bytes(2, 1), "the seed changes nothing");
}

#[test]
fn other_rows_are_converted_like_the_first() {
    let scratch = Scratch::new("x", "");
    let (first, second) = (scratch.0.with_file_name("a.bilevel"), scratch.0.with_file_name("b.bilevel"));
    let train = converted(
        &bundled("adult.csv.gz"),
        &first,
        &encoded(EncodeOptions { missing: Missing::Impute, ..Default::default() }),
    )
    .unwrap();
    let header: Header = train.header().clone();
    let test = converted(&bundled("adult-test.csv.gz"), &second, &ConvertOptions { like: Some(&header), ..options() })
        .unwrap();
    assert_eq!(test.header().encoder, header.encoder);
    assert_eq!(test.header().standardization, header.standardization);
    assert_eq!((test.header().rows, test.header().features), (16281, header.features));
}

/// What only the first file says counts, and the lines of faults are known.
#[test]
fn other_rows_are_encoded_by_what_the_first_file_says() {
    for storage in [Storage::Dense, Storage::Sparse] {
        let train = Scratch::new("a.csv", "x,c,y\n0,p,a\n2,q,b\n0,p,a\n4,q,b\n");
        let encode = EncodeOptions { missing: Missing::Impute, storage, ..Default::default() };
        let first = train.0.with_file_name("a.bilevel");
        let header = converted(&train.0, &first, &encoded(encode)).unwrap().header().clone();
        let like = || ConvertOptions { like: Some(&header), ..options() };
        // No value in a column, another one that nobody knows, a category that is new.
        train.beside("b.csv", "note,x,c,y\n,,p,a\n1e300,,r,b\n,,q,a\n");
        let (other, output) = (train.0.with_file_name("b.csv"), train.0.with_file_name("b.bilevel"));
        let mapped = converted(&other, &output, &like()).unwrap();
        let table = read(&other, &ReadOptions::default()).unwrap();
        let mut expected = header.encoder.encode(table).unwrap().design;
        header.standardization.as_ref().unwrap().apply(&mut expected).unwrap();
        let mut found: Vec<Vec<f64>> = rows(&mapped.dataset().unwrap());
        let mut wanted: Vec<Vec<f64>> = (0..3)
            .map(|i| {
                let mut row = vec![0.0; 4];
                expected.add_scaled_row(i, &[1.0; 3], &mut row[..3]);
                row[3] = [0.0, 1.0, 0.0][i];
                row
            })
            .collect();
        found.sort_by(|a, b| a.partial_cmp(b).unwrap());
        wanted.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert!(apart(&found, &wanted) < 1e-6, "{found:?} and {wanted:?}");
        for (text, part) in
            [("x,c,y\n1,p,a\nold,p,b\n", "b.csv:3:1: 'old'"), ("x,c,y\n1,p,a\n1,p,d\n", "b.csv:3: the class 'd'")]
        {
            train.beside("b.csv", text);
            let error = converted(&other, &output, &like()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn nothing_is_left_of_a_conversion_that_fails_or_is_broken_off() {
    let scratch = Scratch::new("bad.csv", "x,y\n1,a\n2,b\n,a\n");
    let output = scratch.0.with_file_name("out.bilevel");
    let names = || std::fs::read_dir(scratch.0.parent().unwrap()).unwrap().count();
    let error = converted(&scratch.0, &output, &options()).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("bad.csv:4"), "{error}");
    assert_eq!(names(), 1);
    let stop = &mut |_, _, _| ControlFlow::Break(());
    assert!(convert(&bundled("a9a.gz"), &output, &options(), stop).unwrap_err().is_interrupted());
    assert_eq!(names(), 1);
}

fn small(scratch: &Scratch) -> (PathBuf, Vec<u8>) {
    let output = scratch.0.with_file_name("out.bilevel");
    converted(&scratch.0, &output, &options()).unwrap();
    (output.clone(), std::fs::read(output).unwrap())
}

/// Opens, verifies and reads what `bytes` are.
fn problem(path: &Path, bytes: &[u8]) -> bilevel::Result<()> {
    std::fs::write(path, bytes).unwrap();
    let rows = MappedRows::open(path)?;
    rows.verify(&mut |_, _| true)?;
    rows.dataset().map(|_| ())
}

#[test]
fn every_cut_is_an_error() {
    let scratch = Scratch::new("small.csv", "x,y\n1,a\n2,b\n3,a\n4,b\n");
    let (path, bytes) = small(&scratch);
    for length in 0..bytes.len() {
        let error = problem(&path, &bytes[..length]).unwrap_err();
        assert!(error.is_input() && error.to_string().lines().count() == 1, "{length}: {error}");
    }
    assert!(problem(&path, &[&bytes[..], b"x"].concat()).unwrap_err().is_input());
    assert!(problem(&path, &bytes).is_ok());
}

/// Every byte that means something is under a checksum; those between sections mean nothing.
#[test]
fn every_changed_byte_is_noticed() {
    for (name, text) in [("small.svm", "1 1:1 7:2\n2 3:1\n1 2:4\n2 9:1\n"), ("small.csv", "x,y\n1,a\n2,b\n3,a\n4,b\n")]
    {
        let scratch = Scratch::new(name, text);
        let (path, bytes) = small(&scratch);
        let header = MappedRows::open(&path).unwrap().header().clone();
        let end = header.sections.iter().map(|s| s.offset + s.bytes).max().unwrap().next_multiple_of(64);
        for at in 0..bytes.len() {
            let inside = header.sections.iter().any(|s| (s.offset..s.offset + s.bytes).contains(&(at as u64)));
            if (64..end).contains(&(at as u64)) && !inside {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let found = problem(&path, &changed);
            assert!(found.is_err_and(|error| error.is_input()), "{name}: byte {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_converted_is_read(
        table in prop::collection::vec((-1e6..1e6f64, 0..3usize, -50..50i32), 12..60),
        storage in prop::sample::select(vec![Storage::Auto, Storage::Dense, Storage::Sparse]),
        precision in prop::sample::select(vec![Precision::F32, Precision::F64]),
        seed in any::<u64>(),
    ) {
        let line = |(x, town, y): &(f64, usize, i32)| format!("{x},{},{}.5\n", ["a", "b", "c"][*town], y);
        let text: String = table.iter().map(line).collect();
        prop_assume!(table.iter().any(|row| row.2 != table[0].2));
        let scratch = Scratch::new("table.csv", String::from("x,town,y\n") + &text);
        let encode = EncodeOptions { storage, precision, ..Default::default() };
        let options = ConvertOptions { seed, ..encoded(encode) };
        let mapped = converted(&scratch.0, &scratch.0.with_file_name("out.bilevel"), &options).unwrap();
        let (data, _) = in_memory(&scratch.0, &options);
        let mapped = mapped.dataset().unwrap();
        prop_assert_eq!(mapped.design.is_sparse(), data.design.is_sparse());
        prop_assert_eq!(matches!(mapped.design, DesignMatrix::DenseF64(_) | DesignMatrix::CsrF64(_)), precision == Precision::F64);
        prop_assert!(apart(&rows(&mapped), &rows(&data)) < 1e-5);
    }
}

#[test]
fn standardized_coefficients_there_and_back() {
    let scaling = Standardization { shift: vec![2.0, 0.0], scale: vec![4.0, 0.5], constant: vec![false; 2] };
    let (mut coef, mut intercept) = (vec![1.0, -2.0, 3.0, 0.5], vec![0.25, -1.0]);
    let before = (coef.clone(), intercept.clone());
    scaling.unfold(&mut coef, &mut intercept);
    assert_eq!((coef[0], intercept[0]), (4.0, 2.25));
    scaling.fold_back(&mut coef, &mut intercept);
    assert_eq!((coef, intercept), before);
}

/// A constant feature is stored as 0, and a model that was fitted elsewhere and weighs it still predicts the same.
#[test]
fn the_value_of_a_constant_feature_is_kept() {
    for storage in [Storage::Dense, Storage::Sparse] {
        let scratch = Scratch::new("constant.csv", "x,c,y\n1,7,a\n2,7,b\n3,7,a\n4,7,b\n");
        let encode = EncodeOptions { storage, ..Default::default() };
        let options = encoded(encode);
        let mapped = converted(&scratch.0, &scratch.0.with_file_name("out.bilevel"), &options).unwrap();
        let (plain, _) = in_memory(&scratch.0, &ConvertOptions { standardize: false, ..options });
        let model = bilevel::tune::LinearModel {
            loss: bilevel::problems::glm::Loss::Logistic,
            features: 2,
            outputs: 1,
            coef: vec![0.5, -2.0],
            intercept: vec![0.25],
        };
        let sorted = |data: &Dataset| {
            let mut margins = model.margins(data).unwrap();
            margins.sort_by(f64::total_cmp);
            margins
        };
        let (found, expected) = (sorted(&mapped.dataset().unwrap()), sorted(&plain));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} and {expected:?}");
    }
}

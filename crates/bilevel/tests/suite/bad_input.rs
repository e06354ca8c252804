//! Unusable input: one message that says what is wrong, where, and what to do about it; never a panic.

use std::path::Path;

use crate::common::*;
use bilevel::Error;
use bilevel::clean::{CleanOptions, clean};
use bilevel::data::*;
use bilevel::observer::Silent;
use bilevel::tune::{GlmProblem, Limits, Penalties, TuneOptions, tune};

fn fails(name: &str, bytes: impl AsRef<[u8]>) -> Error {
    fails_with(name, bytes, &ReadOptions::default())
}

fn fails_with(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Error {
    let file = Scratch::new(name, bytes);
    let error = read(&file.0, options).expect_err("the file is unusable");
    assert!(error.is_input(), "{error}");
    assert_eq!(error.path(), Some(file.0.as_path()), "{error}");
    error
}

/// Line, column and a part of the message.
#[track_caller]
fn at(error: &Error, line: Option<u64>, column: Option<u64>, part: &str) {
    assert_eq!((error.line(), error.column()), (line, column), "{error}");
    assert!(error.to_string().contains(part), "'{part}' is missing in: {error}");
}

#[test]
fn files_that_cannot_be_read() {
    let error = read(Path::new("no/such/file.csv"), &ReadOptions::default()).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("no such file"), "{error}");
    let error = read(Path::new(env!("CARGO_TARGET_TMPDIR")), &ReadOptions::default()).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("is a directory"), "{error}");
    at(&fails("empty.csv", ""), None, None, "the file is empty");
    at(&fails("blank.svm", "\n \n# nothing\n"), None, None, "no rows");
    at(&fails("blank.csv", "\n\n"), None, None, "no rows");
    at(&fails("header.csv", "a,b\n"), None, None, "no rows");
}

#[test]
fn damaged_archives() {
    let text: Vec<u8> = (0..2000).flat_map(|i| format!("{} 1:{} 7:{}\n", i % 2, i * i, i).into_bytes()).collect();
    for (name, bytes) in compressed(&text) {
        let whole = Scratch::new("data", &bytes);
        assert_eq!(read(&whole.0, &ReadOptions::default()).unwrap().rows(), 2000, "{name}");
        for cut in [8, bytes.len() / 2, bytes.len() - 5] {
            at(&fails("data", &bytes[..cut]), None, None, &format!("the {name} archive is damaged or cut short"));
        }
        let mut changed = bytes.clone();
        // The last bytes of all but xz are a checksum; that has an index there.
        let end = changed.len() - if name == "gzip" { 6 } else { 2 };
        changed[end] ^= 1;
        at(&fails("data", &changed), None, None, &format!("the {name} archive is damaged or cut short"));
        let mut twice = bytes.clone();
        twice.extend(&bytes);
        let twice = Scratch::new("twice", &twice);
        assert_eq!(read(&twice.0, &ReadOptions::default()).unwrap().rows(), 4000, "{name} with two members");
    }
    at(&fails("empty.gz", &compressed(b"")[0].1), None, None, "the file is empty");
}

#[test]
fn files_of_no_known_format() {
    at(&fails("junk", [1u8, 2, 3, 0, 255, 254, 7, 7]), None, None, "neither text nor a known binary format");
    at(&fails("data.csv", "\u{feff}a\0b".as_bytes()), None, None, "neither text");
    at(&fails("data.csv", [0xff, 0xfe, b'a', 0]), None, None, "UTF-16");
    let mut tar = vec![b'a'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    at(&fails("data.tar", tar), None, None, "tar archive");
    // An archive without members: its end alone.
    let end = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    at(&fails("data.zip", end), None, None, "a zip archive without arrays of NumPy; unpack it");
    let parquet = fails("data.parquet", b"PAR1");
    if cfg!(not(feature = "parquet")) {
        at(&parquet, None, None, "cargo build --release -p bilevel-cli --features parquet");
        assert!(!fails("junk", [1u8, 2, 3, 0]).to_string().contains("Parquet"), "what this build does not read");
    }
}

#[test]
fn svmlight() {
    let good = "1 1:1\n-1 2:1\n";
    at(&fails("a.svm", format!("{good}1 0:1 1:2\n")), Some(3), Some(3), "add 1 to every index");
    at(&fails("a.svm", format!("{good}1 2:1 1:2\n")), Some(3), Some(7), "sort the features");
    at(&fails("a.svm", format!("{good}1 2:1 2:2\n")), Some(3), Some(7), "twice");
    at(&fails("a.svm", format!("{good}1 2:nan\n")), Some(3), Some(3), "not a finite number");
    at(&fails("a.svm", format!("{good}1 2:-inf\n")), Some(3), Some(3), "not a finite number");
    at(&fails("a.svm", format!("{good}1 2:1e60\n")), Some(3), Some(3), "--dtype f64");
    at(&fails("a.svm", format!("{good}nan 2:1\n")), Some(3), None, "the label is NaN");
    at(&fails("a.svm", format!("{good}1 2 3:1\n")), Some(3), Some(3), "'2' is not of the form index:value");
    at(&fails("a.svm", format!("{good}1 2:\n")), Some(3), Some(3), "index:value");
    at(&fails("a.svm", format!("{good}1 2:x3\n")), Some(3), Some(3), "'2:x3'");
    at(&fails("a.svm", format!("{good}1 -2:3\n")), Some(3), Some(3), "'-2:3'");
    at(&fails("a.svm", format!("{good}2:1 3:1\n")), Some(3), None, "instead of a label");
    at(
        &fails("a.svm", format!("{good}1 1000000000:1\n")),
        Some(3),
        Some(3),
        "index 1000000000 is larger than 134217728",
    );
    at(&fails("a.svm", format!("{good}1 99999999999999999999999:1\n")), Some(3), Some(3), "is larger than");
    at(&fails("a.svm", b"a\xff\xfe 1:2\n"), Some(1), None, "UTF-8");
    at(&fails("a.svm", "1\n2\n"), None, None, "no features");
}

#[test]
fn delimited_text() {
    at(&fails("a.csv", "a,b,y\n1,2,3\n4,5\n6,7,8\n"), Some(3), None, "2 fields where the first row has 3");
    at(&fails("a.csv", "a,b,y\n1,2,3\n\n\n4,5,6,7\n"), Some(5), None, "4 fields");
    at(&fails("a.csv", "a,b,y\n1,\"2,3\n4,5,6\n"), Some(2), None, "never closed");
    at(&fails("a.csv", "a,b,y\n1,2,3\n4,5,\"6\n7,8,9\n"), Some(3), None, "never closed");
    at(&fails("a.csv", "a,b,y\n1,2,3\n4,5\" or,\"6, \"\"\n7,8,9\n"), Some(3), None, "never closed");
    let inches = Scratch::new("a.csv", "a,b,y\n2\" pipe,\"x, z\",0\n3,\"y\",1\n2\" pipe,\"x, \"\"z\",0\n");
    assert_eq!(read(&inches.0, &ReadOptions::default()).unwrap().rows(), 3, "a quote within a field is closed by none");
    at(&fails("a.csv", b"a,b,y\n1,x,3\n1,\xff\xfe,4\n"), Some(3), Some(2), "UTF-8");
    at(&fails("a.csv", b"a,\xff\xfe,y\n1,2,3\n"), Some(1), Some(2), "UTF-8");
    at(&fails("a.csv", "a,b,y\n1,2,3\n1,inf,4\n"), Some(3), Some(2), "infinite");
    at(&fails("a.csv", "a,a,y\n1,2,3\n"), Some(1), Some(2), "columns 1 and 2 are both named 'a'");
    at(&fails("a.csv", "1\n2\n"), None, None, "--delimiter");
}

#[test]
fn targets_that_do_not_exist() {
    let target = |name: &str| ReadOptions { target: Some(name.into()), ..ReadOptions::default() };
    let text = "age,income,workclass\n1,2,a\n2,3,b\n";
    at(&fails_with("a.csv", text, &target("incme")), None, None, "there is no column 'incme'; did you mean 'income'?");
    at(&fails_with("a.csv", text, &target("zzzzzz")), None, None, "the columns are 'age', 'income', 'workclass'");
    at(&fails_with("a.csv", text, &target("4")), None, None, "there is no column '4'");
    at(&fails_with("a.csv", "1,2\n3,4\n", &target("y")), None, None, "a column number from 1 to 2");
    at(&fails_with("a.svm", "1 1:2\n", &target("y")), None, None, "svmlight data have no named target");
    let x = npy("'<f8'", false, "(2, 1)", &doubles(&[1.0, 2.0]));
    at(&fails("a.npy", &x), None, None, "there is no target");
    at(&fails("a.npz", npz(&[("X", x.clone())])), None, None, "there is no target");
    at(&fails_with("a.npz", npz(&[("X", x.clone()), ("labels", x)]), &target("label")), None, None, "'labels'");
}

#[test]
fn labels_that_do_not_fit() {
    let labels = Scratch::new("labels.txt", "1\n2\n3\n");
    let options = ReadOptions { labels: Some(labels.0.clone()), ..ReadOptions::default() };
    let file = Scratch::new("a.csv", "a,b\n1,2\n3,4\n");
    let error = read(&file.0, &options).unwrap_err();
    assert_eq!(error.path(), Some(labels.0.as_path()), "{error}");
    at(&error, None, None, "3 labels for the 2 rows of");
    for text in ["1\n\n3\n", "1\nNA\n3\n", "1\n?\n3\n", "a\nnull\nb\n", "1\nnan\n3\n"] {
        let gap = Scratch::new("labels.txt", text);
        let file = Scratch::new("a.csv", "a,b\n1,2\n3,4\n1,1\n");
        let error = read(&file.0, &ReadOptions { labels: Some(gap.0.clone()), ..ReadOptions::default() }).unwrap_err();
        at(&error, Some(2), None, "the label is missing");
    }
}

#[test]
fn one_class_and_unseen_classes() {
    let file = Scratch::new("a.csv", "a,y\n1,no\n2,no\n");
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let error = LabelMap::learn(&table.labels.unwrap(), None, &table.origin).unwrap_err();
    at(&error, None, None, "every row has the target 'no'");
    let names = Labels::Text { codes: (0..50).collect(), levels: (0..50).map(|i| format!("name {i:02}")).collect() };
    let error = LabelMap::learn(&names, None, &table.origin).unwrap_err();
    at(&error, None, None, "the target has 50 different values in 50 rows");
    let origin = Origin::new("train.npy");
    let map = LabelMap::learn(&Labels::Numbers(vec![2.0, 4.0, 2.0]), None, &origin).unwrap();
    let error = map.apply(&Labels::Numbers(vec![2.0, 3.0]), &origin).unwrap_err();
    at(&error, None, None, "row 2: the class '3' does not occur in the training data; the classes are 2, 4");
    let error = LabelMap::learn(&Labels::Numbers(vec![2.0, f64::NAN]), None, &origin).unwrap_err();
    at(&error, None, None, "row 2: the target is missing");
    let three = Labels::Numbers(vec![1.0, 2.0, 3.0]);
    let error = LabelMap::learn(&three, Some(TargetKind::Binary), &origin).unwrap_err();
    at(&error, None, None, "the target has 3");
    let error = LabelMap::learn(&Labels::Numbers(vec![0.5, 2.0]), Some(TargetKind::Counts), &origin).unwrap_err();
    at(&error, None, None, "0.5 is no count");
}

#[test]
fn more_folds_than_rows_of_a_class() {
    let codes = [0u32; 20].into_iter().chain([1; 3]).collect();
    let target = Target::Classes { codes, names: vec!["yes".into(), "no".into()] };
    let error = stratified_order(&target, Parts::Folds(5), 1).unwrap_err();
    at(&error, None, None, "class 'no' has 3 rows, too few for 5 parts; use fewer folds");
    assert!(stratified_order(&Target::Values(vec![1.0; 3].into()), Parts::Folds(4), 1).is_err());
    for fractions in [&[0.5, 0.6][..], &[], &[1.5, -0.5], &[f64::NAN, 0.5]] {
        assert!(stratified_order(&target, Parts::Fractions(fractions), 1).is_err(), "{fractions:?}");
    }
    assert!(stratified_order(&target, Parts::Folds(0), 1).is_err());
}

#[test]
fn numpy_arrays() {
    let data = doubles(&[1.0, 2.0, 3.0, 4.0]);
    let options = ReadOptions { target_required: false, ..ReadOptions::default() };
    let fails = |bytes: Vec<u8>| fails_with("a.npy", bytes, &options);
    at(&fails(npy("'<f8'", false, "(2, 3)", &data)), None, None, "cut short");
    at(&fails(npy("'|O'", false, "(2, 2)", &data)), None, None, "Python objects");
    at(&fails(npy("[('a', '<f8')]", false, "(4,)", &data)), None, None, "records");
    at(&fails(npy("'<f2'", false, "(2, 2)", &data)), None, None, "16-bit");
    at(&fails(npy("'<c16'", false, "(2,)", &data)), None, None, "c16");
    at(&fails(npy("'<U2'", false, "(2, 2)", &data)), None, None, "texts where numbers are needed");
    at(&fails(npy("'<f8'", false, "(1, 2, 2)", &data)), None, None, "reshape");
    at(&fails(npy("'<f8'", false, "(-1, 2)", &data)), None, None, "shape");
    at(&fails(npy("'<f8'", false, "(99999999999, 99999999999)", &data)), None, None, "cut short");
    at(&fails(npy("'<f8'", false, "(0, 2)", &data)), None, None, "no rows");
    at(&fails(npy("'<f8'", false, "(2, 0)", &data)), None, None, "no features");
    at(&fails(npy("'<f8'", false, "(2, 1)", &doubles(&[1.0, f64::INFINITY]))), None, None, "row 2, column 1");
    let whole = npy("'<f8'", false, "(2, 2)", &data);
    for cut in 1..whole.len() {
        let file = Scratch::new("a.npy", &whole[..cut]);
        assert!(read(&file.0, &options).is_err_and(|error| error.is_input()), "cut at {cut}");
    }
}

#[test]
fn numpy_archives() {
    let fails = |arrays: &[(&str, Vec<u8>)]| fails("a.npz", npz(arrays));
    let y = npy("'<i8'", false, "(2,)", &integers(&[0, 1]));
    at(&fails(&[("Z", y.clone())]), None, None, "the archive holds no array 'X'");
    at(
        &fails(&[("X", npy("'|O'", false, "(2,)", &[0; 16])), ("y", y.clone())]),
        None,
        None,
        "array 'X': arrays of Python",
    );
    let sparse = |indptr: &[i64], indices: &[i64], data: &[f64]| {
        let array = |v: &[i64]| npy("'<i8'", false, &format!("({},)", v.len()), &integers(v));
        let data = npy("'<f8'", false, &format!("({},)", data.len()), &doubles(data));
        let shape = array(&[2, 3]);
        [("indptr", array(indptr)), ("indices", array(indices)), ("data", data), ("shape", shape), ("y", y.clone())]
    };
    at(&fails(&sparse(&[0, 1], &[0], &[1.0])), None, None, "do not belong together");
    at(&fails(&sparse(&[0, 2, 1], &[0], &[1.0])), None, None, "do not belong together");
    at(&fails(&sparse(&[0, 1, 1], &[3], &[1.0])), None, None, "outside the 3 columns");
    at(&fails(&sparse(&[0, 1, 1], &[-1], &[1.0])), None, None, "negative");
    at(&fails(&sparse(&[0, 2, 2], &[1, 1], &[1.0, 2.0])), None, None, "sum_duplicates");
    at(&fails(&sparse(&[0, 1, 1], &[1], &[f64::NAN])), None, None, "not a finite number");
    let mut csc = sparse(&[0, 1, 1], &[1], &[1.0]).to_vec();
    csc.push(("format", npy("'|S3'", false, "()", b"csc")));
    at(&fails(&csc), None, None, "save matrix.tocsr()");
    let whole = npz(&sparse(&[0, 1, 1], &[1], &[1.0]));
    for cut in [5, whole.len() / 2, whole.len() - 3] {
        at(&super_fails(&whole[..cut]), None, None, "damaged or cut short");
    }
}

fn super_fails(bytes: &[u8]) -> Error {
    fails("a.npz", bytes)
}

#[test]
fn idx_files() {
    at(&fails("train-images-idx3-ubyte", [1u8, 2, 3, 4, 5]), None, None, "first four bytes");
    at(&fails("train-images-idx3-ubyte", idx(&[2, 2, 2], &[0; 7])), None, None, "need 8 bytes, but 7 follow");
    at(&fails("train-images-idx3-ubyte", idx(&[2, 2, 2], &[0; 9])), None, None, "need 8 bytes, but 9 follow");
    at(&fails("a", &idx(&[2, 2, 2], &[])[..9]), None, None, "cut short within its header");
    at(&fails("a", idx(&[0, u32::MAX, u32::MAX, u32::MAX], &[])), None, None, "no numbers");
    at(&fails("a", idx(&[u32::MAX; 8], &[])), None, None, "very many bytes");
    at(&fails("a", idx(&[2, 2, 2], &[0; 8])), None, None, "there is no target");
    let images = Scratch::new("t-images-idx3-ubyte", idx(&[2, 2, 2], &[0; 8]));
    images.beside("t-labels-idx1-ubyte", idx(&[3], &[0, 1, 2]));
    at(&read(&images.0, &ReadOptions::default()).unwrap_err(), None, None, "2 rows but 3 labels");
}

#[test]
fn tables_that_do_not_fit_the_encoder() {
    let table = |text: &str| {
        let file = Scratch::new("a.csv", text);
        let target_required = text.contains('y');
        read(&file.0, &ReadOptions { target_required, ..ReadOptions::default() }).unwrap()
    };
    let learn = |text: &str| Encoder::learn(&table(text), &EncodeOptions::default()).unwrap();
    let named = learn("age,job,y\n1,a,0\n2,b,1\n");
    at(&named.encode(table("ages,job\n1,a\n2,b\n")).unwrap_err(), None, None, "no column 'age'");
    at(
        &named.encode(table("job,age\na,1\nb,old\n")).unwrap_err(),
        Some(3),
        Some(2),
        "'old' in column 'age' is no number",
    );
    at(&named.encode(table("job,age\na,1\nb,\n")).unwrap_err(), Some(3), Some(2), "--missing impute");
    at(&named.encode(table("job,age\na,1\n,2\n")).unwrap_err(), Some(3), Some(1), "--missing impute");
    at(&learn("1,2,3\n4,5,6\n").encode(table("1,2\n3,4\n")).unwrap_err(), None, None, "2 columns of features");
    let wide = Scratch::new("a.svm", "1 1:1 5:1\n");
    let wide = read(&wide.0, &ReadOptions::default()).unwrap();
    let narrow = Scratch::new("b.svm", "1 1:1 4:1\n");
    let narrow = read(&narrow.0, &ReadOptions::default()).unwrap();
    let encoder = Encoder::learn(&narrow, &EncodeOptions::default()).unwrap();
    at(&encoder.encode(wide.clone()).unwrap_err(), None, None, "5 features, but the model was trained on 4");
    at(&named.encode(wide).unwrap_err(), None, None, "this file holds a plain matrix");
    let empty = table("a,b\n1,\n2,\n");
    let impute = EncodeOptions { missing: Missing::Impute, ..EncodeOptions::default() };
    at(&Encoder::learn(&empty, &impute).unwrap_err(), None, None, "'b' holds no value");
    let large = Encoder::learn(&table("a,b\n1,1e300\n2,1\n"), &EncodeOptions::default()).unwrap();
    at(
        &large.encode(table("a,b\n1,1e300\n2,1\n")).unwrap_err(),
        Some(2),
        Some(2),
        "column 'b' is 1e300, too large for single precision; rescale the column or fit in double precision (--dtype f64)",
    );
}

#[test]
fn group_files() {
    let features: Vec<String> = ["age", "job=a", "job=b"].map(String::from).to_vec();
    let sources = Groups { of_feature: vec![0, 1, 1], names: vec!["age".into(), "job".into()] };
    let read = |text: &str| {
        let file = Scratch::new("groups", text);
        Groups::read(&file.0, &features, &sources)
    };
    let names = |groups: Groups| -> Vec<String> {
        groups.of_feature.iter().map(|&group| groups.names[group as usize].clone()).collect()
    };
    assert_eq!(names(read("u\nv\n").unwrap()), ["u", "v", "v"]);
    assert_eq!(names(read("# three\nu\nv\nu\n").unwrap()), ["u", "v", "u"]);
    assert_eq!(names(read("job,work\nage,me\n").unwrap()), ["me", "work", "work"]);
    assert_eq!(names(read("job\twork\nage\tme\njob=b\tb\n").unwrap()), ["me", "work", "b"]);
    assert_eq!(names(read("job work\nage  me\n").unwrap()), ["me", "work", "work"]);
    assert_eq!(names(read("a b\nc d\n").unwrap()), ["a b", "c d", "c d"], "names of groups may hold blanks");
    let unnamed_names = ["x1", "x2"].map(String::from);
    let unnamed = Scratch::new("groups", "2 b\n1 a\n");
    let groups = Groups::read(&unnamed.0, &unnamed_names, &Groups::singletons(&unnamed_names)).unwrap();
    assert_eq!((groups.of_feature, groups.names), (vec![0, 1], vec!["a".to_string(), "b".to_string()]));
    at(&read("u\n").unwrap_err(), None, None, "1 group names for 3 features made from 2 columns");
    at(&read("job,work\nagee,me\n").unwrap_err(), Some(2), None, "did you mean 'age'?");
    at(&read("job,work\njob,me\n").unwrap_err(), Some(2), None, "assigned twice");
    at(&read("job,work\n").unwrap_err(), None, None, "feature 'age' has no group");
    at(&read("job,work\nage\n").unwrap_err(), None, None, "same form");
}

/// 60 rows of two features with this target.
fn dataset(target: Target) -> Dataset {
    let x = (0..120).map(|k| (f64::from(k) * 1.618).sin()).collect();
    Dataset::new(DenseMatrix::new(60, 2, x), target).unwrap().with_feature_names(["a", "b"]).unwrap()
}

fn numbers() -> Dataset {
    dataset(Target::Values((0..60).map(|i| (f64::from(i) * 0.7).cos()).collect()))
}

fn classes(names: &[&str]) -> Dataset {
    let codes = (0..60).map(|i| i * 7 % 11 % names.len() as u32).collect();
    dataset(Target::Classes { codes, names: names.iter().map(ToString::to_string).collect() })
}

/// `data` with one part changed.
fn changed(mut data: Dataset, change: impl FnOnce(&mut Dataset)) -> Dataset {
    change(&mut data);
    data
}

#[test]
fn data_sets_that_do_not_hold_together() {
    let first_entry = |value: f64| {
        move |data: &mut Dataset| {
            data.design = match &data.design {
                DesignMatrix::DenseF64(m) => {
                    let values = [&[value], &m.values()[1..]].concat();
                    DesignMatrix::DenseF64(DenseMatrix::new(60, 2, values))
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let single =
        |data: &mut Dataset| data.design = DesignMatrix::DenseF32(DenseMatrix::new(60, 2, vec![f32::NAN; 120]));
    let wrong = [
        (changed(numbers(), |data| data.target = Target::Values(vec![1.0; 50].into())), "50 targets for 60 rows"),
        (changed(numbers(), |data| data.target = Target::Values(vec![1.0; 70].into())), "70 targets for 60 rows"),
        (changed(numbers(), |data| data.weights = Some(vec![1.0; 5])), "5 weights for 60 rows"),
        (changed(numbers(), |data| data.weights = Some(vec![0.0; 60])), "rows have weight 0"),
        (changed(numbers(), |data| data.weights = Some(vec![f64::NAN; 60])), "the weight NaN of"),
        (changed(numbers(), |data| data.feature_names.truncate(1)), "1 names for 2 features"),
        (changed(numbers(), |data| data.groups.of_feature.truncate(1)), "1 codes of groups for 2 features"),
        (changed(numbers(), |data| data.groups.of_feature[1] = 7), "feature 'b' of the"),
        (changed(numbers(), |data| data.measured.clear()), "0 marks of measurements for 2 features"),
        (changed(numbers(), first_entry(f64::NAN)), "the feature 'a' of"),
        (changed(numbers(), first_entry(f64::INFINITY)), "is inf, which is no finite number"),
        (changed(numbers(), first_entry(1e300)), "too large for a number"),
        (changed(numbers(), single), "is NaN, which is no finite number"),
        (changed(numbers(), |data| data.target = Target::Values(vec![f64::NAN; 60].into())), "the target of"),
        (
            changed(classes(&["no", "yes"]), |data| {
                data.target = Target::Classes { codes: vec![9; 60].into(), names: vec!["no".into(), "yes".into()] }
            }),
            "row 1 is of class 9",
        ),
        (
            changed(numbers(), |data| {
                data.design = DesignMatrix::DenseF64(DenseMatrix::new(60, 0, Vec::new()));
                (data.feature_names, data.groups, data.measured) = (Vec::new(), Groups::singletons(&[]), Vec::new());
            }),
            "no features",
        ),
        (numbers().range(0..0), "no rows"),
    ];
    let options = TuneOptions::default();
    for (data, part) in &wrong {
        let good = if matches!(data.target, Target::Values(_)) { numbers() } else { classes(&["no", "yes"]) };
        let cleaned = |train: &Dataset, trusted: &Dataset, test: Option<&Dataset>| {
            clean(train, trusted, test, &CleanOptions::default(), &mut Silent).unwrap_err()
        };
        for (error, name) in [
            (tune(data, None, None, &options, &mut Silent).unwrap_err(), "training"),
            (tune(&good, Some(data), None, &options, &mut Silent).unwrap_err(), "validation"),
            (tune(&good, None, Some(data), &options, &mut Silent).unwrap_err(), "test"),
            (GlmProblem::new(data, None, &options).unwrap_err(), "training"),
            (GlmProblem::new(&good, Some(data), &options).unwrap_err(), "validation"),
            (cleaned(data, &good, None), "training"),
            (cleaned(&good, data, None), "trusted"),
            (cleaned(&good, &good, Some(data)), "test"),
        ] {
            assert!(error.is_input());
            at(&error, None, None, part);
            at(&error, None, None, name);
        }
    }
    let few = changed(numbers(), |data| data.weights = Some((0..60).map(|i| f64::from(u8::from(i < 2))).collect()));
    at(&tune(&few, None, None, &options, &mut Silent).unwrap_err(), None, None, "2 training rows are too few");
    let error = clean(&numbers(), &few, None, &CleanOptions::default(), &mut Silent).unwrap_err();
    at(&error, None, None, "2 trusted rows are too few");
}

/// Lengths and codes are looked at where a data set is put together; numbers where it is used.
#[test]
fn parts_of_which_no_data_set_can_be_made() {
    let target = |rows: usize| Target::Values(vec![1.0; rows].into());
    let features = || DenseMatrix::try_new(3, 2, vec![0.0; 6]).unwrap();
    let data = || Dataset::new(features(), target(3)).unwrap();
    assert_eq!((data().feature_names, data().groups.names), (vec!["x1".into(), "x2".into()], data().feature_names));
    let unnamed = Target::Classes { codes: vec![0, 1, 2].into(), names: vec!["no".into(), "yes".into()] };
    let groups = |of_feature: Vec<u32>| Groups { of_feature, names: vec!["one".into()] };
    let csr = |offsets, indices| CsrMatrix::try_new(2, offsets, indices, vec![1.0; 2]).map(|_| data());
    for (made, part) in [
        (Dataset::new(features(), target(4)), "4 targets for 3 rows"),
        (Dataset::new(features(), unnamed), "row 3 is of class 2"),
        (data().with_feature_names(["a"]), "1 names for 2 features"),
        (data().with_groups(groups(vec![0])), "1 codes of groups for 2 features"),
        (data().with_groups(groups(vec![0, 1])), "feature 'x2' of the given data is in group 1"),
        (data().with_weights(vec![1.0; 2]), "2 weights for 3 rows"),
        (data().with_weights(vec![1.0, -1.0, 0.0]), "the weight -1 of given row 2"),
        (DenseMatrix::try_new(3, 2, vec![0.0; 5]).map(|_| data()), "5 values for a 3 x 2 matrix"),
        (DenseMatrix::<f32>::try_new(usize::MAX, 2, Vec::new()).map(|_| data()), "0 values"),
        (csr(vec![0, 1], vec![0, 1]), "offsets must span the entries"),
        (csr(vec![0, 2], vec![1, 0]), "column indices must rise within a row"),
        (csr(vec![0, 1, 2], vec![0, 5]), "column index out of range"),
    ] {
        let error = made.unwrap_err();
        assert!(error.is_input());
        at(&error, None, None, part);
    }
    let named = data().with_groups(groups(vec![0, 0])).unwrap().with_feature_names(["a", "b"]).unwrap();
    assert_eq!((named.groups.names, named.feature_names), (vec!["one".into()], vec!["a".into(), "b".into()]));
}

#[test]
fn data_sets_that_do_not_fit_together() {
    let two = classes(&["no", "yes"]);
    let one_feature = changed(two.clone(), |data| {
        data.design = DesignMatrix::DenseF64(DenseMatrix::new(60, 1, vec![1.0; 60]));
        (data.feature_names, data.measured) = (vec!["a".into()], vec![true]);
        data.groups = Groups::singletons(&data.feature_names);
    });
    for (train, other, part) in [
        (&two, numbers(), "data have numbers to predict, the training data 2 classes (no, yes)"),
        (&numbers(), two.clone(), "data have 2 classes (no, yes), the training data numbers to predict"),
        (&two, classes(&["no", "yes", "so"]), "data have 3 classes (no, yes, so), the training data 2 classes"),
        (&two, classes(&["yes", "no"]), "data have 2 classes (yes, no), the training data 2 classes (no, yes)"),
        (&two, one_feature, "data have 1 features, the training data 2"),
    ] {
        let options = TuneOptions::default();
        for error in [
            tune(train, Some(&other), None, &options, &mut Silent).unwrap_err(),
            tune(train, None, Some(&other), &options, &mut Silent).unwrap_err(),
            GlmProblem::new(train, Some(&other), &options).unwrap_err(),
            clean(train, &other, None, &CleanOptions::default(), &mut Silent).unwrap_err(),
            clean(train, train, Some(&other), &CleanOptions::default(), &mut Silent).unwrap_err(),
        ] {
            assert!(error.is_input());
            at(&error, None, None, part);
        }
    }
}

#[test]
fn limits_and_starts_of_a_tuning_that_mean_nothing() {
    let fails = |options: TuneOptions| tune(numbers(), None, None, &options, &mut Silent).unwrap_err();
    for tolerance in [f64::NAN, -1.0] {
        let limits = Limits { tolerance, ..Limits::default() };
        at(&fails(TuneOptions { limits, ..TuneOptions::default() }), None, None, "the tolerance");
    }
    let start = |penalties, count| TuneOptions { start: Some(vec![0.0; count]), penalties, ..TuneOptions::default() };
    at(&fails(start(Penalties::Shared, 3)), None, None, "3 log-penalties to begin with");
    at(&fails(start(Penalties::PerFeature, 3)), None, None, "3 log-penalties to begin with");
    for count in [1, 2] {
        tune(numbers(), None, None, &start(Penalties::PerFeature, count), &mut Silent).unwrap();
    }
}

/// As `tune` refuses it: nothing learned by the fit tells of a class that it never saw.
#[test]
fn a_class_that_only_the_rows_held_out_have() {
    let codes: Vec<u32> = (0..60).map(|row| if row == 30 { 2 } else { row % 2 }).collect();
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let three = dataset(Target::Classes { codes: codes.into(), names });
    let rare = dataset(Target::Classes {
        codes: (0..60).map(|row| u32::from(row == 30)).collect(),
        names: vec!["a".into(), "b".into()],
    });
    for (data, class) in [(three, 2), (rare, 1)] {
        let mut refused = 0;
        for seed in 0..30 {
            match GlmProblem::new(&data, None, &TuneOptions { seed, ..TuneOptions::default() }) {
                Ok(problem) => assert!(problem.lower().risk().targets().contains(&f64::from(class)), "seed {seed}"),
                Err(error) => {
                    let Target::Classes { names, .. } = &data.target else { unreachable!() };
                    let message = format!("class {} is among the rows that are held out only", names[class as usize]);
                    at(&error, None, None, &message);
                    refused += 1;
                }
            }
        }
        assert!((1..30).contains(&refused), "{refused}");
    }
    let alone = dataset(Target::Classes { codes: [0; 60].into_iter().collect(), names: vec!["a".into(), "b".into()] });
    at(&GlmProblem::new(&alone, None, &TuneOptions::default()).unwrap_err(), None, None, "are of one class");
}

//! Bad input: one clear line on standard error, exit code 2, nothing written.

use std::io::Write;
use std::path::Path;

use crate::common::{Scratch, bilevel, small_csv};

/// What is wrong, the arguments (with `@` for the folder of the test), and what the line must mention.
struct Case {
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    args: &'static str,
    mentions: &'static [&'static str],
}

fn case(
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    args: &'static str,
    mentions: &'static [&'static str],
) -> Case {
    Case { name, files, args, mentions }
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn svmlight(line: &str) -> Vec<u8> {
    let mut text: String = (0..20).map(|i| format!("{} 1:{} 2:0.5\n", i % 2, i)).collect();
    text += line;
    text.into_bytes()
}

/// An archive without members: its end alone.
fn zip_of_nothing() -> Vec<u8> {
    [&b"PK\x05\x06"[..], &[0; 18]].concat()
}

/// One column of positive numbers that says nothing of its two classes.
fn zero_csv() -> Vec<u8> {
    let line = |x: u32| format!("{x},{}\n", if x * x % 7 < 3 { "yes" } else { "no" });
    ("x,y\n".to_string() + &(1..=40).map(line).collect::<String>()).into_bytes()
}

fn cases() -> Vec<Case> {
    let csv = || small_csv(60).into_bytes();
    let with_line = |line: &str| [csv(), line.as_bytes().to_vec()].concat();
    let truncated = gzip(&csv())[..200].to_vec();
    let junk: Vec<u8> = (0..600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let three: Vec<u8> = csv().iter().copied().chain(*b"0.5,red,maybe\n").collect();
    vec![
        case("missing file", vec![], "tune @/none.csv", &["none.csv", "no such file"]),
        case("a directory", vec![], "tune @", &["directory"]),
        case("no folder to write to", vec![("a.csv", csv())], "tune @/a.csv --out -", &["--out", "several files"]),
        case("an empty file", vec![("a.csv", vec![])], "tune @/a.csv", &["a.csv", "empty"]),
        case("a truncated archive", vec![("a.csv.gz", truncated)], "tune @/a.csv.gz", &["damaged or cut short"]),
        case("binary junk", vec![("a.csv", junk)], "tune @/a.csv", &["a.csv"]),
        case("index 0", vec![("a.svm", svmlight("1 0:3\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("index out of order", vec![("a.svm", svmlight("1 2:3 1:1\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("index twice", vec![("a.svm", svmlight("1 2:3 2:1\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("nan", vec![("a.svm", svmlight("1 1:nan\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("inf", vec![("a.svm", svmlight("1 1:inf\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("label nan", vec![("a.svm", svmlight("nan 1:2\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case("no colon", vec![("a.svm", svmlight("1 1:2 2\n"))], "tune @/a.svm", &["a.svm:21:"]),
        case(
            "an index of 10^9",
            vec![("a.svm", svmlight("1 1000000000:1\n"))],
            "tune @/a.svm",
            &["a.svm", "1000000000"],
        ),
        case("ragged rows", vec![("a.csv", with_line("1,red\n"))], "tune @/a.csv", &["a.csv:62"]),
        case("bad quotes", vec![("a.csv", with_line("1,\"red,yes\n"))], "tune @/a.csv", &["a.csv:62"]),
        case(
            "bad UTF-8",
            vec![("a.csv", [csv(), b"1,r\xffd,yes\n".to_vec()].concat())],
            "tune @/a.csv",
            &["a.csv:62", "UTF-8"],
        ),
        case("no such target", vec![("a.csv", csv())], "tune @/a.csv --target z", &["no column 'z'"]),
        case(
            "a missing value",
            vec![("a.csv", with_line(",red,yes\n"))],
            "tune @/a.csv",
            &["a.csv:62", "--missing impute"],
        ),
        case("one class only", vec![("a.csv", small_csv(60).replace("yes", "no").into())], "tune @/a.csv", &["'no'"]),
        case(
            "an unseen class",
            vec![("a.csv", csv()), ("b.csv", three)],
            "tune @/a.csv --validation @/b.csv",
            &["b.csv:62", "'maybe'"],
        ),
        case(
            "another width",
            vec![("a.svm", svmlight("")), ("b.svm", b"1 1:1 2:1 3:1\n".to_vec())],
            "tune @/a.svm --validation @/b.svm",
            &["b.svm", "3 features"],
        ),
        case(
            "another width of a file without header",
            vec![("a.csv", b"1,2,0\n2,3,1\n3,1,0\n5,2,1\n".repeat(5)), ("b.csv", b"1,2,3,0\n".to_vec())],
            "tune @/a.csv --test @/b.csv",
            &["b.csv"],
        ),
        case(
            "a fold larger than a class",
            vec![("a.csv", [csv(), b"0.5,red,maybe\n".repeat(3)].concat())],
            "tune @/a.csv --folds 10",
            &["maybe", "3 rows", "--folds"],
        ),
        case("two folds of one class", vec![("a.csv", csv())], "tune @/a.csv --folds 1", &["--folds"]),
        case("an impossible fraction", vec![("a.csv", csv())], "tune @/a.csv --test 1.5", &["--test 1.5"]),
        case("a model that does not fit", vec![("a.csv", csv())], "tune @/a.csv --model poisson", &["'no'"]),
        case(
            "penalties the wrong way round",
            vec![("a.csv", csv())],
            "tune @/a.csv --lambda-min 2 --lambda-max 1",
            &["--lambda-max"],
        ),
        case("a class without labels", vec![("a.csv", csv())], "tune @/a.csv --classes odd=", &["odd="]),
        case("a label that does not occur", vec![("a.csv", csv())], "tune @/a.csv --classes a=yes,often", &["'often'"]),
        case(
            "the same to convert",
            vec![("a.csv", csv())],
            "convert @/a.csv @/b --classes a=yes,often",
            &["a.csv", "'often'", "--classes"],
        ),
        case(
            "a positive class that does not occur",
            vec![("a.csv", csv())],
            "tune @/a.csv --positive-class maybe",
            &["'maybe'"],
        ),
        case("an unknown option", vec![("a.csv", csv())], "tune @/a.csv --fold 3", &["--fold"]),
        case("an unknown method", vec![("a.csv", csv())], "tune @/a.csv --method magic", &["magic", "aid-cg"]),
        case(
            "groups of nothing",
            vec![("a.csv", csv()), ("g", b"nobody,g1\n".to_vec())],
            "tune @/a.csv --groups @/g",
            &["nobody"],
        ),
        case("a file that is no model", vec![("a.csv", csv())], "predict @/a.csv @/a.csv", &["not a model file"]),
        case("no model", vec![("a.csv", csv())], "evaluate @/model @/a.csv", &["no such file"]),
        case(
            "an output folder under a file",
            vec![("a.csv", csv()), ("file", vec![])],
            "tune @/a.csv --out @/file/out",
            &["file/out", "--out"],
        ),
        case(
            "no permission to write",
            vec![("a.csv", csv())],
            "tune @/a.csv --out /proc/bilevel-out",
            &["/proc/bilevel-out", "--out"],
        ),
        case("no trusted rows", vec![("a.csv", csv())], "clean @/a.csv", &["--trusted"]),
        case(
            "a missing trusted file",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/b.csv",
            &["b.csv", "no such file"],
        ),
        case(
            "two trusted rows",
            vec![("a.csv", csv()), ("b.csv", small_csv(2).into_bytes())],
            "clean @/a.csv --trusted @/b.csv",
            &["2 trusted rows"],
        ),
        case(
            "trusted rows of another width",
            vec![("a.svm", svmlight("")), ("b.svm", b"1 1:1 2:1 3:1\n".to_vec())],
            "clean @/a.svm --trusted @/b.svm",
            &["b.svm", "3 features"],
        ),
        case(
            "a trusted label that no training row has",
            vec![("a.csv", csv()), ("b.csv", [csv(), b"0.5,red,maybe\n".to_vec()].concat())],
            "clean @/a.csv --trusted @/b.csv",
            &["b.csv:62", "'maybe'"],
        ),
        case(
            "test rows of a cleaning by a fraction",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/a.csv --test 0.25",
            &["0.25", "no such file"],
        ),
        case(
            "a method that learns no weights",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/a.csv --method sid-svrg",
            &["sid-svrg", "aid-cg"],
        ),
        case(
            "a penalty of zero",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/a.csv --penalty 0",
            &["--penalty"],
        ),
        case(
            "all trusted rows looking on",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/a.csv --monitor 1",
            &["--monitor"],
        ),
        // A value that begins with a minus is refused for what it is.
        case(
            "a negative class that does not occur",
            vec![("a.csv", csv())],
            "tune @/a.csv --positive-class -1",
            &["no class '-1'", "no, yes"],
        ),
        case("a negative seed", vec![("a.csv", csv())], "tune @/a.csv --seed -1", &["--seed", "a whole number from 0"]),
        case("negative folds", vec![("a.csv", csv())], "tune @/a.csv --folds -1", &["-1 is not in 2..=1000"]),
        case("a negative penalty", vec![("a.csv", csv())], "tune @/a.csv --lambda-min -1", &["a positive number"]),
        case("a negative fraction", vec![("a.csv", csv())], "tune @/a.csv --validation -0.5", &["between 0 and 1"]),
        case("a negative place", vec![("a.csv", csv())], "hypergradient @/a.csv --at -1", &["--at -1", "0.01"]),
        case(
            "a checkpoint beyond all epochs",
            vec![("a.csv", csv())],
            "study @/a.csv --at 0.1 --checkpoints 1,100000 --out @/o",
            &["no method comes to 100000 steps within 50 epochs", "allow "],
        ),
        case(
            "more replicates than anybody makes",
            vec![("a.csv", csv())],
            "study @/a.csv --at 0.1 --replicates 4294967295 --out @/o",
            &["--replicates", "1..=1000000"],
        ),
        case(
            "more seeds than anybody runs",
            vec![("a.csv", csv())],
            "race @/a.csv --seeds 4294967295 --out @/o",
            &["--seeds", "1..=1000000"],
        ),
        case(
            "a budget beyond all",
            vec![],
            "reproduce aistats2021 --data @ --budget 1e300 --out @/o",
            &["--budget", "up to 10000"],
        ),
        case(
            "a negative share",
            vec![("a.csv", csv())],
            "clean @/a.csv --trusted @/a.csv --monitor -1",
            &["from 0 to below 1"],
        ),
        case("a time beyond all clocks", vec![("a.csv", csv())], "tune @/a.csv --max-time 1e30", &["at most 1000000h"]),
        case(
            "a smallest penalty beyond the default largest",
            vec![("a.csv", csv())],
            "tune @/a.csv --lambda-min 1e10",
            &["from 1.000e10 to ", "the default for these data"],
        ),
        case("a penalty beyond all", vec![("a.csv", csv())], "tune @/a.csv --lambda-max 1e308", &["2.7e43"]),
        case(
            "a class of one row",
            vec![("a.csv", [csv(), b"0.5,red,maybe\n".to_vec()].concat())],
            "tune @/a.csv",
            &["class maybe has 1 row, fewer than the 2 folds; judge by --validation"],
        ),
        case(
            "a number beyond single precision",
            vec![("a.csv", with_line("1e300,red,yes\n"))],
            "tune @/a.csv",
            &["a.csv:62:1: ", "column 'x'", "--dtype f64"],
        ),
        case(
            "the same to convert",
            vec![("a.csv", with_line("1e300,red,yes\n"))],
            "convert @/a.csv @/b",
            &["a.csv:62:1: ", "column 'x'", "--dtype f64"],
        ),
        case(
            "a number whose square is none",
            vec![("a.csv", with_line("1e300,red,yes\n"))],
            "tune @/a.csv --dtype f64",
            &["feature 'x'", "1e300", "rescale"],
        ),
        case(
            "targets whose squares are none",
            vec![("a.csv", small_csv(60).replace("yes", "3e200").replace("no", "-2e200").into())],
            "tune @/a.csv --model squared",
            &["the target", "e200", "rescale"],
        ),
        case("an archive of something else", vec![("a.zip", zip_of_nothing())], "tune @/a.zip", &["unpack it"]),
        case("the format of another build", vec![("a.parquet", b"PAR1".to_vec())], "tune @/a.parquet", &["a.parquet"]),
        case(
            "converted where no folder can be",
            vec![("a.csv", csv()), ("file", vec![])],
            "convert @/a.csv @/file/b",
            &["file is not a folder", "another place"],
        ),
        case("a model to inspect", vec![("a.csv", csv())], "inspect @/a.csv --model squared", &["--model", "--at"]),
        case("no label to inspect", vec![("a.csv", csv())], "inspect @/a.csv --classes a=yes,often", &["'often'"]),
        // What would be ignored.
        case(
            "checksums of a file without",
            vec![("a.csv", csv())],
            "hypergradient @/a.csv --at 1 --verify",
            &["a.csv", "--verify"],
        ),
        case(
            "another model than that of a converted file",
            vec![("a.csv", csv())],
            "convert @/a.csv @/b --like @/c --model softmax",
            &["--like", "--model"],
        ),
        case(
            "constant steps of methods without",
            vec![("a.csv", csv())],
            "study @/a.csv --at 1 --methods aid-cg,aid-fp --eta 0.1 --out @/out",
            &["--eta", "aid-fp, aid-cg"],
        ),
        case(
            "a positive class among numbers",
            vec![("a.csv", b"x,y\n1,0.5\n2,1.5\n3,2.5\n4,9.5\n5,8\n".to_vec())],
            "tune @/a.csv --positive-class 8",
            &["real numbers", "leave it out"],
        ),
        case("a converted file in a pipe", vec![("a.csv", csv())], "convert @/a.csv -", &["regular file"]),
        case(
            "two outputs in one",
            vec![("a.csv", csv())],
            "hypergradient @/a.csv --at 1 --json --out -",
            &["--json", "--out"],
        ),
        case(
            "one trusted row",
            vec![("a.csv", csv()), ("b.csv", small_csv(1).into_bytes())],
            "clean @/a.csv --trusted @/b.csv",
            &["1 trusted row is"],
        ),
        case(
            "a converted file in a new folder that cannot be read",
            vec![("a.csv", with_line("1,red\n"))],
            "convert @/a.csv @/new/folder/b",
            &["a.csv:62"],
        ),
        case(
            "too large a simulated problem",
            vec![],
            "race quadratic --hyperparameters 4000000 --out @/out",
            &["GB", "--hyperparameters"],
        ),
        case(
            "labels of test rows that are a fraction",
            vec![("a.csv", csv())],
            "tune @/a.csv --test 0.2 --test-labels @/none",
            &["--test-labels", "--test 0.2"],
        ),
        case(
            "labels of validation rows that are a fraction",
            vec![("a.csv", csv())],
            "hypergradient @/a.csv --at 1 --validation 0.2 --validation-labels @/none",
            &["--validation-labels", "--validation 0.2"],
        ),
        case(
            "more threads than are soon started",
            vec![("a.csv", csv())],
            "tune @/a.csv --threads 513",
            &["--threads", "512"],
        ),
        case(
            "a hypergradient of zero",
            // Rows of one number have length one afterwards, which is a constant.
            vec![("a.csv", zero_csv())],
            "study @/a.csv --normalize-rows --at 0.1 --replicates 2 --out @/out",
            &["relative errors mean nothing", "another penalty"],
        ),
        case(
            "a method that the map cannot serve beside one that it can",
            vec![],
            "study equilibrium --methods sid-decreasing,nystrom --replicates 2 --max-epochs 10 --out @/out",
            &["nystrom", "symmetric"],
        ),
        case("help on no command", vec![], "help nosuch", &["nosuch"]),
        case("nothing to inspect", vec![("a.csv", vec![])], "inspect @/a.csv", &["empty"]),
    ]
}

#[test]
fn one_line_exit_code_two_and_nothing_written() {
    let mut faults = Vec::new();
    for case in cases() {
        let folder = Scratch::new();
        for (name, contents) in &case.files {
            folder.write(name, contents);
        }
        let before = folder.names();
        let at = folder.path().to_string_lossy();
        let mut args: Vec<String> = case.args.split(' ').map(|arg| arg.replace('@', &at)).collect();
        if ["tune", "clean"].contains(&args[0].as_str()) && !case.args.contains("--out") {
            args.extend(["--out".into(), folder.join("out").to_string_lossy().into()]);
        }
        let output = bilevel().args(&args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut fault = |what: &str| faults.push(format!("{}: {what}\n    {stderr}", case.name));
        if output.status.code() != Some(2) {
            fault(&format!("exit code {:?}", output.status.code()));
        }
        if stderr.lines().count() != 1 || !stderr.starts_with("error: ") {
            fault("not one line that begins with 'error: '");
        }
        if let Some(missing) = case.mentions.iter().find(|text| !stderr.contains(**text)) {
            fault(&format!("does not mention '{missing}'"));
        }
        if folder.names() != before {
            fault(&format!("left files behind: {:?}", folder.names()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[cfg(unix)]
#[test]
fn one_standard_input_is_not_read_twice() {
    let folder = Scratch::new();
    let data = folder.write("a.csv", small_csv(60));
    let at = folder.path().to_string_lossy();
    for line in ["tune - --validation -", "clean - --trusted -", "tune @/a.csv --validation - --test -"] {
        let line = format!("{line} --out @/out").replace('@', &at);
        let output = bilevel().args(line.split(' ')).write_stdin(std::fs::read(&data).unwrap()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.contains("standard input is given for two files"), "{errors}");
    }
    assert_eq!(folder.names(), ["a.csv"]);
}

/// A model that works, for what can go wrong with it.
fn trained(folder: &Scratch) -> std::path::PathBuf {
    let train = folder.write("train.csv", small_csv(80));
    bilevel()
        .arg("tune")
        .arg(train)
        .args(["--target", "y", "--quiet", "--out"])
        .arg(folder.join("out"))
        .assert()
        .success();
    folder.join("out/model")
}

fn line_of(model: &Path, data: &Path) -> String {
    let output = bilevel().arg("predict").arg(model).arg(data).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn models_that_are_damaged_or_newer() {
    let folder = Scratch::new();
    let model = trained(&folder);
    let data = folder.join("train.csv");
    let good = std::fs::read(&model).unwrap();

    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(line_of(&folder.write("damaged", damaged), &data).contains("damaged"));
    assert!(line_of(&folder.write("cut", &good[..middle]), &data).contains("damaged or cut short"));

    let mut newer = good;
    newer[8] = 9;
    let mut checked = newer[8..12].to_vec();
    checked.extend_from_slice(&newer[16..]);
    newer[12..16].copy_from_slice(&crc32(&checked).to_le_bytes());
    let line = line_of(&folder.write("newer", newer), &data);
    assert!(line.contains("version 9") && line.contains("version 1"), "{line}");
}

/// The checksum of the format, computed by its definition.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[test]
fn data_that_does_not_fit_the_model() {
    let folder = Scratch::new();
    let model = trained(&folder);
    assert!(line_of(&model, &folder.write("other.csv", "x,shape,y\n1,round,yes\n")).contains("colour"));
    assert!(line_of(&model, &folder.write("a.svm", "1 1:2 2:3\n0 1:1\n")).contains("a.svm"));
    let output =
        bilevel().arg("evaluate").arg(&model).arg(folder.write("no.csv", "x,colour\n1,red\n")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn columns_of_the_model_cannot_be_left_out() {
    let folder = Scratch::new();
    let model = trained(&folder);
    for command in ["predict", "evaluate"] {
        let of = |excluded: &str| {
            let data = folder.write("new.csv", "x,colour,y,note\n1,red,yes,a\n2,blue,no,b\n");
            bilevel().arg(command).arg(&model).arg(data).args(["--exclude", excluded]).output().unwrap()
        };
        let (refused, unused) = (of("colour"), of("note"));
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.contains("'colour'") && errors.contains("--exclude"), "{errors}");
        assert_eq!(unused.status.code(), Some(0), "a column that no model uses");
        // The number of a column was passed over.
        let number = of("2");
        let errors = String::from_utf8(number.stderr).unwrap();
        assert_eq!((number.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.contains("by name") && errors.contains("--exclude 2"), "{errors}");
    }
}

/// Both were passed over.
#[test]
fn a_target_that_is_not_there_or_left_out_is_refused() {
    let folder = Scratch::new();
    let model = trained(&folder);
    let data = folder.join("train.csv");
    for (args, part) in
        [(["predict", "--target", "nosuch"], "'nosuch'"), (["evaluate", "--exclude", "y"], "'y' is the target")]
    {
        let [command, option, value] = args;
        let output = bilevel().arg(command).arg(&model).arg(&data).args([option, value]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.contains(part) && output.stdout.is_empty(), "{errors}");
    }
}

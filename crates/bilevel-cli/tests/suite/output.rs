//! Where files are written: what is there stays what it is, and what is read is not overwritten.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{Scratch, bilevel, small_csv, text};

/// Runs `bilevel` with these arguments and gives its exit code, standard output and standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = bilevel().args(args).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), stdout, stderr)
}

/// A folder with a data file and a model of it.
fn trained() -> (Scratch, PathBuf, PathBuf) {
    let folder = Scratch::new();
    let data = folder.write("data.csv", small_csv(80));
    let out = folder.join("out");
    assert_eq!(run(&["tune", text(&data), "--penalties", "shared", "--quiet", "--out", text(&out)]).0, Some(0));
    let model = out.join("model");
    (folder, data, model)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_keep_their_mode_and_links_their_target() {
    let (folder, data, model) = trained();
    let (private, link) = (folder.write("private", "old"), folder.join("link"));
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("private", &link).unwrap();
    for name in [&private, &link] {
        fs::write(&private, "old").unwrap();
        assert_eq!(run(&["predict", text(&model), text(&data), "--out", text(name)]).0, Some(0));
        assert!(link.is_symlink() && fs::read_to_string(&private).unwrap().starts_with("prediction\n"));
        assert_eq!(mode(&private), 0o600);
    }
    assert_eq!(run(&["convert", text(&data), text(&link), "--quiet"]).0, Some(0));
    assert!(link.is_symlink() && fs::read(&private).unwrap().starts_with(b"BILROWS\n"), "the target is written");
    assert_eq!(mode(&private), 0o600);

    // A link to what is yet to be.
    symlink("later", folder.join("early")).unwrap();
    assert_eq!(run(&["predict", text(&model), text(&data), "--out", text(&folder.join("early"))]).0, Some(0));
    assert!(folder.join("early").is_symlink() && folder.join("later").is_file());
    assert!(folder.names().iter().all(|name| !name.starts_with('.')), "{:?}", folder.names());
}

#[test]
fn pipes_and_open_files_are_written_to() {
    let (folder, data, model) = trained();
    let printed = run(&["predict", text(&model), text(&data)]).1;
    // By a link of its own: one of the system would be lost where it is replaced.
    let open = folder.join("open");
    symlink("/proc/self/fd/1", &open).unwrap();
    if open.exists() {
        assert_eq!(run(&["predict", text(&model), text(&data), "--out", text(&open)]).1, printed);
    }

    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    assert_eq!(run(&["predict", text(&model), text(&data), "--out", text(&pipe)]).0, Some(0));
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(), "a pipe is still one");
    assert_eq!(reader.join().unwrap(), printed);

    let (code, _, errors) = run(&["convert", text(&data), text(&pipe)]);
    assert!(code == Some(2) && errors.contains("regular file"), "{errors}");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn what_is_read_is_not_overwritten() {
    let (folder, data, model) = trained();
    let link = folder.join("link");
    symlink("data.csv", &link).unwrap();
    let before = [&data, &model].map(|path| fs::read(path).unwrap());
    let at = ["--at", text(&model), "--penalties", "shared"];
    for args in [
        vec!["predict", text(&model), text(&data), "--out", text(&model)],
        vec!["predict", text(&model), text(&data), "--out", text(&link)],
        vec!["convert", text(&data), text(&data)],
        vec!["convert", text(&data), text(&link)],
        [&["hypergradient", text(&data), "--out", text(&model)], &at[..]].concat(),
        [&["tune", text(&data), "--test", text(&model), "--out", text(&folder.join("out"))], &[][..]].concat(),
        [&["clean", text(&data), "--trusted", text(&model), "--out", text(&folder.join("out"))], &[][..]].concat(),
    ] {
        let (code, printed, errors) = run(&args);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{args:?}: {errors}");
        assert!(errors.contains("is read as well") && errors.lines().count() == 1, "{args:?}: {errors}");
    }
    assert!([&data, &model].map(|path| fs::read(path).unwrap()) == before);
}

/// Before anything is read or computed, and not after all but one have been written.
#[test]
fn a_folder_in_the_place_of_a_file_is_refused_at_once() {
    let folder = Scratch::new();
    let data = folder.write("data.csv", small_csv(80));
    let trusted = ["--trusted", text(&data)];
    for (command, file, more) in [
        ("tune", "model", &[][..]),
        ("tune", "trace.csv", &[]),
        ("clean", "weights.csv", &trusted),
        ("study", "study-seconds.svg", &["--at", "1"]),
        ("race", "race.html", &[]),
    ] {
        let out = folder.join(command).join(file);
        fs::create_dir_all(out.join(file)).unwrap();
        let (code, printed, errors) = run(&[&[command, text(&data), "--out", text(&out)], more].concat());
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{command}: {errors}");
        assert!(errors.contains(file) && errors.contains("is a directory"), "{command}: {errors}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "{command}: nothing is left there");
    }
}

#[test]
fn a_dash_is_standard_output_or_input() {
    let (folder, data, model) = trained();
    let in_folder = |args: &[&str], input: &str| {
        let output = bilevel().args(args).current_dir(folder.path()).write_stdin(input).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let predicted = in_folder(&["predict", text(&model), text(&data)], "");
    assert_eq!(in_folder(&["predict", text(&model), text(&data), "--out", "-"], ""), predicted);
    let components = in_folder(&["hypergradient", text(&data), "--at", "1", "--out", "-"], "");
    assert_eq!(components.lines().next(), Some("name,log_penalty,derivative,std_error"), "and no table beside");
    let args = ["hypergradient", text(&data), "--at", "1", "--validation", "-", "--json"];
    let judged = in_folder(&args, &small_csv(30));
    assert!(judged.contains("\"estimate\""), "{judged}");
    let args = ["clean", text(&data), "--trusted", "-", "--quiet", "--out", "cleaned"];
    in_folder(&args, &small_csv(30));
    let rows = small_csv(30);
    let cells: Vec<(&str, &str)> = rows.lines().filter_map(|line| line.rsplit_once(',')).collect();
    let (unlabelled, labels): (Vec<&str>, Vec<&str>) = cells.into_iter().unzip();
    let test = folder.write("test.csv", unlabelled.join("\n") + "\n");
    let tune = ["tune", text(&data), "--penalties", "per-group", "--quiet", "--out", "tuned"];
    in_folder(&[&tune[..], &["--test", text(&test), "--test-labels", "-"]].concat(), &(labels[1..].join("\n") + "\n"));
    in_folder(&[&tune[..], &["--groups", "-"]].concat(), "x,first\ncolour,second\n");
    assert!(!folder.join("-").exists());
}

#[test]
fn converted_files_go_to_new_folders() {
    let (folder, data, _) = trained();
    let file = folder.join("new/folder/a.bilevel");
    assert_eq!(run(&["convert", text(&data), text(&file), "--quiet"]).0, Some(0));
    assert!(fs::read(&file).unwrap().starts_with(b"BILROWS\n"));
}

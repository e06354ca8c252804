//! What the tests of the command share.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The command.
pub fn bilevel() -> Command {
    Command::new(assert_cmd::cargo_bin!("bilevel"))
}

/// What became of a command that was interrupted.
#[cfg(unix)]
pub struct Interrupted {
    pub code: Option<i32>,
    pub printed: String,
    pub errors: String,
    /// From the signal to the end.
    pub took: std::time::Duration,
}

/// Runs the command, and sends it the signal of Ctrl-C a second after it has begun to work.
#[cfg(unix)]
pub fn interrupted<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Interrupted {
    interrupted_after(1200, arguments)
}

/// The same so many milliseconds after the work has begun.
#[cfg(unix)]
pub fn interrupted_after<'a>(milliseconds: u64, arguments: impl IntoIterator<Item = &'a str>) -> Interrupted {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let mut child = Command::new(assert_cmd::cargo_bin!("bilevel"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The description of the data is printed when the work is about to begin.
    let mut printed = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !printed.contains("target") {
        assert!(stdout.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    std::thread::sleep(Duration::from_millis(milliseconds));
    let signal = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_string(&mut printed).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let code = child.wait().unwrap().code();
    Interrupted { code, printed, errors, took: signal.elapsed() }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A bundled data file.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

/// A folder for one test, with files written by it.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Names of all files in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A small two-class table as CSV: rows of `x,colour,y`.
pub fn small_csv(rows: usize) -> String {
    let mut text = String::from("x,colour,y\n");
    for i in 0..rows {
        let x = ((i * 37) % 101) as f64 / 10.0 - 5.0;
        let colour = ["red", "green", "blue"][i % 3];
        let yes = x + if i % 3 == 0 { 2.0 } else { -1.0 } + ((i * 53) % 29) as f64 / 7.0 - 2.0 > 0.0;
        text += &format!("{x},{colour},{}\n", if yes { "yes" } else { "no" });
    }
    text
}

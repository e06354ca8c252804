//! Writing: all or nothing, and never in the way of a pipe that closes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bilevel::{Error, Result};

/// Prints to standard output; a reader that went away is not an error.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io(Path::new("standard output"), &error)),
        _ => Ok(()),
    }
}

/// Makes sure that files can be written to `folder`, before hours are spent on what goes into them. Creates nothing
/// that stays.
pub fn check_folder(folder: &Path) -> Result<()> {
    let mut existing = folder;
    while !existing.exists() {
        existing = match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let probe = temporary_name(existing, "probe");
    let result = match existing.is_dir() {
        true => fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)),
        false => Err(io::ErrorKind::NotADirectory.into()),
    };
    result.map_err(|error| cannot_write(folder, existing, &error))
}

/// Makes sure that a file can be written as `path`.
pub fn check_file(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::input("is a directory").in_file(path).remedy("name a file to write to"));
    }
    check_folder(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot_write(folder: &Path, existing: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotADirectory => format!("{} is not a folder", existing.display()),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    };
    Error::input(format!("cannot write to this folder ({reason})")).in_file(folder).remedy("choose another with --out")
}

/// Files that appear together when all of them have been written.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    written: Vec<(PathBuf, PathBuf)>,
}

impl Files {
    /// Creates `folder` where it does not exist.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, folder, &error))?;
        Ok(Files { folder: folder.to_path_buf(), written: Vec::new() })
    }

    /// Writes `contents` under a temporary name.
    pub fn add(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        let temporary = temporary_name(&self.folder, name);
        self.written.push((temporary.clone(), self.folder.join(name)));
        fs::write(&temporary, contents).map_err(|error| Error::io(&self.folder.join(name), &error))
    }

    /// Gives all files their names.
    pub fn publish(mut self) -> Result<()> {
        for (temporary, path) in std::mem::take(&mut self.written) {
            if let Err(error) = fs::rename(&temporary, &path) {
                self.written.push((temporary, path.clone()));
                return Err(Error::io(&path, &error));
            }
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for (temporary, _) in &self.written {
            fs::remove_file(temporary).ok();
        }
    }
}

/// Writes one file, all or nothing.
pub fn write_file(path: &Path, contents: &[u8]) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::input("is not the name of a file").in_file(path))?;
    let mut files = Files::new(folder_of(path))?;
    files.add(&name.to_string_lossy(), contents)?;
    files.publish()
}

fn temporary_name(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.{}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        check_folder(&out).unwrap();
        assert!(!folder.path().join("a").exists(), "checking leaves nothing behind");

        let mut files = Files::new(&out).unwrap();
        files.add("one", b"1").unwrap();
        assert!(!out.join("one").exists());
        drop(files);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "what was not published is removed");

        let mut files = Files::new(&out).unwrap();
        files.add("one", b"1").unwrap();
        files.add("two", b"2").unwrap();
        files.publish().unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
        assert_eq!(fs::read(out.join("two")).unwrap(), b"2");
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        let error = check_folder(&folder.path().join("file/out")).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("is not a folder"), "{error}");
    }
}

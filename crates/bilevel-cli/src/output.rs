//! Writing: all or nothing, and never in the way of a pipe that closes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bilevel::{Error, Result};

use crate::place::{self, Place};

/// Prints to standard output; a reader that went away is not an error.
pub fn print(text: &str) -> Result<()> {
    place::print(text.as_bytes())
}

/// Makes sure that the files `names` can be written to `folder`, before hours are spent on what goes into them, and that none
/// of them is one of `inputs`. Creates nothing that stays.
pub fn check_folder<'a>(folder: &Path, names: &[&str], inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    if folder == Path::new("-") {
        return Err(
            Error::input("--out: several files are written, and standard output takes one").remedy("name a folder")
        );
    }
    probe(folder).map_err(|error| error.remedy(OTHER_FOLDER))?;
    let inputs: Vec<&Path> = inputs.into_iter().collect();
    for path in names.iter().map(|name| folder.join(name)) {
        Place::of(&path).map_err(|error| error.remedy(OTHER_FOLDER))?;
        place::refuse_inputs(&path, inputs.iter().copied()).map_err(|error| error.remedy(OTHER_FOLDER))?;
    }
    Ok(())
}

/// Makes sure that a file can be written as `path`, and is none of `inputs`.
pub fn check_file<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let place = Place::of(path).map_err(|error| error.remedy("name a file to write to"))?;
    place::refuse_inputs(path, inputs)?;
    match &place {
        Place::Replaced(path) => {
            probe(folder_of(path)).map_err(|error| error.remedy("choose another place for the file"))
        }
        Place::Direct(_) => Ok(()),
    }
}

/// The file that is made or replaced where `path` is written; for what is written here and there, as devices and pipes cannot
/// be.
pub fn regular_file(path: &Path) -> Result<PathBuf> {
    match Place::of(path)? {
        Place::Replaced(path) => Ok(path),
        Place::Direct(_) => Err(Error::input("is a device, a pipe or a link to nothing, and a regular file is needed")
            .in_file(path)
            .remedy("choose another place for the file")),
    }
}

/// What to do where a folder does not serve.
const OTHER_FOLDER: &str = "choose another with --out";

/// Tries to write to a folder, or to that in which it would be made.
fn probe(folder: &Path) -> Result<()> {
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

/// Folders made for a file that is yet to come; where it does not, they go again.
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes those that `path` lacks.
    pub fn of(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = NewFolders(missing.map(Path::to_path_buf).collect());
        fs::create_dir_all(folder)
            .map_err(|error| cannot_write(folder, folder, &error).remedy("choose another place for the file"))?;
        Ok(made)
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        // The innermost first; one that holds the file stays.
        for folder in &self.0 {
            fs::remove_dir(folder).ok();
        }
    }
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
    Error::input(format!("cannot write to this folder ({reason})")).in_file(folder)
}

/// Files that appear together when all of them have been written.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// Temporary names, and where they are to go.
    written: Vec<(PathBuf, PathBuf)>,
    /// What goes to devices and pipes, which keep nothing back.
    held: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    /// Creates `folder` where it does not exist.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, folder, &error).remedy(OTHER_FOLDER))?;
        Ok(Files { folder: folder.to_path_buf(), written: Vec::new(), held: Vec::new() })
    }

    /// Writes `contents` under a temporary name.
    pub fn add(&mut self, name: impl AsRef<Path>, contents: &[u8]) -> Result<()> {
        let path = match Place::of(&self.folder.join(name))? {
            Place::Replaced(path) => path,
            Place::Direct(path) => {
                self.held.push((path, contents.to_vec()));
                return Ok(());
            }
        };
        let temporary = temporary_name(folder_of(&path), &path.file_name().unwrap_or_default().to_string_lossy());
        self.written.push((temporary.clone(), path.clone()));
        place::write_like(&temporary, &path, contents).map_err(|error| Error::io(&path, &error))
    }

    /// Gives all files their names.
    pub fn publish(mut self) -> Result<()> {
        for (temporary, path) in std::mem::take(&mut self.written) {
            if let Err(error) = fs::rename(&temporary, &path) {
                self.written.push((temporary, path.clone()));
                return Err(Error::io(&path, &error));
            }
        }
        self.held.iter().try_for_each(|(path, contents)| place::write_directly(path, contents))
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
    files.add(name, contents)?;
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
        check_folder(&out, &["one"], []).unwrap();
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
        let error = check_folder(&folder.path().join("file/out"), &[], []).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("is not a folder"), "{error}");
    }
}

//! Where a file that is written goes: links are followed, devices and pipes stay what they are.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bilevel::{Error, Result};

/// Names of what a process has open already: what is written there comes after what was written before, and does not replace it.
const OPEN_FILES: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];

/// Standard output by the name of a file.
pub const STANDARD_OUTPUT: &str = "/dev/stdout";

/// Where the contents of a file go.
#[derive(Debug)]
pub enum Place {
    /// A new file takes the place of this one, which is no link and may not exist yet.
    Replaced(PathBuf),
    /// Written as it is: a device, a pipe, an open file, a link to a file that does not exist yet.
    Direct(PathBuf),
}

impl Place {
    /// Where what is written to `path` goes.
    ///
    /// # Errors
    /// Input, where it is a directory.
    pub fn of(path: &Path) -> Result<Self> {
        if OPEN_FILES.iter().any(|open| path.starts_with(open)) {
            return Ok(Place::Direct(path.into()));
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                Err(Error::input("is a directory, and a file is to be written there").in_file(path))
            }
            Ok(found) if found.is_file() => {
                let real = path.canonicalize().map_err(|error| Error::io(path, &error))?;
                Ok(Place::Replaced(real))
            }
            Ok(_) => Ok(Place::Direct(path.into())),
            Err(_) if path.is_symlink() => Ok(Place::Direct(path.into())),
            Err(_) => Ok(Place::Replaced(path.into())),
        }
    }
}

/// Refuses to write to `path` where that is one of the files `inputs`.
pub fn refuse_inputs<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let real = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
    let Some(target) = real(path) else { return Ok(()) };
    match inputs.into_iter().any(|input| real(input).is_some_and(|input| input == target)) {
        true => Err(Error::input("is read as well, and would be overwritten")
            .in_file(path)
            .remedy("choose another name for what is written")),
        false => Ok(()),
    }
}

/// Prints to standard output; a reader that went away is not an error.
pub fn print(contents: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(contents).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io(Path::new("standard output"), &error)),
        _ => Ok(()),
    }
}

/// Writes `contents` to what is no regular file.
pub fn write_directly(path: &Path, contents: &[u8]) -> Result<()> {
    if path == Path::new(STANDARD_OUTPUT) {
        return print(contents);
    }
    let written = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(contents));
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io(path, &error)),
        _ => Ok(()),
    }
}

/// Writes `contents` to the new file `temporary`, which nobody may read who may not read `replaced`.
pub fn write_like(temporary: &Path, replaced: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    if let Ok(found) = fs::metadata(replaced).as_ref().map(Metadata::permissions) {
        file.set_permissions(found)?;
    }
    file.write_all(contents)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn inputs_are_known_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let (input, link) = (folder.path().join("input"), folder.path().join("link"));
        fs::write(&input, b"").unwrap();
        symlink(&input, &link).unwrap();
        let roundabout = folder.path().join("../").join(folder.path().file_name().unwrap()).join("input");
        for name in [&input, &link, &roundabout] {
            assert!(refuse_inputs(name, [input.as_path()]).unwrap_err().is_input(), "{}", name.display());
        }
        refuse_inputs(&folder.path().join("other"), [input.as_path()]).unwrap();
        refuse_inputs(Path::new("/dev/null"), [Path::new("/dev/null")]).unwrap();
    }
}

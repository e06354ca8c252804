//! One opaque error for the whole library.
//!
//! A person reads it, so it says what is wrong, where (file, line, column) and what to do about it; a program asks its
//! predicates ([`Error::is_input`] and friends). The reasons are not an enum in the public interface: new ones appear
//! with every reader and every solver, and no caller can act on more than the four families below.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of the library's fallible operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    family: Family,
    message: String,
    path: Option<PathBuf>,
    line: Option<u64>,
    column: Option<u64>,
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Input,
    Numeric,
    Interrupted,
    System,
}

impl Error {
    fn new(family: Family, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { family, message: message.into(), path: None, line: None, column: None, remedy: None }))
    }

    /// The data, a file or an option is unusable.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Family::Input, message)
    }

    /// A computation failed on valid input: divergence, a map that does not contract, a singular system.
    pub fn numeric(message: impl Into<String>) -> Self {
        Self::new(Family::Numeric, message)
    }

    /// The user asked to stop before there was anything to keep.
    pub fn interrupted() -> Self {
        Self::new(Family::Interrupted, "interrupted")
    }

    /// The operating system refused to read or write `path`.
    ///
    /// A file that is missing, is a directory or may not be read is bad input; everything else is the system's fault.
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let (family, message) = match error.kind() {
            NotFound => (Family::Input, "no such file".to_string()),
            IsADirectory => (Family::Input, "is a directory, a file is needed".to_string()),
            PermissionDenied => (Family::Input, "permission denied".to_string()),
            NotADirectory | InvalidInput | InvalidData | UnexpectedEof => (Family::Input, error.to_string()),
            _ => (Family::System, error.to_string()),
        };
        Self::new(family, message).in_file(path)
    }

    /// Names the file in which the fault is.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Names the line (counted from 1) of the fault.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Names the column (character or field, counted from 1) of the fault.
    #[must_use]
    pub fn at_column(mut self, column: u64) -> Self {
        self.0.column = Some(column);
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// True when the data, a file or an option is unusable.
    pub fn is_input(&self) -> bool {
        self.0.family == Family::Input
    }

    /// True when a computation failed on valid input.
    pub fn is_numeric(&self) -> bool {
        self.0.family == Family::Numeric
    }

    /// True when the user interrupted the work.
    pub fn is_interrupted(&self) -> bool {
        self.0.family == Family::Interrupted
    }

    /// The file named by the error, if any.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The line named by the error, counted from 1, if any.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }

    /// The column named by the error, counted from 1, if any.
    pub fn column(&self) -> Option<u64> {
        self.0.column
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(path) = &inner.path {
            write!(f, "{}", path.display())?;
            for place in [inner.line, inner.column].into_iter().flatten() {
                write!(f, ":{place}")?;
            }
            f.write_str(": ")?;
        } else if let Some(line) = inner.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(remedy) = &inner.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

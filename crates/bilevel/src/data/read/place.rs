//! Where some lines stand in their file.

/// Where some lines stand in their file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Number of the first line.
    pub(super) line: u64,
    /// Whether the file begins with them. The line does not say so: where carriage returns end lines, all are the first.
    pub(super) begins: bool,
}

impl Place {
    pub(super) const START: Self = Place { line: 1, begins: true };

    /// The text of `bytes` that stand here.
    pub(super) fn text(self, bytes: &[u8]) -> &[u8] {
        if self.begins { without_mark(bytes) } else { bytes }
    }
}

/// The beginning of a file without a byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

//! Distinct texts numbered as they come, and put in order at the end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::data::table::MISSING;

/// Codes of the texts of a column.
#[derive(Default)]
pub(crate) struct Categories {
    codes: Vec<u32>,
    known: HashMap<Box<[u8]>, u32, BuildHasherDefault<Fnv>>,
    levels: Vec<String>,
    last: Option<u32>,
}

impl Categories {
    /// Appends a text; `Err` when it is not UTF-8.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<(), std::str::Utf8Error> {
        if let Some(last) = self.last
            && self.levels[last as usize].as_bytes() == text
        {
            self.codes.push(last);
            return Ok(());
        }
        let code = match self.known.get(text) {
            Some(&code) => code,
            None => {
                let level = std::str::from_utf8(text)?.to_string();
                let code = self.levels.len() as u32;
                self.levels.push(level);
                self.known.insert(text.into(), code);
                code
            }
        };
        self.last = Some(code);
        self.codes.push(code);
        Ok(())
    }

    /// Appends a missing cell.
    pub(crate) fn push_missing(&mut self) {
        self.codes.push(MISSING);
    }

    /// Puts the rows of `other` behind these.
    pub(crate) fn append(&mut self, other: Categories) {
        let renumbered: Vec<u32> = other.levels.iter().map(|level| self.code_of(level)).collect();
        self.codes
            .extend(other.codes.iter().map(|&code| if code == MISSING { MISSING } else { renumbered[code as usize] }));
    }

    fn code_of(&mut self, level: &str) -> u32 {
        if let Some(&code) = self.known.get(level.as_bytes()) {
            return code;
        }
        let code = self.levels.len() as u32;
        self.levels.push(level.to_string());
        self.known.insert(level.as_bytes().into(), code);
        code
    }

    /// Codes and levels, the levels sorted.
    pub(crate) fn finish(self) -> (Vec<u32>, Vec<String>) {
        let mut order: Vec<u32> = (0..self.levels.len() as u32).collect();
        order.sort_by(|&a, &b| self.levels[a as usize].cmp(&self.levels[b as usize]));
        let mut rank = vec![0u32; order.len()];
        for (position, &code) in order.iter().enumerate() {
            rank[code as usize] = position as u32;
        }
        let codes =
            self.codes.iter().map(|&code| if code == MISSING { MISSING } else { rank[code as usize] }).collect();
        let mut levels = self.levels;
        levels.sort();
        (codes, levels)
    }
}

/// Fowler-Noll-Vo hash: fast on the short texts of categories. Its collisions can be forced, which costs whoever forges
/// such a file only his own time.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

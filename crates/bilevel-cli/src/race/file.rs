//! `race.json` and `race.csv`: the runs of a race and what it was about.
//!
//! The settings stand beside the runs, so that a second race knows whether these are its own. Algorithms and the number of
//! seeds are no part of them: these may grow.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use bilevel::race::{Checkpoint, Contestant, Cost, Entry};
use bilevel::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::csv;
use crate::output::Files;
use crate::settings::difference;

pub const RUNS: &str = "race.json";
pub const ROWS: &str = "race.csv";
const HEADER: &str = "algorithm,seed,iterations,seconds,samples,gradients,hessian_products,cross_products,factorizations,\
                      value,gradient_squared,distance_squared";

/// What `race.json` holds.
#[derive(Serialize, Deserialize)]
struct Contents<'a> {
    settings: Cow<'a, Map<String, Value>>,
    runs: Cow<'a, [Entry]>,
}

/// The folder of a race.
pub struct RaceFile {
    folder: PathBuf,
    settings: Map<String, Value>,
}

impl RaceFile {
    /// The folder, and the runs of an earlier race with the same settings there; none if there was no race, or if `overwrite`
    /// says so.
    ///
    /// # Errors
    /// Input, where the folder holds another race, or a file that is none.
    pub fn open(folder: &Path, settings: Map<String, Value>, overwrite: bool) -> Result<(Self, Vec<Entry>)> {
        let path = folder.join(RUNS);
        let file = RaceFile { folder: folder.into(), settings };
        if overwrite || !path.exists() {
            return Ok((file, Vec::new()));
        }
        let remedy = "choose another folder with --out, or begin anew with --overwrite";
        let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, &error).remedy(remedy))?;
        let found: Contents<'_> = serde_json::from_str(&text)
            .map_err(|_| Error::input("does not hold the runs of a race").in_file(&path).remedy(remedy))?;
        if let Some(difference) = difference(&found.settings, &file.settings) {
            let message = format!("holds another race: {difference}");
            return Err(Error::input(message).in_file(folder).remedy(remedy));
        }
        Ok((file, found.runs.into_owned()))
    }

    /// Writes both files, and `more` with them.
    pub fn write(&self, runs: &[Entry], more: &[(String, String)]) -> Result<()> {
        let mut files = Files::new(&self.folder)?;
        let contents = Contents { settings: Cow::Borrowed(&self.settings), runs: Cow::Borrowed(runs) };
        let text = serde_json::to_string_pretty(&contents).expect("plain data can be written as JSON");
        files.add(RUNS, (text + "\n").as_bytes())?;
        files.add(ROWS, rows(runs).as_bytes())?;
        for (name, contents) in more {
            files.add(name, contents.as_bytes())?;
        }
        files.publish()
    }
}

/// A line for each checkpoint.
fn rows(entries: &[Entry]) -> String {
    let mut text = format!("{HEADER}\n");
    for Entry { contestant: Contestant { algorithm, seed, .. }, curve, .. } in entries {
        for Checkpoint { cost: Cost { iterations, seconds, work }, judgement } in curve {
            let counts = [work.rows, work.gradients, work.hessian_products, work.cross_products, work.factorizations];
            let counts = counts.map(|count| count.to_string()).join(",");
            let judged = [judgement.value, judgement.gradient_squared, judgement.distance_squared].map(csv::number);
            text += &format!("{algorithm},{seed},{iterations},{seconds:.6},{counts},{}\n", judged.join(","));
        }
    }
    text
}

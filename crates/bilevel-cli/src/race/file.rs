//! `race.json` and `race.csv`: the runs of a race and what it was about.
//!
//! The settings stand beside the runs, so that a second race knows whether these are its own. Algorithms and the number of
//! seeds are no part of them: these may grow.

use std::fs;
use std::path::{Path, PathBuf};

use bilevel::algorithms::Algorithm;
use bilevel::race::{Checkpoint, Cost, Entry};
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

/// A run, and how long it took to choose its steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lane {
    /// Zero where the steps were given.
    pub screening_seconds: f64,
    #[serde(flatten)]
    pub entry: Entry,
}

impl Lane {
    /// Without checkpoints that are no numbers, as just before a divergence.
    pub fn new(entry: Entry, screening_seconds: f64) -> Self {
        let is_finite = |point: &Checkpoint| {
            let judged = point.judgement;
            [judged.value, judged.gradient_squared, judged.distance_squared].iter().all(|number| number.is_finite())
        };
        let mut lane = Lane { screening_seconds, entry };
        lane.entry.curve.retain(is_finite);
        lane
    }

    /// The checkpoint it ended with.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.entry.curve.last()
    }

    fn key(&self) -> (usize, u64) {
        (place(self.entry.algorithm), self.entry.seed)
    }
}

/// The place of an algorithm in the list of all.
pub fn place(algorithm: Algorithm) -> usize {
    Algorithm::ALL.iter().position(|other| *other == algorithm).unwrap_or(Algorithm::ALL.len())
}

#[derive(Serialize, Deserialize)]
struct Contents {
    settings: Map<String, Value>,
    runs: Vec<Lane>,
}

/// The runs of a race in its folder.
pub struct RaceFile {
    folder: PathBuf,
    contents: Contents,
}

impl RaceFile {
    /// The runs of an earlier race with the same settings; none if there was no race, or if `overwrite` says so.
    ///
    /// # Errors
    /// Input, where the folder holds another race, or a file that is none.
    pub fn open(folder: &Path, settings: Map<String, Value>, overwrite: bool) -> Result<Self> {
        let path = folder.join(RUNS);
        let mut file = RaceFile { folder: folder.into(), contents: Contents { settings, runs: Vec::new() } };
        if overwrite || !path.exists() {
            return Ok(file);
        }
        let remedy = "choose another folder with --out, or begin anew with --overwrite";
        let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, &error).remedy(remedy))?;
        let found: Contents = serde_json::from_str(&text)
            .map_err(|_| Error::input("does not hold the runs of a race").in_file(&path).remedy(remedy))?;
        if let Some(difference) = difference(&found.settings, &file.contents.settings) {
            let message = format!("holds another race: {difference}");
            return Err(Error::input(message).in_file(folder).remedy(remedy));
        }
        file.contents.runs = found.runs;
        Ok(file)
    }

    /// All runs, by algorithm and seed.
    pub fn lanes(&self) -> &[Lane] {
        &self.contents.runs
    }

    /// The run of this algorithm with this seed.
    pub fn find(&self, algorithm: Algorithm, seed: u64) -> Option<&Lane> {
        self.lanes().iter().find(|lane| lane.key() == (place(algorithm), seed))
    }

    /// Adds a run in its place.
    pub fn add(&mut self, lane: Lane) {
        let runs = &mut self.contents.runs;
        match runs.binary_search_by_key(&lane.key(), Lane::key) {
            Ok(at) => runs[at] = lane,
            Err(at) => runs.insert(at, lane),
        }
    }

    /// Writes both files, and `more` with them.
    pub fn write(&self, more: &[(String, String)]) -> Result<()> {
        let mut files = Files::new(&self.folder)?;
        let text = serde_json::to_string_pretty(&self.contents).expect("plain data can be written as JSON");
        files.add(RUNS, (text + "\n").as_bytes())?;
        files.add(ROWS, rows(self.lanes()).as_bytes())?;
        for (name, contents) in more {
            files.add(name, contents.as_bytes())?;
        }
        files.publish()
    }
}

/// A line for each checkpoint.
fn rows(lanes: &[Lane]) -> String {
    let mut text = format!("{HEADER}\n");
    for Lane { entry, .. } in lanes {
        for Checkpoint { cost: Cost { iterations, seconds, work }, judgement } in &entry.curve {
            let counts = [work.rows, work.gradients, work.hessian_products, work.cross_products, work.factorizations];
            let counts = counts.map(|count| count.to_string()).join(",");
            let judged = [judgement.value, judgement.gradient_squared, judgement.distance_squared].map(csv::number);
            text += &format!(
                "{},{},{iterations},{seconds:.6},{counts},{}\n",
                entry.algorithm,
                entry.seed,
                judged.join(",")
            );
        }
    }
    text
}

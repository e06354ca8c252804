//! `study.csv` and `study.json`: what was measured, and of what.
//!
//! The settings stand beside the rows, so that a second run knows whether they are its own. Methods, step sizes and the
//! number of replicates are no part of them: these may grow.

use std::fs;
use std::path::{Path, PathBuf};

use bilevel::study::{CurveKind, Measurement, Replicate};
use bilevel::{Error, Result};
use serde_json::{Map, Value};

use crate::csv;
use crate::output::Files;
use crate::settings::difference;

pub const ROWS: &str = "study.csv";
pub const SETTINGS: &str = "study.json";
const HEADER: &str = "method,eta,t,k,replicate,samples,epochs,seconds,squared_error,relative_squared_error";

/// The rows of a study in its folder.
pub struct StudyFile {
    folder: PathBuf,
    settings: Map<String, Value>,
    replicates: Vec<Replicate>,
}

impl StudyFile {
    /// The rows of an earlier run with the same settings; none if there was no run, or if `overwrite` says so.
    ///
    /// # Errors
    /// Input, where the folder holds another study, or rows that are not those of a study.
    pub fn open(folder: &Path, settings: Map<String, Value>, overwrite: bool) -> Result<Self> {
        let mut file = StudyFile { folder: folder.into(), settings, replicates: Vec::new() };
        let path = folder.join(ROWS);
        if overwrite || !path.exists() {
            return Ok(file);
        }
        let remedy = "choose another folder with --out, or begin anew with --overwrite";
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| Error::io(path, &error).remedy(remedy));
        let sidecar = folder.join(SETTINGS);
        let found: Map<String, Value> = serde_json::from_str(&read(&sidecar)?)
            .map_err(|_| Error::input("does not hold the settings of a study").in_file(&sidecar).remedy(remedy))?;
        if let Some(difference) = difference(&found, &file.settings) {
            let message = format!("holds another study: {difference}");
            return Err(Error::input(message).in_file(folder).remedy(remedy));
        }
        file.replicates = parse(&read(&path)?).map_err(|error| error.in_file(&path).remedy(remedy))?;
        Ok(file)
    }

    /// Adds a replicate in its place: by method, larger steps first, then by number.
    pub fn add(&mut self, replicate: Replicate) {
        let key = |r: &Replicate| (r.kind, r.eta.map(|eta| std::cmp::Reverse(eta.to_bits())), r.replicate);
        match self.replicates.binary_search_by_key(&key(&replicate), key) {
            Ok(at) => self.replicates[at] = replicate,
            Err(at) => self.replicates.insert(at, replicate),
        }
    }

    /// What is there, in order.
    pub fn replicates(&self) -> &[Replicate] {
        &self.replicates
    }

    /// True when this replicate was measured at all of these checkpoints.
    pub fn holds(&self, kind: CurveKind, eta: Option<f64>, replicate: u64, checkpoints: &[usize]) -> bool {
        self.replicates.iter().any(|r| {
            (r.kind, r.eta, r.replicate) == (kind, eta, replicate)
                && r.measurements.iter().map(|m| m.t).eq(checkpoints.iter().copied())
        })
    }

    /// Writes both files, and `more` with them.
    pub fn write(&self, more: &[(String, String)]) -> Result<()> {
        let mut files = Files::new(&self.folder)?;
        let settings = serde_json::to_string_pretty(&self.settings).expect("plain data can be written as JSON");
        files.add(SETTINGS, (settings + "\n").as_bytes())?;
        files.add(ROWS, self.text().as_bytes())?;
        for (name, contents) in more {
            files.add(name, contents.as_bytes())?;
        }
        files.publish()
    }

    fn text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for r in &self.replicates {
            for m in &r.measurements {
                let eta = r.eta.map(csv::number).unwrap_or_default();
                let errors = [m.squared_error, m.relative_squared_error].map(csv::number).join(",");
                let (epochs, replicate) = (csv::number(m.epochs), r.replicate);
                text += &format!(
                    "{},{eta},{},{},{replicate},{},{epochs},{:.6},{errors}\n",
                    r.kind.name(),
                    m.t,
                    m.k,
                    m.samples,
                    m.seconds
                );
            }
        }
        text
    }
}

fn parse(text: &str) -> Result<Vec<Replicate>> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(Error::input("does not begin with the header of a study").at_line(1));
    }
    let mut replicates: Vec<Replicate> = Vec::new();
    for (at, line) in lines.enumerate() {
        let row = parse_row(line).ok_or_else(|| Error::input("is not a row of a study").at_line(at as u64 + 2))?;
        let (kind, eta, replicate, measurement) = row;
        match replicates.last_mut().filter(|r| (r.kind, r.eta, r.replicate) == (kind, eta, replicate)) {
            Some(last) => last.measurements.push(measurement),
            None => replicates.push(Replicate { kind, eta, replicate, measurements: vec![measurement] }),
        }
    }
    Ok(replicates)
}

fn parse_row(line: &str) -> Option<(CurveKind, Option<f64>, u64, Measurement)> {
    let cells: Vec<&str> = line.split(',').collect();
    let &[method, eta, t, k, replicate, samples, epochs, seconds, squared, relative] = &cells[..] else { return None };
    let kind = CurveKind::ALL.into_iter().find(|kind| kind.name() == method)?;
    let number = |text: &str| text.parse::<f64>().ok().filter(|x| *x >= 0.0 && x.is_finite());
    let eta = if eta.is_empty() { None } else { Some(number(eta)?) };
    let measurement = Measurement {
        t: t.parse().ok()?,
        k: k.parse().ok()?,
        samples: samples.parse().ok()?,
        epochs: number(epochs)?,
        seconds: number(seconds)?,
        squared_error: number(squared)?,
        relative_squared_error: number(relative)?,
    };
    Some((kind, eta, replicate.parse().ok()?, measurement))
}

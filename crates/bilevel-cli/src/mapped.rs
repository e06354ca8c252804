//! Mapped files where the command expects data: opened, checked, described.

use std::path::Path;

use bilevel::data::mapped::{Header, Layout, MappedRows};
use bilevel::data::{Dataset, TargetKind};
use bilevel::{Error, Result};

use crate::args::{DataArgs, ProblemArgs};
use crate::table::description_text;
use crate::{interrupt, numbers};

/// Whether the checksums of all rows are compared, which reads them once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    All,
    HeaderOnly,
}

/// The mapped file `path`; `None` where it is a file of another format.
pub fn open(path: &Path, verify: Verify) -> Result<Option<MappedRows>> {
    if !MappedRows::recognises(path) {
        return Ok(None);
    }
    let rows = MappedRows::open(path)?;
    if verify == Verify::All {
        rows.verify(&mut |_, _| !interrupt::requested())?;
    }
    Ok(Some(rows))
}

/// Refuses options that say how a file is read and encoded: this one was.
pub fn refuse_options(path: &Path, args: &ProblemArgs) -> Result<()> {
    refuse_reading(path, &args.data)?;
    // That the features are as they came is compared with what the file says.
    refuse(path, args.encoding.given().find(|name| *name != "--no-standardize"))
}

/// Refuses options that say how a file is read.
pub fn refuse_reading(path: &Path, how: &DataArgs) -> Result<()> {
    refuse(path, how.given().next())
}

fn refuse(path: &Path, given: Option<&str>) -> Result<()> {
    match given {
        None => Ok(()),
        Some(option) => Err(Error::input(format!("{option} comes too late for a file that was converted"))
            .in_file(path)
            .remedy("give it to bilevel convert")),
    }
}

/// What the file holds, in pairs of a name and a text.
pub fn describe(header: &Header) -> Vec<(String, String)> {
    describe_rows(header, header.rows, target(header))
}

/// The same where only some of the rows are used.
pub fn describe_some(header: &Header, data: &Dataset) -> Vec<(String, String)> {
    match data.rows() == header.rows {
        true => describe(header),
        false => describe_rows(header, data.rows(), crate::input::describe_target(&data.target, header.labels.kind())),
    }
}

fn describe_rows(header: &Header, rows: usize, target: String) -> Vec<(String, String)> {
    let features = header.features;
    let mut size =
        format!("{}, {}", numbers::counted(rows, "row", "rows"), numbers::counted(features, "feature", "features"));
    let groups = header.groups();
    if !groups.are_singletons() {
        size += &format!(" in {}", numbers::counted(groups.len(), "group", "groups"));
    }
    let layout = if header.layout == Layout::Dense { "dense" } else { "sparse" };
    let element = format!("{:?}", header.element).to_lowercase();
    let density = numbers::percent(header.nonzero as f64 / (header.rows as f64 * features as f64));
    let scale = if header.standardization.is_some() { "standardized" } else { "as they came" };
    vec![
        ("training data".into(), size),
        ("storage".into(), format!("{layout} {element}, {density} of the entries nonzero, {scale}, in the file")),
        ("target".into(), target),
    ]
}

fn target(header: &Header) -> String {
    let kind = header.labels.kind();
    if !matches!(kind, TargetKind::Binary | TargetKind::Classes) {
        let [min, mean, max] = [header.target.min, header.target.mean, header.target.max].map(numbers::short);
        return format!("{kind} from {min} to {max}, mean {mean}");
    }
    let counts: Vec<usize> = header.class_counts.iter().map(|&count| count as usize).collect();
    crate::input::describe_classes(header.labels.names(), &counts)
}

/// What `bilevel inspect` prints of a file whose checksums are right.
pub fn inspect(rows: &MappedRows) -> String {
    let header = rows.header();
    let mut lines = vec![("file".into(), format!("{} (mapped)", rows.path().display()))];
    lines.extend(describe(header));
    let provenance = &header.provenance;
    if let Some(name) = &provenance.target_name {
        lines.push(("target column".into(), name.clone()));
    }
    if !provenance.file.is_empty() {
        lines.push(("converted from".into(), format!("{} ({})", provenance.file, provenance.format)));
    }
    lines.push(("written by".into(), provenance.program.clone()));
    lines.push(("seed of order".into(), header.seed.to_string()));
    lines.push(("checksums".into(), "right".into()));
    description_text(&lines)
}

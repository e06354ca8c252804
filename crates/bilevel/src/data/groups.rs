//! Groups of features from a file.

use std::collections::HashMap;
use std::path::Path;

use super::dataset::Groups;
use super::read::suggestion;
use crate::{Error, Result};

impl Groups {
    /// Reads a text file that assigns every feature to a group.
    ///
    /// Either each line is the name of a group, one line per feature or one per source column, in their order; or each
    /// line is `feature<TAB>group`, `feature,group` or `feature group`, where `feature` names a feature or a source column; `3`
    /// stands for `x3`. Source columns are the groups of `sources`, which also says to which one a feature belongs. Empty lines
    /// and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// When the number of lines fits neither, when a name is unknown or assigned twice, or a feature is left without.
    pub fn read(path: &Path, feature_names: &[String], sources: &Groups) -> Result<Self> {
        let text = std::fs::read(path).map_err(|error| Error::io(path, &error))?;
        let text =
            String::from_utf8(text).map_err(|_| Error::input("the file is not valid UTF-8 text").in_file(path))?;
        let lines: Vec<(u64, &str)> = (1u64..)
            .zip(text.trim_start_matches('\u{feff}').lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let mut names: Vec<&str> = feature_names.iter().chain(&sources.names).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let pairs: Vec<Option<(&str, &str)>> = lines.iter().map(|(_, line)| pair(line, &names)).collect();
        let assigned = match pairs.iter().filter(|pair| pair.is_some()).count() {
            0 => one_per_line(&lines, feature_names.len(), sources),
            count if count == lines.len() => {
                let pairs: Vec<(u64, &str, &str)> =
                    lines.iter().zip(pairs).filter_map(|(l, pair)| pair.map(|(f, g)| (l.0, f, g))).collect();
                by_name(&pairs, &names, feature_names, sources)
            }
            count => Err(Error::input(format!(
                "{count} of {} lines have the form feature,group and the others have not",
                lines.len()
            ))
            .remedy("write all lines in the same form")),
        };
        let assigned = assigned.map_err(|error| error.in_file(path))?;
        let mut names: Vec<String> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut of_feature = Vec::with_capacity(assigned.len());
        for group in assigned {
            of_feature.push(*known.entry(group).or_insert_with(|| {
                names.push(group.to_string());
                names.len() as u32 - 1
            }));
        }
        Ok(Groups { of_feature, names })
    }
}

/// Splits at the tab, or else at the last comma (names of features may hold commas, names of groups rarely do), or at blanks behind
/// a name.
fn pair<'t>(line: &'t str, names: &[&str]) -> Option<(&'t str, &'t str)> {
    let behind_name = || line.rsplit_once(char::is_whitespace).filter(|(name, _)| known(name.trim(), names).is_some());
    let (feature, group) = line.split_once('\t').or_else(|| line.rsplit_once(',')).or_else(behind_name)?;
    Some((feature.trim(), group.trim()))
}

/// The name of `names`, which are in order, that `feature` means: itself, or `x3` for `3`.
fn known<'n>(feature: &str, names: &[&'n str]) -> Option<&'n str> {
    let find = |name: &str| names.binary_search(&name).ok().map(|position| names[position]);
    find(feature).or_else(|| feature.parse::<usize>().ok().and_then(|number| find(&format!("x{number}"))))
}

fn one_per_line<'t>(lines: &[(u64, &'t str)], features: usize, sources: &Groups) -> Result<Vec<&'t str>> {
    if lines.len() == features {
        return Ok(lines.iter().map(|&(_, group)| group).collect());
    }
    if lines.len() == sources.len() {
        return Ok(sources.of_feature.iter().map(|&source| lines[source as usize].1).collect());
    }
    let expected = match sources.len() {
        columns if columns == features => format!("{features} features"),
        columns => format!("{features} features made from {columns} columns"),
    };
    Err(Error::input(format!("there are {} group names for {expected}", lines.len()))
        .remedy("write one line per feature or column, or lines of the form feature,group"))
}

fn by_name<'t>(
    pairs: &[(u64, &'t str, &'t str)],
    names: &[&str],
    features: &[String],
    sources: &Groups,
) -> Result<Vec<&'t str>> {
    let mut group_of: HashMap<&str, &str> = HashMap::new();
    for &(line, feature, group) in pairs {
        let Some(feature) = known(feature, names) else {
            return Err(Error::input(format!("there is no feature or column '{feature}'"))
                .at_line(line)
                .remedy(suggestion(names, feature)));
        };
        if group_of.insert(feature, group).is_some() {
            return Err(Error::input(format!("'{feature}' is assigned twice")).at_line(line).remedy("keep one line"));
        }
    }
    let of_feature = features.iter().zip(&sources.of_feature).map(|(feature, &source)| {
        let group = group_of.get(feature.as_str()).or_else(|| group_of.get(sources.names[source as usize].as_str()));
        group.copied().ok_or_else(|| {
            Error::input(format!("feature '{feature}' has no group")).remedy("add a line for it or for its column")
        })
    });
    of_feature.collect()
}

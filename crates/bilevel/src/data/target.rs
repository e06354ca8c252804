//! What the labels mean: two classes, several classes, counts or real numbers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dataset::Target;
use super::label_counts::{FEW_CLASSES, LabelCounts};
use super::table::{Labels, MISSING, Origin};
use crate::{Error, Result};

/// Kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Two classes.
    Binary,
    /// Three or more classes.
    Classes,
    /// Non-negative integers that count events.
    Counts,
    /// Real numbers.
    Real,
}

impl std::fmt::Display for TargetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TargetKind::Binary => "two classes",
            TargetKind::Classes => "classes",
            TargetKind::Counts => "counts",
            TargetKind::Real => "real numbers",
        })
    }
}

impl Target {
    /// The kind of `labels`, by these rules in turn:
    ///
    /// 1. texts are classes, and so is any pair of distinct values (binary);
    /// 2. integers are classes when at most 20 distinct ones occur, each of them five times at least; or when at most
    ///    1000 occur, each five times at least, and the rarest is no rarer than a tenth of the average;
    /// 3. integers are counts when they begin at 0 or 1, scatter as counts do (variance at least half the mean) and lean
    ///    to the right (skewness above 1/4);
    /// 4. everything else are real numbers.
    ///
    /// Thus the 26 letters are classes, the rings of abalones (1 to 29, some once only) counts, percentages that crowd
    /// near 100 real numbers. No rule is always right: whoever knows better says so.
    pub fn recognise(labels: &Labels) -> TargetKind {
        LabelCounts::of(labels).kind()
    }
}

/// From labels as written to the target of a model, and back; it travels with the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelMap {
    kind: TargetKind,
    /// Names of the classes in the order of their codes; empty for numbers.
    names: Vec<String>,
}

/// What to say of a label that was to get another name and that no row has.
pub(super) fn absent_label(label: &str) -> Error {
    Error::input(format!("no row has the label '{label}' that --classes names"))
        .remedy("bilevel inspect lists the labels")
}

impl LabelMap {
    /// Learns the classes of `labels`, sorted by number or text; for two classes the second is the positive one.
    ///
    /// `kind` overrules [`Target::recognise`].
    ///
    /// # Errors
    /// When a label is missing, when all labels are equal, or when the labels cannot be of the `kind` asked for.
    pub fn learn(labels: &Labels, kind: Option<TargetKind>, origin: &Origin) -> Result<Self> {
        check_present(labels, origin)?;
        let map = Self::learn_counts(&LabelCounts::of(labels), kind, origin)?;
        map.apply(labels, origin)?;
        Ok(map)
    }

    /// The same from labels that were counted; whether all of them are of the `kind` asked for is not looked at.
    pub(super) fn learn_counts(counts: &LabelCounts, kind: Option<TargetKind>, origin: &Origin) -> Result<Self> {
        let kind = kind.unwrap_or_else(|| counts.kind());
        let names = counts.names();
        let in_file = |error: Error| error.in_file(origin.path());
        if names.len() < 2 {
            let only = names.first().map_or("", String::as_str);
            return Err(in_file(
                Error::input(format!("every row has the target '{only}', so that there is nothing to learn"))
                    .remedy("check which column is the target (--target), and that the file is complete"),
            ));
        }
        let is_class = matches!(kind, TargetKind::Binary | TargetKind::Classes);
        if is_class && (names.len() > FEW_CLASSES && 2 * names.len() > counts.rows() || counts.too_many()) {
            let message = format!("the target has {} different values in {} rows", names.len(), counts.rows());
            return Err(in_file(Error::input(message)).remedy("check which column is the target (--target)"));
        }
        Ok(match kind {
            TargetKind::Binary if names.len() > 2 => {
                return Err(in_file(
                    Error::input(format!("two classes are asked for, but the target has {}", names.len()))
                        .remedy("use --model softmax, or gather the labels in two classes with --classes"),
                ));
            }
            TargetKind::Binary | TargetKind::Classes => LabelMap { kind, names },
            TargetKind::Counts | TargetKind::Real => LabelMap { kind, names: Vec::new() },
        })
    }

    /// The same two classes with `label` as the second one, whose probability is modelled.
    ///
    /// # Errors
    /// When there are not two classes, or none is called `label`.
    pub fn with_positive(mut self, label: &str) -> Result<Self> {
        if self.names.is_empty() {
            return Err(Error::input(format!("a positive class is one of two, and the target holds {}", self.kind))
                .remedy("leave it out, or choose a model of two classes, such as logistic"));
        }
        if self.names.len() != 2 {
            return Err(Error::input(format!(
                "a positive class is one of two, but the target has {} classes",
                self.names.len()
            ))
            .remedy(format!("set it against all others: --classes '{label}={label}' --classes 'other=*'")));
        }
        match KnownNames::new(&self.names).text(label) {
            Some(0) => self.names.swap(0, 1),
            Some(_) => {}
            None => {
                let message = format!("there is no class '{label}'");
                return Err(Error::input(message).remedy(format!("the classes are {}", listed(&self.names))));
            }
        }
        Ok(self)
    }

    /// Kind of the target.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Names of the classes in the order of their codes; empty for counts and real numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The target that `labels` stand for, `n` entries.
    ///
    /// # Errors
    /// When a label is missing, is no class known to this map, or is no number (no count) where one is needed.
    pub fn apply(&self, labels: &Labels, origin: &Origin) -> Result<Target> {
        check_present(labels, origin)?;
        if matches!(self.kind, TargetKind::Counts | TargetKind::Real) {
            return self.values(labels, origin).map(|values| Target::Values(values.into()));
        }
        let unseen = |row: usize, name: &str| {
            origin
                .error(row, format!("the class '{name}' does not occur in the training data"))
                .remedy(format!("the classes are {}", listed(&self.names)))
        };
        let known = KnownNames::new(&self.names);
        let codes: Vec<u32> = match labels {
            Labels::Text { codes, levels } => {
                let found: Vec<Option<u32>> = levels.iter().map(|level| known.text(level)).collect();
                let code = |(row, &code): (usize, &u32)| {
                    found[code as usize].ok_or_else(|| unseen(row, &levels[code as usize]))
                };
                codes.iter().enumerate().map(code).collect::<Result<_>>()?
            }
            Labels::Numbers(values) => {
                let code =
                    |(row, &value): (usize, &f64)| known.number(value).ok_or_else(|| unseen(row, &name_of(value)));
                values.iter().enumerate().map(code).collect::<Result<_>>()?
            }
        };
        Ok(Target::Classes { codes: codes.into(), names: self.names.clone() })
    }

    fn values(&self, labels: &Labels, origin: &Origin) -> Result<Vec<f64>> {
        let values: Vec<f64> = match labels {
            Labels::Numbers(values) => values.clone(),
            Labels::Text { codes, levels } => {
                let numbers: Vec<Option<f64>> = levels.iter().map(|level| level.parse().ok()).collect();
                let number = |(row, &code): (usize, &u32)| {
                    numbers[code as usize].ok_or_else(|| {
                        origin.error(row, format!("the target '{}' is no number", levels[code as usize]))
                    })
                };
                codes.iter().enumerate().map(number).collect::<Result<_>>()?
            }
        };
        let wrong = |value: &f64| {
            !value.is_finite() || self.kind == TargetKind::Counts && (*value < 0.0 || value.fract() != 0.0)
        };
        if let Some(row) = values.iter().position(wrong) {
            let needed = if self.kind == TargetKind::Counts { "count (0, 1, 2, ...)" } else { "finite number" };
            return Err(origin.error(row, format!("the target {} is no {needed}", values[row])));
        }
        Ok(values)
    }
}

/// Codes of names, also by the number that a name stands for: `1.0` in one file is `1` in another.
struct KnownNames<'a> {
    texts: HashMap<&'a str, u32>,
    numbers: HashMap<u64, u32>,
}

impl<'a> KnownNames<'a> {
    fn new(names: &'a [String]) -> Self {
        let texts = names.iter().map(String::as_str).zip(0u32..).collect();
        let numbers = names.iter().zip(0u32..).filter_map(|(name, code)| Some((key(name.parse().ok()?), code)));
        KnownNames { texts, numbers: numbers.collect() }
    }

    fn number(&self, value: f64) -> Option<u32> {
        self.numbers.get(&key(value)).copied()
    }

    fn text(&self, text: &str) -> Option<u32> {
        self.texts.get(text).copied().or_else(|| self.number(text.parse().ok()?))
    }
}

/// Bits of a number, the same for both zeros.
fn key(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

pub(super) fn check_present(labels: &Labels, origin: &Origin) -> Result<()> {
    let missing = match labels {
        Labels::Numbers(values) => values.iter().position(|value| value.is_nan()),
        Labels::Text { codes, .. } => codes.iter().position(|&code| code == MISSING),
    };
    match missing {
        Some(row) => Err(origin.error(row, "the target is missing").remedy("fill it in or remove the row")),
        None => Ok(()),
    }
}

/// The shortest text that reads back as `value`; `1` for `1.0`, `0` for `-0.0`.
pub(super) fn name_of(value: f64) -> String {
    format!("{}", value + 0.0)
}

fn listed(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
    format!("{}{}", first.join(", "), if names.len() > 10 { ", ..." } else { "" })
}

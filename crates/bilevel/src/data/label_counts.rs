//! How often each label occurs: what the kind of a target follows from.

use std::collections::BTreeMap;

use super::table::{Labels, MISSING};
use super::target::{TargetKind, name_of};

/// Up to this many distinct integers are classes when each occurs [`LEAST_COUNT`] times.
pub(super) const FEW_CLASSES: usize = 20;
/// Up to this many distinct integers are classes when they are also about equally frequent.
const MANY_CLASSES: usize = 1000;
/// Rows that every class must have for integers to be taken for classes.
const LEAST_COUNT: usize = 5;
/// Distinct labels that are told apart when they are counted block by block; more are real numbers.
const MOST_DISTINCT: usize = 1 << 20;

/// Labels with the number of their rows; missing ones are left out.
pub(super) struct LabelCounts {
    found: Distinct,
    rows: usize,
    too_many: bool,
}

enum Distinct {
    /// In rising order.
    Numbers(Vec<(f64, usize)>),
    Texts(BTreeMap<String, usize>),
}

impl LabelCounts {
    pub(super) fn of(labels: &Labels) -> Self {
        match labels {
            Labels::Numbers(values) => {
                let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let counts = sorted.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len())).collect();
                LabelCounts { found: Distinct::Numbers(counts), rows: sorted.len(), too_many: false }
            }
            Labels::Text { codes, levels } => {
                let mut counts = vec![0usize; levels.len()];
                codes.iter().filter(|&&code| code != MISSING).for_each(|&code| counts[code as usize] += 1);
                let rows = counts.iter().sum();
                let counts = levels.iter().cloned().zip(counts).collect();
                LabelCounts { found: Distinct::Texts(counts), rows, too_many: false }
            }
        }
    }

    /// Adds labels of the same kind.
    pub(super) fn add(&mut self, more: LabelCounts) {
        self.rows += more.rows;
        if self.too_many {
            return;
        }
        let distinct = match (&mut self.found, more.found) {
            (Distinct::Numbers(known), Distinct::Numbers(more)) => {
                known.extend(more);
                known.sort_by(|a, b| a.0.total_cmp(&b.0));
                known.dedup_by(|next, kept| {
                    let same = next.0 == kept.0;
                    kept.1 += if same { next.1 } else { 0 };
                    same
                });
                known.len()
            }
            (Distinct::Texts(known), Distinct::Texts(more)) => {
                more.into_iter().for_each(|(text, count)| *known.entry(text).or_default() += count);
                known.len()
            }
            _ => unreachable!("the labels of a file are of one kind"),
        };
        self.too_many = distinct > MOST_DISTINCT;
    }

    /// Number of labels that are not missing.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// True when there are more different labels than are told apart.
    pub(super) fn too_many(&self) -> bool {
        self.too_many
    }

    /// The labels that occur, in order.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.found {
            Distinct::Numbers(counts) => counts.iter().map(|&(value, _)| name_of(value)).collect(),
            Distinct::Texts(counts) => {
                counts.iter().filter(|(_, count)| **count > 0).map(|(text, _)| text.clone()).collect()
            }
        }
    }

    /// The kind of target; see [`Target::recognise`](super::Target::recognise).
    pub(super) fn kind(&self) -> TargetKind {
        let counts = match &self.found {
            Distinct::Texts(counts) if counts.len() <= 2 => return TargetKind::Binary,
            Distinct::Texts(_) => return TargetKind::Classes,
            Distinct::Numbers(counts) => counts,
        };
        if counts.len() <= 2 {
            return TargetKind::Binary;
        }
        if self.too_many || !counts.iter().all(|(value, _)| value.fract() == 0.0) {
            return TargetKind::Real;
        }
        let rarest = counts.iter().map(|&(_, count)| count).min().unwrap_or(0);
        let balanced = 10 * rarest * counts.len() >= self.rows;
        let few = counts.len() <= FEW_CLASSES || counts.len() <= MANY_CLASSES && balanced;
        if few && rarest >= LEAST_COUNT {
            return TargetKind::Classes;
        }
        let n = self.rows as f64;
        let sum = |f: &dyn Fn(f64) -> f64| counts.iter().map(|&(value, count)| count as f64 * f(value)).sum::<f64>();
        let mean = sum(&|value| value) / n;
        let moment = |power| sum(&|value| (value - mean).powi(power)) / n;
        let (variance, skewness) = (moment(2), moment(3) / moment(2).powf(1.5));
        if (0.0..=1.0).contains(&counts[0].0) && variance >= 0.5 * mean && skewness > 0.25 {
            return TargetKind::Counts;
        }
        TargetKind::Real
    }
}

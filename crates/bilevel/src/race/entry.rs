//! What a race keeps of a run.

use serde::{Deserialize, Serialize};

use super::curve::Checkpoint;
use crate::algorithms::{Algorithm, FirstSteps};

/// Who competes: an algorithm with the parameters that are left free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Its first steps.
    pub steps: FirstSteps,
    /// Seed of all samples.
    pub seed: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The budget is spent.
    Finished,
    /// The budget is spent, and the value is clearly above that of the start.
    AboveStart,
    /// The iterates, or the value at them, were no numbers any more.
    Diverged,
}

/// The run of a contestant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// How long it took to choose the steps; zero where they were given.
    pub screening_seconds: f64,
    /// Who.
    #[serde(flatten)]
    pub contestant: Contestant,
    /// Where it stood, from the start on.
    pub curve: Vec<Checkpoint>,
    /// How it ended.
    pub end: End,
}

impl Entry {
    /// The last value; infinite after divergence.
    pub fn value(&self) -> f64 {
        match self.end {
            End::Finished | End::AboveStart => self.curve.last().map_or(f64::INFINITY, |point| point.judgement.value),
            End::Diverged => f64::INFINITY,
        }
    }

    /// Orders the runs of a race: by algorithm, as in [`Algorithm::ALL`], and seed.
    pub(super) fn key(&self) -> (usize, u64) {
        (self.contestant.algorithm.number(), self.contestant.seed)
    }

    /// Without checkpoints that are no numbers, as just before a divergence.
    pub(super) fn of_numbers(mut self) -> Self {
        self.curve.retain(|point| {
            let judged = point.judgement;
            [judged.value, judged.gradient_squared, judged.distance_squared].iter().all(|number| number.is_finite())
        });
        self
    }
}

/// A rise above the start that is more than the noise of a run which began at its optimum, as a part of the value and of how
/// far the run had come down.
const RISE: f64 = 0.1;

/// How a run ended that has spent its budget.
pub(super) fn end_of(curve: &[Checkpoint]) -> End {
    let value = |point: &Checkpoint| point.judgement.value;
    let (Some(start), Some(last)) = (curve.first().map(value), curve.last().map(value)) else { return End::Finished };
    let lowest = curve.iter().map(value).fold(start, f64::min);
    match last - start > RISE * (start.abs() + start - lowest) {
        true => End::AboveStart,
        false => End::Finished,
    }
}

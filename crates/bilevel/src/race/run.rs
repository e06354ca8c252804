//! All contestants, one after another, so that all have the machine alike.

use std::collections::HashSet;
use std::time::Instant;

use super::budget::Budget;
use super::contest::{Contest, compete};
use super::entry::{Contestant, End, Entry};
use super::judge::Judge;
use super::screening::{StepChoice, screen};
use crate::algorithms::{Algorithm, FirstSteps};
use crate::error::Result;
use crate::observer::Observer;
use crate::stop::StopSignal;

/// Who races, and how far.
#[derive(Debug, Clone, PartialEq)]
pub struct Race {
    /// The algorithms.
    pub algorithms: Vec<Algorithm>,
    /// A run of each algorithm for each of these; steps are chosen under the first.
    pub seeds: Vec<u64>,
    /// What each run may spend.
    pub budget: Budget,
    /// How the first steps are chosen.
    pub steps: StepChoice,
}

/// What a race tells on its way.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A run begins, with the choice of its steps.
    Begun {
        /// Who.
        algorithm: Algorithm,
        /// Seed of the samples.
        seed: u64,
        /// Number of the run, from 0.
        number: usize,
        /// Runs that were missing.
        of: usize,
    },
    /// A run has ended.
    Ended {
        /// The run.
        entry: &'a Entry,
        /// All runs so far, this one among them, by algorithm and seed.
        entries: &'a [Entry],
    },
}

impl Race {
    /// Makes the runs that `entries` lacks, and adds each as soon as it ends. So what a race has found is kept however it ends,
    /// and calling again with the same `entries` goes on with it.
    ///
    /// Where a run diverges or ends above its start, the next best steps of the screening are tried, and the lowest value
    /// counts. Each run has a judge of its own, so that no figure depends on who ran before. `observer` sees the beginning and
    /// the end of each, and ends the race by `Break`.
    ///
    /// # Errors
    /// Input, for settings that make no sense; numeric, where the lower level cannot be solved at the start; interrupted, once
    /// `stop` is raised. Divergence of a contestant is no error but a result.
    pub fn run(
        &self,
        contest: &Contest<'_>,
        entries: &mut Vec<Entry>,
        stop: &StopSignal,
        observer: &mut dyn for<'e> Observer<Event<'e>>,
    ) -> Result<()> {
        self.validate()?;
        entries.sort_by_key(Entry::key);
        let missing = self.missing(entries);
        // The steps of the grid, once somebody needs them.
        let mut pairs = Vec::new();
        for (number, &(algorithm, seed)) in missing.iter().enumerate() {
            if observer.observe(&Event::Begun { algorithm, seed, number, of: missing.len() }).is_break() {
                return Ok(());
            }
            let chosen = entries.iter().find(|entry| entry.contestant.algorithm == algorithm);
            let entry = match chosen.map(|entry| (entry.contestant.steps, entry.screening_seconds)) {
                Some((steps, screening_seconds)) => {
                    Entry { screening_seconds, ..self.attempt(contest, algorithm, steps, seed, stop)? }
                }
                None => self.first_run(contest, algorithm, seed, &mut pairs, stop)?,
            };
            let at = entries.partition_point(|other| other.key() < entry.key());
            entries.insert(at, entry.of_numbers());
            if observer.observe(&Event::Ended { entry: &entries[at], entries }).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The runs that `entries` lacks, in the order in which they are made.
    pub fn missing(&self, entries: &[Entry]) -> Vec<(Algorithm, u64)> {
        let made: HashSet<(Algorithm, u64)> =
            entries.iter().map(|entry| (entry.contestant.algorithm, entry.contestant.seed)).collect();
        // What is asked for twice is made once.
        let (mut algorithms, mut seeds) = (HashSet::new(), HashSet::with_capacity(self.seeds.len()));
        let seeds: Vec<u64> = self.seeds.iter().copied().filter(|&seed| seeds.insert(seed)).collect();
        let algorithms = self.algorithms.iter().filter(|&&algorithm| algorithms.insert(algorithm));
        let all = algorithms.flat_map(|&algorithm| seeds.iter().map(move |&seed| (algorithm, seed)));
        all.filter(|run| !made.contains(run)).collect()
    }

    fn validate(&self) -> Result<()> {
        self.budget.validate()?;
        match &self.steps {
            StepChoice::Given(_) => Ok(()),
            StepChoice::Screened(grid) => grid.validate(),
        }
    }

    /// The first run of an algorithm, which chooses the steps: the best of the screening, or the next where these fail.
    fn first_run(
        &self,
        contest: &Contest<'_>,
        algorithm: Algorithm,
        seed: u64,
        pairs: &mut Vec<FirstSteps>,
        stop: &StopSignal,
    ) -> Result<Entry> {
        let grid = match &self.steps {
            StepChoice::Given(steps) => return self.attempt(contest, algorithm, *steps, seed, stop),
            StepChoice::Screened(_) if algorithm.finds_steps() => {
                return self.attempt(contest, algorithm, FirstSteps::ONES, seed, stop);
            }
            StepChoice::Screened(grid) => grid,
        };
        if pairs.is_empty() {
            *pairs = grid.pairs(contest, self.seeds[0], stop)?;
        }
        let clock = Instant::now();
        let (ranked, mut screening_seconds) = match pairs[..] {
            [only] => (vec![only], 0.0),
            _ => {
                let part = self.budget.part(grid.part);
                let ranked = screen(contest, algorithm, self.seeds[0], pairs, &part, stop)?;
                (ranked, clock.elapsed().as_secs_f64())
            }
        };
        let mut best: Option<Entry> = None;
        for steps in ranked {
            if best.is_some() {
                screening_seconds = clock.elapsed().as_secs_f64();
            }
            let entry = self.attempt(contest, algorithm, steps, seed, stop)?;
            // Lower in any case where it has finished; else the least of what has risen.
            if best.as_ref().is_none_or(|best| entry.value() < best.value()) {
                best = Some(entry);
            }
            if best.as_ref().is_some_and(|best| best.end == End::Finished) {
                break;
            }
        }
        let best = best.expect("a grid has steps");
        Ok(Entry { screening_seconds, ..best })
    }

    /// One run, with a judge of its own.
    fn attempt(
        &self,
        contest: &Contest<'_>,
        algorithm: Algorithm,
        steps: FirstSteps,
        seed: u64,
        stop: &StopSignal,
    ) -> Result<Entry> {
        let mut judge = Judge::new(contest).until(stop.clone());
        compete(contest, &Contestant { algorithm, steps, seed }, &self.budget, &mut judge, stop)
    }
}

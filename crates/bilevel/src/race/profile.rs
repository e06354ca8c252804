//! Who solves how many problems at how many times the cost of the best (Dolan, More, Mathematical Programming 2002).
//!
//! A problem is solved by a run once its value is within `tolerance` of the way from the start to the best value that any run
//! has seen: `f <= f_best + tolerance (f_start - f_best)`. The cost is the number of samples until then, which does not depend
//! on the machine. At the factor 1 the curve of an algorithm is the share of problems on which it was the fastest, and its
//! limit the share that it solved at all.

use super::curve::Checkpoint;
use super::entry::Entry;
use crate::algorithms::Algorithm;

/// Costs relative to the best, of each algorithm on each problem; infinite where it was not solved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    rows: Vec<(Algorithm, Vec<f64>)>,
    problems: usize,
}

impl Profile {
    /// Adds the runs of one race; every seed is a problem of its own.
    pub fn add(&mut self, runs: &[Entry], tolerance: f64) {
        let values = runs.iter().flat_map(|run| run.curve.iter().map(|point| point.judgement.value));
        let best = values.filter(|value| value.is_finite()).fold(f64::INFINITY, f64::min);
        let mut seeds: Vec<u64> = runs.iter().map(|run| run.contestant.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        for seed in seeds {
            let of_seed = || runs.iter().filter(|run| run.contestant.seed == seed);
            let costs: Vec<(Algorithm, f64)> =
                of_seed().map(|run| (run.contestant.algorithm, cost(&run.curve, best, tolerance))).collect();
            let least = costs.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
            for (algorithm, cost) in costs {
                let ratio = if cost.is_finite() { cost / least } else { f64::INFINITY };
                let before = self.problems;
                let row = match self.rows.iter_mut().position(|(known, _)| *known == algorithm) {
                    Some(at) => &mut self.rows[at].1,
                    None => {
                        self.rows.push((algorithm, Vec::new()));
                        &mut self.rows.last_mut().expect("one was pushed").1
                    }
                };
                row.resize(before, f64::INFINITY);
                row.push(ratio);
            }
            self.problems += 1;
        }
        let problems = self.problems;
        self.rows.iter_mut().for_each(|(_, row)| row.resize(problems, f64::INFINITY));
    }

    /// Problems that were added.
    pub fn problems(&self) -> usize {
        self.problems
    }

    /// The algorithms that took part.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.rows.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Costs relative to the best, a number for each problem.
    pub fn ratios(&self, algorithm: Algorithm) -> &[f64] {
        self.rows.iter().find(|(known, _)| *known == algorithm).map_or(&[], |(_, row)| row)
    }

    /// The share of problems that `algorithm` solved at no more than `factor` times the cost of the best.
    pub fn share(&self, algorithm: Algorithm, factor: f64) -> f64 {
        let within = self.ratios(algorithm).iter().filter(|ratio| **ratio <= factor).count();
        within as f64 / self.problems.max(1) as f64
    }
}

/// Samples until the value is near the best; infinite where it never is.
fn cost(curve: &[Checkpoint], best: f64, tolerance: f64) -> f64 {
    let Some(start) = curve.first().map(|point| point.judgement.value) else { return f64::INFINITY };
    let wanted = best + tolerance * (start - best);
    let reached = curve.iter().find(|point| point.judgement.value <= wanted);
    reached.map_or(f64::INFINITY, |point| point.cost.work.rows.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::FirstSteps;
    use crate::race::{Contestant, Cost, End, Judgement};
    use crate::work::Work;

    fn run(algorithm: Algorithm, values: &[(usize, f64)]) -> Entry {
        let point = |&(rows, value): &(usize, f64)| Checkpoint {
            cost: Cost { iterations: rows, seconds: 0.0, work: Work::gradient(rows) },
            judgement: Judgement { value, gradient_squared: 0.0, distance_squared: 0.0 },
        };
        let curve = values.iter().map(point).collect();
        let contestant = Contestant { algorithm, steps: FirstSteps::ONES, seed: 0 };
        Entry { screening_seconds: 0.0, contestant, curve, end: End::Finished }
    }

    #[test]
    fn shares_are_counted_by_the_cost_of_the_best() {
        let mut profile = Profile::default();
        let fast = run(Algorithm::Saba, &[(0, 1.0), (10, 0.05), (20, 0.0)]);
        let slow = run(Algorithm::Soba, &[(0, 1.0), (10, 0.5), (40, 0.08)]);
        profile.add(&[fast, slow], 0.1);
        profile.add(&[run(Algorithm::Soba, &[(0, 2.0), (5, 1.0)])], 0.1);
        assert_eq!(profile.problems(), 2);
        assert_eq!(profile.ratios(Algorithm::Saba), [1.0, f64::INFINITY]);
        assert_eq!(profile.ratios(Algorithm::Soba), [4.0, 1.0]);
        assert_eq!([1.0, 3.9, 4.0].map(|factor| profile.share(Algorithm::Soba, factor)), [0.5, 0.5, 1.0]);
        assert_eq!(profile.share(Algorithm::Saba, 1e9), 0.5);
    }
}

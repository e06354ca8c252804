//! The parts of the data: which rows are fitted, which steer the penalties, which monitor.
//!
//! The rows are put in an order in which every run of consecutive rows has about the class shares of the whole. Then all
//! parts are ranges of one matrix: folds cost no copies, and contiguous blocks are fair minibatches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::objective::FoldRisks;
use super::options::Criterion;
use super::path::Division;
use crate::data::{Dataset, DesignMatrix, RowRanges, Target};
use crate::problems::glm::{EmpiricalRisk, Loss, Weighting};
use crate::sample::{Purpose, Rng, Sampling};
use crate::{Error, Result};

/// Rows of a class that is not rare.
const RARE: usize = 100;

/// The order of the rows, without those of weight 0, and the rows of each fold where the criterion gives folds: then the
/// rows of a fold follow one another.
pub(super) fn arrange(data: &Dataset, criterion: &Criterion, seed: u64) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
    let mut order = fair_order(data, seed, 0);
    let Criterion::GivenFolds(of_row) = criterion else { return Ok((order, Vec::new())) };
    let n = data.rows();
    if of_row.len() != n {
        return Err(Error::input(format!("{} fold numbers for {n} rows", of_row.len())));
    }
    order.sort_by_key(|&row| of_row[row as usize]);
    let sorted: Vec<u32> = order.iter().map(|&row| of_row[row as usize]).collect();
    let mut folds: Vec<Range<usize>> = Vec::new();
    for run in sorted.chunk_by(|a, b| a == b) {
        let first = folds.last().map_or(0, |last| last.end);
        folds.push(first..first + run.len());
    }
    if folds.len() < 2 {
        return Err(Error::input("all rows are in one fold").remedy("give at least two folds"));
    }
    Ok((order, folds))
}

/// A random order of the rows, without those of weight 0, in which each class is spread evenly; another one for each `set`.
pub(super) fn fair_order(data: &Dataset, seed: u64, set: u64) -> Vec<u32> {
    let mut order = spread_order(&data.target, seed, set);
    if let Some(weights) = &data.weights {
        order.retain(|&row| weights[row as usize] > 0.0);
    }
    order
}

/// A random order in which each class is spread evenly: in a shuffled order, the `i`-th row of a class of `n` stands at
/// `(i + u) / n` of the whole, with one random `u` for each class.
fn spread_order(target: &Target, seed: u64, set: u64) -> Vec<u32> {
    let mut rng = Rng::stream(seed, Purpose::Split, set);
    let mut order: Vec<u32> = (0..target.len() as u32).collect();
    rng.shuffle(&mut order);
    let Target::Classes { codes, names } = target else { return order };
    let offsets: Vec<f64> = names.iter().map(|_| rng.uniform()).collect();
    spread(&order, codes, &offsets)
}

/// The rows of each class come in order already, so that the classes are merged: there may be too many rows to sort.
fn spread(order: &[u32], codes: &[u32], offsets: &[f64]) -> Vec<u32> {
    let class_at = |position: u32| codes[order[position as usize] as usize] as usize;
    let mut ends = vec![0usize; offsets.len()];
    codes.iter().for_each(|&c| ends[c as usize] += 1);
    let sizes: Vec<f64> = ends.iter().map(|&size| size as f64).collect();
    for class in 1..ends.len() {
        ends[class] += ends[class - 1];
    }
    // The positions of each class in the shuffled order, class after class.
    let mut next: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).take(ends.len()).collect();
    let firsts = next.clone();
    let mut positions = vec![0u32; order.len()];
    for position in 0..order.len() as u32 {
        let class = class_at(position);
        positions[next[class]] = position;
        next[class] += 1;
    }
    next.clone_from(&firsts);
    // Where the next row of a class shall stand (bits of numbers that are not negative sort as these); the earlier position
    // goes first of equals.
    let key = |class: usize, at: usize| {
        let place: f64 = ((at - firsts[class]) as f64 + offsets[class]) / sizes[class];
        Reverse((place.to_bits(), positions[at], class))
    };
    let some = (0..ends.len()).filter(|&class| firsts[class] < ends[class]);
    let mut heap: BinaryHeap<_> = some.map(|class| key(class, firsts[class])).collect();
    let mut spread = Vec::with_capacity(order.len());
    while let Some(Reverse((_, position, class))) = heap.pop() {
        spread.push(order[position as usize]);
        next[class] += 1;
        if next[class] < ends[class] {
            heap.push(key(class, next[class]));
        }
    }
    spread
}

/// A matrix with its targets as numbers, and what its rows count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub design: &'a DesignMatrix,
    pub y: &'a [f64],
    pub sampling: Sampling,
    weighting: Weighting<'a>,
}

impl<'a> Rows<'a> {
    /// The rows of `data` with their targets `y`, and how they are sampled: by where they lie, unless asked otherwise.
    pub(super) fn new(data: &'a Dataset, y: &'a [f64], sampling: Option<Sampling>) -> Self {
        let usual = if data.arrangement.is_some() { Sampling::Runs } else { Sampling::Blocks };
        let sampling = sampling.unwrap_or(usual);
        let weighting = data.weights.as_deref().map_or(Weighting::Uniform, Weighting::Rows);
        Rows { design: &data.design, y, sampling, weighting }
    }

    pub(super) fn risk(self, rows: RowRanges, loss: Loss, intercept: bool) -> EmpiricalRisk<'a> {
        EmpiricalRisk::new(self.design, self.y, rows, loss, intercept)
            .weighted(self.weighting)
            .sampled_by(self.sampling)
    }
}

/// How the criterion is formed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judges<'a> {
    /// Rows of another matrix.
    Separate(Rows<'a>),
    /// The last part of the rows, of this size.
    Tail(usize),
    /// This many folds.
    Folds(usize),
    /// These folds, one after the other.
    Given(&'a [Range<usize>]),
}

/// The rows of a tuning, and what divides them.
pub(super) struct Partition<'a> {
    pub data: &'a Dataset,
    pub rows: Rows<'a>,
    pub judges: Judges<'a>,
    /// Classes of so few rows that a fit may lack them, by their numbers.
    pub rare: Vec<u32>,
    pub loss: Loss,
    pub intercept: bool,
}

impl<'a> Partition<'a> {
    /// Divides the rows; `monitor` is the part `(index, of)` that does not steer.
    pub(super) fn divide(&self, monitor: Option<(usize, usize)>) -> Division<'a> {
        divide(self.rows, self.judges, monitor, self.loss, self.intercept)
    }

    /// Number of rows that steer.
    pub(super) fn steering(&self) -> usize {
        match self.judges {
            Judges::Separate(validation) => validation.design.rows(),
            Judges::Tail(_) | Judges::Folds(_) | Judges::Given(_) => self.data.rows(),
        }
    }
}

/// Divides the rows; `monitor` is the part `(index, of)` that does not steer.
fn divide<'a>(
    train: Rows<'a>,
    judges: Judges<'a>,
    monitor: Option<(usize, usize)>,
    loss: Loss,
    intercept: bool,
) -> Division<'a> {
    let part = |n: usize, (index, of): (usize, usize)| index * n / of..(index + 1) * n / of;
    let split = |rows: RowRanges| match monitor {
        None => (rows, None),
        Some(which) => {
            let hole = part(rows.len(), which);
            (rows.without_positions(hole.clone()), Some(rows.at_positions(hole)))
        }
    };
    let all = RowRanges::all(train.design.rows());
    if let Judges::Separate(judging) = judges {
        let fitted = train.risk(all, loss, intercept);
        let (steering, watching) = split(RowRanges::all(judging.design.rows()));
        return Division {
            folds: vec![FoldRisks { fitted: fitted.clone(), judging: judging.risk(steering, loss, intercept) }],
            refit: fitted,
            monitor: watching.map(|rows| judging.risk(rows, loss, intercept)),
        };
    }
    if let Judges::Given(folds) = judges {
        return divide_given(train, folds, monitor, loss, intercept);
    }
    let (steering, watching) = split(all);
    let n = steering.len();
    let fold = |positions: std::ops::Range<usize>| FoldRisks {
        fitted: train.risk(steering.without_positions(positions.clone()), loss, intercept),
        judging: train.risk(steering.at_positions(positions), loss, intercept),
    };
    let folds = match judges {
        Judges::Tail(size) => {
            let size = (size * n / train.design.rows()).clamp(1, n - 1);
            vec![fold(n - size..n)]
        }
        Judges::Folds(k) => (0..k).map(|index| fold(part(n, (index, k)))).collect(),
        Judges::Separate(_) | Judges::Given(_) => unreachable!("handled above"),
    };
    Division {
        folds,
        refit: train.risk(steering.clone(), loss, intercept),
        monitor: watching.map(|rows| train.risk(rows, loss, intercept)),
    }
}

/// Rows of each class; nothing of numbers.
pub(super) fn class_sizes(target: &Target) -> Vec<usize> {
    let Target::Classes { codes, names } = target else { return Vec::new() };
    let mut sizes = vec![0; names.len()];
    codes.iter().for_each(|&code| sizes[code as usize] += 1);
    sizes
}

/// Classes of so few rows that a fit on some of the rows may lack them, by their numbers.
pub(super) fn rare_classes(target: &Target) -> Vec<u32> {
    (0u32..).zip(class_sizes(target)).filter(|(_, size)| (1..RARE).contains(size)).map(|(class, _)| class).collect()
}

/// The first of the `rare` classes that some fit of `division` lacks.
pub(super) fn lacking(division: &Division<'_>, rare: &[u32]) -> Option<u32> {
    let fits = || division.folds.iter().map(|fold| fold.fitted.targets());
    rare.iter().copied().find(|&class| fits().any(|targets| !targets.contains(&f64::from(class))))
}

/// As [`divide`]: whole folds are monitor rows, the ones whose number is `index` modulo `of`. Whoever gives folds may have kept
/// rows together that tell of each other, and then a part of a fold is no judge of the rest. At least two folds must steer.
fn divide_given<'a>(
    train: Rows<'a>,
    folds: &[Range<usize>],
    monitor: Option<(usize, usize)>,
    loss: Loss,
    intercept: bool,
) -> Division<'a> {
    let watches = |number: usize| monitor.is_some_and(|(index, of)| number % of == index);
    let (watching, steering): (Vec<_>, Vec<_>) = (0..folds.len()).partition(|&number| watches(number));
    let risk = |numbers: &[usize], without: Option<usize>| {
        let kept = numbers.iter().filter(|&&number| Some(number) != without);
        train.risk(RowRanges::new(kept.map(|&number| folds[number].clone())), loss, intercept)
    };
    Division {
        folds: (steering.iter())
            .map(|&number| FoldRisks { fitted: risk(&steering, Some(number)), judging: risk(&[number], None) })
            .collect(),
        refit: risk(&steering, None),
        monitor: (!watching.is_empty()).then(|| risk(&watching, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::spread;
    use crate::sample::{Purpose, Rng};

    #[test]
    fn merged_classes_stand_where_sorting_puts_them() {
        let mut rng = Rng::stream(4, Purpose::Start, 0);
        for (rows, classes) in [(0usize, 2usize), (1, 1), (7, 3), (500, 4), (500, 60)] {
            let codes: Vec<u32> = (0..rows).map(|_| rng.below(classes).min(rng.below(classes)) as u32).collect();
            let mut order: Vec<u32> = (0..rows as u32).collect();
            rng.shuffle(&mut order);
            // Equal offsets make equal places.
            let offsets: Vec<f64> = (0..classes).map(|c| if c % 2 == 0 { 0.5 } else { rng.uniform() }).collect();
            let size = |class: u32| codes.iter().filter(|&&code| code == class).count() as f64;
            let mut seen = vec![0.0; classes];
            let mut keyed: Vec<(f64, u32)> = Vec::new();
            for &row in &order {
                let class = codes[row as usize] as usize;
                keyed.push(((seen[class] + offsets[class]) / size(class as u32), row));
                seen[class] += 1.0;
            }
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            let expected: Vec<u32> = keyed.into_iter().map(|(_, row)| row).collect();
            assert_eq!(spread(&order, &codes, &offsets), expected, "{rows} rows, {classes} classes");
        }
    }
}

//! The parts of the data: which rows are fitted, which steer, which look on.
//!
//! The rows are put in an order in which every run of consecutive rows has about the class shares of the whole. Then all
//! parts are ranges of one matrix: folds cost no copies, and contiguous blocks are fair minibatches.

use super::objective::FoldRisks;
use super::path::Division;
use crate::data::{DesignMatrix, RowRanges, Target};
use crate::problems::glm::{EmpiricalRisk, Loss};
use crate::sample::{Purpose, Rng, Sampling};

/// A random order in which each class is spread evenly.
pub(super) fn spread_order(target: &Target, seed: u64) -> Vec<u32> {
    let mut rng = Rng::stream(seed, Purpose::Split, 0);
    let mut order: Vec<u32> = (0..target.len() as u32).collect();
    rng.shuffle(&mut order);
    let Target::Classes { codes, names } = target else { return order };
    let mut sizes = vec![0.0; names.len()];
    codes.iter().for_each(|&c| sizes[c as usize] += 1.0);
    let offsets: Vec<f64> = names.iter().map(|_| rng.uniform()).collect();
    let mut seen = vec![0.0; names.len()];
    let mut keyed: Vec<(f64, u32)> = order
        .iter()
        .map(|&row| {
            let class = codes[row as usize] as usize;
            let key = (seen[class] + offsets[class]) / sizes[class];
            seen[class] += 1.0;
            (key, row)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// A matrix with its targets as numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub design: &'a DesignMatrix,
    pub y: &'a [f64],
    pub sampling: Sampling,
}

impl<'a> Rows<'a> {
    pub(super) fn risk(self, rows: RowRanges, loss: Loss, intercept: bool) -> EmpiricalRisk<'a> {
        EmpiricalRisk::new(self.design, self.y, rows, loss, intercept).sampled_by(self.sampling)
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
}

/// Divides the rows; `monitor` is the part `(index, of)` that only looks on.
pub(super) fn divide<'a>(
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
        Judges::Separate(_) => unreachable!("handled above"),
    };
    Division {
        folds,
        refit: train.risk(steering.clone(), loss, intercept),
        monitor: watching.map(|rows| train.risk(rows, loss, intercept)),
    }
}

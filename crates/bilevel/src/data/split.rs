//! Parts of a data set that resemble the whole.

use super::dataset::Target;
use crate::sample::{Purpose, Rng};
use crate::{Error, Result};

/// How to cut the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parts<'a> {
    /// Parts of these sizes relative to the whole; they sum to 1.
    Fractions(&'a [f64]),
    /// This many equal parts.
    Folds(usize),
}

/// Rows `0..n` in parts, each part in random order; every row is in exactly one part.
///
/// Each part has its share of every class, to within one row and at least one; the sizes of the parts of a numeric
/// target are their share of `n` to within one row. The same seed gives the same parts.
///
/// # Errors
/// When there are no parts or fractions that do not sum to 1, or when a class (or the whole set) has fewer rows than
/// there are parts.
pub fn stratified_order(target: &Target, parts: Parts<'_>, seed: u64) -> Result<Vec<Vec<u32>>> {
    let shares = shares(parts)?;
    let strata = strata(target);
    for (rows, name) in &strata {
        if rows.len() < shares.len() {
            return Err(too_small(rows.len(), name.as_deref(), shares.len()));
        }
    }
    let mut order: Vec<Vec<u32>> = vec![Vec::new(); shares.len()];
    let mut wanted = vec![0.0f64; shares.len()];
    for (index, (mut rows, _)) in strata.into_iter().enumerate() {
        Rng::stream(seed, Purpose::Split, index as u64).shuffle(&mut rows);
        for (total, share) in wanted.iter_mut().zip(&shares) {
            *total += share * rows.len() as f64;
        }
        let sizes = sizes(&shares, rows.len(), |part| wanted[part] - order[part].len() as f64);
        let mut rest = rows.as_slice();
        for (part, size) in order.iter_mut().zip(sizes) {
            let (taken, left) = rest.split_at(size);
            part.extend_from_slice(taken);
            rest = left;
        }
    }
    for (index, part) in order.iter_mut().enumerate() {
        Rng::stream(seed, Purpose::Split, (1 << 32) + index as u64).shuffle(part);
    }
    Ok(order)
}

fn shares(parts: Parts<'_>) -> Result<Vec<f64>> {
    match parts {
        Parts::Folds(0) => Err(Error::input("there must be at least one fold")),
        Parts::Folds(folds) => Ok(vec![1.0 / folds as f64; folds]),
        Parts::Fractions(fractions) => {
            let valid = fractions.iter().all(|&fraction| fraction > 0.0 && fraction <= 1.0);
            let sum: f64 = fractions.iter().sum();
            if !valid || (sum - 1.0).abs() > 1e-6 {
                return Err(Error::input(format!("the fractions {fractions:?} must be positive and sum to 1")));
            }
            Ok(fractions.iter().map(|fraction| fraction / sum).collect())
        }
    }
}

/// The rows of each class that occurs, with its name; all rows for a numeric target.
fn strata(target: &Target) -> Vec<(Vec<u32>, Option<String>)> {
    match target {
        Target::Values(values) => vec![((0..values.len() as u32).collect(), None)],
        Target::Classes { codes, names } => {
            let mut strata: Vec<(Vec<u32>, Option<String>)> =
                names.iter().map(|name| (Vec::new(), Some(name.clone()))).collect();
            for (row, &code) in (0u32..).zip(codes.iter()) {
                strata[code as usize].0.push(row);
            }
            strata.retain(|(rows, _)| !rows.is_empty());
            strata
        }
    }
}

fn too_small(rows: usize, class: Option<&str>, parts: usize) -> Error {
    let s = if rows == 1 { "" } else { "s" };
    match class {
        Some(class) => Error::input(format!("class '{class}' has {rows} row{s}, too few for {parts} parts"))
            .remedy("use fewer folds, or merge or remove the class"),
        None => Error::input(format!("there are {rows} row{s}, too few for {parts} parts")).remedy("use fewer folds"),
    }
}

/// How many of `n` rows each part gets: its share rounded down, the rest to the parts with the largest `deficit` over
/// all strata so far, and one at least.
fn sizes(shares: &[f64], n: usize, deficit: impl Fn(usize) -> f64) -> Vec<usize> {
    // A tiny excess lets 0.1 * 10 count as 1.
    let mut sizes: Vec<usize> = shares.iter().map(|share| (share * n as f64 + 1e-9) as usize).collect();
    let rest = n.saturating_sub(sizes.iter().sum());
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| (deficit(b) - sizes[b] as f64).total_cmp(&(deficit(a) - sizes[a] as f64)));
    for &part in order.iter().cycle().take(rest) {
        sizes[part] += 1;
    }
    while let Some(empty) = sizes.iter().position(|&size| size == 0) {
        let Some(largest) = (0..sizes.len()).max_by_key(|&part| sizes[part]).filter(|&part| sizes[part] > 1) else {
            break;
        };
        sizes[largest] -= 1;
        sizes[empty] += 1;
    }
    sizes
}

//! Independent replicates of a stochastic hypergradient: their mean, with an error bar.

use rayon::prelude::*;

use super::Hypergradient;
use crate::error::{Error, Result};
use crate::vector;

/// Mean of `count` independent estimates, with the standard error of each component of that mean.
///
/// `estimate(index)` makes replicate number `index`; replicates run in parallel, and since each has its own stream the
/// result does not depend on the number of threads. The standard error is the sample standard deviation over
/// `sqrt(count)`; it says nothing about the bias that all replicates share (too few steps).
///
/// # Errors
/// Input, for `count < 2`; otherwise the error of the first replicate that failed.
pub fn replicate(count: usize, estimate: impl Fn(u64) -> Result<Hypergradient> + Sync) -> Result<Hypergradient> {
    if count < 2 {
        return Err(Error::input("an error bar needs at least two replicates"));
    }
    let estimates: Vec<Result<Hypergradient>> = (0..count as u64).into_par_iter().map(&estimate).collect();
    let estimates = estimates.into_iter().collect::<Result<Vec<_>>>()?;

    let first = &estimates[0];
    let mut mean = Hypergradient { value: vec![0.0; first.value.len()], objective: 0.0, ..first.clone() };
    for estimate in &estimates {
        vector::axpy(1.0 / count as f64, &estimate.value, &mut mean.value);
        mean.objective += estimate.objective / count as f64;
        mean.status = mean.status.worst(estimate.status);
    }
    mean.work = estimates.iter().map(|estimate| estimate.work).sum();
    let variance = |j: usize| {
        let squares: f64 = estimates.iter().map(|e| (e.value[j] - mean.value[j]).powi(2)).sum();
        squares / (count - 1) as f64
    };
    mean.std_error = Some((0..mean.value.len()).map(|j| (variance(j) / count as f64).sqrt()).collect());
    Ok(mean)
}

//! Independent replicates of a stochastic hypergradient: their mean, with an error bar.

use rayon::prelude::*;

use super::Hypergradient;
use super::spread::{mean, std_error};
use crate::error::{Error, Result};

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
    let values: Vec<Vec<f64>> = estimates.iter().map(|estimate| estimate.value.clone()).collect();
    let component = |j: usize| std_error(values.iter().map(|value| value[j]));
    Ok(Hypergradient {
        value: mean(&values),
        objective: estimates.iter().fold(0.0, |sum, estimate| sum + estimate.objective / count as f64),
        std_error: Some((0..first.value.len()).map(component).collect()),
        status: estimates.iter().fold(first.status, |worst, estimate| worst.worst(estimate.status)),
        work: estimates.iter().map(|estimate| estimate.work).sum(),
    })
}

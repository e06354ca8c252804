//! Problems: formulas and no solvers.

#[cfg(feature = "autodiff")]
pub mod autodiff;
pub mod closures;
pub mod equilibrium;
pub mod glm;
pub mod linear_contraction;
pub mod meta_learning;
pub mod poisoning;
pub mod policy_evaluation;
pub mod quadratic;
mod row_jvp;
mod row_model;
pub mod scaled;
pub mod target;

pub use row_model::RowLoss;

/// Writes `count` uniformly drawn indices below `bound` into `sample`, reusing its buffer.
fn draw_rows(bound: usize, count: usize, rng: &mut crate::sample::Rng, sample: &mut crate::sample::Sample) {
    use crate::sample::Sample;
    if !matches!(sample, Sample::Rows(_)) {
        *sample = Sample::Rows(Vec::with_capacity(count));
    }
    if let Sample::Rows(rows) = sample {
        rows.clear();
        rows.extend((0..count).map(|_| rng.below(bound) as u32));
    }
}

/// Number of rows, out of `n`, that a sample of a finite sum visits.
fn sample_size(n: usize, sample: &crate::sample::Sample) -> usize {
    use crate::sample::Sample;
    match sample {
        Sample::Full => n,
        Sample::Block(range) => range.len(),
        Sample::Rows(rows) => rows.len(),
        Sample::Seed(_) => 1,
    }
}

/// Calls `visit` with every row of a sample that is not [`Sample::Full`](crate::sample::Sample::Full).
///
/// # Panics
/// On a seed: a finite sum has rows, and a problem that simulates handles seeds itself.
fn for_each_row(sample: &crate::sample::Sample, n: usize, mut visit: impl FnMut(usize)) {
    use crate::sample::Sample;
    match sample {
        Sample::Full => (0..n).for_each(visit),
        Sample::Block(range) => range.clone().for_each(visit),
        Sample::Rows(rows) => rows.iter().for_each(|&row| visit(row as usize)),
        Sample::Seed(_) => panic!("a finite sum is sampled by rows, not by a seed"),
    }
}

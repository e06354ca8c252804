//! How much each row counts: by a given weight, and by a hyperparameter of its own where rows are to be weighed by the
//! upper level.
//!
//! Data cleaning (Franceschi, Donini, Frasconi, Pontil, ICML 2017; Shaban, Cheng, Hatch, Boots, AISTATS 2019) learns a
//! weight for each training row from rows that are known to be right. The sum of the given weights normalises, not that of
//! the learned ones: rows that are weighed down leave more of the whole to the penalty.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::data::RowPick;
use crate::data::sampled::GROUP;
use crate::elementary::exp;
use crate::simd::vectorize;

/// How much each row counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting<'a> {
    /// All rows alike.
    Uniform,
    /// By a nonnegative number per row of the matrix.
    Rows(&'a [f64]),
}

impl<'a> Weighting<'a> {
    pub(super) fn of(&self, rows: Range<usize>) -> Option<&'a [f64]> {
        match self {
            Weighting::Uniform => None,
            Weighting::Rows(weights) => Some(&weights[rows]),
        }
    }
}

/// Which hyperparameters the weights of the rows obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reweighting {
    /// None: rows count what they are given.
    #[default]
    Fixed,
    /// One for each row of the matrix, which counts `1 / (1 + exp(-lambda_i))` times what it is given.
    Sigmoid,
}

impl Reweighting {
    /// Number of hyperparameters for a matrix of `rows` rows. Rows of the matrix that are not fitted have one too, without
    /// effect.
    pub fn hyperparameters(self, rows: usize) -> usize {
        match self {
            Reweighting::Fixed => 0,
            Reweighting::Sigmoid => rows,
        }
    }

    /// The factors `s(lambda_i)` of rows with these hyperparameters.
    pub fn factors(self, lambda: &[f64]) -> Vec<f64> {
        let mut factors = lambda.to_vec();
        self.factors_in_place(&mut factors);
        factors
    }

    #[inline(always)]
    fn factors_in_place(self, lambda: &mut [f64]) {
        match self {
            Reweighting::Fixed => lambda.fill(1.0),
            Reweighting::Sigmoid => vectorize(
                #[inline(always)]
                || lambda.iter_mut().for_each(|l| *l = 1.0 / (1.0 + exp(-*l))),
            ),
        }
    }

    /// `s'(lambda) / s(lambda)`: what turns a derivative of a row's weighted loss into the derivative of that in `lambda`.
    pub(super) fn log_derivative(self, lambda: f64) -> f64 {
        match self {
            Reweighting::Fixed => 0.0,
            Reweighting::Sigmoid => 1.0 / (1.0 + lambda.exp()),
        }
    }
}

/// What rows count at one `lambda`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts<'w> {
    given: Weighting<'w>,
    reweighting: Reweighting,
    /// The hyperparameters of the rows of the matrix.
    lambda: &'w [f64],
}

impl<'w> From<Weighting<'w>> for Counts<'w> {
    fn from(given: Weighting<'w>) -> Self {
        Counts { given, reweighting: Reweighting::Fixed, lambda: &[] }
    }
}

impl<'w> Counts<'w> {
    pub(super) fn new(given: Weighting<'w>, reweighting: Reweighting, lambda: &'w [f64]) -> Self {
        Counts { given, reweighting, lambda }
    }

    /// Those of consecutive rows of the matrix; nothing where all count 1.
    pub(super) fn of(&self, rows: Range<usize>) -> Option<Cow<'w, [f64]>> {
        let given = self.given.of(rows.clone());
        match self.reweighting {
            Reweighting::Fixed => given.map(Cow::Borrowed),
            reweighting => {
                let mut factors = reweighting.factors(&self.lambda[rows]);
                multiply(&mut factors, given);
                Some(Cow::Owned(factors))
            }
        }
    }

    /// Those of the rows at `positions` of `pick`, at most [`GROUP`] of them; put into `buffer` where they do not lie side
    /// by side.
    pub(super) fn gathered<'s>(
        &self,
        pick: &RowPick<'_>,
        positions: Range<usize>,
        buffer: &'s mut [f64; GROUP],
    ) -> Option<&'s [f64]>
    where
        'w: 's,
    {
        let count = positions.len();
        match (self.reweighting, self.given) {
            (Reweighting::Fixed, Weighting::Uniform) => None,
            (Reweighting::Fixed, Weighting::Rows(all)) => Some(gathered(all, pick, positions, buffer)),
            (reweighting, given) => {
                let mut others = [0.0; GROUP];
                let own = gathered(self.lambda, pick, positions.clone(), &mut others);
                buffer[..count].copy_from_slice(own);
                reweighting.factors_in_place(&mut buffer[..count]);
                if let Weighting::Rows(all) = given {
                    multiply(&mut buffer[..count], Some(gathered(all, pick, positions, &mut others)));
                }
                Some(&buffer[..count])
            }
        }
    }

    /// `s'(lambda) / s(lambda)` of a row of the matrix.
    pub(super) fn log_derivative(&self, row: usize) -> f64 {
        self.reweighting.log_derivative(self.lambda[row])
    }
}

fn multiply(factors: &mut [f64], given: Option<&[f64]>) {
    factors.iter_mut().zip(given.into_iter().flatten()).for_each(|(s, c)| *s *= c);
}

/// The numbers in `all` of the rows at `positions` of `pick`; those of scattered rows are put into `buffer`.
pub(super) fn gathered<'s>(
    all: &'s [f64],
    pick: &RowPick<'_>,
    positions: Range<usize>,
    buffer: &'s mut [f64; GROUP],
) -> &'s [f64] {
    match pick {
        RowPick::Span(span) => &all[span.start + positions.start..span.start + positions.end],
        RowPick::List(list) => {
            let rows = &list[positions];
            buffer.iter_mut().zip(rows).for_each(|(number, &row)| *number = all[row as usize]);
            &buffer[..rows.len()]
        }
    }
}

//! Counted work, the same units for every method: comparisons by time alone compare implementations, not methods.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// What a computation cost. All counts but the last are in *rows*: a product on a minibatch of 64 rows counts 64.
///
/// `rows` is the total; the others say what the rows were visited for. A fused product that serves two purposes in one
/// visit counts once in `rows` and once under each purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Rows visited, for whatever purpose, of the lower and of the upper level.
    pub rows: u64,
    /// Evaluations of the map or of gradients (lower and upper).
    pub gradients: u64,
    /// Products `d1Phi_hat^T v` and `d1Phi_hat x`, or with the Hessian of a loss.
    pub hessian_products: u64,
    /// Products `d2Phi_hat^T v` and `d2Phi_hat x`, or with the cross derivative of a loss.
    pub cross_products: u64,
    /// Rows of the upper level, for whatever purpose: a part of `rows`.
    #[serde(default)]
    pub upper_rows: u64,
    /// Factorisations of a matrix of the size of `w` (a number, not rows).
    pub factorizations: u64,
}

impl Work {
    /// Evaluation of a map or gradient on `rows` rows.
    pub fn gradient(rows: usize) -> Self {
        Work { rows: rows as u64, gradients: rows as u64, ..Work::default() }
    }

    /// Evaluation of the upper objective or its gradient on `rows` rows.
    pub fn upper_gradient(rows: usize) -> Self {
        Work { upper_rows: rows as u64, ..Work::gradient(rows) }
    }

    /// Rows of the lower level, for whatever purpose.
    pub fn lower_rows(&self) -> u64 {
        self.rows - self.upper_rows
    }

    /// Product with `d1Phi^T` or a Hessian on `rows` rows.
    pub fn hessian_product(rows: usize) -> Self {
        Work { rows: rows as u64, hessian_products: rows as u64, ..Work::default() }
    }

    /// Product with `d2Phi^T` or a cross derivative on `rows` rows.
    pub fn cross_product(rows: usize) -> Self {
        Work { rows: rows as u64, cross_products: rows as u64, ..Work::default() }
    }

    /// Passes over `n` rows that this work amounts to; zero when `n` is.
    pub fn passes(&self, n: usize) -> f64 {
        if n == 0 { 0.0 } else { self.rows as f64 / n as f64 }
    }
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            rows: self.rows + other.rows,
            gradients: self.gradients + other.gradients,
            hessian_products: self.hessian_products + other.hessian_products,
            cross_products: self.cross_products + other.cross_products,
            upper_rows: self.upper_rows + other.upper_rows,
            factorizations: self.factorizations + other.factorizations,
        }
    }
}

/// What was added since `other`, an earlier count of the same work.
impl Sub for Work {
    type Output = Work;

    fn sub(self, other: Work) -> Work {
        Work {
            rows: self.rows - other.rows,
            gradients: self.gradients - other.gradients,
            hessian_products: self.hessian_products - other.hessian_products,
            cross_products: self.cross_products - other.cross_products,
            upper_rows: self.upper_rows - other.upper_rows,
            factorizations: self.factorizations - other.factorizations,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        *self = *self + other;
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Work>>(items: I) -> Work {
        items.fold(Work::default(), Add::add)
    }
}

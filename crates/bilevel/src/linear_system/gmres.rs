//! Generalised minimal residuals (Saad, Schultz, SIAM J. Sci. Stat. Comput. 7(3), 1986), restarted.
//!
//! For a matrix that is not symmetric and whose transpose cannot be multiplied with. Step `k` minimises the residual over
//! `x_0 + span{r, A r, .., A^{k-1} r}`, which takes the memory of all those directions; after `restart` of them the solve
//! begins anew from where it is. With `A = I - d1Phi'` and `|d1Phi| <= q < 1` the symmetric part of `A` is at least `1 - q`,
//! so that every restart length converges (Eisenstat, Elman, Schultz 1983), and the residual after `k` steps without a restart
//! is at most that of the fixed-point iteration, `q^k |r_0|`.

use serde::{Deserialize, Serialize};

use super::residual::{TrueResidual, check_tolerance, report};
use crate::error::{Error, Result};
use crate::status::{Info, Status};
use crate::vector;

/// A cycle that leaves more than this part of the residual makes no progress.
const PROGRESS: f64 = 0.999;
/// Part of `|A v|` below which what is new in it is rounding.
const BREAKDOWN: f64 = 1e-14;

/// Settings of the solve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gmres {
    /// Largest number of steps, of one product each.
    pub steps: usize,
    /// Directions kept, and steps between two restarts.
    pub restart: usize,
    /// Stop when `|b - A x| <= tolerance |b|`. Zero: make all steps.
    pub tolerance: f64,
}

impl Gmres {
    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.restart == 0 {
            return Err(Error::input("restart = 0 directions of GMRES must be positive"));
        }
        check_tolerance(self.tolerance)
    }

    /// Solves `A x = b` from the start `x`; `product(p, out)` sets `out = A p`, at the cost of `rows_per_product`.
    ///
    /// The returned residual is the true `|b - A x|` at the beginning of the last cycle, or the one that its recursion
    /// ended with.
    pub fn solve(
        &self,
        mut product: impl FnMut(&[f64], &mut [f64]),
        b: &[f64],
        x: &mut [f64],
        rows_per_product: usize,
    ) -> Info {
        let (mut products, mut steps) = (0, 0);
        let end = |end, steps, products| report(end, steps, products, rows_per_product);
        let mut truth = match TrueResidual::new(b, x, self.tolerance, PROGRESS) {
            Ok(truth) => truth,
            Err(at) => return end(at, 0, 0),
        };
        let (mut r, mut image) = (vec![0.0; b.len()], vec![0.0; b.len()]);
        loop {
            let size = match truth.at(x, &mut product, &mut image, &mut r, &mut products) {
                Ok(size) => size,
                Err(at) => return end(at, steps, products),
            };
            let most = self.restart.min(self.steps - steps).min(b.len());
            let mut cycle = Cycle::new(&r, size);
            while cycle.length() < most && cycle.residual() > truth.target && !cycle.is_exhausted() {
                cycle.extend(&mut product);
                products += 1;
                steps += 1;
                if !cycle.residual().is_finite() {
                    return end((Status::Diverged, f64::NAN), steps, products);
                }
            }
            if !cycle.add_correction(x) {
                return end((Status::NotContraction, size), steps, products);
            }
            if steps == self.steps && cycle.residual() > truth.target {
                return end((Status::StepLimit, cycle.residual()), steps, products);
            }
        }
    }
}

/// The directions between two restarts: an orthonormal basis and the QR decomposition of `A` in it.
struct Cycle {
    basis: Vec<Vec<f64>>,
    /// Columns of the triangular factor.
    triangular: Vec<Vec<f64>>,
    /// Rotations `(c, s)` that made it triangular.
    rotations: Vec<(f64, f64)>,
    /// The rotated right-hand side; its last entry is what remains.
    rotated: Vec<f64>,
    exhausted: bool,
}

impl Cycle {
    fn new(r: &[f64], size: f64) -> Self {
        let mut first = r.to_vec();
        vector::scale(1.0 / size, &mut first);
        let (triangular, rotations) = (Vec::new(), Vec::new());
        Cycle { basis: vec![first], triangular, rotations, rotated: vec![size], exhausted: false }
    }

    fn length(&self) -> usize {
        self.triangular.len()
    }

    fn residual(&self) -> f64 {
        self.rotated[self.length()].abs()
    }

    /// True where the basis spans an invariant subspace, in which the system is then solved exactly.
    fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn extend(&mut self, product: &mut impl FnMut(&[f64], &mut [f64])) {
        let last = &self.basis[self.length()];
        let mut next = vec![0.0; last.len()];
        product(last, &mut next);
        let whole = vector::norm(&next);
        let mut column = vec![0.0; self.basis.len()];
        // Twice is enough: what rounding left in the first time goes in the second.
        for _ in 0..2 {
            for (entry, direction) in column.iter_mut().zip(&self.basis) {
                let along = vector::dot(direction, &next);
                vector::axpy(-along, direction, &mut next);
                *entry += along;
            }
        }
        let mut below = vector::norm(&next);
        if below <= BREAKDOWN * whole {
            (below, self.exhausted) = (0.0, true);
        } else {
            vector::scale(1.0 / below, &mut next);
        }
        for (i, &(c, s)) in self.rotations.iter().enumerate() {
            (column[i], column[i + 1]) = (c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]);
        }
        let k = self.length();
        let length = column[k].hypot(below);
        let (c, s) = if length == 0.0 { (1.0, 0.0) } else { (column[k] / length, below / length) };
        column[k] = length;
        let remaining = self.rotated[k];
        self.rotated[k] = c * remaining;
        self.rotated.push(-s * remaining);
        self.rotations.push((c, s));
        self.triangular.push(column);
        self.basis.push(next);
    }

    /// `x += V y` with the `y` that makes the residual least; false where the matrix is singular there.
    fn add_correction(&self, x: &mut [f64]) -> bool {
        let k = self.length();
        let mut y = self.rotated[..k].to_vec();
        let largest = (0..k).map(|i| self.triangular[i][i]).fold(0.0, f64::max);
        for i in (0..k).rev() {
            let pivot = self.triangular[i][i];
            if pivot <= BREAKDOWN * largest {
                return false;
            }
            y[i] /= pivot;
            let (above, at) = y.split_at_mut(i);
            vector::axpy(-at[0], &self.triangular[i][..i], above);
        }
        for (y, direction) in y.iter().zip(&self.basis) {
            vector::axpy(*y, direction, x);
        }
        true
    }
}

//! Data poisoning: training rows are moved, within a box, so that the model that is fitted to them does what the attacker wants.
//!
//! `lambda` holds the shifts `d_i` in R^p of the first `m` of `n` training rows, one after the other; the shift of all others is 0:
//!
//! ```text
//! g(w, lambda) = (1/n) sum_i loss((x_i + d_i)' w, y_i) + penalty/2 |w|^2,
//! E(w) = -(1/M) sum_j loss(x_j' w, y_j)     (harm), or its opposite (mislead, with the targets the attacker wants).
//! ```
//!
//! (Biggio, Nelson, Laskov, ICML 2012; Munoz-Gonzalez et al., AISec 2017.) The value is bounded where the box of the
//! shifts is. The cross derivative of row `i` is `[loss'' (x_i + d_i) w' + loss' I] / n`: a sample moves its own rows alone.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatMut, Side};

use super::row_model::{LinearLoss, Rows};
use crate::error::{Error, Result};
use crate::lower::{Curvature, Curved, Dims, Factorization, FirstOrder, StochasticLoss};
use crate::row_sums::{RowSumLoss, RowSumObjective};
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;

/// What the attacker wants of the validation rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The largest loss.
    Harm,
    /// The smallest loss, with the targets the attacker has given them.
    Mislead,
}

impl Aim {
    fn sign(self) -> f64 {
        match self {
            Aim::Harm => -1.0,
            Aim::Mislead => 1.0,
        }
    }
}

/// The lower level of the module documentation.
#[derive(Debug, Clone)]
pub struct Poisoning {
    rows: Rows,
    poisoned: usize,
    penalty: f64,
}

/// Its upper level.
#[derive(Debug, Clone)]
pub struct PoisonedRisk {
    rows: Rows,
    aim: Aim,
    dims: Dims,
}

/// Sizes of a simulated attack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoisoningOptions {
    /// Training rows; there are as many validation rows.
    pub rows: usize,
    /// Features `p`.
    pub features: usize,
    /// Rows that move.
    pub poisoned: usize,
    /// Strength of the penalty.
    pub penalty: f64,
    /// The loss.
    pub loss: LinearLoss,
    /// What the attacker wants.
    pub aim: Aim,
    /// Seed of all of it.
    pub seed: u64,
}

impl Default for PoisoningOptions {
    fn default() -> Self {
        PoisoningOptions {
            rows: 400,
            features: 10,
            poisoned: 40,
            penalty: 0.1,
            loss: LinearLoss::Logistic,
            aim: Aim::Harm,
            seed: 0,
        }
    }
}

impl Poisoning {
    /// A model on the rows of `features` (row-major, `p` numbers each), the first `poisoned` of which move.
    ///
    /// # Errors
    /// Input, where sizes do not fit or `penalty` is not positive.
    pub fn new(
        features: Vec<f64>,
        p: usize,
        target: Vec<f64>,
        loss: LinearLoss,
        poisoned: usize,
        penalty: f64,
    ) -> Result<Self> {
        let rows = Rows::new(features, p, target, loss)?;
        if poisoned == 0 || poisoned > rows.len() {
            return Err(Error::input(format!("of {} rows {poisoned} cannot be poisoned", rows.len())));
        }
        if !(penalty > 0.0 && penalty.is_finite()) {
            return Err(Error::input(format!("the penalty {penalty} must be positive and finite")));
        }
        Ok(Poisoning { rows, poisoned, penalty })
    }

    /// The upper level with these validation rows.
    ///
    /// # Errors
    /// Input, where sizes do not fit.
    pub fn upper(&self, features: Vec<f64>, target: Vec<f64>, aim: Aim) -> Result<PoisonedRisk> {
        let rows = Rows::new(features, self.rows.features(), target, self.rows.loss())?;
        Ok(PoisonedRisk { rows, aim, dims: self.dims() })
    }

    /// Two normal clouds (or a plane with noise, for the squared loss), and both levels.
    ///
    /// # Errors
    /// As [`Poisoning::new`].
    pub fn random(options: &PoisoningOptions) -> Result<(Self, PoisonedRisk)> {
        let PoisoningOptions { rows, features: p, poisoned, penalty, loss, aim, seed } = *options;
        let mut rng = Rng::stream(seed, Purpose::Start, 1003);
        let size = (p as f64).sqrt().recip();
        let direction: Vec<f64> = (0..p).map(|_| size * rng.normal()).collect();
        let mut level = || {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            for row in 0..rows {
                let class = (row % 2) as f64;
                match loss {
                    LinearLoss::Logistic => {
                        x.extend(direction.iter().map(|d| (2.0 * class - 1.0) * d + rng.normal()));
                        y.push(class);
                    }
                    LinearLoss::Squared => {
                        let features: Vec<f64> = (0..p).map(|_| rng.normal()).collect();
                        y.push(vector::dot(&features, &direction) + 0.5 * rng.normal());
                        x.extend(features);
                    }
                }
            }
            (x, y)
        };
        let (x, y) = level();
        let lower = Poisoning::new(x, p, y, loss, poisoned, penalty)?;
        let (x, mut y) = level();
        if aim == Aim::Mislead && loss == LinearLoss::Logistic {
            y.iter_mut().for_each(|y| *y = 1.0 - *y);
        }
        let upper = lower.upper(x, y, aim)?;
        Ok((lower, upper))
    }

    fn p(&self) -> usize {
        self.rows.features()
    }

    /// Calls `visit(i, x_i + d_i, (first, second derivative), weight)` for the rows of the sample; returns their mean loss.
    fn visit(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        mut visit: impl FnMut(usize, &[f64], (f64, f64), f64),
    ) -> f64 {
        let (p, weight) = (self.p(), 1.0 / self.size(zeta) as f64);
        let mut shifted = vec![0.0; p];
        let mut sum = 0.0;
        zeta.for_each_row(self.rows.len(), |i| {
            let (x, y) = self.rows.row(i);
            shifted.copy_from_slice(x);
            if i < self.poisoned {
                vector::axpy(1.0, &lambda[i * p..(i + 1) * p], &mut shifted);
            }
            let (value, first, second) = self.rows.loss().jet(vector::dot(&shifted, w), y);
            sum += weight * value;
            visit(i, &shifted, (first, second), weight);
        });
        sum
    }
}

impl StochasticLoss for Poisoning {
    fn dims(&self) -> Dims {
        Dims { w: self.p(), lambda: self.poisoned * self.p() }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows.len(), batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.rows.len())
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.visit(w, lambda, zeta, |_, _, _, _| {}) + 0.5 * self.penalty * vector::norm_squared(w)
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        vector::scaled_copy(self.penalty, w, out);
        let risk = self.visit(w, lambda, zeta, |_, x, (first, _), weight| vector::axpy(weight * first, x, out));
        risk + 0.5 * self.penalty * vector::norm_squared(w)
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        vector::scaled_copy(self.penalty, v, out);
        self.visit(w, lambda, zeta, |_, x, (_, second), weight| {
            vector::axpy(weight * second * vector::dot(x, v), x, out);
        });
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let p = self.p();
        out.fill(0.0);
        self.visit(w, lambda, zeta, |i, x, (first, second), weight| {
            if i < self.poisoned {
                let out = &mut out[i * p..(i + 1) * p];
                vector::axpy(weight * second * vector::dot(x, v), w, out);
                vector::axpy(weight * first, v, out);
            }
        });
    }
}

impl FirstOrder for Poisoning {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        let p = self.p();
        out.fill(0.0);
        self.visit(w, lambda, zeta, |i, _, (first, _), weight| {
            if i < self.poisoned {
                vector::axpy(weight * first, w, &mut out[i * p..(i + 1) * p]);
            }
        });
    }
}

impl RowSumLoss for Poisoning {}

impl Curved for Poisoning {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        let p = self.p();
        let mut hessian = Mat::from_fn(p, p, |i, j| if i == j { self.penalty } else { 0.0 });
        self.visit(w, lambda, &Sample::Full, |_, x, (_, second), weight| {
            for (j, xj) in x.iter().enumerate() {
                for (i, xi) in x.iter().enumerate() {
                    hessian[(i, j)] += weight * second * xi * xj;
                }
            }
        });
        Box::new(Dense(hessian))
    }
}

struct Dense(Mat<f64>);

impl Curvature for Dense {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.0.col(j).iter().zip(v).map(|(h, v)| h * v).sum();
        }
    }

    fn diagonal(&self, out: &mut [f64]) {
        out.iter_mut().enumerate().for_each(|(j, out)| *out = self.0[(j, j)]);
    }

    fn factorize(&self, _stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        let factor = self.0.llt(Side::Lower);
        Some(match factor {
            Ok(llt) => Ok(Box::new(Factor(llt))),
            Err(_) => Err(Error::numeric("the Hessian of the poisoned model is not positive definite")),
        })
    }
}

struct Factor(Llt<f64>);

impl Factorization for Factor {
    fn solve_in_place(&self, b: &mut [f64]) {
        let p = b.len();
        self.0.solve_in_place(MatMut::from_column_major_slice_mut(b, p, 1));
    }
}

impl PoisonedRisk {
    fn mean(&self, w: &[f64], xi: &Sample, mut visit: impl FnMut(&[f64], f64)) -> f64 {
        let weight = self.aim.sign() / self.size(xi) as f64;
        let mut sum = 0.0;
        xi.for_each_row(self.rows.len(), |j| {
            let (x, y) = self.rows.row(j);
            let (value, first, _) = self.rows.loss().jet(vector::dot(x, w), y);
            sum += weight * value;
            visit(x, weight * first);
        });
        sum
    }
}

impl RowSumObjective for PoisonedRisk {}

impl UpperObjective for PoisonedRisk {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows.len(), batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        xi.rows_in(self.rows.len())
    }

    fn value(&self, w: &[f64], _lambda: &[f64], xi: &Sample) -> f64 {
        self.mean(w, xi, |_, _| {})
    }

    fn gradients(&self, w: &[f64], _lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        grad_w.fill(0.0);
        grad_lambda.fill(0.0);
        self.mean(w, xi, |x, first| vector::axpy(first, x, grad_w))
    }
}

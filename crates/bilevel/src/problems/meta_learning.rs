//! Bias-regularised meta-learning: tasks that share nothing but the point towards which they are regularised.
//!
//! Task `k` has the rows `R_k` of `n_k`, out of `N` in all, and weights `w_k` in R^p of its own. With `w = (w_1, .., w_K)` and the
//! common bias `lambda` in R^p
//!
//! ```text
//! g(w, lambda) = sum_k (n_k / N) [ (1/n_k) sum_{i in R_k} loss(x_i' w_k, y_i) + strength/2 |w_k - lambda|^2 ],
//! E(w, lambda) = (1/M) sum over all validation rows of loss(x_j' w_{k(j)}, y_j).
//! ```
//!
//! The minimum is one fixed point a task, `w_k(lambda)`, and the upper level asks for the bias from which the tasks do best on
//! rows they have not seen (Denevi, Ciliberto, Grazzi, Pontil, ICML 2019; Grazzi et al. 2021, section 5). With the squared loss `w_k` is
//! affine in `lambda` and `f` a quadratic.

use std::ops::Range;

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

/// Rows of tasks, in any order.
#[derive(Debug, Clone)]
pub struct Tasks {
    rows: Rows,
    of_row: Vec<u32>,
    count: usize,
}

impl Tasks {
    /// The rows of `features` (row-major, `p` numbers each) with their targets and tasks, which are numbered from 0.
    ///
    /// # Errors
    /// Input, where sizes do not fit, there are no rows, or a task is beyond `count`.
    pub fn new(
        features: Vec<f64>,
        p: usize,
        target: Vec<f64>,
        of_row: Vec<u32>,
        count: usize,
        loss: LinearLoss,
    ) -> Result<Self> {
        let rows = Rows::new(features, p, target, loss)?;
        if of_row.len() != rows.len() || of_row.iter().any(|&task| task as usize >= count) {
            return Err(Error::input(format!("{} rows cannot belong to {count} tasks", rows.len()))
                .remedy("give a task below their number for every row"));
        }
        Ok(Tasks { rows, of_row, count })
    }

    fn sizes(&self) -> Vec<f64> {
        let mut sizes = vec![0.0; self.count];
        self.of_row.iter().for_each(|&task| sizes[task as usize] += 1.0);
        sizes
    }

    /// The weights of the task of row `i`.
    fn span(&self, i: usize) -> Range<usize> {
        let (task, p) = (self.of_row[i] as usize, self.rows.features());
        task * p..(task + 1) * p
    }
}

/// Sizes and difficulty of simulated tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetaLearningOptions {
    /// Tasks `K`.
    pub tasks: usize,
    /// Training rows of each; there are as many validation rows.
    pub rows: usize,
    /// Features `p`.
    pub features: usize,
    /// Distance of the weights of the tasks from their common centre, whose norm is about 1.
    pub spread: f64,
    /// Noise of the targets (of the margins, for classes).
    pub noise: f64,
    /// Strength of the regularisation.
    pub strength: f64,
    /// The loss.
    pub loss: LinearLoss,
    /// Seed of all of it.
    pub seed: u64,
}

impl Default for MetaLearningOptions {
    fn default() -> Self {
        MetaLearningOptions {
            tasks: 50,
            rows: 10,
            features: 20,
            spread: 0.3,
            noise: 0.3,
            strength: 1.0,
            loss: LinearLoss::Squared,
            seed: 0,
        }
    }
}

/// The lower level of the module documentation.
#[derive(Debug, Clone)]
pub struct MetaLearning {
    train: Tasks,
    strength: f64,
    /// `n_k / N`.
    shares: Vec<f64>,
}

/// Its upper level.
#[derive(Debug, Clone)]
pub struct TaskRisk {
    tasks: Tasks,
}

impl MetaLearning {
    /// Tasks that are regularised towards their common bias.
    ///
    /// # Errors
    /// Input, where a task has no rows or `strength` is not positive.
    pub fn new(train: Tasks, strength: f64) -> Result<Self> {
        if !(strength > 0.0 && strength.is_finite()) {
            return Err(Error::input(format!("the strength {strength} of the regularisation must be positive")));
        }
        let mut shares = train.sizes();
        if let Some(task) = shares.iter().position(|&size| size == 0.0) {
            return Err(Error::input(format!("task {task} has no training rows")).remedy("leave it out"));
        }
        vector::scale(1.0 / train.rows.len() as f64, &mut shares);
        Ok(MetaLearning { train, strength, shares })
    }

    /// Simulated tasks: `w_k` around a common centre, and both levels.
    pub fn random(options: &MetaLearningOptions) -> Result<(Self, TaskRisk)> {
        let MetaLearningOptions { tasks, rows, features: p, spread, noise, strength, loss, seed } = *options;
        let mut rng = Rng::stream(seed, Purpose::Start, 1002);
        let size = (p as f64).sqrt().recip();
        let centre: Vec<f64> = (0..p).map(|_| size * rng.normal()).collect();
        let weights: Vec<Vec<f64>> =
            (0..tasks).map(|_| centre.iter().map(|c| c + spread * size * rng.normal()).collect()).collect();
        // Tasks take turns, so that a block of rows is a sample of the tasks too.
        let mut level = || {
            let (mut x, mut y, mut of_row) = (Vec::new(), Vec::new(), Vec::new());
            for row in 0..rows * tasks {
                let task = row % tasks;
                let features: Vec<f64> = (0..p).map(|_| rng.normal()).collect();
                let margin = vector::dot(&features, &weights[task]) + noise * rng.normal();
                y.push(match loss {
                    LinearLoss::Squared => margin,
                    LinearLoss::Logistic => f64::from(margin > 0.0),
                });
                x.extend(features);
                of_row.push(task as u32);
            }
            Tasks::new(x, p, y, of_row, tasks, loss)
        };
        let (train, validation) = (level()?, level()?);
        Ok((MetaLearning::new(train, strength)?, TaskRisk::new(validation)))
    }

    fn p(&self) -> usize {
        self.train.rows.features()
    }

    fn weight(&self, task: usize) -> f64 {
        self.strength * self.shares[task]
    }

    /// Calls `visit(span, x, (first, second derivative), weight)` for the rows of the sample.
    fn visit(&self, w: &[f64], zeta: &Sample, mut visit: impl FnMut(Range<usize>, &[f64], (f64, f64), f64)) -> f64 {
        let weight = 1.0 / self.size(zeta) as f64;
        let mut sum = 0.0;
        zeta.for_each_row(self.train.rows.len(), |i| {
            let span = self.train.span(i);
            let (x, y) = self.train.rows.row(i);
            let (value, first, second) = self.train.rows.loss().jet(vector::dot(x, &w[span.clone()]), y);
            sum += weight * value;
            visit(span, x, (first, second), weight);
        });
        sum
    }
}

impl StochasticLoss for MetaLearning {
    fn dims(&self) -> Dims {
        Dims { w: self.train.count * self.p(), lambda: self.p() }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.train.rows.len(), batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.train.rows.len())
    }

    fn cross_size(&self, _zeta: &Sample) -> usize {
        0
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        let risk = self.visit(w, zeta, |_, _, _, _| {});
        let distance = |task: usize, w: &[f64]| 0.5 * self.weight(task) * vector::distance_squared(w, lambda);
        risk + w.chunks_exact(self.p()).enumerate().map(|(task, w)| distance(task, w)).sum::<f64>()
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (task, (out, w)) in out.chunks_exact_mut(self.p()).zip(w.chunks_exact(self.p())).enumerate() {
            vector::subtract(w, lambda, out);
            value += 0.5 * self.weight(task) * vector::norm_squared(out);
            vector::scale(self.weight(task), out);
        }
        value + self.visit(w, zeta, |span, x, (first, _), weight| vector::axpy(weight * first, x, &mut out[span]))
    }

    fn hessian_product(&self, w: &[f64], _lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        for (task, (out, v)) in out.chunks_exact_mut(self.p()).zip(v.chunks_exact(self.p())).enumerate() {
            vector::scaled_copy(self.weight(task), v, out);
        }
        self.visit(w, zeta, |span, x, (_, second), weight| {
            let along = vector::dot(x, &v[span.clone()]);
            vector::axpy(weight * second * along, x, &mut out[span]);
        });
    }

    fn cross_product(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (task, v) in v.chunks_exact(self.p()).enumerate() {
            vector::axpy(-self.weight(task), v, out);
        }
    }
}

impl FirstOrder for MetaLearning {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, out: &mut [f64]) {
        out.fill(0.0);
        for (task, w) in w.chunks_exact(self.p()).enumerate() {
            let weight = self.weight(task);
            out.iter_mut().zip(w).zip(lambda).for_each(|((out, w), lambda)| *out += weight * (lambda - w));
        }
    }
}

impl RowSumLoss for MetaLearning {}

impl Curved for MetaLearning {
    fn curvature<'a>(&'a self, w: &[f64], _lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        let p = self.p();
        let mut blocks: Vec<Mat<f64>> = (0..self.train.count)
            .map(|task| Mat::from_fn(p, p, |i, j| if i == j { self.weight(task) } else { 0.0 }))
            .collect();
        self.visit(w, &Sample::Full, |span, x, (_, second), weight| {
            let block = &mut blocks[span.start / p];
            for (j, xj) in x.iter().enumerate() {
                for (i, xi) in x.iter().enumerate() {
                    block[(i, j)] += weight * second * xi * xj;
                }
            }
        });
        Box::new(Blocks { blocks, p })
    }
}

/// One Hessian a task.
struct Blocks {
    blocks: Vec<Mat<f64>>,
    p: usize,
}

impl Curvature for Blocks {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        for ((block, v), out) in self.blocks.iter().zip(v.chunks_exact(self.p)).zip(out.chunks_exact_mut(self.p)) {
            for (j, out) in out.iter_mut().enumerate() {
                *out = block.col(j).iter().zip(v).map(|(h, v)| h * v).sum();
            }
        }
    }

    fn diagonal(&self, out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            let (task, j) = (i / self.p, i % self.p);
            *out = self.blocks[task][(j, j)];
        }
    }

    fn factorize(&self, _stop: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        let factor = |block: &Mat<f64>| {
            block.llt(Side::Lower).map_err(|_| Error::numeric("the Hessian of a task is not positive definite"))
        };
        let factors: Result<Vec<_>> = self.blocks.iter().map(factor).collect();
        Some(factors.map(|factors| Box::new(Factors { factors, p: self.p }) as Box<dyn Factorization>))
    }
}

struct Factors {
    factors: Vec<Llt<f64>>,
    p: usize,
}

impl Factorization for Factors {
    fn solve_in_place(&self, b: &mut [f64]) {
        for (factor, b) in self.factors.iter().zip(b.chunks_exact_mut(self.p)) {
            factor.solve_in_place(MatMut::from_column_major_slice_mut(b, self.p, 1));
        }
    }
}

impl TaskRisk {
    /// The mean loss over the rows of these tasks.
    pub fn new(tasks: Tasks) -> Self {
        TaskRisk { tasks }
    }
}

impl RowSumObjective for TaskRisk {}

impl UpperObjective for TaskRisk {
    fn dims(&self) -> Dims {
        let p = self.tasks.rows.features();
        Dims { w: self.tasks.count * p, lambda: p }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.tasks.rows.len(), batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        xi.rows_in(self.tasks.rows.len())
    }

    fn value(&self, w: &[f64], _lambda: &[f64], xi: &Sample) -> f64 {
        let weight = 1.0 / self.size(xi) as f64;
        let mut sum = 0.0;
        xi.for_each_row(self.tasks.rows.len(), |i| {
            let (x, y) = self.tasks.rows.row(i);
            sum += weight * self.tasks.rows.loss().jet(vector::dot(x, &w[self.tasks.span(i)]), y).0;
        });
        sum
    }

    fn gradients(&self, w: &[f64], _lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        grad_w.fill(0.0);
        grad_lambda.fill(0.0);
        let weight = 1.0 / self.size(xi) as f64;
        let mut sum = 0.0;
        xi.for_each_row(self.tasks.rows.len(), |i| {
            let span = self.tasks.span(i);
            let (x, y) = self.tasks.rows.row(i);
            let (value, first, _) = self.tasks.rows.loss().jet(vector::dot(x, &w[span.clone()]), y);
            sum += weight * value;
            vector::axpy(weight * first, x, &mut grad_w[span]);
        });
        sum
    }
}

//! The linear system by a low-rank approximation of its matrix (Hataya, Yamada, *Nystrom Method for Accurate and Scalable
//! Implicit Differentiation*, AISTATS 2023).
//!
//! With `A = I - d1Phi` symmetric, `k` of its columns `C = A[:, K]` and their block `B = A[K, K]`,
//!
//! ```text
//! A_k = C B^+ C^T,    v = (A_k + rho I)^{-1} grad1 E.
//! ```
//!
//! `A_k` agrees with `A` on the span of the columns, and is `A` when the rank of `A` is at most that of `B`. The paper
//! inverts by Woodbury's formula, whose `k x k` system has the square of the condition number; here `A_k = U S U^T` is
//! diagonalised by way of a factor `C B^{-1/2}`, and `v = U (S + rho)^{-1} U^T c + (I - U U^T) c / rho`. For gradient
//! steps `A` is `map_step` times the Hessian and `rho` is `map_step` times the damping of the paper.
//!
//! No iteration and no step size, `k` products that could run side by side, `k d` numbers of memory. The bias does not vanish
//! with `k < d`: what `A` does outside the span is replaced by `rho`. Good where the spectrum falls fast to about `rho`.

use faer::{Mat, MatRef, Side};
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::FixedPoint;
use crate::lower::Symmetric;
use crate::operator::AdjointOperator;
use crate::sample::{Batch, Rng, Sample};
use crate::status::{Info, Status};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Eigenvalues of the block below this part of the largest are rounding.
const ROUNDING: f64 = 1e-13;

/// Implicit differentiation with a Nystrom approximation of `I - d1Phi`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Nystrom {
    /// The lower solve.
    pub lower: FixedPoint,
    /// Columns `k`, at most `d`, drawn without repetition.
    pub columns: usize,
    /// The damping `rho` of `I - d1Phi`, positive.
    pub damping: f64,
    /// Elements on which the columns are evaluated, the same ones for all.
    pub batch: Batch,
    /// Elements `J` of the cross derivative `d2Phi`.
    pub cross_batch: Batch,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

impl Nystrom {
    /// Everything on the exact mean but the lower solve.
    pub fn new(lower: FixedPoint, columns: usize, damping: f64) -> Self {
        let all = Batch::All;
        Nystrom { lower, columns, damping, batch: all, cross_batch: all, upper_batch: all }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`](super::Sid::estimate). `start` has its `v` overwritten.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the lower solve diverged, the columns are those of no positive
    /// semidefinite matrix (on samples: the batch is too small), or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: Symmetric + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.batch.validate("batch")?;
        if self.columns == 0 {
            return Err(Error::input("a Nystrom approximation needs at least one column"));
        }
        if !(self.damping > 0.0 && self.damping.is_finite()) {
            return Err(Error::input(format!("damping = {} must be positive and finite", self.damping)));
        }
        let frame = Frame { lower: &self.lower, cross_batch: self.cross_batch, upper_batch: self.upper_batch };
        frame.estimate(map, upper, lambda, start, (seed, index), |operator, v, rng| self.invert(&operator, v, rng))
    }

    fn invert<M: Symmetric + ?Sized>(&self, operator: &AdjointOperator<'_, M>, v: &mut [f64], rng: &mut Rng) -> Info {
        let (c, d) = (operator.grad_w, v.len());
        let mut chosen: Vec<usize> = (0..d).collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(self.columns);
        let (columns, work) = columns(operator, self.batch, &chosen, rng);
        let k = chosen.len();
        let info = |status| Info { status, steps: k, residual: None, work };
        if !(vector::all_finite(&columns) && vector::all_finite(c)) {
            return info(Status::Diverged);
        }
        let columns = MatRef::from_column_major_slice(&columns, d, k);
        match approximate_inverse(columns, &chosen, self.damping, c, v) {
            Some(()) => info(Status::StepLimit),
            None => info(Status::NotContraction),
        }
    }
}

/// The columns of `I - d1Phi_hat` at `chosen`, one after the other, all on one sample.
fn columns<M: Symmetric + ?Sized>(
    operator: &AdjointOperator<'_, M>,
    batch: Batch,
    chosen: &[usize],
    rng: &mut Rng,
) -> (Vec<f64>, Work) {
    let AdjointOperator { map, w, lambda, .. } = *operator;
    let mut sample = Sample::Full;
    if let Batch::Rows(rows) = batch {
        map.draw(rows, rng, &mut sample);
    }
    let mut unit = vec![0.0; w.len()];
    let mut columns = vec![0.0; w.len() * chosen.len()];
    for (&j, column) in chosen.iter().zip(columns.chunks_exact_mut(w.len())) {
        unit[j] = 1.0;
        map.vjp_w(w, lambda, &sample, &unit, column);
        vector::xpby(&unit, -1.0, column);
        unit[j] = 0.0;
    }
    (columns, Work::hessian_product(chosen.len() * map.size(&sample)))
}

/// `v = (A_k + rho I)^{-1} c`; `None` where the block is not positive semidefinite.
fn approximate_inverse(columns: MatRef<'_, f64>, chosen: &[usize], rho: f64, c: &[f64], v: &mut [f64]) -> Option<()> {
    let k = chosen.len();
    let block = Mat::from_fn(k, k, |i, j| 0.5 * (columns[(chosen[i], j)] + columns[(chosen[j], i)]));
    let eigen = block.self_adjoint_eigen(Side::Lower).ok()?;
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let largest = values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    if values.iter().any(|&x| x < -1e3 * ROUNDING * largest) {
        return None;
    }
    let kept: Vec<usize> = (0..k).filter(|&i| values[i] > ROUNDING * largest).collect();
    let root = Mat::from_fn(k, kept.len(), |i, j| eigen.U()[(i, kept[j])] / values[kept[j]].sqrt());
    // A_k = F F^T. Of F the left singular vectors are the eigenvectors of A_k.
    let svd = (columns * &root).thin_svd().ok()?;
    let vectors: Vec<Vec<f64>> = (0..kept.len()).map(|j| svd.U().col(j).iter().copied().collect()).collect();
    // What is outside of the span. Rounding leaves some of the inside in it, to be multiplied by 1/rho; hence twice.
    v.copy_from_slice(c);
    for _ in 0..2 {
        for u in &vectors {
            vector::axpy(-vector::dot(u, v), u, v);
        }
    }
    vector::scale(1.0 / rho, v);
    for (u, sigma) in vectors.iter().zip(svd.S().column_vector().iter()) {
        vector::axpy(vector::dot(u, c) / (sigma * sigma + rho), u, v);
    }
    Some(())
}

//! What every method does alike: check the sizes, evaluate the upper objective, put the parts together.

use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::lower::{Dims, StochasticMap};
use crate::sample::{Batch, Rng, Sample};
use crate::status::Status;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Checks that both levels and the arguments have the same sizes, and that the arguments are finite.
pub(crate) fn check_sizes(lower: Dims, upper: Dims, lambda: &[f64], start: Option<&WarmStart>) -> Result<()> {
    if lower != upper {
        return Err(Error::input(format!("the two levels differ in size: lower {lower:?}, upper {upper:?}")));
    }
    if lambda.len() != lower.lambda {
        return Err(Error::input(format!("lambda has {} components, the problem {}", lambda.len(), lower.lambda)));
    }
    if !vector::all_finite(lambda) {
        return Err(Error::input("lambda is not finite"));
    }
    if let Some(WarmStart { w, v }) = start {
        if w.len() != lower.w || v.len() != lower.w {
            return Err(Error::input(format!(
                "the warm start has w of length {} and v of length {}, the problem has {}",
                w.len(),
                v.len(),
                lower.w
            )));
        }
        if !(vector::all_finite(w) && vector::all_finite(v)) {
            return Err(Error::input("the warm start is not finite").remedy("start cold"));
        }
    }
    Ok(())
}

/// The upper objective and its gradients at one point.
pub(crate) struct Upper {
    pub value: f64,
    pub grad_w: Vec<f64>,
    pub grad_lambda: Vec<f64>,
    pub work: Work,
}

impl Upper {
    /// Evaluates `upper` at `(w, lambda)` on the whole population or on a sample drawn from `rng`.
    pub fn at<U: UpperObjective + ?Sized>(
        upper: &U,
        w: &[f64],
        lambda: &[f64],
        batch: Batch,
        rng: &mut Rng,
    ) -> Result<Self> {
        let mut xi = Sample::Full;
        if let Batch::Rows(rows) = batch {
            upper.draw(rows, rng, &mut xi);
        }
        let (mut grad_w, mut grad_lambda) = (vec![0.0; w.len()], vec![0.0; lambda.len()]);
        let value = upper.gradients(w, lambda, &xi, &mut grad_w, &mut grad_lambda);
        if !(value.is_finite() && vector::all_finite(&grad_w) && vector::all_finite(&grad_lambda)) {
            return Err(Error::numeric("the upper objective or its gradient is not finite")
                .remedy("check the validation data for non-finite values, and bound lambda"));
        }
        Ok(Upper { value, grad_w, grad_lambda, work: Work::gradient(upper.size(&xi)) })
    }

    /// `grad2 E + weight * cross`, with the bookkeeping around it.
    pub fn assemble(self, weight: f64, cross: &[f64], status: Status, work: Work) -> Result<Hypergradient> {
        let mut value = self.grad_lambda;
        vector::axpy(weight, cross, &mut value);
        if !vector::all_finite(&value) {
            return Err(Error::numeric("the hypergradient is not finite").remedy("bound lambda to a smaller domain"));
        }
        Ok(Hypergradient { value, objective: self.value, std_error: None, status, work: work + self.work })
    }
}

/// `out = d2Phi_hat(w, lambda, zeta)^T v` on everything or on drawn rows; returns the work.
pub(crate) fn cross_term<M: StochasticMap + ?Sized>(
    map: &M,
    start: &WarmStart,
    lambda: &[f64],
    batch: Batch,
    rng: &mut Rng,
    out: &mut [f64],
) -> Work {
    let mut zeta = Sample::Full;
    if let Batch::Rows(rows) = batch {
        map.draw(rows, rng, &mut zeta);
    }
    map.vjp_lambda(&start.w, lambda, &zeta, &start.v, out);
    Work::cross_product(map.size(&zeta))
}

//! What every method does alike: check the sizes and, once there is a lower variable, the rest: upper gradients, adjoint,
//! cross term, sum.

use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::linear_system::{CgWorkspace, ConjugateGradient, Preconditioner};
use crate::lower::{Dims, StochasticMap, Symmetric};
use crate::operator::AdjointOperator;
use crate::sample::{Batch, Rng, Sample};
use crate::status::{Info, Status};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Checks that the map is one to iterate, and what [`check_sizes`] checks.
pub(crate) fn check_problem<M, U>(map: &M, upper: &U, lambda: &[f64], start: Option<&WarmStart>) -> Result<()>
where
    M: StochasticMap + ?Sized,
    U: UpperObjective + ?Sized,
{
    map.validate()?;
    check_sizes(map.dims(), upper.dims(), lambda, start)
}

/// Checks that both levels and the arguments have the same sizes, and that the arguments are finite.
pub(super) fn check_sizes(lower: Dims, upper: Dims, lambda: &[f64], start: Option<&WarmStart>) -> Result<()> {
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
    /// Evaluates `upper` at `(w, lambda)` on the whole population, or on a sample from each of `rngs`, of which it takes
    /// the mean.
    pub fn at<U: UpperObjective + ?Sized>(upper: &U, w: &[f64], lambda: &[f64], sampled: Sampled<'_>) -> Result<Self> {
        let mut at = Upper {
            value: 0.0,
            grad_w: vec![0.0; w.len()],
            grad_lambda: vec![0.0; lambda.len()],
            work: Work::default(),
        };
        let (mut grad_w, mut grad_lambda) = (at.grad_w.clone(), at.grad_lambda.clone());
        mean_over(
            sampled,
            |rows, rng, xi| upper.draw(rows, rng, xi),
            |xi, weight| {
                at.value += weight * upper.gradients(w, lambda, xi, &mut grad_w, &mut grad_lambda);
                vector::axpy(weight, &grad_w, &mut at.grad_w);
                vector::axpy(weight, &grad_lambda, &mut at.grad_lambda);
                at.work += Work::upper_gradient(upper.size(xi));
            },
        );
        if !(at.value.is_finite() && vector::all_finite(&at.grad_w) && vector::all_finite(&at.grad_lambda)) {
            return Err(Error::numeric("the upper objective or its gradient is not finite")
                .remedy("check the validation data for non-finite values, and bound lambda"));
        }
        Ok(at)
    }

    /// Adds what is off in `sampled`, at a point where `exact` is known: a control variate.
    pub fn correct(&mut self, sampled: &Upper, exact: &Upper) {
        self.value += exact.value - sampled.value;
        for (own, sampled, exact) in [
            (&mut self.grad_w, &sampled.grad_w, &exact.grad_w),
            (&mut self.grad_lambda, &sampled.grad_lambda, &exact.grad_lambda),
        ] {
            vector::axpy(1.0, exact, own);
            vector::axpy(-1.0, sampled, own);
        }
        self.work += sampled.work;
    }

    /// `grad2 E + weight * cross`, with the bookkeeping around it.
    pub fn assemble(self, weight: f64, cross: &[f64], status: Status, work: Work) -> Result<Hypergradient> {
        let mut value = self.grad_lambda;
        vector::axpy(weight, cross, &mut value);
        check_finite(&value)?;
        Ok(Hypergradient { value, objective: self.value, std_error: None, status, work: work + self.work })
    }
}

/// A hypergradient that is not finite is an error.
pub(crate) fn check_finite(value: &[f64]) -> Result<()> {
    if vector::all_finite(value) {
        Ok(())
    } else {
        Err(Error::numeric("the hypergradient is not finite").remedy("bound lambda to a smaller domain"))
    }
}

/// A part of an estimate that is made on everything, or on a sample from each of several streams.
pub(crate) struct Sampled<'r> {
    pub batch: Batch,
    pub rngs: &'r mut [Rng],
}

impl Sampled<'_> {
    /// Everything, for which nothing is drawn.
    pub fn all() -> Self {
        Sampled { batch: Batch::All, rngs: &mut [] }
    }
}

/// A hypergradient at a given lower variable, and the parts of its cost.
pub(crate) struct Differentiated {
    /// Its status and work are those of everything but the lower solve.
    pub estimate: Hypergradient,
    pub linear: Work,
    pub cross: Work,
}

impl Differentiated {
    /// Adds the solve that found the lower variable.
    pub fn after(self, lower: &Info) -> Hypergradient {
        let estimate = self.estimate;
        Hypergradient { status: lower.status.worst(estimate.status), work: lower.work + estimate.work, ..estimate }
    }
}

/// Everything after the lower solve, at `point.w`: `linear` solves the adjoint system from `point.v` and leaves the
/// solution there.
pub(crate) fn differentiate<M, U>(
    map: &M,
    upper: &U,
    point: &mut WarmStart,
    lambda: &[f64],
    (upper_sample, cross_sample): (Sampled<'_>, Sampled<'_>),
    linear: impl FnOnce(AdjointOperator<'_, M>, &mut [f64]) -> Info,
) -> Result<Differentiated>
where
    M: StochasticMap + ?Sized,
    U: UpperObjective + ?Sized,
{
    let at = Upper::at(upper, &point.w, lambda, upper_sample)?;
    let operator = AdjointOperator { map, w: &point.w, lambda, grad_w: &at.grad_w };
    let linear = linear(operator, &mut point.v).usable("linear system")?;
    let mut cross = vec![0.0; lambda.len()];
    let cross_work = cross_term(map, point, lambda, cross_sample, &mut cross);
    let estimate = at.assemble(1.0, &cross, linear.status, linear.work + cross_work)?;
    Ok(Differentiated { estimate, linear: linear.work, cross: cross_work })
}

/// Solves the adjoint system from `v` by conjugate gradients on `I - d1Phi`.
pub(crate) fn conjugate_gradient<M: Symmetric + ?Sized>(
    solver: &ConjugateGradient,
    operator: &AdjointOperator<'_, M>,
    v: &mut [f64],
) -> Info {
    let AdjointOperator { map, w, lambda, grad_w } = *operator;
    let product = |p: &[f64], out: &mut [f64]| {
        map.vjp_w(w, lambda, &Sample::Full, p, out);
        vector::xpby(p, -1.0, out);
    };
    let rows = map.size(&Sample::Full);
    solver.solve(product, Preconditioner::None, grad_w, v, rows, &mut CgWorkspace::new(w.len()))
}

/// `out = d2Phi_hat(w, lambda, zeta)^T v` on everything, or the mean over a sample from each of `rngs`; returns the work.
pub(super) fn cross_term<M: StochasticMap + ?Sized>(
    map: &M,
    start: &WarmStart,
    lambda: &[f64],
    sampled: Sampled<'_>,
    out: &mut [f64],
) -> Work {
    let (mut work, mut one) = (Work::default(), vec![0.0; out.len()]);
    out.fill(0.0);
    mean_over(
        sampled,
        |rows, rng, zeta| map.draw(rows, rng, zeta),
        |zeta, weight| {
            map.vjp_lambda(&start.w, lambda, zeta, &start.v, &mut one);
            vector::axpy(weight, &one, out);
            work += Work::cross_product(map.cross_size(zeta));
        },
    );
    work
}

/// Calls `visit` with the whole population and weight one, or with a sample from each of `rngs` and equal weights.
fn mean_over(
    Sampled { batch, rngs }: Sampled<'_>,
    draw: impl Fn(usize, &mut Rng, &mut Sample),
    mut visit: impl FnMut(&Sample, f64),
) {
    let mut sample = Sample::Full;
    match batch {
        Batch::All => visit(&sample, 1.0),
        Batch::Rows(rows) => {
            let weight = 1.0 / rngs.len() as f64;
            for rng in rngs {
                draw(rows, rng, &mut sample);
                visit(&sample, weight);
            }
        }
    }
}

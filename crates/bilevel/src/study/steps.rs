//! Step sizes that work in practice, from what can be measured.
//!
//! The theory asks for `eta <= 1/(1 + sigma2)`. Its worst-case `sigma2`, above all `2 m1/(1-q)^2` of the linear system, is
//! far too pessimistic for gradient maps: there each sample is itself a gradient step on a convex loss, with
//! `I - d1Phi_hat` symmetric and positive semidefinite, and `E|(I - d1Phi_hat) x|^2 <= Lambda x'(I - d1Phi) x` if `Lambda`
//! bounds its eigenvalues. So steps up to `1/Lambda` contract in mean square (in the recursion of the theory
//! `1/Lambda` takes the place of `1/(1 + sigma2)`), and `Lambda` is found by looking at a few samples.

use super::curve::{Curve, CurveKind};
use super::reference::Reference;
use crate::diagnose::SampledCurvature;
use crate::error::Result;
use crate::lower::Symmetric;
use crate::sample::{Batch, Sample};
use crate::step_size::StepSize;

/// Decreasing steps `beta/(gamma + s)` for a `contraction` `q`: `beta = 2/(1 - q^2)` as in
/// [`StepSize::decreasing_from_constants`], and `gamma` such that the first step is `longest`.
///
/// # Errors
/// Input, unless `0 <= q < 1` and `0 < longest <= 1`.
pub fn decreasing_step(contraction: f64, longest: f64) -> Result<StepSize> {
    StepSize::decreasing_from_constants(contraction, 1.0 / longest - 1.0)
}

/// What the curves of a study depend on besides their kinds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLimits {
    /// The longest constant step.
    pub longest: f64,
    /// Contraction `q` of the map.
    pub contraction: f64,
    /// Steps of SVRG between two anchors.
    pub period: usize,
    /// Columns that forward differentiation carries along.
    pub hyperparameters: usize,
}

impl StepLimits {
    /// Of a loss: the [longest step](SampledCurvature::longest_step_of_map) at zero and at the solution, the contraction of the
    /// reference, an anchor for every pass of samples.
    ///
    /// # Errors
    /// Numeric, when a product is not finite, or when no sample curves upwards.
    pub fn of_loss<M: Symmetric + ?Sized>(
        map: &M,
        reference: &Reference,
        lambda: &[f64],
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let zero = vec![0.0; reference.solution.len()];
        let samples = SampledCurvature::new(Batch::Rows(batch), seed);
        Ok(StepLimits {
            longest: samples.longest_step_of_map(map, &[&zero, &reference.solution], lambda)?.0,
            contraction: reference.contraction,
            period: map.size(&Sample::Full).div_ceil(batch.max(1)),
            hyperparameters: lambda.len(),
        })
    }
}

/// The curves of a study: one for each kind, and of constant steps one for each of `etas`; without any, a half, a quarter
/// and an eighth of the longest step (in two digits).
///
/// Other sampled methods take the longest of these alone without `etas`. Decreasing steps are those of [`decreasing_step`].
///
/// # Errors
/// Input, for steps that are not positive.
pub fn choose_curves(kinds: &[CurveKind], etas: &[f64], limits: &StepLimits) -> Result<Vec<Curve>> {
    let &StepLimits { longest, contraction, period, hyperparameters } = limits;
    let mut curves = Vec::new();
    for kind in kinds {
        match kind {
            CurveKind::SidConstant if etas.is_empty() => {
                let first = two_digits(0.5 * longest);
                curves.extend([1.0, 2.0, 4.0].map(|part| Curve::SidConstant { eta: first / part }));
            }
            CurveKind::SidConstant => curves.extend(etas.iter().map(|&eta| Curve::SidConstant { eta })),
            CurveKind::SidDecreasing => {
                if let StepSize::Decreasing { beta, gamma } = decreasing_step(contraction, longest)? {
                    curves.push(Curve::SidDecreasing { beta, gamma });
                }
            }
            CurveKind::SidSvrg
            | CurveKind::SidSaga
            | CurveKind::Neumann
            | CurveKind::NeumannRandom
            | CurveKind::MixedFp
            | CurveKind::SidAveraged
            | CurveKind::SidMultilevel
            | CurveKind::Pzobo => {
                let of = |eta| match kind {
                    CurveKind::SidSvrg => Curve::SidSvrg { eta, period },
                    CurveKind::Neumann => Curve::Neumann { eta },
                    CurveKind::NeumannRandom => Curve::NeumannRandom { eta },
                    CurveKind::MixedFp => Curve::MixedFp { eta },
                    CurveKind::SidAveraged => Curve::SidAveraged { eta },
                    CurveKind::SidMultilevel => Curve::SidMultilevel { eta },
                    CurveKind::Pzobo => Curve::Pzobo { eta },
                    _ => Curve::SidSaga { eta },
                };
                match etas {
                    [] => curves.push(of(two_digits(0.5 * longest))),
                    etas => curves.extend(etas.iter().map(|&eta| of(eta))),
                }
            }
            CurveKind::AidFp => curves.push(Curve::AidFp),
            CurveKind::AidCg => curves.push(Curve::AidCg),
            CurveKind::AidNormal => curves.push(Curve::AidNormal),
            CurveKind::AidGmres => curves.push(Curve::AidGmres),
            CurveKind::Nystrom => curves.push(Curve::Nystrom),
            CurveKind::Itd => curves.push(Curve::Itd),
            CurveKind::ItdTruncated => curves.push(Curve::ItdTruncated),
            CurveKind::ItdForward => curves.push(Curve::ItdForward { hyperparameters }),
        }
    }
    for step in curves.iter().filter_map(Curve::step) {
        step.validate()?;
    }
    Ok(curves)
}

/// The positive number below `x` with two significant digits.
fn two_digits(x: f64) -> f64 {
    let unit = 10f64.powf(1.0 - x.log10().floor());
    (x * unit).floor() / unit
}

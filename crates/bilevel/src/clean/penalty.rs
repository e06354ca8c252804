//! One penalty for a model of the trusted rows, by their own held-out rows.
//!
//! The weights of the training rows cannot choose it: whoever may drop rows at will has no use for a penalty. The loss on
//! held-out trusted rows is followed from strong penalties to weak ones, each fit starting where the last one ended, and no
//! weaker one is looked at beyond the minimum, as weak penalties cost most.

use super::objective::Engine;
use super::steering::tells_classes_apart;
use crate::Result;
use crate::lower::Factorization;
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::stop::StopSignal;
use crate::tune::FeatureScale;
use crate::work::Work;

/// Log-strengths, relative to the logarithm of the mean variance of the features.
const BOX: (f64, f64) = (-14.0, 2.0);
/// Distance of those that are tried.
const STEP: f64 = 1.25;
/// Trusted rows from which one held-out quarter judges; fewer are all judged in turn.
const ONE_QUARTER_FROM: usize = 2_000;
/// Parts that the rows are divided into.
const PARTS: usize = 4;

/// A part of the trusted rows that judges fits on the others.
struct Fold<'a> {
    fitted: EmpiricalRisk<'a>,
    judging: EmpiricalRisk<'a>,
    w: Vec<f64>,
    nearby: Option<Box<dyn Factorization>>,
}

/// The log-strength that serves best, for features of this scale, and what it cost.
///
/// # Errors
/// Those of the fits; interrupted, once `stop` is raised.
pub(super) fn tuned(
    trusted: &EmpiricalRisk<'_>,
    scale: FeatureScale,
    engine: Engine,
    stop: &StopSignal,
) -> Result<(f64, Work)> {
    let n = trusted.len();
    let part = |k: usize| k * n / PARTS..(k + 1) * n / PARTS;
    let fold = |k: usize| {
        let fitted = trusted.without(part(k));
        let w = fitted.null_parameters();
        Fold { fitted, judging: trusted.restricted(part(k)), w, nearby: None }
    };
    let can_be_fitted = |fold: &Fold<'_>| tells_classes_apart(&fold.fitted);
    let parts = if n < ONE_QUARTER_FROM { 0..PARTS } else { PARTS - 1..PARTS };
    let mut folds: Vec<Fold<'_>> = parts.map(fold).filter(can_be_fitted).collect();
    if folds.is_empty() {
        folds = (0..PARTS).map(fold).filter(can_be_fitted).collect();
    }
    let (mut tried, mut work) = (Vec::<(f64, f64)>::new(), Work::default());
    let (mut at, smallest) = (scale.mean + BOX.1, scale.smallest(BOX.0));
    while at >= smallest {
        let mut loss = 0.0;
        for fold in &mut folds {
            let lower = Glm::new(fold.fitted.clone(), Penalty::Shared).holding(vec![at]);
            let found = engine.newton(false).minimize(&lower, &[], &mut fold.w, fold.nearby.take(), stop)?;
            fold.nearby = found.factorization;
            work += found.info.work;
            loss += fold.judging.full_value(&fold.w);
        }
        let best = tried.iter().map(|t| t.1).fold(f64::INFINITY, f64::min);
        tried.push((at, loss));
        if loss > best {
            break;
        }
        at -= STEP;
    }
    Ok((minimum(&tried), work))
}

/// The minimum of the parabola through the best value and its neighbours.
fn minimum(tried: &[(f64, f64)]) -> f64 {
    let best = (0..tried.len()).fold(0, |best, k| if tried[k].1 < tried[best].1 { k } else { best });
    if best == 0 || best + 1 == tried.len() {
        return tried[best].0;
    }
    let (before, at, after) = (tried[best - 1].1, tried[best].1, tried[best + 1].1);
    let curvature = before - 2.0 * at + after;
    let shift = if curvature > 0.0 { 0.5 * (before - after) / curvature } else { 0.0 };
    tried[best].0 - STEP * shift.clamp(-0.5, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_has_its_minimum_found() {
        let value = |x: f64| 2.0 + (x + 3.3).powi(2);
        let tried: Vec<(f64, f64)> = (0..6).map(|k| -1.25 * f64::from(k)).map(|x| (x, value(x))).collect();
        assert!((minimum(&tried) + 3.3).abs() < 1e-12);
        assert_eq!(minimum(&[(1.0, 2.0), (0.0, 1.0)]), 0.0);
        assert_eq!(minimum(&[(1.0, 1.0), (0.0, 2.0)]), 1.0);
    }
}

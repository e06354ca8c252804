//! Fits for given hyperparameters, from where a similar fit ended.

use super::engine::Solving;
use crate::Result;
use crate::lower::{Curved, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::work::Work;

/// Where a fit starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'s> {
    /// Parameters of a similar model.
    pub w: &'s [f64],
    /// The same in the space of its rows, where known.
    pub point: Option<(&'s EmpiricalRisk<'s>, &'s [f64])>,
}

/// Fits the parameters for given hyperparameters.
pub(super) fn fit(
    risk: &EmpiricalRisk<'_>,
    penalty: &Penalty,
    lambda: &[f64],
    solving: &Solving,
    start: Start<'_>,
) -> Result<(Vec<f64>, Work)> {
    let lower = Glm::new(risk.clone(), penalty.clone());
    debug_assert_eq!(lower.dims().w, start.w.len());
    let mut w = start.w.to_vec();
    if let Some(mut dual) = solving.engine.dual_solver(&lower) {
        match start.point {
            Some((rows, point)) => dual.start_from_rows(&lower, lambda, point, &risk.positions_among(rows)),
            None => dual.start_at(&w),
        }
        let minimum = dual.minimize(&lower, lambda, solving.dual_newton(), &solving.signal)?;
        dual.parameters(&mut w);
        return Ok((w, minimum.info.work));
    }
    let minimum = solving.newton().minimize(&lower as &dyn Curved, lambda, &mut w, None, &solving.signal)?;
    Ok((w, minimum.info.work))
}

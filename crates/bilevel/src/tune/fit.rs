//! Fits for given hyperparameters, from where a similar fit ended.

use super::engine::Solving;
use crate::Result;
use crate::lower::{Curved, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::status::Info;

/// A similar model in the space of its rows.
pub(super) type Point<'s> = (&'s EmpiricalRisk<'s>, &'s [f64]);

/// Fits the parameters `w` for given hyperparameters, from those of a similar model; `point` is the same model, where it is
/// known.
///
/// # Errors
/// Interrupted, when the signal of `solving` is raised: `w` is then no worse than it was.
pub(super) fn fit(
    risk: &EmpiricalRisk<'_>,
    penalty: &Penalty,
    lambda: &[f64],
    solving: &Solving,
    w: &mut [f64],
    point: Option<Point<'_>>,
) -> Result<Info> {
    let lower = Glm::new(risk.clone(), penalty.clone());
    debug_assert_eq!(lower.dims().w, w.len());
    if let Some(mut dual) = solving.engine.dual_solver(&lower) {
        match point {
            Some((rows, point)) => dual.start_from_rows(&lower, lambda, point, &risk.positions_among(rows)),
            None => dual.start_at(w),
        }
        let minimum = dual.minimize(&lower, lambda, solving.dual_newton(), &solving.signal)?;
        dual.parameters(w);
        return Ok(minimum.info);
    }
    Ok(solving.newton().minimize(&lower as &dyn Curved, lambda, w, None, &solving.signal)?.info)
}

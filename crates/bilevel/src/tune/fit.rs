//! Fits for given hyperparameters, from where a similar fit ended.

use super::engine::Solving;
use super::fitted::Fitted;
use crate::Result;
use crate::lower::Curved;
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::status::Info;

/// Fits the parameters for given hyperparameters; starts at those of a similar model where there is one. Without [`Info`]
/// the signal of `solving` was raised, and the parameters are as near as it came.
///
/// # Errors
/// Numeric; interrupted, when the signal was raised before there was anything nearer than the start.
pub(super) fn fit<'a>(
    risk: &EmpiricalRisk<'a>,
    penalty: &Penalty,
    lambda: &[f64],
    solving: &Solving,
    start: Option<&Fitted<'_>>,
) -> Result<(Fitted<'a>, Option<Info>)> {
    let lower = Glm::new(risk.clone(), penalty.clone());
    if let Some(mut dual) = solving.engine.dual_solver(&lower) {
        match start {
            Some(Fitted::Rows { lower: other, point, .. }) => {
                dual.start_from_rows(&lower, lambda, point, &risk.positions_among(other.risk()));
            }
            Some(Fitted::Weights(w)) => dual.start_at(w),
            None => {}
        }
        let info = match dual.minimize(&lower, lambda, solving.dual_newton(), &solving.signal) {
            Ok(minimum) => Some(minimum.info),
            Err(error) if error.is_interrupted() && dual.has_moved() => None,
            Err(error) => return Err(error),
        };
        let point = dual.into_memory().state().point().to_vec();
        return Ok((Fitted::Rows { lower: Box::new(lower), lambda: lambda.to_vec(), point }, info));
    }
    let start = start.map_or_else(|| risk.null_parameters(), |near| near.parameters().into_owned());
    let mut w = start.clone();
    match solving.newton().minimize(&lower as &dyn Curved, lambda, &mut w, None, &solving.signal) {
        Ok(minimum) => Ok((Fitted::Weights(w), Some(minimum.info))),
        Err(error) if error.is_interrupted() && w != start => Ok((Fitted::Weights(w), None)),
        Err(error) => Err(error),
    }
}

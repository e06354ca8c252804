//! Constants of problems whose every number is known.

use super::bounds::ProblemConstants;
use crate::problems::linear_contraction::LinearContraction;
use crate::problems::target::Target;
use crate::sample::Sample;
use crate::upper::UpperObjective;
use crate::vector;

impl ProblemConstants {
    /// The constants of a [`LinearContraction`] under a [`Target`], exactly, for batches of `batch` elements.
    ///
    /// `Phi` is affine, so `nu1 = nu2 = 0`; `grad1 E = w - c` and `grad2 E = reg lambda`, so `mu1 = 1` and `mu2 = 0`.
    /// `|grad1 E|` has no bound over all `w`: `L_E = |w(lambda) - c| + radius`. As `v` depends linearly on `w` here, the
    /// bound needs it only in mean square, and so `radius^2` only has to bound `E|w_t - w(lambda)|^2`.
    pub fn of_linear_contraction(
        map: &LinearContraction,
        upper: &Target,
        lambda: &[f64],
        radius: f64,
        batch: usize,
    ) -> ProblemConstants {
        let w = map.solution(lambda);
        let (mut grad_w, mut grad_lambda) = (vec![0.0; w.len()], vec![0.0; lambda.len()]);
        upper.gradients(&w, lambda, &Sample::Full, &mut grad_w, &mut grad_lambda);
        let noise = map.noise_constants(lambda, batch);
        ProblemConstants {
            contraction: map.contraction(),
            nu1: 0.0,
            nu2: 0.0,
            mu1: 1.0,
            mu2: 0.0,
            l_e: vector::norm(&grad_w) + radius,
            l_phi: map.cross_norm(),
            m1: noise.m1,
            m2: noise.m2,
        }
    }
}

//! Is this problem what it says it is? Derivative checks, unbiasedness checks, and the constants of the theory.
//!
//! Every formula of a problem can be wrong in a way that only makes convergence slower, or the answer a little off. The
//! checks here find such errors through the public traits alone, for the problems of this library and for a user's own.

mod bounds;
mod check;
mod closed_forms;
mod constants;
mod contraction;
mod error_bound;
mod glm_bounds;
mod gradient_step;
mod lanczos;
mod noise;
mod sampled_curvature;
mod solved_difference;
mod taylor;
mod unbiased;

pub use bounds::ProblemConstants;
pub use check::{Check, ensure};
pub use constants::{LossConstants, best_gradient_step, loss_constants};
pub use contraction::{Contraction, describe_direction};
pub use error_bound::{ErrorBound, StepPlan};
pub use glm_bounds::{GlmBallOptions, GlmBounds};
pub use gradient_step::GradientStep;
pub use lanczos::{ExtremeVectors, Spectrum, lanczos, lanczos_vectors};
pub use noise::{Noise, NoiseEstimate};
pub use sampled_curvature::SampledCurvature;
pub use solved_difference::SolvedDifference;
pub use taylor::Taylor;
pub use unbiased::Unbiased;

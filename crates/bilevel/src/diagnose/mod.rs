//! Is this problem what it says it is? Derivative checks, unbiasedness checks, and the constants of the theory.
//!
//! Every formula of a problem can be wrong in a way that only makes convergence slower, or the answer a little off. The
//! checks here find such errors through the public traits alone, for the problems of this library and for a user's own.

mod bounds;
mod check;
mod constants;
mod lanczos;
mod noise;
mod taylor;
mod unbiased;

pub use bounds::ProblemConstants;
pub use check::{Check, ensure};
pub use constants::{LossConstants, jacobian_norm, loss_constants};
pub use lanczos::{Spectrum, lanczos};
pub use noise::{Noise, NoiseEstimate};
pub use taylor::Taylor;
pub use unbiased::Unbiased;

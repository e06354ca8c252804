//! Races: bilevel algorithms from one start, on one budget, judged alike.
//!
//! What is compared is what the user pays for: seconds, samples, and calls of each kind. What is judged is what the user wants: the
//! value function `f(lambda)`, its gradient and the distance to `w(lambda)`, found exactly at each checkpoint, outside the
//! clock, and by none of the contestants. Every contestant may choose its steps from one documented grid, on a part of the
//! budget that is reported.

mod contest;
mod curve;
mod judge;
mod profile;
mod screening;

pub use contest::{Budget, Contest, Contestant, Contested, End, Entry, compete};
pub use curve::{Checkpoint, Cost};
pub use judge::{Judge, Judgement};
pub use profile::Profile;
pub use screening::{Grid, screen};

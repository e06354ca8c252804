//! Races: bilevel algorithms from one start, on one budget, judged alike.
//!
//! What is compared is what the user pays for: seconds, samples, and calls of each kind. What is judged is what the user wants:
//! the value function `f(lambda)`, its gradient and the distance to `w(lambda)`, found exactly at each checkpoint, outside the
//! clock, and by none of the contestants. Every contestant may choose its steps from one documented grid, on a part of the
//! budget that is reported.
//!
//! Two algorithms on a quadratic:
//!
//! ```
//! use bilevel::algorithms::{Algorithm, Point};
//! use bilevel::domain::Domain;
//! use bilevel::observer::Silent;
//! use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
//! use bilevel::race::{Budget, Contest, Race, StepChoice};
//! use bilevel::sample::Batch;
//! use bilevel::stop::StopSignal;
//!
//! let quadratic = Quadratic::random(&QuadraticOptions { rows: 100, w: 5, lambda: 3, ..Default::default() });
//! let contest = Contest {
//!     lower: &quadratic,
//!     upper: quadratic.upper(),
//!     domain: &Domain::unbounded(3),
//!     start: Point::new(&[0.0; 5], &[0.0; 5], &[0.0; 3]),
//!     batch: Batch::Rows(16),
//! };
//! let race = Race {
//!     algorithms: vec![Algorithm::Soba, Algorithm::Saba],
//!     seeds: vec![0, 1],
//!     budget: Budget { iterations: 300, ..Budget::UNLIMITED },
//!     steps: StepChoice::default(),
//! };
//! let mut entries = Vec::new();
//! race.run(&contest, &mut entries, &StopSignal::never(), &mut Silent)?;
//! assert_eq!(entries.len(), 4);
//! for entry in &entries {
//!     let start = entry.curve[0].judgement.value;
//!     assert!(entry.value() < start, "{} ends below its start", entry.contestant.algorithm);
//! }
//! # Ok::<(), bilevel::Error>(())
//! ```

mod budget;
mod contest;
mod curve;
mod entry;
mod judge;
mod profile;
mod run;
mod screening;

pub use budget::Budget;
pub use contest::{Contest, Contested, compete};
pub use curve::{Checkpoint, Cost};
pub use entry::{Contestant, End, Entry};
pub use judge::{Judge, Judgement};
pub use profile::Profile;
pub use run::{Event, Race};
pub use screening::{Grid, StepChoice};

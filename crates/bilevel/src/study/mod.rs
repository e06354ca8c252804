//! The error of one hypergradient against what it cost: a problem, a reference, curves of methods and step sizes.
//!
//! The claims of the theory are about mean-square errors: they fall like `1/t` with decreasing steps, and to a floor
//! proportional to `eta` with constant ones (theory, sections 3 and 4; Grazzi, Pontil, Salzo, AISTATS 2021, sections 4
//! and 6). Whether they hold for a problem at hand, and from how many samples on, is measured here: [`run`] makes
//! replicates of [`Curve`]s at a [`Subject`], and [`summarize`] fits slopes and floors to them. [`descend`] does the same
//! for a whole bilevel optimisation.

mod by_method;
mod curve;
mod descent;
mod fits;
mod measure;
mod reference;
mod run;
mod settings;
mod steps;
mod summary;

pub use curve::{Curve, CurveKind};
pub use descent::{Descent, DescentPoint, descend};
pub use fits::{Floor, Slope};
pub use measure::{Measurement, Subject};
pub use reference::Reference;
pub use run::{Job, run};
pub use settings::{Checkpoints, StudySettings};
pub use steps::{StepLimits, choose_curves, decreasing_step};
pub use summary::{CurveSummary, Point, Replicate, summarize};

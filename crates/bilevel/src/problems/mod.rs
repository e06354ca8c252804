//! Problems: mathematics only, no solvers.

pub mod glm;

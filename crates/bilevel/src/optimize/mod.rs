//! Upper-level loops.

//! Labels under new names.

//! All tests but those that need a process or features of their own, in one program: it is linked once.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/models.rs"]
mod models;

mod algorithm_references;
mod algorithms;
mod auto;
mod bad_input;
mod bilevel_problems;
mod bundled_data;
mod clean;
mod data_properties;
mod diagnose;
mod dual;
mod error_bound;
mod estimators;
mod estimators_on_data;
mod false_alarms;
mod floors;
mod glm;
mod glm_bounds;
mod implicit;
mod iterative_differentiation;
mod lbfgs;
mod linear_estimators;
mod mapped;
mod newton;
mod optimize;
mod own_problems;
mod packed_table;
mod passes;
mod precision;
mod predictions;
mod race;
mod readers;
mod real_hypergradients;
mod references;
mod reweighting;
mod row_weights;
mod saba;
mod samples;
mod several_outputs;
mod slow_maps;
mod solvers;
mod stopping;
mod storage;
mod study;
mod threads;
mod tune_few_rows;
mod tune_grid;
mod tune_methods;
mod unbiased_sid;
mod variance_reduction;
mod vector;

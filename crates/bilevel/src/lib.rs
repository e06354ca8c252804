//! Stochastic hypergradients and bilevel optimisation.
//!
//! Two levels: minimise `f(lambda) = E(w(lambda), lambda)` over `lambda`, where `w(lambda)` is the fixed point of a map
//! `w = Phi(w, lambda)` that can only be sampled, or the minimum of a loss `g(w, lambda)` over many rows. The hypergradient
//! `grad f` comes with an error bar, at a cost that follows from the requested precision and not from the number of rows.
//!
//! A ridge regression with one log-penalty, judged by other rows:
//!
//! ```
//! use bilevel::diagnose::GradientStep;
//! use bilevel::hypergradient::{PreciseSid, Precision};
//! use bilevel::lower::Dims;
//! use bilevel::observer::Silent;
//! use bilevel::problems::closures::{RowLoss, RowObjective};
//! use bilevel::sample::Batch;
//!
//! // Rows (x, y) with y = 2x and some noise: the first 400 fit, the others judge.
//! let x = |i: usize| (i as f64 * 0.7).sin();
//! let y = |i: usize| 2.0 * x(i) + 0.3 * (i as f64 * 1.9).cos();
//! let dims = Dims { w: 1, lambda: 1 };
//! // g_i(w, lambda) = (x w - y)^2 / 2 + exp(lambda) w^2 / 2
//! let lower = RowLoss::builder(dims, 400)
//!     .value(|i, w, lambda| ((x(i) * w[0] - y(i)).powi(2) + lambda[0].exp() * w[0] * w[0]) / 2.0)
//!     .gradient(|i, w, lambda, out| out[0] = x(i) * (x(i) * w[0] - y(i)) + lambda[0].exp() * w[0])
//!     .hessian_product(|i, _, lambda, v, out| out[0] = (x(i) * x(i) + lambda[0].exp()) * v[0])
//!     .cross_product(|_, w, lambda, v, out| out[0] = lambda[0].exp() * w[0] * v[0])
//!     .build()?;
//! let upper = RowObjective::builder(dims, 100)
//!     .value(|i, w, _| (x(400 + i) * w[0] - y(400 + i)).powi(2) / 2.0)
//!     .gradients(|i, w, _, grad_w, grad_lambda| {
//!         let residual = x(400 + i) * w[0] - y(400 + i);
//!         (grad_w[0], grad_lambda[0]) = (x(400 + i) * residual, 0.0);
//!         residual * residual / 2.0
//!     })
//!     .build()?;
//! let lambda = [-1.0];
//! // How long its gradient steps may be, and how fast they forget the start, is measured.
//! let step = GradientStep::measured(&lower, &[0.0], &lambda, Batch::Rows(64), 0)?;
//! let sid = PreciseSid { batch: 64, contraction: step.contraction, ..PreciseSid::default() };
//! let found = sid.estimate(&step.map(&lower), &upper, &lambda, None, Precision::relative(0.05), &mut Silent)?;
//! // A smaller penalty is better here, and the sign is beyond doubt.
//! assert!(found.estimate.value[0] > found.error);
//! # Ok::<(), bilevel::Error>(())
//! ```
//!
//! Where to look:
//!
//! | for | module |
//! | --- | --- |
//! | a tuned linear model from a data set, in one call | [`tune`], [`data`] |
//! | the two traits that everything is written against | [`lower`], [`upper`] |
//! | problems of one's own from closures (as in the example `own_loss`), and those that are here already | [`problems`] |
//! | the estimators: stochastic, approximate, iterative, exact; to a precision | [`hypergradient`] |
//! | loops over `lambda` along hypergradients | [`optimize`] |
//! | watching long work, and ending it | [`observer`], [`stop`] |
//! | the stochastic bilevel algorithms of the literature, and races between them | [`algorithms`], [`race`] |
//! | checks of derivatives, constants of the theory, error bounds | [`diagnose`] |
//! | the error of one hypergradient against its cost | [`study`] |
//! | wrong labels by weights of rows | [`clean`](mod@clean) |
//!
//! Outcomes are statuses, failures are errors: a solve that diverged, or a map that does not contract, is never a number.
//! The same seed gives the same numbers on any number of threads.

pub mod algorithms;
mod cholesky;
pub mod clean;
mod company;
pub mod data;
pub mod diagnose;
pub mod domain;
pub mod dual;
mod elementary;
mod error;
pub mod fixed_point;
pub mod hypergradient;
pub mod linear_system;
pub mod lower;
pub mod newton;
pub mod observer;
pub mod operator;
pub mod optimize;
mod plain;
pub mod problems;
pub mod race;
pub mod row_sums;
pub mod sample;
mod scratch;
mod simd;
pub mod status;
pub mod step_size;
pub mod stop;
pub mod study;
pub mod tune;
pub mod upper;
pub mod vector;
pub mod work;

pub use error::{Error, Result};

/// The programs of the guide, so that they are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
pub struct Guide;

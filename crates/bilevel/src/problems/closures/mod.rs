//! A problem of one's own from closures, one row at a time.
//!
//! A map, a loss or an upper objective is the mean over `n` rows of functions that closures give: the value and the products
//! of its derivatives, by hand or by automatic differentiation (`problems::autodiff`, feature `autodiff`). Sampling,
//! averaging and passes over all rows are done here, so that every estimator, every algorithm and every check works at once:
//!
//! ```
//! use bilevel::lower::Dims;
//! use bilevel::problems::closures::RowMap;
//!
//! // Phi_i(w, lambda) = w/2 + lambda x_i
//! let x = [1.0, 2.0, 6.0];
//! let map = RowMap::builder(Dims { w: 1, lambda: 1 }, x.len())
//!     .apply(|i, w, lambda, out| out[0] = 0.5 * w[0] + lambda[0] * x[i])
//!     .vjp_w(|_, _, _, v, out| out[0] = 0.5 * v[0])
//!     .vjp_lambda(|i, _, _, v, out| out[0] = x[i] * v[0])
//!     .build()
//!     .unwrap();
//! ```
//!
//! What a method may ask for beyond that is given to the builder as well: `cross_jvp` or `forward` for derivatives that are carried
//! forward, `gradient_lambda` for the [algorithms](crate::algorithms); [`RowMap::symmetric`] says that Jacobians are symmetric.
//!
//! A row is a number: it may index data, or seed a simulation. Closures overwrite `out`. Rows are drawn uniformly with
//! repetition; a pass over all of them runs on all threads, and its sum does not depend on their number.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::lower::Dims;
use crate::sample::Sample;
use crate::vector;

/// `(row, w, lambda) -> number`.
pub type RowValue<'a> = Box<dyn Fn(usize, &[f64], &[f64]) -> f64 + Send + Sync + 'a>;
/// `(row, w, lambda, out)`.
pub type RowVector<'a> = Box<dyn Fn(usize, &[f64], &[f64], &mut [f64]) + Send + Sync + 'a>;
/// `(row, w, lambda, v, out)`.
pub type RowProduct<'a> = Box<dyn Fn(usize, &[f64], &[f64], &[f64], &mut [f64]) + Send + Sync + 'a>;
/// `(row, w, lambda, grad_w, grad_lambda) -> value`.
pub type RowGradients<'a> = Box<dyn Fn(usize, &[f64], &[f64], &mut [f64], &mut [f64]) -> f64 + Send + Sync + 'a>;

/// Rows summed by one thread.
const CHUNK: usize = 256;

/// `out = ` the mean over a sample of what `row` writes; returns the mean of what it returns.
fn mean(rows: usize, zeta: &Sample, out: &mut [f64], row: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> f64 {
    let add = |i: usize, one: &mut [f64], sum: &mut [f64]| {
        let value = row(i, one);
        vector::axpy(1.0, one, sum);
        value
    };
    out.fill(0.0);
    let mut total = 0.0;
    if *zeta == Sample::Full {
        let chunk = |first: usize| {
            let (mut one, mut sum) = (vec![0.0; out.len()], vec![0.0; out.len()]);
            let values = (first..(first + CHUNK).min(rows)).map(|i| add(i, &mut one, &mut sum)).sum::<f64>();
            (values, sum)
        };
        let chunks: Vec<(f64, Vec<f64>)> =
            (0..rows.div_ceil(CHUNK)).into_par_iter().map(|index| chunk(index * CHUNK)).collect();
        for (values, sum) in &chunks {
            total += values;
            vector::axpy(1.0, sum, out);
        }
    } else {
        let mut one = vec![0.0; out.len()];
        zeta.for_each_row(rows, |i| total += add(i, &mut one, out));
    }
    let weight = 1.0 / zeta.rows_in(rows) as f64;
    vector::scale(weight, out);
    total * weight
}

/// `out = ` the mean over a sample of a vector a row.
fn vector_mean(closure: &RowVector<'_>, rows: usize, [w, lambda]: [&[f64]; 2], zeta: &Sample, out: &mut [f64]) {
    mean(rows, zeta, out, |i, out| {
        closure(i, w, lambda, out);
        0.0
    });
}

/// `out = ` the mean over a sample of a product with `x` a row.
fn product_mean(closure: &RowProduct<'_>, rows: usize, [w, lambda, x]: [&[f64]; 3], zeta: &Sample, out: &mut [f64]) {
    mean(rows, zeta, out, |i, out| {
        closure(i, w, lambda, x, out);
        0.0
    });
}

fn given<T>(part: Option<T>, name: &str) -> Result<T> {
    part.ok_or_else(|| Error::input(format!("the closure `{name}` is missing")).remedy("give it before `build`"))
}

fn check(dims: Dims, rows: usize) -> Result<()> {
    if dims.w == 0 || rows == 0 || rows > u32::MAX as usize {
        return Err(Error::input(format!("a problem of {rows} rows in {dims:?} cannot be sampled"))
            .remedy("give at least one row and one component of w, and at most 2^32 - 1 rows"));
    }
    Ok(())
}

/// Closures have no text: what is shown are the sizes.
macro_rules! debug {
    ($name:ident $(, $part:ident)*) => {
        impl<$($part),*> std::fmt::Debug for $name<'_, $($part),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let name = stringify!($name);
                f.debug_struct(name).field("dims", &self.dims).field("rows", &self.rows).finish_non_exhaustive()
            }
        }
    };
}

/// Sets one of the closures that every problem needs.
macro_rules! part {
    ($(#[$doc:meta])* $name:ident: $($closure:tt)*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, closure: impl $($closure)* + Send + Sync + 'a) -> Self {
            self.$name = Some(Box::new(closure));
            self
        }
    };
}

mod loss;
mod map;
mod objective;
mod optional;

pub use loss::{RowLoss, RowLossBuilder};
pub use map::{RowMap, RowMapBuilder};
pub use objective::{RowObjective, RowObjectiveBuilder};
pub use optional::{CrossProducts, ForwardProducts, LambdaGradients, SymmetricJacobian};

//! Derivatives of closures by automatic differentiation: only the values are written by hand (feature `autodiff`).
//!
//! ```
//! use bilevel::lower::Dims;
//! use bilevel::problems::autodiff::{self, Var};
//!
//! let (x, y) = ([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]);
//! // g_i(w, lambda) = (x_i w - y_i)^2/2 + exp(lambda) w^2/2
//! let loss = autodiff::loss(Dims { w: 1, lambda: 1 }, x.len(), |i, w: &[Var], lambda: &[Var]| {
//!     (w[0] * x[i] - y[i]).powi(2) * 0.5 + lambda[0].exp() * w[0].powi(2) * 0.5
//! });
//! ```
//!
//! [`Var`] stands for a number: arithmetic with numbers and with each other, comparisons, and the usual functions. The closure
//! is traced anew at every evaluation, so it may branch on values; where the branch taken changes, the derivative is that
//! of the branch. Products with second derivatives are forward over reverse. The tracing costs some tens of nanoseconds an
//! operation: derivatives by hand ([`closures`](super::closures)) are faster where a row has much arithmetic.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use echidna::{BReverse, BytecodeTape};
use num_traits::{Float, ToPrimitive};

use super::closures::{CrossProducts, ForwardProducts, LambdaGradients, RowLoss, RowMap, RowObjective};
use crate::error::Result;
use crate::lower::Dims;

/// A number whose history is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Var(BReverse<f64>);

impl From<f64> for Var {
    fn from(x: f64) -> Self {
        Var(BReverse::constant(x))
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $assign_trait:ident $assign:ident),*) => {$(
        impl $trait for Var {
            type Output = Var;
            fn $method(self, other: Var) -> Var {
                Var(self.0.$method(other.0))
            }
        }
        impl $trait<f64> for Var {
            type Output = Var;
            fn $method(self, other: f64) -> Var {
                self.$method(Var::from(other))
            }
        }
        impl $trait<Var> for f64 {
            type Output = Var;
            fn $method(self, other: Var) -> Var {
                Var::from(self).$method(other)
            }
        }
        impl $assign_trait for Var {
            fn $assign(&mut self, other: Var) {
                *self = self.$method(other);
            }
        }
        impl $assign_trait<f64> for Var {
            fn $assign(&mut self, other: f64) {
                *self = self.$method(other);
            }
        }
    )*};
}

arithmetic!(
    Add add AddAssign add_assign,
    Sub sub SubAssign sub_assign,
    Mul mul MulAssign mul_assign,
    Div div DivAssign div_assign
);

impl Neg for Var {
    type Output = Var;
    fn neg(self) -> Var {
        Var(-self.0)
    }
}

impl Sum for Var {
    fn sum<I: Iterator<Item = Var>>(items: I) -> Var {
        items.fold(Var::from(0.0), Add::add)
    }
}

impl PartialEq for Var {
    fn eq(&self, other: &Var) -> bool {
        self.value() == other.value()
    }
}

impl PartialOrd for Var {
    fn partial_cmp(&self, other: &Var) -> Option<Ordering> {
        self.value().partial_cmp(&other.value())
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        impl Var {
            $($(#[$doc])* #[must_use] pub fn $name(self) -> Var { Var(Float::$name(self.0)) })*
        }
    };
}

functions! {
    /// The exponential.
    exp,
    /// The natural logarithm.
    ln,
    /// `ln(1 + x)`.
    ln_1p,
    /// `exp(x) - 1`.
    exp_m1,
    /// The square root.
    sqrt,
    /// The sine.
    sin,
    /// The cosine.
    cos,
    /// The hyperbolic tangent.
    tanh,
    /// The absolute value.
    abs,
}

impl Var {
    /// The number.
    pub fn value(self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// An integer power.
    #[must_use]
    pub fn powi(self, exponent: i32) -> Var {
        Var(Float::powi(self.0, exponent))
    }

    /// The larger of two.
    #[must_use]
    pub fn max(self, other: Var) -> Var {
        if self < other { other } else { self }
    }

    /// The smaller of two.
    #[must_use]
    pub fn min(self, other: Var) -> Var {
        if other < self { other } else { self }
    }
}

/// A scalar function of `(w, lambda)`, traced at one point.
struct Trace {
    tape: BytecodeTape<f64>,
    value: f64,
    point: Vec<f64>,
}

impl Trace {
    fn of(w: &[f64], lambda: &[f64], f: impl FnOnce(&[Var], &[Var]) -> Var) -> Self {
        let point = [w, lambda].concat();
        let traced = |inputs: &[BReverse<f64>]| {
            let inputs: Vec<Var> = inputs.iter().map(|&x| Var(x)).collect();
            let (w, lambda) = inputs.split_at(w.len());
            f(w, lambda).0
        };
        let (tape, value) = echidna::record(traced, &point);
        Trace { tape, value, point }
    }

    /// Gradient in `(w, lambda)`.
    fn gradient(&mut self) -> Vec<f64> {
        self.tape.gradient(&self.point)
    }

    /// The Hessian in `(w, lambda)` times `(v, 0)`.
    fn hessian_product(&self, v: &[f64]) -> Vec<f64> {
        let mut direction = v.to_vec();
        direction.resize(self.point.len(), 0.0);
        self.tape.hvp(&self.point, &direction).1
    }

    /// The Hessian in `(w, lambda)` times `(0, x)`.
    fn hessian_product_lambda(&self, x: &[f64]) -> Vec<f64> {
        let direction = [&vec![0.0; self.point.len() - x.len()], x].concat();
        self.tape.hvp(&self.point, &direction).1
    }
}

/// A loss `g = (1/n) sum_i g_i` from its values `g_i(w, lambda)`.
///
/// # Errors
/// Input, for impossible sizes.
pub fn loss<'a>(
    dims: Dims,
    rows: usize,
    value: impl Fn(usize, &[Var], &[Var]) -> Var + Send + Sync + Clone + 'a,
) -> Result<RowLoss<'a, CrossProducts<'a>, LambdaGradients<'a>>> {
    let d = dims.w;
    let [g1, g2, g3, g4, g5, g6] = std::array::from_fn(|_| value.clone());
    RowLoss::builder(dims, rows)
        .value(move |i, w, lambda| Trace::of(w, lambda, |w, lambda| g1(i, w, lambda)).value)
        .gradient(move |i, w, lambda, out| {
            out.copy_from_slice(&Trace::of(w, lambda, |w, lambda| g2(i, w, lambda)).gradient()[..d]);
        })
        .hessian_product(move |i, w, lambda, v, out| {
            out.copy_from_slice(&Trace::of(w, lambda, |w, lambda| g3(i, w, lambda)).hessian_product(v)[..d]);
        })
        .cross_product(move |i, w, lambda, v, out| {
            out.copy_from_slice(&Trace::of(w, lambda, |w, lambda| g4(i, w, lambda)).hessian_product(v)[d..]);
        })
        .cross_jvp(move |i, w, lambda, x, out| {
            out.copy_from_slice(&Trace::of(w, lambda, |w, lambda| g5(i, w, lambda)).hessian_product_lambda(x)[..d]);
        })
        .gradient_lambda(move |i, w, lambda, out| {
            out.copy_from_slice(&Trace::of(w, lambda, |w, lambda| g6(i, w, lambda)).gradient()[d..]);
        })
        .build()
}

/// A map `Phi = (1/n) sum_i Phi_i` from its values: `value` writes `Phi_i(w, lambda)` to its last argument, in R^d.
///
/// # Errors
/// Input, for impossible sizes.
pub fn map<'a>(
    dims: Dims,
    rows: usize,
    value: impl Fn(usize, &[Var], &[Var], &mut [Var]) + Send + Sync + Clone + 'a,
) -> Result<RowMap<'a, ForwardProducts<'a>>> {
    let d = dims.w;
    let [f1, f2, f3, f4, f5] = std::array::from_fn(|_| value.clone());
    RowMap::builder(dims, rows)
        .apply(move |i, w, lambda, out| {
            Trace::of(w, lambda, |w, lambda| {
                let mut image = vec![Var::from(0.0); d];
                f1(i, w, lambda, &mut image);
                out.iter_mut().zip(&image).for_each(|(out, x)| *out = x.value());
                image.into_iter().sum()
            });
        })
        .vjp_w(move |i, w, lambda, v, out| {
            out.copy_from_slice(&vjp(w, lambda, v, |w, lambda, out| f2(i, w, lambda, out))[..d]);
        })
        .vjp_lambda(move |i, w, lambda, v, out| {
            out.copy_from_slice(&vjp(w, lambda, v, |w, lambda, out| f3(i, w, lambda, out))[d..]);
        })
        .forward(
            move |i, w, lambda, x, out| {
                let along = [x, &vec![0.0; lambda.len()]].concat();
                jvp(w, lambda, &along, |w, lambda, out| f4(i, w, lambda, out), out);
            },
            move |i, w, lambda, x, out| {
                let along = [&vec![0.0; w.len()], x].concat();
                jvp(w, lambda, &along, |w, lambda, out| f5(i, w, lambda, out), out);
            },
        )
        .build()
}

/// An upper objective `E = (1/n) sum_i E_i` from its values `E_i(w, lambda)`.
///
/// # Errors
/// Input, for impossible sizes.
pub fn objective<'a>(
    dims: Dims,
    rows: usize,
    value: impl Fn(usize, &[Var], &[Var]) -> Var + Send + Sync + Clone + 'a,
) -> Result<RowObjective<'a>> {
    let d = dims.w;
    let of_value = value.clone();
    RowObjective::builder(dims, rows)
        .value(move |i, w, lambda| Trace::of(w, lambda, |w, lambda| of_value(i, w, lambda)).value)
        .gradients(move |i, w, lambda, grad_w, grad_lambda| {
            let mut trace = Trace::of(w, lambda, |w, lambda| value(i, w, lambda));
            let gradient = trace.gradient();
            grad_w.copy_from_slice(&gradient[..d]);
            grad_lambda.copy_from_slice(&gradient[d..]);
            trace.value
        })
        .build()
}

/// The gradient of `v'Phi_i` in `(w, lambda)`, which holds both products.
fn vjp(w: &[f64], lambda: &[f64], v: &[f64], f: impl Fn(&[Var], &[Var], &mut [Var])) -> Vec<f64> {
    let along = |w: &[Var], lambda: &[Var]| {
        let mut out = vec![Var::from(0.0); v.len()];
        f(w, lambda, &mut out);
        out.iter().zip(v).map(|(&out, &v)| out * v).sum()
    };
    Trace::of(w, lambda, along).gradient()
}

/// `out = ` the derivative of `Phi_i` along `along`, a direction of `(w, lambda)`.
///
/// `u'Phi_i` as a function of `(w, lambda, u)` has the mixed second derivative `dPhi_i`, so a Hessian product holds it.
fn jvp(w: &[f64], lambda: &[f64], along: &[f64], f: impl Fn(&[Var], &[Var], &mut [Var]), out: &mut [f64]) {
    let d = w.len();
    let point = [lambda, &vec![1.0; d]].concat();
    let paired = |w: &[Var], rest: &[Var]| {
        let (lambda, u) = rest.split_at(lambda.len());
        let mut image = vec![Var::from(0.0); d];
        f(w, lambda, &mut image);
        image.iter().zip(u).map(|(&x, &u)| x * u).sum()
    };
    let product = Trace::of(w, &point, paired).hessian_product(along);
    out.copy_from_slice(&product[product.len() - d..]);
}

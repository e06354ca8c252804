//! The two levels of a problem whose functions are written in Python.

use std::marker::PhantomData;
use std::sync::Arc;

use bilevel::hypergradient::Capable;
use bilevel::lower::{Curvature, Curved, Dims, FirstOrder, ProductCurvature, StochasticLoss, StochasticMap, Symmetric};
use bilevel::row_sums::{RowSumLoss, RowSumObjective, RowSums};
use bilevel::sample::{Rng, Sample, Sampling};
use bilevel::upper::UpperObjective;
use numpy::PyArray1;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PySlice;

use super::bridge::{Bridge, Function};
use crate::names::named;

/// What both levels have: sizes, samples, and a way to Python.
pub struct Level {
    pub bridge: Arc<Bridge>,
    place: &'static str,
    dims: Dims,
    /// Rows of a finite sum; nothing for a simulation.
    rows: Option<usize>,
    /// Whether there is an exact mean.
    pub exact: bool,
    sampling: Sampling,
}

impl Level {
    fn read(object: &Bound<'_, PyAny>, place: &'static str, bridge: &Arc<Bridge>) -> PyResult<Self> {
        let get = |name: &str| object.getattr(name);
        let rows: Option<usize> = get("n_samples")?.extract()?;
        if rows.is_some_and(|rows| rows == 0 || rows > u32::MAX as usize) {
            return Err(PyValueError::new_err(format!("{place}.n_samples must be at least 1 and below 2**32")));
        }
        let dims = Dims { w: get("dim_w")?.extract()?, lambda: get("dim_lam")?.extract()? };
        if dims.w == 0 || dims.lambda == 0 {
            return Err(PyValueError::new_err(format!("{place}: dim_w and dim_lam must be at least 1")));
        }
        Ok(Level {
            bridge: Arc::clone(bridge),
            place,
            dims,
            rows,
            exact: rows.is_some() || get("exact_mean")?.extract()?,
            sampling: named("sampling", &get("sampling")?.extract::<String>()?)?,
        })
    }

    /// Whether it is a mean over rows.
    pub fn is_sum(&self) -> bool {
        self.rows.is_some()
    }

    /// Rows of a finite sum.
    pub fn rows_or_one(&self) -> usize {
        self.rows.unwrap_or(1)
    }

    pub fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        match self.rows {
            Some(1) => *sample = Sample::Full,
            Some(rows) => self.sampling.draw(rows, batch, rng, sample),
            // Numbers of elements, each of which seeds its own.
            None => Sampling::Rows.draw(u32::MAX as usize, batch, rng, sample),
        }
    }

    /// A simulation that has an exact mean has it for the price of one element; without one it can never be afforded.
    pub fn size(&self, sample: &Sample) -> usize {
        match sample {
            Sample::Full => self.rows.unwrap_or(if self.exact { 1 } else { u32::MAX as usize }),
            Sample::Block(range) => range.len(),
            Sample::Rows(rows) => rows.len(),
            Sample::Seed(_) => 1,
        }
    }

    /// What indexes the rows of a sample: a slice, or an array of numbers; of a simulation, an array of seeds, or `None`.
    fn sample<'py>(&self, py: Python<'py>, sample: &Sample) -> PyResult<Bound<'py, PyAny>> {
        Ok(match sample {
            Sample::Full if self.rows.is_some() => PySlice::full(py).into_any(),
            Sample::Full if self.exact => py.None().into_bound(py),
            Sample::Full => {
                let place = self.place;
                return Err(PyValueError::new_err(format!(
                    "the exact mean of {place} is asked for, which it does not have; choose a method that samples, with \
                     cross_batch and upper_batch, or give functions that take sample=None and exact_mean=True"
                )));
            }
            Sample::Block(range) => PySlice::new(py, range.start as isize, range.end as isize, 1).into_any(),
            Sample::Rows(rows) => PyArray1::from_iter(py, rows.iter().map(|&row| i64::from(row))).into_any(),
            Sample::Seed(seed) => PyArray1::from_iter(py, [*seed as i64]).into_any(),
        })
    }

    /// `out = function(w, lam, sample[, v])`, NaN where that failed.
    fn vector(
        &self,
        function: &Function,
        (w, lambda, zeta): (&[f64], &[f64], &Sample),
        v: Option<&[f64]>,
        out: &mut [f64],
    ) {
        let read = |result: &Bound<'_, PyAny>| function.vector(result, out);
        if !function.call(&self.bridge, (w, lambda), |py| self.sample(py, zeta), v, read) {
            out.fill(f64::NAN);
        }
    }

    /// `function(w, lam, sample)`, NaN where that failed.
    fn number(&self, function: &Function, (w, lambda, zeta): (&[f64], &[f64], &Sample)) -> f64 {
        let mut value = f64::NAN;
        let read = |result: &Bound<'_, PyAny>| function.number(result, &mut value);
        let done = function.call(&self.bridge, (w, lambda), |py| self.sample(py, zeta), None, read);
        if done { value } else { f64::NAN }
    }

    /// A number and the vectors `outs`, all of which the function returns as one tuple, which `parts` names.
    fn several<const N: usize, const M: usize>(
        &self,
        function: &Function,
        (w, lambda, zeta): (&[f64], &[f64], &Sample),
        v: Option<&[f64]>,
        parts: &str,
        mut outs: [&mut [f64]; N],
    ) -> f64 {
        let mut value = f64::NAN;
        let read = |result: &Bound<'_, PyAny>| {
            let found: [_; M] = function.parts(result, parts)?;
            let mut finite = function.number(&found[0], &mut value)?;
            for (found, out) in found[1..].iter().zip(&mut outs) {
                finite &= function.vector(found, out)?;
            }
            Ok(finite)
        };
        if function.call(&self.bridge, (w, lambda), |py| self.sample(py, zeta), v, read) {
            return value;
        }
        outs.iter_mut().for_each(|out| out.fill(f64::NAN));
        f64::NAN
    }
}

fn needed(object: &Bound<'_, PyAny>, place: &str, attribute: &str) -> PyResult<Function> {
    Function::of(object, place, attribute)?
        .ok_or_else(|| PyTypeError::new_err(format!("{place}.{attribute} must be a function")))
}

/// A lower level.
pub enum Lower {
    Map(AnyMap),
    Loss(LossLevel),
}

impl Lower {
    /// The lower level in `object`, a `StochasticMap` or a `StochasticLoss`.
    pub fn read(object: &Bound<'_, PyAny>, bridge: &Arc<Bridge>) -> PyResult<Self> {
        let level = Level::read(object, "lower", bridge)?;
        let function = |attribute: &str| needed(object, "lower", attribute);
        let optional = |attribute: &str| Function::of(object, "lower", attribute);
        Ok(match object.getattr("kind")?.extract::<String>()?.as_str() {
            "map" => Lower::Map(match object.getattr("symmetric")?.extract()? {
                true => AnyMap::Symmetric(MapLevel::read(object, level)?),
                false => AnyMap::General(MapLevel::read(object, level)?),
            }),
            "loss" => Lower::Loss(LossLevel {
                value: function("value")?,
                gradient: function("gradient")?,
                hessian_product: function("hessian_product")?,
                cross_product: function("cross_product")?,
                gradient_lambda: optional("gradient_lam")?,
                value_and_gradient: optional("value_and_gradient")?,
                directions: optional("directions")?,
                level,
            }),
            kind => return Err(PyTypeError::new_err(format!("a lower level is a map or a loss, not of kind {kind}"))),
        })
    }

    pub fn level(&self) -> &Level {
        match self {
            Lower::Map(map) => map.level(),
            Lower::Loss(loss) => &loss.level,
        }
    }
}

/// A map of whichever kind Python declares.
pub enum AnyMap {
    General(MapLevel<General>),
    Symmetric(MapLevel<DeclaredSymmetric>),
}

impl AnyMap {
    fn level(&self) -> &Level {
        match self {
            AnyMap::General(map) => &map.level,
            AnyMap::Symmetric(map) => &map.level,
        }
    }

    /// The map with what it can do.
    pub fn capable(&self) -> Capable<'_> {
        match self {
            AnyMap::General(map) => capable(map, &map.level),
            AnyMap::Symmetric(map) => capable(map, &map.level).symmetric(map),
        }
    }
}

/// `map`, a mean over rows where `level` is.
pub fn capable<'a, M: RowSums>(map: &'a M, level: &Level) -> Capable<'a> {
    let any = Capable::new(map);
    if level.is_sum() { any.row_sums(map) } else { any }
}

/// Says of a map that its derivative in `w` is a matrix like any other.
pub enum General {}

/// Says of a map that its derivative in `w` was declared symmetric.
pub enum DeclaredSymmetric {}

/// A map; what was declared of it is part of its type.
pub struct MapLevel<Declared> {
    level: Level,
    apply: Function,
    vjp_w: Function,
    vjp_lambda: Function,
    declared: PhantomData<Declared>,
}

impl<Declared> MapLevel<Declared> {
    fn read(object: &Bound<'_, PyAny>, level: Level) -> PyResult<Self> {
        let function = |attribute: &str| needed(object, "lower", attribute);
        Ok(MapLevel {
            apply: function("apply")?,
            vjp_w: function("vjp_w")?,
            vjp_lambda: function("vjp_lam")?,
            declared: PhantomData,
            level,
        })
    }
}

impl<Declared: Sync> StochasticMap for MapLevel<Declared> {
    fn dims(&self) -> Dims {
        self.level.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.level.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.level.size(zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.level.vector(&self.apply, (w, lambda, zeta), None, out);
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.level.vector(&self.vjp_w, (w, lambda, zeta), Some(v), out);
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.level.vector(&self.vjp_lambda, (w, lambda, zeta), Some(v), out);
    }
}

impl Symmetric for MapLevel<DeclaredSymmetric> {}

impl<Declared: Sync> RowSums for MapLevel<Declared> {}

/// A loss.
pub struct LossLevel {
    pub level: Level,
    value: Function,
    gradient: Function,
    hessian_product: Function,
    cross_product: Function,
    pub gradient_lambda: Option<Function>,
    value_and_gradient: Option<Function>,
    pub directions: Option<Function>,
}

impl StochasticLoss for LossLevel {
    fn dims(&self) -> Dims {
        self.level.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.level.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.level.size(zeta)
    }

    fn is_parallel(&self) -> bool {
        false
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.level.number(&self.value, (w, lambda, zeta))
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        match &self.value_and_gradient {
            Some(both) => self.level.several::<1, 2>(both, (w, lambda, zeta), None, "value, gradient", [out]),
            None => {
                self.gradient_only(w, lambda, zeta, out);
                self.value(w, lambda, zeta)
            }
        }
    }

    fn gradient_only(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.level.vector(&self.gradient, (w, lambda, zeta), None, out);
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.level.vector(&self.hessian_product, (w, lambda, zeta), Some(v), out);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.level.vector(&self.cross_product, (w, lambda, zeta), Some(v), out);
    }

    fn directions(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let Some(directions) = &self.directions else {
            let [gradient, hessian_product, cross_product] = out;
            self.hessian_product(w, lambda, zeta, v, hessian_product);
            self.cross_product(w, lambda, zeta, v, cross_product);
            return self.gradient_only(w, lambda, zeta, gradient);
        };
        self.fused(directions, (w, lambda, zeta), v, out);
    }
}

impl LossLevel {
    /// What `directions` returns: the value, and in `out` the gradient and both products.
    pub fn fused(
        &self,
        directions: &Function,
        place: (&[f64], &[f64], &Sample),
        v: &[f64],
        out: [&mut [f64]; 3],
    ) -> f64 {
        let parts = "value, gradient, hessian_product, cross_product";
        self.level.several::<3, 4>(directions, place, Some(v), parts, out)
    }
}

impl RowSumLoss for LossLevel {}

impl FirstOrder for LossLevel {
    /// NaN without the function; who needs it asks for it first.
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        match &self.gradient_lambda {
            Some(function) => self.level.vector(function, (w, lambda, zeta), None, out),
            None => out.fill(f64::NAN),
        }
    }
}

impl Curved for LossLevel {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(ProductCurvature::at(self, w, lambda))
    }
}

/// An upper objective.
pub struct ObjectiveLevel {
    pub level: Level,
    value: Function,
    gradients: Function,
}

impl ObjectiveLevel {
    /// The upper level in `object`, an `UpperObjective`.
    pub fn read(object: &Bound<'_, PyAny>, bridge: &Arc<Bridge>) -> PyResult<Self> {
        Ok(ObjectiveLevel {
            level: Level::read(object, "upper", bridge)?,
            value: needed(object, "upper", "value")?,
            gradients: needed(object, "upper", "gradients")?,
        })
    }
}

impl RowSumObjective for ObjectiveLevel {}

impl UpperObjective for ObjectiveLevel {
    fn dims(&self) -> Dims {
        self.level.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.level.draw(batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        self.level.size(xi)
    }

    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        self.level.number(&self.value, (w, lambda, xi))
    }

    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        let parts = "value, grad_w, grad_lam";
        self.level.several::<2, 3>(&self.gradients, (w, lambda, xi), None, parts, [grad_w, grad_lambda])
    }
}

//! `x = (w, v, lambda)` as one vector, so that estimators of its direction need not know of blocks.

use std::ops::Range;

use crate::lower::Dims;

/// Where an algorithm stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// `w`, then `v`, then `lambda`.
    pub(super) x: Vec<f64>,
    pub(super) layout: Layout,
}

impl Point {
    /// The start `(w, v, lambda)`.
    ///
    /// # Panics
    /// When `w` and `v` differ in length.
    pub fn new(w: &[f64], v: &[f64], lambda: &[f64]) -> Self {
        assert_eq!(w.len(), v.len(), "w and v have one length");
        let layout = Layout(Dims { w: w.len(), lambda: lambda.len() });
        Point { x: [w, v, lambda].concat(), layout }
    }

    /// The lower variable.
    pub fn w(&self) -> &[f64] {
        &self.x[self.layout.w()]
    }

    /// The second block: the adjoint `v`, or what an algorithm without adjoints keeps in its place.
    pub fn v(&self) -> &[f64] {
        &self.x[self.layout.v()]
    }

    pub(super) fn lambda_mut(&mut self) -> &mut [f64] {
        &mut self.x[self.layout.lambda()]
    }

    /// The upper variable.
    pub fn lambda(&self) -> &[f64] {
        &self.x[self.layout.lambda()]
    }
}

/// Where the blocks lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout(pub Dims);

impl Layout {
    pub(super) fn w(self) -> Range<usize> {
        0..self.0.w
    }

    pub(super) fn v(self) -> Range<usize> {
        self.0.w..2 * self.0.w
    }

    pub(super) fn lambda(self) -> Range<usize> {
        2 * self.0.w..self.len()
    }

    pub(super) fn len(self) -> usize {
        2 * self.0.w + self.0.lambda
    }

    /// The three blocks of `x`.
    pub(super) fn split(self, x: &[f64]) -> [&[f64]; 3] {
        let (w, rest) = x.split_at(self.0.w);
        let (v, lambda) = rest.split_at(self.0.w);
        [w, v, lambda]
    }

    /// The three blocks of `x`, to be written.
    pub(super) fn split_mut(self, x: &mut [f64]) -> [&mut [f64]; 3] {
        let (w, rest) = x.split_at_mut(self.0.w);
        let (v, lambda) = rest.split_at_mut(self.0.w);
        [w, v, lambda]
    }
}

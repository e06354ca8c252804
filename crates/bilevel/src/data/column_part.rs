//! What one thread computes in a visit of dense rows with several outputs.
//!
//! A visit is shared out by columns: whoever packs the weights of some columns multiplies with them, and packs and unpacks the sums of
//! the same ones. So of all that is read and written only the margins go from one core to another, which takes longer than to
//! compute them. Parts are the same whether or not a second thread takes one of them.

use std::array;
use std::ops::Range;

use super::design::Element;
use super::lanes::Number;
use super::panels::{Grids, Panels};
use super::sampled::GROUP;
use crate::simd::prefetch;
use crate::vector;

/// Rows between the one that is multiplied and the one that is fetched.
const AHEAD: usize = 8;

/// Products with some of the columns: of `IN` matrices of weights, and `OUT` of sums, one behind the other.
pub(super) struct ColumnPart<'p, N, const L: usize, const IN: usize, const OUT: usize> {
    columns: Range<usize>,
    grids: Grids<'p>,
    panels: Panels<L>,
    weights: &'p mut [[N; L]],
    sums: &'p mut [[N; L]],
    /// What is added to all margins.
    offsets: &'p mut [f64],
    /// This part of the margins.
    margins: &'p mut [f64],
    out: [&'p mut [f64]; OUT],
}

impl<'p, N: Number, const L: usize, const IN: usize, const OUT: usize> ColumnPart<'p, N, L, IN, OUT> {
    /// Some of the columns that `grids` are of, for margins of so many `rows` at a time; what it needs is taken from `packed` and
    /// `wide`.
    pub fn new<'a: 'p, 'b: 'p>(
        columns: Range<usize>,
        rows: usize,
        outputs: usize,
        grids: Grids<'p>,
        packed: &mut &'a mut [[N; L]],
        wide: &mut &'b mut [f64],
        out: [&'p mut [f64]; OUT],
    ) -> Self {
        let panels = Panels::new(columns.len(), outputs);
        ColumnPart {
            grids: grids.map(|(shifts, scales)| (&shifts[columns.clone()], &scales[columns.clone()])),
            panels,
            weights: taken(packed, IN * panels.len()),
            sums: taken(packed, OUT * panels.len()),
            offsets: taken(wide, IN * outputs),
            margins: taken(wide, IN * rows * outputs),
            out,
            columns,
        }
    }

    /// What parts with these columns take: chunks of `packed`, and numbers of `wide`.
    pub fn needed(columns: &[Range<usize>], rows: usize, outputs: usize) -> (usize, usize) {
        let chunks: usize = columns.iter().map(|columns| Panels::<L>::new(columns.len(), outputs).len()).sum();
        ((IN + OUT) * chunks, columns.len() * IN * (1 + rows) * outputs)
    }

    /// The first so many margins of all parts, added up.
    pub fn added_up(parts: &mut [Self], count: usize) -> &mut [f64] {
        let (whole, others) = parts.split_first_mut().expect("a part");
        let margins = &mut whole.margins[..count];
        for other in others {
            vector::axpy(1.0, &other.margins[..count], margins);
        }
        margins
    }

    /// Its part of the margins of rows with these columns and others, `cols` in all; packs `weights` if they are new.
    pub fn multiply<T: Element + Into<N>>(&mut self, rows: &[&[T]], weights: Option<&[&[f64]; IN]>, cols: usize) {
        let rows = &self.own_columns(rows)[..rows.len()];
        rows.iter().take(AHEAD).for_each(|row| prefetch(row));
        if let Some(weights) = weights {
            self.pack(weights, cols);
        }
        let margins = &mut self.margins[..IN * rows.len() * self.panels.outputs];
        self.panels.margins(rows, &rows[AHEAD.min(rows.len())..], self.weights, self.offsets, margins);
    }

    fn own_columns<'r, T>(&self, rows: &[&'r [T]]) -> [&'r [T]; GROUP] {
        // Rows that are too short have been made longer.
        let columns = self.columns.start..self.columns.end.max(L);
        array::from_fn(|i| rows.get(i).map_or(&[][..], |row| &row[columns.clone()]))
    }

    /// Packs the weights of these columns; intercepts are with those of the first columns.
    fn pack(&mut self, weights: &[&[f64]; IN], cols: usize) {
        let outputs = self.panels.outputs;
        let parts = self.weights.chunks_exact_mut(self.panels.len()).zip(self.offsets.chunks_exact_mut(outputs));
        for ((packed, offsets), weights) in parts.zip(weights) {
            let intercepts = &weights[cols * outputs..];
            if self.columns.start > 0 || intercepts.is_empty() {
                offsets.fill(0.0);
            } else {
                offsets.copy_from_slice(intercepts);
            }
            self.panels.pack(&weights[self.columns.start * outputs..], self.grids, packed, offsets);
        }
    }

    /// Adds `X^T G_k` of these columns to `sums`, which begin with nothing where they are `fresh`.
    pub fn add_transposed<T: Element + Into<N>>(&mut self, rows: &[&[T]], g: &[N], fresh: bool) {
        if fresh {
            self.sums.as_flattened_mut().fill(N::default());
        }
        let of_each = rows.len() * self.panels.outputs;
        let rows = &self.own_columns(rows)[..rows.len()];
        for (sums, g) in self.sums.chunks_exact_mut(self.panels.len()).zip(g.chunks_exact(of_each)) {
            self.panels.add_transposed(rows, g, sums);
        }
    }

    /// Adds the sums to `out`; `totals` of `G_k` one behind the other.
    pub fn unpack(&mut self, totals: &[f64]) {
        let parts = self.sums.chunks_exact(self.panels.len()).zip(totals.chunks_exact(self.panels.outputs));
        for ((sums, totals), out) in parts.zip(&mut self.out) {
            self.panels.add_unpacked(sums, self.grids, totals, out);
        }
    }
}

/// The first `count` of what is left.
pub(super) fn taken<'t, N>(rest: &mut &'t mut [N], count: usize) -> &'t mut [N] {
    rest.split_off_mut(..count).expect("there is room for all")
}

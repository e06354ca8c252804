//! Dense storage of one byte an entry, for columns whose values are equally spaced.
//!
//! Pixels have 256 values, and still have as many after they were brought to mean 0 and variance 1. A byte an entry is a
//! quarter of the memory traffic of single precision, and data that are too large for the caches fit them again. With
//! `x_ij = shift_j + scale_j c_ij` the scale goes into the weights before a product and the shift is added after it, so
//! that the kernels of dense storage see codes and nothing else; products are those of the numbers before they were rounded to
//! single precision, which is what decoding does.

use std::ops::Range;

use super::buffer::Access;
use super::dense::DenseMatrix;
use super::dense_outputs::{add_outputs_transposed, outputs_margins};
use super::grid::Grid;
use super::row_ranges::RowPick;
use super::sampled::{Transform, dense_pass};
use crate::scratch::scratch;
use crate::simd::vectorize;
use crate::vector;

/// Bytes of a matrix that is near enough to the processor in any storage.
const CACHE: usize = 2 << 20;
/// Values a code can have.
const CODES: usize = 256;
/// Rows that are decoded at a time where products with codes would lose digits.
const DECODED_ROWS: usize = 256;

/// An `n x p` matrix `x_ij = shift_j + scale_j c_ij` with codes `c_ij` in `0..256`.
#[derive(Debug, Clone, PartialEq)]
pub struct CodedMatrix {
    codes: DenseMatrix<u8>,
    shifts: Vec<f64>,
    scales: Vec<f64>,
}

/// The distinct values of a column, as long as they are few.
#[derive(Clone, Default)]
struct Distinct {
    /// Bit patterns by their hash; empty at first.
    slots: Vec<Option<u32>>,
    count: usize,
}

impl Distinct {
    /// Bits of a hash; the table stays at most half full.
    const BITS: u32 = (2 * CODES).ilog2();

    /// Remembers `x`; false when there are too many values, or `x` is not finite.
    #[inline]
    fn hold(&mut self, x: f32) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![None; 1 << Self::BITS];
        }
        let bits = x.to_bits();
        let mut place = (bits.wrapping_mul(0x9e37_79b1) >> (32 - Self::BITS)) as usize;
        loop {
            match self.slots[place] {
                Some(held) if held == bits => return true,
                Some(_) => place = (place + 1) % self.slots.len(),
                None => break,
            }
        }
        self.slots[place] = Some(bits);
        self.count += 1;
        self.count <= CODES && x.is_finite()
    }

    /// The values in rising order.
    fn rising(self) -> Vec<f32> {
        let mut values: Vec<f32> = self.slots.into_iter().flatten().map(f32::from_bits).collect();
        values.sort_by(f32::total_cmp);
        values
    }
}

impl CodedMatrix {
    /// `matrix` in codes that decode to exactly its numbers; `None` where a column has no such codes.
    pub fn encode(matrix: &DenseMatrix<f32>) -> Option<Self> {
        let mut values = vec![Distinct::default(); matrix.cols()];
        for i in 0..matrix.rows() {
            for (values, &x) in values.iter_mut().zip(matrix.row(i)) {
                if !values.hold(x + 0.0) {
                    return None;
                }
            }
        }
        let grids: Vec<Grid> = values.into_iter().map(|values| Grid::of(&values.rising())).collect::<Option<_>>()?;
        let mut codes = Vec::with_capacity(matrix.values().len());
        for i in 0..matrix.rows() {
            codes.extend(grids.iter().zip(matrix.row(i)).map(|(grid, &x)| grid.code(x)));
        }
        let (shifts, scales) = grids.iter().map(|grid| (grid.shift, grid.scale)).unzip();
        Some(CodedMatrix { codes: DenseMatrix::new(matrix.rows(), matrix.cols(), codes), shifts, scales })
    }

    /// Whether so many entries are too many for the nearest caches in single precision, so that codes are faster.
    pub(super) fn pays(entries: usize) -> bool {
        entries * size_of::<f32>() > CACHE
    }

    /// The matrix with these codes, all on one grid.
    pub(super) fn on_one_grid(rows: usize, cols: usize, codes: Vec<u8>, grid: Grid) -> Self {
        let codes = DenseMatrix::new(rows, cols, codes);
        CodedMatrix { codes, shifts: vec![grid.shift; cols], scales: vec![grid.scale; cols] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.codes.rows()
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.codes.cols()
    }

    /// The codes.
    pub fn codes(&self) -> &DenseMatrix<u8> {
        &self.codes
    }

    /// The numbers of row `i`.
    #[inline(always)]
    pub fn decoded_row(&self, i: usize) -> impl Iterator<Item = f32> {
        self.grids().zip(self.codes.row(i)).map(|(grid, &code)| grid.value(code))
    }

    /// What decodes the columns: all `shift_j`, and all `scale_j`.
    #[inline(always)]
    pub(super) fn shifts_and_scales(&self) -> (&[f64], &[f64]) {
        (&self.shifts, &self.scales)
    }

    #[inline(always)]
    fn grids(&self) -> impl Iterator<Item = Grid> {
        self.shifts.iter().zip(&self.scales).map(|(&shift, &scale)| Grid { shift, scale })
    }

    /// The numbers of all rows.
    pub fn decode(&self) -> DenseMatrix<f32> {
        self.decoded(&RowPick::Span(0..self.rows()))
    }

    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select_rows(&self, order: &[u32]) -> Self {
        self.with_codes(self.codes.select_rows(order))
    }

    /// The rows `order[0], order[1], ...` in that order, each of them once.
    ///
    /// # Panics
    /// When `order` is no order of the rows.
    #[must_use]
    pub fn into_order(self, order: &[u32]) -> Self {
        CodedMatrix { codes: self.codes.into_order(order), ..self }
    }

    /// The rows `rows`, whose codes stay where they are.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn range(&self, rows: Range<usize>) -> Self {
        self.with_codes(self.codes.range(rows))
    }

    fn with_codes(&self, codes: DenseMatrix<u8>) -> Self {
        CodedMatrix { codes, shifts: self.shifts.clone(), scales: self.scales.clone() }
    }

    pub(super) fn advise(&self, access: Access) {
        self.codes.advise(access);
    }

    /// Replaces the numbers `x` of column `j` by `f_j(x) = (x - shift) / scale`, given `(shift, scale)`; by zeros without.
    pub(super) fn transform(&mut self, f: impl Fn(usize) -> Option<(f64, f64)>) {
        for (j, (own_shift, own_scale)) in self.shifts.iter_mut().zip(&mut self.scales).enumerate() {
            (*own_shift, *own_scale) = match f(j) {
                Some((shift, scale)) => ((*own_shift - shift) / scale, *own_scale / scale),
                None => (0.0, 0.0),
            };
        }
    }

    fn decoded(&self, rows: &RowPick<'_>) -> DenseMatrix<f32> {
        let mut values = vec![0.0; rows.len() * self.cols()];
        vectorize(
            #[inline(always)]
            || {
                for (i, numbers) in values.chunks_exact_mut(self.cols().max(1)).enumerate() {
                    numbers.iter_mut().zip(self.decoded_row(rows.row(i))).for_each(|(number, x)| *number = x);
                }
            },
        );
        // For one product: not worth being moved to the begin of a line.
        DenseMatrix::of_buffer(rows.len(), self.cols(), values.into())
    }

    /// Puts `scale_j w_j` into `scaled`; returns `sum_j shift_j w_j`.
    fn scale_weights(&self, weights: &[f64], scaled: &mut [f64]) -> f64 {
        vector::multiply(&self.scales, weights, scaled);
        vector::dot(&self.shifts, weights)
    }

    /// Puts the rows into `tile`, one behind the other: `shift + scale c` in single precision.
    pub(super) fn decode_rows(&self, rows: &RowPick<'_>, tile: &mut [f32]) {
        let cols = self.cols();
        scratch(2 * cols, |factors: &mut [f32]| {
            let (scales, shifts) = factors.split_at_mut(cols);
            vectorize(
                #[inline(always)]
                || {
                    for (narrow, wide) in [(&mut *scales, &self.scales), (&mut *shifts, &self.shifts)] {
                        narrow.iter_mut().zip(wide).for_each(|(narrow, &wide)| *narrow = wide as f32);
                    }
                    for (i, numbers) in tile.chunks_exact_mut(cols.max(1)).enumerate() {
                        let codes = self.codes.row(rows.row(i));
                        for (((number, &code), &scale), &shift) in
                            numbers.iter_mut().zip(codes).zip(&*scales).zip(&*shifts)
                        {
                            *number = f32::from(code).mul_add(scale, shift);
                        }
                    }
                },
            );
        });
    }

    pub(super) fn block_margins(&self, rows: &RowPick<'_>, weights: &[f64], outputs: usize, out: &mut [f64]) {
        if outputs > 1 {
            return outputs_margins(self, rows, weights, outputs, out);
        }
        scratch(weights.len(), |scaled| {
            let offset = self.scale_weights(weights, scaled);
            self.codes.block_margins(rows, scaled, outputs, out);
            vector::shift(offset, out);
        });
    }

    pub(super) fn add_block_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        if outputs > 1 {
            return add_outputs_transposed(self, rows, g, outputs, out);
        }
        scratch(out.len(), |product| {
            product.fill(0.0);
            self.codes.add_block_transpose(rows, g, outputs, product);
            vector::add_combination(&self.scales, product, vector::sum(g), &self.shifts, out);
        });
    }

    /// Hands out the numbers of the rows, some at a time, with their positions.
    fn decoded_blocks(&self, rows: &RowPick<'_>, mut visit: impl FnMut(Range<usize>, &DenseMatrix<f32>)) {
        for first in (0..rows.len()).step_by(DECODED_ROWS) {
            let positions = first..(first + DECODED_ROWS).min(rows.len());
            visit(positions.clone(), &self.decoded(&rows.part(positions)));
        }
    }

    pub(super) fn add_block_squared_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        self.decoded_blocks(rows, |positions, block| {
            let g = &g[positions.start * outputs..positions.end * outputs];
            block.add_block_squared_transpose(&RowPick::Span(0..block.rows()), g, outputs, out);
        });
    }

    pub(super) fn add_block_gram(&self, rows: &RowPick<'_>, d: &[f64], out: &mut [f64]) {
        self.decoded_blocks(rows, |positions, block| {
            block.add_block_gram(&RowPick::Span(0..block.rows()), &d[positions], out);
        });
    }

    pub(super) fn add_scaled_row(&self, i: usize, scale: &[f64], out: &mut [f64]) {
        for ((out, x), scale) in out.iter_mut().zip(self.decoded_row(i)).zip(scale) {
            *out += scale * f64::from(x);
        }
    }

    /// One output; see [`DesignMatrix::sampled_pass`](super::DesignMatrix::sampled_pass).
    pub(super) fn sampled_pass<const IN: usize, const OUT: usize>(
        &self,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        mut out: [&mut [f64]; OUT],
        transform: Transform<'_, IN>,
    ) {
        let cols = self.cols();
        scratch((IN + OUT) * cols, |buffer| {
            let (scaled, products) = buffer.split_at_mut(IN * cols);
            products.fill(0.0);
            let mut parts = scaled.chunks_exact_mut(cols.max(1));
            let (mut offsets, mut sums) = ([0.0; IN], [0.0; OUT]);
            let mut inputs: [&[f64]; IN] = [&[]; IN];
            for ((weights, offset), input) in weights.iter().zip(&mut offsets).zip(&mut inputs) {
                let scaled = parts.next().unwrap_or_default();
                *offset = self.scale_weights(weights, scaled);
                *input = scaled;
            }
            let mut parts = products.chunks_exact_mut(cols.max(1));
            let products = [(); OUT].map(|()| parts.next().unwrap_or_default());
            let mut kept = products;
            let borrowed = kept.each_mut().map(|product| &mut **product);
            dense_pass(&self.codes, rows, inputs, borrowed, &mut |positions, margins| {
                for (margins, offset) in margins.iter_mut().zip(&offsets) {
                    margins.iter_mut().for_each(|m| *m += offset);
                }
                transform(positions, margins);
                for (g, sum) in margins.iter().zip(&mut sums) {
                    *sum += g.iter().sum::<f64>();
                }
            });
            for ((product, sum), out) in kept.iter().zip(sums).zip(&mut out) {
                vector::add_combination(&self.scales, product, sum, &self.shifts, out);
            }
        });
    }
}

//! The mean loss on samples of the rows: what is drawn, which rows of the matrix that is, and one visit of them.

use super::risk::EmpiricalRisk;
use super::weighting::{Counts, gathered};
use crate::data::RowPick;
use crate::data::sampled::{Arithmetic, GROUP};
use crate::sample::{Rng, Sample};
use crate::vector;

/// Rows of a sample that are visited together: targets, weights, and which they are.
pub(super) struct Visited<'v> {
    pub y: &'v [f64],
    pub c: Option<&'v [f64]>,
    /// Position of the first of them in the sample.
    pub position: usize,
    pick: &'v RowPick<'v>,
    first: usize,
}

impl Visited<'_> {
    /// The row of the matrix that is the `i`-th of these.
    pub(super) fn row(&self, i: usize) -> usize {
        self.pick.row(self.first + i)
    }

    /// What they count by other weights than `c`; put into `buffer` where those do not lie side by side.
    pub(super) fn counted<'s>(&self, counts: &'s Counts<'_>, buffer: &'s mut [f64; GROUP]) -> Option<&'s [f64]> {
        counts.gathered(self.pick, self.first..self.first + self.y.len(), buffer)
    }
}

impl EmpiricalRisk<'_> {
    /// Relative rounding of a term of a derivative on a sample: that of the storage, where products with samples are
    /// computed in it.
    pub fn sample_precision(&self) -> f64 {
        self.design.sample_precision()
    }

    pub(super) fn draw_rows(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.sampling.draw(self.len(), batch, rng, sample);
    }

    pub(super) fn sample_size(&self, zeta: &Sample) -> usize {
        match zeta {
            Sample::Full => self.len(),
            Sample::Block(block) => block.len(),
            Sample::Rows(rows) => rows.len(),
            Sample::Seed(_) => 0,
        }
    }

    /// Adds the gradient of the mean over a sample to `out`.
    pub(super) fn derivative(&self, counts: Counts<'_>, w: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.sampled_pass(Arithmetic::Storage, counts, [w], zeta, [out], |rows, [margins]| {
            self.loss.derivative(margins, rows.y, rows.c);
            0.0
        });
    }

    /// `out[k] += mean over the sample of c_i x_i g_ki`, where `transform(rows, margins)` makes `g_k` of the margins with
    /// `w[i]`, in place, for some rows at a time; returns the mean of `transform`.
    pub(super) fn sampled_pass<const IN: usize, const OUT: usize>(
        &self,
        arithmetic: Arithmetic,
        counts: Counts<'_>,
        w: [&[f64]; IN],
        zeta: &Sample,
        mut out: [&mut [f64]; OUT],
        mut transform: impl FnMut(Visited<'_>, &mut [&mut [f64]; IN]) -> f64,
    ) -> f64 {
        let factor = self.sample_scale(zeta);
        let (mut sum, mut done) = (0.0, 0);
        self.for_each_pick(zeta, |pick| {
            let out = out.each_mut().map(|out| &mut **out);
            self.design.sampled_pass(arithmetic, &pick, w, self.outputs(), out, |positions, margins| {
                let (mut y, mut c) = ([0.0; GROUP], [0.0; GROUP]);
                let y = gathered(self.target, &pick, positions.clone(), &mut y);
                let c = counts.gathered(&pick, positions.clone(), &mut c);
                let first = positions.start;
                sum += transform(Visited { y, c, position: done + first, pick: &pick, first }, margins);
                margins.iter_mut().take(OUT).for_each(|g| vector::scale(factor, g));
            });
            done += pick.len();
        });
        sum * factor
    }

    /// What the sum over a sample is multiplied by: each row drawn stands for all of them.
    pub(super) fn sample_scale(&self, zeta: &Sample) -> f64 {
        self.scale * self.len() as f64 / self.sample_size(zeta).max(1) as f64
    }

    /// Turns positions among the rows into rows of the matrix.
    pub(super) fn for_each_pick(&self, zeta: &Sample, mut visit: impl FnMut(RowPick<'_>)) {
        match zeta {
            Sample::Full => self.rows.ranges().iter().for_each(|r| visit(RowPick::Span(r.clone()))),
            Sample::Block(block) => {
                let mut position = 0;
                for range in self.rows.ranges() {
                    let start = block.start.max(position);
                    let end = block.end.min(position + range.len());
                    if start < end {
                        visit(RowPick::Span(range.start + start - position..range.start + end - position));
                    }
                    position += range.len();
                }
            }
            Sample::Rows(positions) if self.rows.ranges().len() == 1 && self.rows.ranges()[0].start == 0 => {
                visit(RowPick::List(positions));
            }
            Sample::Rows(positions) => {
                let rows: Vec<u32> = positions.iter().map(|&i| self.rows.row(i as usize) as u32).collect();
                visit(RowPick::List(&rows));
            }
            Sample::Seed(_) => panic!("rows cannot be drawn from a bare seed"),
        }
    }
}

//! Each row enters by `C` numbers, the derivatives of its loss in the margins; the penalty is the rest.

use super::problem::Glm;
use super::risk::EmpiricalRisk;
use super::weighting::{Counts, gathered};
use crate::data::RowPick;
use crate::data::passes::SharedSlots;
use crate::data::sampled::GROUP;
use crate::row_sums::RowSumLoss;
use crate::sample::Sample;

impl EmpiricalRisk<'_> {
    /// `out` = the margins of the sample's rows for the parameters `w`, after `transform`, which sees targets and weights.
    fn row_numbers(
        &self,
        counts: Counts<'_>,
        w: &[f64],
        zeta: &Sample,
        transform: impl Fn(usize, &[f64], Option<&[f64]>, &mut [f64]) + Sync,
        out: &mut [f64],
    ) {
        let (weights, intercept) = self.split(w);
        let outputs = self.outputs();
        if *zeta == Sample::Full {
            let slots = SharedSlots::new(out, outputs);
            self.pass.margins(weights, &intercept, |rows, position, margins| {
                transform(position, &self.target[rows.clone()], counts.of(rows.clone()).as_deref(), margins);
                slots.at(position, rows.len()).copy_from_slice(margins);
                0.0
            });
            return;
        }
        let mut done = 0;
        self.for_each_pick(zeta, |pick| {
            let margins = &mut out[done * outputs..(done + pick.len()) * outputs];
            margins.fill(0.0);
            self.design.block_margins(&pick, weights, outputs, margins);
            for row in margins.chunks_exact_mut(outputs) {
                row.iter_mut().zip(intercept.iter()).for_each(|(m, b)| *m += b);
            }
            for first in (0..pick.len()).step_by(GROUP) {
                let positions = first..(first + GROUP).min(pick.len());
                let (mut y, mut c) = ([0.0; GROUP], [0.0; GROUP]);
                let y = gathered(self.target, &pick, positions.clone(), &mut y);
                let c = counts.gathered(&pick, positions.clone(), &mut c);
                transform(done + first, y, c, &mut margins[first * outputs..positions.end * outputs]);
            }
            done += pick.len();
        });
    }
}

impl RowSumLoss for Glm<'_> {
    fn width(&self) -> usize {
        self.risk.outputs()
    }

    fn gradient_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        let loss = self.risk.loss;
        let gradient = |_, y: &[f64], c: Option<&[f64]>, margins: &mut [f64]| {
            loss.gradient(margins, y, c);
        };
        self.risk.row_numbers(self.counts(lambda), w, zeta, gradient, out);
    }

    fn product_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let (loss, outputs) = (self.risk.loss, self.risk.outputs());
        let mut curvature = vec![0.0; out.len()];
        let counts = self.counts(lambda);
        self.risk.row_numbers(counts, w, zeta, |_, y, _, margins| loss.curvature(margins, y), &mut curvature);
        let product = |first: usize, _: &[f64], c: Option<&[f64]>, margins: &mut [f64]| {
            loss.curvature_product(&curvature[first * outputs..][..margins.len()], c, margins);
        };
        self.risk.row_numbers(counts, v, zeta, product, out);
    }

    fn add_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        let risk = &self.risk;
        let outputs = risk.outputs();
        let mut sum = vec![0.0; out.len()];
        if *zeta == Sample::Full {
            let zeros = vec![0.0; out.len()];
            risk.full_pass(&zeros, &mut sum, |_, position, margins| {
                margins.copy_from_slice(&numbers[position * outputs..][..margins.len()]);
                0.0
            });
            return crate::vector::axpy(1.0, &sum, out);
        }
        let (sum_weights, sum_intercept) = sum.split_at_mut(risk.features() * outputs);
        let mut done = 0;
        risk.for_each_pick(zeta, |pick: RowPick<'_>| {
            let numbers = &numbers[done * outputs..(done + pick.len()) * outputs];
            risk.design.add_block_transpose(&pick, numbers, outputs, sum_weights);
            if risk.intercept {
                for row in numbers.chunks_exact(outputs) {
                    crate::vector::axpy(1.0, row, sum_intercept);
                }
            }
            done += pick.len();
        });
        crate::vector::axpy(risk.scale * risk.len() as f64 / done.max(1) as f64, &sum, out);
    }

    fn gradient_rest(&self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_quadratic_product(&self.strengths(lambda), w, out);
    }

    fn product_rest(&self, _w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        self.gradient_rest(v, lambda, out);
    }
}

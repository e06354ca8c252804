//! Each row enters by `C` numbers, the derivatives of its loss in the margins; the penalty is the rest.

use super::problem::Glm;
use super::risk::EmpiricalRisk;
use super::sampled_risk::Visited;
use super::weighting::Counts;
use crate::data::RowPick;
use crate::data::passes::SharedSlots;
use crate::data::sampled::Arithmetic;
use crate::row_sums::{RowSumLoss, RowSumObjective, subtract_memory};
use crate::sample::Sample;

/// Puts aside what the rows of a sample contribute, and leaves what is new about it.
struct Exchange<'m> {
    zeta: &'m Sample,
    width: usize,
    memory: &'m [f64],
    fresh: SharedSlots<'m>,
}

impl<'m> Exchange<'m> {
    fn new(zeta: &'m Sample, width: usize, memory: &'m [f64], fresh: &'m mut [f64]) -> Self {
        Exchange { zeta, width, memory, fresh: SharedSlots::new(fresh, width) }
    }

    /// For `numbers` of the rows from the `first` one of the sample on. Calls must be for different rows.
    fn swap(&self, first: usize, numbers: &mut [f64]) {
        self.fresh.at(first, numbers.len() / self.width).copy_from_slice(numbers);
        subtract_memory(self.zeta, first, self.width, self.memory, numbers);
    }
}

impl EmpiricalRisk<'_> {
    /// `out = mean over the sample of c_i x_i (g_i - memory_i)`, `g_i` the derivatives of the loss in the margins, which go
    /// into `fresh`.
    fn derivative_change(
        &self,
        counts: Counts<'_>,
        w: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let (loss, exchange) = (self.loss, Exchange::new(zeta, self.outputs(), memory, fresh));
        if *zeta == Sample::Full {
            self.full_pass(w, out, |rows, position, margins| {
                loss.derivative(margins, &self.target[rows.clone()], counts.of(rows).as_deref());
                exchange.swap(position, margins);
                0.0
            });
            return;
        }
        out.fill(0.0);
        self.sampled_pass(Arithmetic::Double, counts, [w], zeta, [out], |rows, [margins]| {
            loss.derivative(margins, rows.y, rows.c);
            exchange.swap(rows.position, margins);
            0.0
        });
    }

    /// The same of the gradient and of the Hessian times `v`, in one visit.
    #[allow(clippy::too_many_arguments)]
    fn row_changes(
        &self,
        counts: Counts<'_>,
        w: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: [&[f64]; 2],
        [of_gradient, of_product]: [&mut [f64]; 2],
        [gradient, product]: [&mut [f64]; 2],
    ) {
        let outputs = self.outputs();
        let of_gradient = Exchange::new(zeta, outputs, memory[0], of_gradient);
        let of_product = Exchange::new(zeta, outputs, memory[1], of_product);
        let both = |first: usize, y: &[f64], c: Option<&[f64]>, m: &mut [f64], u: &mut [f64]| {
            self.loss.directions(m, u, y, c);
            of_gradient.swap(first, m);
            of_product.swap(first, u);
        };
        if *zeta == Sample::Full {
            return self.full_pass_of_two(counts, [w, v], [gradient, product], both);
        }
        gradient.fill(0.0);
        product.fill(0.0);
        self.sampled_pass(
            Arithmetic::Double,
            counts,
            [w, v],
            zeta,
            [gradient, product],
            |Visited { position, y, c, .. }, [m, u]| {
                both(position, y, c, m, u);
                0.0
            },
        );
    }

    /// Two products with all rows in one visit: their parameters become columns of one matrix.
    pub(super) fn full_pass_of_two(
        &self,
        counts: Counts<'_>,
        w: [&[f64]; 2],
        mut out: [&mut [f64]; 2],
        transform: impl Fn(usize, &[f64], Option<&[f64]>, &mut [f64], &mut [f64]) + Sync,
    ) {
        let (outputs, weights) = (self.outputs(), self.features() * self.outputs());
        let join = |range: std::ops::Range<usize>| -> Vec<f64> {
            let halves = w[0][range.clone()].chunks_exact(outputs).zip(w[1][range].chunks_exact(outputs));
            halves.flat_map(|(first, second)| first.iter().chain(second).copied()).collect()
        };
        let joined = join(0..weights);
        let intercept = if self.intercept { join(weights..weights + outputs) } else { vec![0.0; 2 * outputs] };
        let (mut sums, mut sums_intercept) = (vec![0.0; joined.len()], vec![0.0; 2 * outputs]);
        let visit = |rows: std::ops::Range<usize>, position: usize, margins: &mut [f64]| {
            let mut halves = [vec![0.0; rows.len() * outputs], vec![0.0; rows.len() * outputs]];
            for (i, row) in margins.chunks_exact(2 * outputs).enumerate() {
                halves[0][i * outputs..][..outputs].copy_from_slice(&row[..outputs]);
                halves[1][i * outputs..][..outputs].copy_from_slice(&row[outputs..]);
            }
            let [first, second] = &mut halves;
            transform(position, &self.target[rows.clone()], counts.of(rows).as_deref(), first, second);
            for (i, row) in margins.chunks_exact_mut(2 * outputs).enumerate() {
                row[..outputs].copy_from_slice(&first[i * outputs..][..outputs]);
                row[outputs..].copy_from_slice(&second[i * outputs..][..outputs]);
            }
            0.0
        };
        self.pass.margins_and_transpose(&joined, &intercept, visit, &mut sums, &mut sums_intercept);
        for (half, out) in out.iter_mut().enumerate() {
            let columns = sums.chunks_exact(2 * outputs).chain(sums_intercept.chunks_exact(2 * outputs));
            for (out, sums) in out.chunks_exact_mut(outputs).zip(columns) {
                for (out, sum) in out.iter_mut().zip(&sums[half * outputs..]) {
                    *out = self.scale * sum;
                }
            }
        }
    }
}

impl RowSumLoss for Glm<'_> {
    fn width(&self) -> usize {
        self.risk.outputs()
    }

    fn gradient_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.risk.derivative_change(self.counts(lambda), w, zeta, memory, fresh, out);
    }

    fn product_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let (risk, loss) = (&self.risk, self.risk.loss);
        if *zeta == Sample::Full {
            let ignored = [&mut vec![0.0; fresh.len()][..], fresh];
            return risk.row_changes(
                self.counts(lambda),
                w,
                zeta,
                v,
                [&[], memory],
                ignored,
                [&mut vec![0.0; out.len()], out],
            );
        }
        let exchange = Exchange::new(zeta, risk.outputs(), memory, fresh);
        out.fill(0.0);
        risk.sampled_pass(Arithmetic::Double, self.counts(lambda), [v, w], zeta, [out], |rows, [u, margins]| {
            loss.curvature(margins, rows.y);
            loss.curvature_product(margins, rows.c, u);
            exchange.swap(rows.position, u);
            0.0
        });
    }

    fn changes(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: [&[f64]; 2],
        fresh: [&mut [f64]; 2],
        out: [&mut [f64]; 2],
    ) {
        self.risk.row_changes(self.counts(lambda), w, zeta, v, memory, fresh, out);
    }

    fn mean_of_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        let risk = &self.risk;
        let outputs = risk.outputs();
        if *zeta == Sample::Full {
            let zeros = vec![0.0; out.len()];
            risk.full_pass(&zeros, out, |_, position, margins| {
                margins.copy_from_slice(&numbers[position * outputs..][..margins.len()]);
                0.0
            });
            return;
        }
        out.fill(0.0);
        let (out_weights, out_intercept) = out.split_at_mut(risk.features() * outputs);
        let mut done = 0;
        risk.for_each_pick(zeta, |pick: RowPick<'_>| {
            let numbers = &numbers[done * outputs..(done + pick.len()) * outputs];
            risk.design.add_block_transpose(&pick, numbers, outputs, out_weights);
            if risk.intercept {
                for row in numbers.chunks_exact(outputs) {
                    crate::vector::axpy(1.0, row, out_intercept);
                }
            }
            done += pick.len();
        });
        crate::vector::scale(risk.scale * risk.len() as f64 / done.max(1) as f64, out);
    }

    fn add_gradient_rest(&self, factor: f64, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.add_penalty_product(factor, lambda, w, out);
    }

    fn add_product_rest(&self, factor: f64, _w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        self.add_penalty_product(factor, lambda, v, out);
    }
}

impl RowSumObjective for EmpiricalRisk<'_> {
    fn width(&self) -> usize {
        self.outputs()
    }

    fn gradient_change(
        &self,
        w: &[f64],
        _lambda: &[f64],
        xi: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.derivative_change(self.weighting.into(), w, xi, memory, fresh, out);
    }
}

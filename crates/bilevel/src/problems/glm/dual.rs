//! Lower level and adjoint of a generalised linear model by coordinate ascent in the dual, row by row.
//!
//! At the minimum `W = -Lambda^{-1} X^T A / n`, where the row `A_i` is the gradient of the loss of row `i` in its `C`
//! margins. So `n C` dual variables determine the `p C` weights, and the dual is maximised over one `A_i` at a time,
//! exactly, at the cost of one gather and one scatter along the stored entries of the row: no vector of the length of `W`
//! is ever swept (prox-SDCA, Shalev-Shwartz & Zhang 2013; the multinomial dual of Yu, Huang & Lin 2011). With few rows and
//! many features this takes tens of passes where Newton with conjugate gradients takes thousands of products.
//!
//! The adjoint `H v = b` has the same form, `v = Lambda^{-1} (b - X^T B / n)` with `B_i = D_i x_i^T v`, and Gauss-Seidel
//! over its rows is the same iteration on a quadratic.
//!
//! An unpenalised intercept would have an infinite `Lambda^{-1}`. It gets a proximal term `tau/2 |b - b_last|^2` instead,
//! whose centre moves to the intercept after every epoch (proximal point method, Rockafellar 1976): a feature like the
//! others during an epoch, and without penalty in the end.

use super::curvature::GlmCurvature;
use super::dual_row::{Gain, Row};
use super::penalty::Penalty;
use super::problem::Glm;
use crate::data::RowPick;
use crate::error::{Error, Result};
use crate::sample::{Purpose, Rng};
use crate::status::{Info, Status};
use crate::stop::StopSignal;
use crate::vector;
use crate::work::Work;

/// When a solve in the dual ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DualLimits {
    /// Passes over the rows.
    pub epochs: usize,
    /// For the minimum: predicted decrease left, as a fraction of the loss. For the adjoint: squared error in the norm
    /// of `H`, as a fraction of that of the solution.
    pub tolerance: f64,
    /// For the minimum: a decrease that may be left in any case.
    pub enough: f64,
}

/// Dual variables of a lower level and of its adjoint, kept from one `lambda` to the next.
#[derive(Debug, Clone)]
pub struct DualAscent<'a> {
    glm: Glm<'a>,
    /// Row of the matrix at each position.
    rows: Vec<u32>,
    /// `A`, for every row of the matrix.
    gradients: Vec<f64>,
    /// `B`, likewise.
    adjoints: Vec<f64>,
    /// Epochs so far: each has its own order of the rows.
    epochs: u64,
}

/// How dual variables make weights: `W_jc = -feature_j class_c sum_i x_ij A_ic`.
struct Link {
    feature: Vec<f64>,
    class: Vec<f64>,
    /// `scale / tau`; 0 without intercepts.
    intercept: f64,
    tau: f64,
    /// `sum_j feature_j x_ij^2`, by position.
    rows: Vec<f64>,
}

impl<'a> DualAscent<'a> {
    /// For the problem `glm`, from zero.
    pub fn new(glm: Glm<'a>) -> Self {
        let length = glm.risk.design.rows() * glm.risk.outputs();
        let rows = glm.risk.rows.ranges().iter().flat_map(|r| r.start as u32..r.end as u32).collect();
        DualAscent { glm, rows, gradients: vec![0.0; length], adjoints: vec![0.0; length], epochs: 0 }
    }

    /// Takes the dual variables of a problem on the same matrix as a start; those of rows it does not fit are zero.
    pub fn start_from(&mut self, other: &DualAscent<'_>) {
        if self.gradients.len() == other.gradients.len() {
            self.gradients.fill(0.0);
            self.adjoints.fill(0.0);
            let outputs = self.glm.risk.outputs();
            for &row in &self.rows {
                let span = row as usize * outputs..(row as usize + 1) * outputs;
                self.gradients[span.clone()].copy_from_slice(&other.gradients[span.clone()]);
                self.adjoints[span.clone()].copy_from_slice(&other.adjoints[span]);
            }
        }
    }

    /// Minimises the loss at `lambda`. Only the intercepts of `w`, and the size of its weights, are used as a start
    /// besides the dual variables. Returns the loss as well; it is that of the rows as they were visited last.
    ///
    /// # Errors
    /// Numeric, when anything is not finite. When `stop` is raised the status is that of a step limit.
    pub fn minimize(
        &mut self,
        lambda: &[f64],
        w: &mut [f64],
        limits: DualLimits,
        stop: &StopSignal,
    ) -> Result<(Info, f64)> {
        let link = Link::new(self, lambda);
        let scale = self.glm.risk.scale;
        let weights = self.glm.weights();
        self.link_weights(&link, w);
        center(&mut w[weights..]);
        let mut gradients = std::mem::take(&mut self.gradients);
        let mut last = f64::INFINITY;
        let mut value = f64::NAN;
        let mut status = Status::StepLimit;
        let mut done = 0;
        let mut residual = f64::NAN;
        while done < limits.epochs && !(done > 0 && stop.is_raised()) {
            let (gain, sums) = self.epoch(&link, w, &mut gradients, |row, _, u, a, delta| row.update(u, a, delta));
            done += 1;
            let shift = self.recentre(&link, &sums, &mut w[weights..]);
            value = scale * (gain.loss - 0.5 * (gain.product - vector::dot(&sums, &w[weights..])));
            let rise = scale * gain.rise;
            if !(rise.is_finite() && value.is_finite()) {
                self.gradients = gradients;
                return Err(Error::numeric("the dual of the lower level is not finite")
                    .remedy("raise the smallest penalty (--lambda-min) or standardise the features"));
            }
            residual = left(rise, last) + shift;
            last = rise;
            if residual <= (limits.tolerance * value.abs()).max(limits.enough) {
                status = Status::Converged;
                break;
            }
        }
        self.gradients = gradients;
        let work = Work::gradient((done + 1) * self.rows.len());
        Ok((Info { status, steps: done, residual: Some(residual), work }, value))
    }

    /// Solves `H v = b` with the Hessian at `w`; `v` is overwritten.
    ///
    /// # Errors
    /// As [`DualAscent::minimize`].
    pub fn adjoint(
        &mut self,
        lambda: &[f64],
        w: &[f64],
        b: &[f64],
        v: &mut [f64],
        limits: DualLimits,
        stop: &StopSignal,
    ) -> Result<Info> {
        let link = Link::new(self, lambda);
        let (scale, weights, outputs) = (self.glm.risk.scale, self.glm.weights(), self.glm.risk.outputs());
        let curvature = GlmCurvature::new(&self.glm, w, lambda).rows;
        let mut adjoints = std::mem::take(&mut self.adjoints);
        // v = Lambda^{-1} (b - scale X^T B); along the constant shift of all intercepts the gauge alone acts.
        let parts = v[..weights].chunks_exact_mut(outputs).zip(b.chunks_exact(outputs)).zip(&link.feature);
        for ((out, b), feature) in parts {
            let factor = feature / scale;
            out.iter_mut().zip(b).zip(&link.class).for_each(|((o, b), c)| *o = factor * b * c);
        }
        self.add_rows(&link, &adjoints, v);
        let mut rhs = b[weights..].to_vec();
        let gauge = rhs.iter().sum::<f64>() / outputs as f64;
        if outputs > 1 {
            rhs.iter_mut().for_each(|b| *b -= gauge);
            center(&mut v[weights..]);
        }
        let mut last = f64::INFINITY;
        let mut energy = f64::NAN;
        let mut status = Status::StepLimit;
        let mut done = 0;
        let mut residual = f64::NAN;
        let rhs: Vec<f64> = rhs.iter().map(|b| b / scale).collect();
        while done < limits.epochs && !(done > 0 && stop.is_raised()) {
            let (gain, mut sums) = self.epoch(&link, v, &mut adjoints, |row, position, u, b, delta| {
                let curvature = &curvature[position * outputs..(position + 1) * outputs];
                row.update_linear(u, b, curvature, delta)
            });
            done += 1;
            let v_intercept = &mut v[weights..];
            sums.iter_mut().zip(&rhs).for_each(|(s, b)| *s -= b);
            let shift = self.recentre(&link, &sums, v_intercept);
            let fall = scale * gain.rise;
            if !fall.is_finite() {
                self.adjoints = adjoints;
                return Err(Error::numeric("the adjoint of the lower level is not finite"));
            }
            residual = left(fall, last) + shift;
            last = fall;
            if done == 1 || residual <= limits.tolerance * energy {
                energy = 0.5 * vector::dot(b, v).abs();
                if residual <= limits.tolerance * energy {
                    status = Status::Converged;
                    break;
                }
            }
        }
        if outputs > 1 {
            v[weights..].iter_mut().for_each(|v| *v += gauge);
        }
        self.adjoints = adjoints;
        let work = Work::hessian_product((done + 1) * self.rows.len());
        Ok(Info { status, steps: done, residual: Some(residual), work })
    }

    /// `v^T grad g(w)`, the first-order error that an inexact minimum `w` makes in the upper objective when
    /// `H v = grad1 E`: with the weights tied to the dual variables only the rows' own residuals remain.
    pub fn remaining(&self, w: &[f64], v: &[f64]) -> f64 {
        let risk = &self.glm.risk;
        let outputs = risk.outputs();
        let (mut residuals, _) = risk.margins_and_targets(w);
        let mut first = 0;
        for range in risk.rows.ranges() {
            let span = &mut residuals[first..first + range.len() * outputs];
            risk.loss.gradient(span, &risk.target[range.clone()], risk.weighting.of(range.clone()));
            let linked = &self.gradients[range.start * outputs..range.end * outputs];
            span.iter_mut().zip(linked).for_each(|(r, a)| *r -= a);
            first += span.len();
        }
        let (directions, _) = risk.margins_and_targets(v);
        let mut sum = vector::dot(&residuals, &directions);
        if risk.intercept {
            // The intercepts are not tied: what is left of their own gradient.
            for &row in &self.rows {
                let a = &self.gradients[row as usize * outputs..(row as usize + 1) * outputs];
                sum += vector::dot(a, &v[self.glm.weights()..]);
            }
        }
        sum * risk.scale
    }

    /// One exact update of every row in a random order. Returns the sum of the gains and that of the dual variables.
    fn epoch(
        &mut self,
        link: &Link,
        w: &mut [f64],
        dual: &mut [f64],
        mut update: impl FnMut(&Row<'_>, usize, &mut [f64], &mut [f64], &mut [f64]) -> Gain,
    ) -> (Gain, Vec<f64>) {
        let risk = &self.glm.risk;
        let outputs = risk.outputs();
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        Rng::stream(0, Purpose::Lower, self.epochs).shuffle(&mut order);
        self.epochs += 1;
        let (weights, intercept) = w.split_at_mut(risk.features() * outputs);
        let (mut u, mut delta, mut q) = (vec![0.0; outputs], vec![0.0; outputs], vec![0.0; outputs]);
        let mut sum = Gain::default();
        let weighting = risk.weighting.of(0..risk.design.rows());
        for &position in &order {
            let position = position as usize;
            let row = self.rows[position] as usize;
            risk.design.block_margins(&RowPick::List(&self.rows[position..=position]), weights, outputs, &mut u);
            u.iter_mut().zip(intercept.iter()).for_each(|(u, b)| *u += b);
            q.iter_mut().zip(&link.class).for_each(|(q, c)| *q = link.rows[position] * c + link.intercept);
            let at = Row { loss: risk.loss, y: risk.target[row], c: weighting.map_or(1.0, |c| c[row]), q: &q };
            let dual = &mut dual[row * outputs..(row + 1) * outputs];
            let gain = update(&at, position, &mut u, dual, &mut delta);
            sum.rise += gain.rise;
            sum.loss += gain.loss;
            sum.product += gain.product;
            intercept.iter_mut().zip(&delta).for_each(|(b, d)| *b += link.intercept * d);
            delta.iter_mut().zip(&link.class).for_each(|(d, c)| *d *= c);
            risk.design.add_scaled_outer(row, &link.feature, &delta, weights);
        }
        let mut sums = vec![0.0; outputs];
        for &row in &self.rows {
            let dual = &dual[row as usize * outputs..(row as usize + 1) * outputs];
            sums.iter_mut().zip(dual).for_each(|(s, d)| *s += d);
        }
        (sum, sums)
    }

    /// Moves the centre of the proximal term to the intercepts, which moves them by `-sums scale / tau`; returns the
    /// decrease that this stands for.
    fn recentre(&self, link: &Link, sums: &[f64], intercept: &mut [f64]) -> f64 {
        if !self.glm.risk.intercept {
            return 0.0;
        }
        intercept.iter_mut().zip(sums).for_each(|(b, s)| *b -= link.intercept * s);
        0.5 * link.tau * link.intercept.powi(2) * vector::norm_squared(sums)
    }

    /// `W = -Lambda^{-1} X^T A / n`, after `A` was multiplied by the factor that leaves `W` nearest to what it was.
    fn link_weights(&mut self, link: &Link, w: &mut [f64]) {
        let outputs = self.glm.risk.outputs();
        let weights = self.glm.weights();
        let mut linked = vec![0.0; w.len()];
        self.add_rows(link, &self.gradients, &mut linked);
        let (mut cross, mut square) = (0.0, 0.0);
        for ((new, old), feature) in
            linked[..weights].chunks_exact(outputs).zip(w.chunks_exact(outputs)).zip(&link.feature)
        {
            for ((new, old), class) in new.iter().zip(old).zip(&link.class) {
                let strength = 1.0 / (feature * class);
                cross += strength * new * old;
                square += strength * new * new;
            }
        }
        let factor = if cross > 0.0 && square > 0.0 { (cross / square).clamp(1e-3, 1.0) } else { 1.0 };
        vector::scale(factor, &mut self.gradients);
        w[..weights].iter_mut().zip(&linked).for_each(|(w, new)| *w = factor * new);
    }

    /// `out -= Lambda^{-1} X^T dual / n` for the weights.
    fn add_rows(&self, link: &Link, dual: &[f64], out: &mut [f64]) {
        let outputs = self.glm.risk.outputs();
        let weights = self.glm.weights();
        let mut delta = vec![0.0; outputs];
        for &row in &self.rows {
            let row = row as usize;
            let dual = &dual[row * outputs..(row + 1) * outputs];
            if dual.iter().any(|&a| a != 0.0) {
                delta.iter_mut().zip(dual).zip(&link.class).for_each(|((d, a), c)| *d = -a * c);
                self.glm.risk.design.add_scaled_outer(row, &link.feature, &delta, &mut out[..weights]);
            }
        }
    }
}

impl Link {
    fn new(dual: &DualAscent<'_>, lambda: &[f64]) -> Self {
        let risk = &dual.glm.risk;
        let (mut feature, mut class) =
            dual.glm.penalty.factors(&Penalty::strengths(lambda), risk.features(), risk.outputs());
        feature.iter_mut().for_each(|f| *f = risk.scale / *f);
        class.iter_mut().for_each(|c| *c = 1.0 / *c);
        let rows: Vec<f64> = dual.rows.iter().map(|&row| risk.design.scaled_square(row as usize, &feature)).collect();
        // An intercept as easily moved as the weights of an average row together.
        let mean_class = class.iter().sum::<f64>() / class.len() as f64;
        let mean = mean_class * rows.iter().sum::<f64>() / rows.len() as f64;
        let intercept = if risk.intercept { mean.max(f64::MIN_POSITIVE) } else { 0.0 };
        Link { feature, class, intercept, tau: risk.scale / mean.max(f64::MIN_POSITIVE), rows }
    }
}

/// What is left to gain after an epoch that gained `now` and one before it that gained `last`, were it to go on so.
fn left(now: f64, last: f64) -> f64 {
    if last.is_infinite() {
        return 10.0 * now;
    }
    let ratio = (now / last).clamp(0.1, 0.98);
    now * ratio / (1.0 - ratio)
}

/// Takes the mean off the intercepts of several outputs, which the gauge makes zero.
fn center(intercept: &mut [f64]) {
    if intercept.len() > 1 {
        let mean = intercept.iter().sum::<f64>() / intercept.len() as f64;
        intercept.iter_mut().for_each(|b| *b -= mean);
    }
}

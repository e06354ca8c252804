//! An equilibrium network: one implicit layer, whose state is the fixed point of its own update (Bai, Kolter, Koltun, NeurIPS 2019).
//!
//! For each of `n` inputs `x_i` in R^l the state `w_i` in R^h solves
//!
//! ```text
//! w_i = tanh(A w_i + B x_i + c),    lambda = (A, B, c),    E = (1/2n) sum_i |r' w_i - y_i|^2 + reg/2 |lambda|^2
//! ```
//!
//! with a fixed readout `r`. As `tanh` does not expand, the map contracts by the spectral norm of `A`, which
//! [`Equilibrium::domain`] bounds: `|A| <= max_j sum_k |A_jk|` and the same over columns are at most `contraction` in its box.
//! No loss has this map as its gradient step, for `A` is not symmetric.
//!
//! A sample updates the states of its inputs alone, `n / size` times as far: `Phi_hat(w)_i = w_i + (n / size) (tanh(..) - w_i)` for each time that
//! `i` was drawn. Its mean is `Phi`, and its noise vanishes at the fixed point. Its Jacobian keeps noise there; a step of
//! `size / n` updates one input after the other.

use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::lower::{Dims, Jvp, JvpLambda, StochasticMap};
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::upper::UpperObjective;
use crate::vector;

/// The map of the module documentation.
#[derive(Debug, Clone)]
pub struct Equilibrium {
    /// Row-major, `l` numbers an input.
    inputs: Vec<f64>,
    l: usize,
    h: usize,
    n: usize,
}

/// The squared error of the readout.
#[derive(Debug, Clone)]
pub struct Readout {
    readout: Vec<f64>,
    target: Vec<f64>,
    reg: f64,
    dims: Dims,
}

impl Equilibrium {
    /// States of `h` units for inputs of `l` numbers each.
    ///
    /// # Errors
    /// Input, where the inputs are no rows of length `l`, or a size is zero.
    pub fn new(inputs: Vec<f64>, l: usize, h: usize) -> Result<Self> {
        if l == 0 || h == 0 || inputs.is_empty() || !inputs.len().is_multiple_of(l) {
            return Err(Error::input(format!("{} numbers make no inputs of length {l} for {h} units", inputs.len())));
        }
        let n = inputs.len() / l;
        Ok(Equilibrium { inputs, l, h, n })
    }

    /// Normal inputs, with the targets that another network of this kind gives.
    ///
    /// # Errors
    /// As [`Equilibrium::new`].
    pub fn random(n: usize, l: usize, h: usize, seed: u64) -> Result<(Self, Readout)> {
        let mut rng = Rng::stream(seed, Purpose::Start, 1004);
        let network = Equilibrium::new((0..n * l).map(|_| rng.normal()).collect(), l, h)?;
        let dims = network.dims();
        let teacher: Vec<f64> = (0..dims.lambda).map(|_| rng.normal() * 0.5 / (h.max(l) as f64).sqrt()).collect();
        let mut teacher = teacher;
        network.domain(0.8)?.project(&mut teacher);
        let readout: Vec<f64> = (0..h).map(|_| rng.normal() / (h as f64).sqrt()).collect();
        let (mut w, mut next) = (vec![0.0; dims.w], vec![0.0; dims.w]);
        for _ in 0..200 {
            network.apply(&w, &teacher, &Sample::Full, &mut next);
            std::mem::swap(&mut w, &mut next);
        }
        let target = w.chunks_exact(h).map(|w| vector::dot(&readout, w)).collect();
        let readout = Readout::new(&network, readout, target, 1e-3)?;
        Ok((network, readout))
    }

    /// The box in which the map contracts by `contraction` at least: `|A_jk| <= contraction / h`, the rest free.
    ///
    /// # Errors
    /// Input, unless `contraction` is between 0 and 1.
    pub fn domain(&self, contraction: f64) -> Result<Domain> {
        if !(contraction > 0.0 && contraction < 1.0) {
            return Err(Error::input(format!("the contraction {contraction} must be between 0 and 1")));
        }
        let bound = |j: usize| if j < self.h * self.h { contraction / self.h as f64 } else { f64::INFINITY };
        let upper: Vec<f64> = (0..self.dims().lambda).map(bound).collect();
        Domain::bounded(upper.iter().map(|bound| -bound).collect(), upper)
    }

    /// `A`, `B`, `c` of `lambda`, the matrices row-major.
    fn parts<'a>(&self, lambda: &'a [f64]) -> (&'a [f64], &'a [f64], &'a [f64]) {
        let (a, rest) = lambda.split_at(self.h * self.h);
        let (b, c) = rest.split_at(self.h * self.l);
        (a, b, c)
    }

    fn input(&self, i: usize) -> &[f64] {
        &self.inputs[i * self.l..(i + 1) * self.l]
    }

    /// `out = tanh(A w_i + B x_i + c)`.
    fn update(&self, i: usize, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        let (a, b, c) = self.parts(lambda);
        let x = self.input(i);
        for (j, out) in out.iter_mut().enumerate() {
            let sum =
                vector::dot(&a[j * self.h..(j + 1) * self.h], w) + vector::dot(&b[j * self.l..(j + 1) * self.l], x);
            *out = (sum + c[j]).tanh();
        }
    }

    /// Calls `visit(i, slopes, factor)` for the inputs of the sample, `slopes` the derivative of `tanh` at each unit.
    fn slopes(&self, w: &[f64], lambda: &[f64], zeta: &Sample, mut visit: impl FnMut(usize, &[f64], f64)) {
        let factor = self.n as f64 / self.size(zeta) as f64;
        let mut unit = vec![0.0; self.h];
        zeta.for_each_row(self.n, |i| {
            self.update(i, &w[i * self.h..(i + 1) * self.h], lambda, &mut unit);
            unit.iter_mut().for_each(|u| *u = 1.0 - *u * *u);
            visit(i, &unit, factor);
        });
    }
}

impl StochasticMap for Equilibrium {
    fn dims(&self) -> Dims {
        Dims { w: self.n * self.h, lambda: self.h * (self.h + self.l + 1) }
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.n, batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        zeta.rows_in(self.n)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        out.copy_from_slice(w);
        let factor = self.n as f64 / self.size(zeta) as f64;
        let mut unit = vec![0.0; self.h];
        zeta.for_each_row(self.n, |i| {
            let span = i * self.h..(i + 1) * self.h;
            self.update(i, &w[span.clone()], lambda, &mut unit);
            for ((out, unit), w) in out[span.clone()].iter_mut().zip(&unit).zip(&w[span]) {
                *out += factor * (unit - w);
            }
        });
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let (a, ..) = self.parts(lambda);
        out.copy_from_slice(v);
        self.slopes(w, lambda, zeta, |i, slopes, factor| {
            let span = i * self.h..(i + 1) * self.h;
            let (v, out) = (&v[span.clone()], &mut out[span]);
            vector::axpy(-factor, v, out);
            for (j, slope) in slopes.iter().enumerate() {
                vector::axpy(factor * slope * v[j], &a[j * self.h..(j + 1) * self.h], out);
            }
        });
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let (a, rest) = out.split_at_mut(self.h * self.h);
        let (b, c) = rest.split_at_mut(self.h * self.l);
        self.slopes(w, lambda, zeta, |i, slopes, factor| {
            let span = i * self.h..(i + 1) * self.h;
            let (w, v) = (&w[span.clone()], &v[span]);
            for (j, slope) in slopes.iter().enumerate() {
                let along = factor * slope * v[j];
                vector::axpy(along, w, &mut a[j * self.h..(j + 1) * self.h]);
                vector::axpy(along, self.input(i), &mut b[j * self.l..(j + 1) * self.l]);
                c[j] += along;
            }
        });
    }
}

impl Jvp for Equilibrium {
    fn jvp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        let (a, ..) = self.parts(lambda);
        out.copy_from_slice(x);
        self.slopes(w, lambda, zeta, |i, slopes, factor| {
            let span = i * self.h..(i + 1) * self.h;
            let (x, out) = (&x[span.clone()], &mut out[span]);
            vector::axpy(-factor, x, out);
            for ((out, slope), a) in out.iter_mut().zip(slopes).zip(a.chunks_exact(self.h)) {
                *out += factor * slope * vector::dot(a, x);
            }
        });
    }
}

impl JvpLambda for Equilibrium {
    fn jvp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        let (of_a, of_b, of_c) = self.parts(x);
        out.fill(0.0);
        self.slopes(w, lambda, zeta, |i, slopes, factor| {
            let span = i * self.h..(i + 1) * self.h;
            let (w, out) = (&w[span.clone()], &mut out[span]);
            for (j, slope) in slopes.iter().enumerate() {
                let (a, b) = (&of_a[j * self.h..(j + 1) * self.h], &of_b[j * self.l..(j + 1) * self.l]);
                out[j] += factor * slope * (vector::dot(a, w) + vector::dot(b, self.input(i)) + of_c[j]);
            }
        });
    }
}

impl Readout {
    /// The readout `r` with a target for each input.
    ///
    /// # Errors
    /// Input, where the sizes do not fit the network.
    pub fn new(network: &Equilibrium, readout: Vec<f64>, target: Vec<f64>, reg: f64) -> Result<Self> {
        if readout.len() != network.h || target.len() != network.n {
            return Err(Error::input(format!(
                "a readout of {} units and {} targets do not fit {} units and {} inputs",
                readout.len(),
                target.len(),
                network.h,
                network.n
            )));
        }
        Ok(Readout { readout, target, reg, dims: network.dims() })
    }
}

impl UpperObjective for Readout {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.target.len(), batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        xi.rows_in(self.target.len())
    }

    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        let h = self.readout.len();
        let weight = 1.0 / self.size(xi) as f64;
        let mut value = 0.5 * self.reg * vector::norm_squared(lambda);
        xi.for_each_row(self.target.len(), |i| {
            let error = vector::dot(&self.readout, &w[i * h..(i + 1) * h]) - self.target[i];
            value += 0.5 * weight * error * error;
        });
        value
    }

    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        let h = self.readout.len();
        let weight = 1.0 / self.size(xi) as f64;
        vector::scaled_copy(self.reg, lambda, grad_lambda);
        grad_w.fill(0.0);
        xi.for_each_row(self.target.len(), |i| {
            let span = i * h..(i + 1) * h;
            let error = vector::dot(&self.readout, &w[span.clone()]) - self.target[i];
            vector::axpy(weight * error, &self.readout, &mut grad_w[span]);
        });
        self.value(w, lambda, xi)
    }
}

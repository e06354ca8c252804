//! Policy evaluation: the value function of a Markov chain as the fixed point of its Bellman equation.
//!
//! ```text
//! Phi(w, lambda) = r_lambda + gamma P w,    r_lambda = F lambda,
//! Phi_hat(w, lambda, zeta)(s) = r_lambda(s) + noise e_s + gamma w(s'),    s' drawn from P(s, .), e_s standard normal
//! ```
//!
//! `w` in R^S is the value of each state, `lambda` in R^m weighs features `F` of the states to a reward, and only transitions
//! are sampled, one from each state an element. No loss has this map as its gradient step: `P` is not symmetric. With values
//! observed at the upper level, choosing `lambda` is inverse reinforcement learning in its simplest form.
//!
//! In the maximum norm `Phi` always contracts by `gamma`. The theory here is Euclidean, where it contracts by
//! `q = gamma |P|`, and the spectral norm of a stochastic matrix may be a little above 1: [`PolicyEvaluation::contraction`]
//! tells. Closed forms: `w(lambda) = (I - gamma P)^{-1} F lambda`, `v = (I - gamma P')^{-1} grad1 E`.
//!
//! Elements are numbered, each number seeds its transitions, and [`Sample::Full`] is the exact mean.

use std::ops::Range;

use faer::Mat;
use faer::linalg::solvers::{PartialPivLu, Solve};

use crate::error::{Error, Result};
use crate::lower::{Dims, Jvp, JvpLambda, StochasticMap};
use crate::sample::{Purpose, Rng, Sample, Sampling};
use crate::upper::UpperObjective;
use crate::vector;

/// The map `Phi` of the module documentation.
#[derive(Debug, Clone)]
pub struct PolicyEvaluation {
    /// `P`, row-major, `S x S`.
    transitions: Vec<f64>,
    /// Partial sums of the rows of `P`.
    cumulative: Vec<f64>,
    /// `F`, row-major, `S x m`.
    features: Vec<f64>,
    dims: Dims,
    discount: f64,
    noise: f64,
    seed: u64,
}

impl PolicyEvaluation {
    /// A chain with transition probabilities `transitions` (`S x S`, row-major), reward features `features` (`S x m`), the
    /// discount `gamma` and rewards observed with normal noise of deviation `noise`; `seed` numbers the transitions.
    ///
    /// # Errors
    /// Input, where rows are no probabilities, sizes do not fit, or the discount is not in `[0, 1)`.
    pub fn new(transitions: Vec<f64>, features: Vec<f64>, discount: f64, noise: f64, seed: u64) -> Result<Self> {
        let states = transitions.len().isqrt();
        if states == 0
            || states * states != transitions.len()
            || features.is_empty()
            || !features.len().is_multiple_of(states)
        {
            return Err(Error::input(format!(
                "{} transition probabilities and {} features make no chain",
                transitions.len(),
                features.len()
            ))
            .remedy("give S x S probabilities and S x m features"));
        }
        for (s, row) in transitions.chunks_exact(states).enumerate() {
            let sum: f64 = row.iter().sum();
            if row.iter().any(|p| p.is_nan() || *p < 0.0) || (sum - 1.0).abs() > 1e-9 {
                return Err(Error::input(format!("the transition probabilities of state {s} sum to {sum}"))
                    .remedy("they must not be negative and must sum to 1"));
            }
        }
        if !(0.0..1.0).contains(&discount) || !noise.is_finite() {
            return Err(Error::input(format!(
                "the discount {discount} must be in [0, 1) and the noise {noise} finite"
            )));
        }
        let cumulative = transitions
            .chunks_exact(states)
            .flat_map(|row| {
                row.iter().scan(0.0, |sum, p| {
                    *sum += p;
                    Some(*sum)
                })
            })
            .collect();
        let dims = Dims { w: states, lambda: features.len() / states };
        Ok(PolicyEvaluation { transitions, cumulative, features, dims, discount, noise, seed })
    }

    /// A random chain: from each state to `successors` others with random probabilities; normal features of size about 1.
    ///
    /// # Panics
    /// When a size is zero or the discount is not in `[0, 1)`.
    pub fn random(dims: Dims, successors: usize, discount: f64, noise: f64, seed: u64) -> Self {
        let Dims { w: states, lambda: m } = dims;
        assert!(states > 0 && m > 0 && successors > 0, "impossible sizes: {dims:?}, {successors} successors");
        let mut rng = Rng::stream(seed, Purpose::Start, 1003);
        let mut transitions = vec![0.0; states * states];
        for row in transitions.chunks_exact_mut(states) {
            for _ in 0..successors {
                row[rng.below(states)] += 0.1 + rng.uniform();
            }
            let sum: f64 = row.iter().sum();
            vector::scale(1.0 / sum, row);
        }
        let features = (0..states * m).map(|_| rng.normal() / (m as f64).sqrt()).collect();
        PolicyEvaluation::new(transitions, features, discount, noise, seed).expect("a random chain is a chain")
    }

    /// `q = gamma |P|`, the contraction in the Euclidean norm; 1 or more where there is none.
    pub fn contraction(&self) -> f64 {
        let s = self.dims.w;
        let p = Mat::from_fn(s, s, |i, j| self.transitions[i * s + j]);
        self.discount * p.singular_values().expect("a finite matrix has singular values")[0]
    }

    /// `w(lambda) = (I - gamma P)^{-1} F lambda`, the value of each state.
    pub fn solution(&self, lambda: &[f64]) -> Vec<f64> {
        let mut w = vec![0.0; self.dims.w];
        self.rewards(lambda, &mut w);
        self.solve(false, &mut w);
        w
    }

    /// `v = (I - gamma P')^{-1} grad_w`.
    pub fn adjoint(&self, grad_w: &[f64]) -> Vec<f64> {
        let mut v = grad_w.to_vec();
        self.solve(true, &mut v);
        v
    }

    /// `grad f(lambda) = grad2 E + F' v`.
    pub fn hypergradient(&self, upper: &impl UpperObjective, lambda: &[f64]) -> Vec<f64> {
        let (mut grad_w, mut gradient) = (vec![0.0; self.dims.w], vec![0.0; self.dims.lambda]);
        upper.gradients(&self.solution(lambda), lambda, &Sample::Full, &mut grad_w, &mut gradient);
        let v = self.adjoint(&grad_w);
        self.add_features_transpose(&v, &mut gradient);
        gradient
    }

    fn solve(&self, transposed: bool, b: &mut [f64]) {
        let s = self.dims.w;
        let entry = |i: usize, j: usize| {
            let p = self.transitions[if transposed { j * s + i } else { i * s + j }];
            f64::from(u8::from(i == j)) - self.discount * p
        };
        let lu: PartialPivLu<f64> = Mat::from_fn(s, s, entry).partial_piv_lu();
        lu.solve_in_place(faer::MatMut::from_column_major_slice_mut(b, s, 1));
    }

    /// `out = F lambda`.
    fn rewards(&self, lambda: &[f64], out: &mut [f64]) {
        for (out, features) in out.iter_mut().zip(self.features.chunks_exact(self.dims.lambda)) {
            *out = vector::dot(features, lambda);
        }
    }

    fn add_features_transpose(&self, v: &[f64], out: &mut [f64]) {
        for (v, features) in v.iter().zip(self.features.chunks_exact(self.dims.lambda)) {
            vector::axpy(*v, features, out);
        }
    }

    /// Calls `visit(s, s', e_s, weight)` for the transition out of every state, in every element of a sample.
    fn for_each_transition(&self, zeta: &Sample, mut visit: impl FnMut(usize, usize, f64, f64)) {
        let states = self.dims.w;
        let weight = 1.0 / self.size(zeta) as f64;
        let mut one = |element: u64| {
            let mut rng = Rng::stream(self.seed, Purpose::Lower, element);
            for (s, row) in self.cumulative.chunks_exact(states).enumerate() {
                let (u, e) = (rng.uniform() * row[states - 1], rng.normal());
                visit(s, row.partition_point(|c| *c <= u).min(states - 1), e, weight);
            }
        };
        match zeta {
            Sample::Full => {}
            Sample::Seed(element) => one(*element),
            Sample::Rows(rows) => rows.iter().for_each(|&element| one(u64::from(element))),
            Sample::Block(Range { start, end }) => (*start..*end).for_each(|element| one(element as u64)),
        }
    }
}

impl StochasticMap for PolicyEvaluation {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(u32::MAX as usize, batch, rng, sample);
    }

    /// The exact mean counts as one element.
    fn size(&self, zeta: &Sample) -> usize {
        // A seed is one draw, too.
        zeta.rows_in(1).max(1)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.rewards(lambda, out);
        if *zeta == Sample::Full {
            for (out, row) in out.iter_mut().zip(self.transitions.chunks_exact(w.len())) {
                *out += self.discount * vector::dot(row, w);
            }
        }
        self.for_each_transition(zeta, |s, next, e, weight| {
            out[s] += weight * (self.discount * w[next] + self.noise * e);
        });
    }

    fn vjp_w(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        if *zeta == Sample::Full {
            for (v, row) in v.iter().zip(self.transitions.chunks_exact(out.len())) {
                vector::axpy(self.discount * v, row, out);
            }
        }
        self.for_each_transition(zeta, |s, next, _, weight| out[next] += weight * self.discount * v[s]);
    }

    fn vjp_lambda(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_features_transpose(v, out);
    }
}

impl Jvp for PolicyEvaluation {
    fn jvp_w(&self, _w: &[f64], _lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        if *zeta == Sample::Full {
            for (out, row) in out.iter_mut().zip(self.transitions.chunks_exact(x.len())) {
                *out = self.discount * vector::dot(row, x);
            }
        }
        self.for_each_transition(zeta, |s, next, _, weight| out[s] += weight * self.discount * x[next]);
    }
}

impl JvpLambda for PolicyEvaluation {
    fn jvp_lambda(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, x: &[f64], out: &mut [f64]) {
        self.rewards(x, out);
    }
}

//! The quadratic penalty `1/2 sum_jc exp(lambda_{h(j,c)}) W_jc^2`.
//!
//! The kinds differ only in the map `h` from weights to hyperparameters. The exponential keeps the strength positive
//! and makes equal steps equal factors.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::simd::vectorize;

/// Features whose weights are taken together where each output has its own strength: those of few outputs would not fill the
/// processor's vectors.
const TILED_ROWS: usize = 8;
/// Most outputs that are few.
const TILED_OUTPUTS: usize = 32;

/// Which hyperparameter each weight obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// One for all weights.
    Shared,
    /// One for each group of features.
    PerGroup {
        /// Group of each feature.
        of_feature: Vec<u32>,
        /// Number of groups.
        groups: usize,
    },
    /// One for each output (class).
    PerClass {
        /// Number of outputs `C`.
        outputs: usize,
    },
    /// One for each feature, the same in all outputs.
    PerFeature {
        /// Number of features `p`.
        features: usize,
    },
}

impl Penalty {
    /// Number of hyperparameters `m`.
    pub fn hyperparameters(&self) -> usize {
        match *self {
            Penalty::Shared => 1,
            Penalty::PerGroup { groups, .. } => groups,
            Penalty::PerClass { outputs } => outputs,
            Penalty::PerFeature { features } => features,
        }
    }

    /// Calls `visit(i, h)` for each weight `i` in `0..p C` with its hyperparameter `h`.
    #[inline(always)]
    pub fn for_each_weight(&self, weights: usize, outputs: usize, mut visit: impl FnMut(usize, usize)) {
        self.for_each_feature(
            weights / outputs,
            #[inline(always)]
            |j, obeyed| {
                for (output, i) in (j * outputs..(j + 1) * outputs).enumerate() {
                    visit(i, obeyed.unwrap_or(output));
                }
            },
        );
    }

    /// Calls `visit(j, h)` for each feature `j` with the hyperparameter that its weights obey; `None` where each output has its
    /// own.
    #[inline(always)]
    fn for_each_feature(&self, features: usize, mut visit: impl FnMut(usize, Option<usize>)) {
        match self {
            Penalty::Shared => (0..features).for_each(|j| visit(j, Some(0))),
            Penalty::PerGroup { of_feature, .. } => {
                of_feature.iter().enumerate().for_each(|(j, &group)| visit(j, Some(group as usize)));
            }
            Penalty::PerClass { .. } => (0..features).for_each(|j| visit(j, None)),
            Penalty::PerFeature { .. } => (0..features).for_each(|j| visit(j, Some(j))),
        }
    }

    /// `exp(lambda_h)` of each hyperparameter.
    pub fn strengths(lambda: &[f64]) -> Vec<f64> {
        lambda.iter().map(|l| l.exp()).collect()
    }

    /// Runs `body` on `exp(lambda_h)` of each hyperparameter. The last ones are remembered: the steps of a solve ask for the
    /// same ones thousands of times.
    pub fn with_strengths<R>(lambda: &[f64], body: impl FnOnce(&[f64]) -> R) -> R {
        thread_local! {
            static LAST: Cell<(Vec<f64>, Vec<f64>)> = const { Cell::new((Vec::new(), Vec::new())) };
        }
        let (mut known, mut strengths) = LAST.take();
        if !crate::vector::equal(&known, lambda) {
            known.clear();
            known.extend_from_slice(lambda);
            strengths.clear();
            strengths.extend(lambda.iter().map(|l| l.exp()));
        }
        let result = body(&strengths);
        LAST.set((known, strengths));
        result
    }

    /// The strengths as products of a factor for each feature and one for each output.
    pub fn factors(&self, lambda: &[f64], features: usize, outputs: usize) -> (Vec<f64>, Vec<f64>) {
        let strengths = Self::strengths(lambda);
        let ones = vec![1.0; outputs];
        match self {
            Penalty::Shared => (vec![strengths[0]; features], ones),
            Penalty::PerGroup { of_feature, .. } => (of_feature.iter().map(|&g| strengths[g as usize]).collect(), ones),
            Penalty::PerClass { .. } => (vec![1.0; features], strengths),
            Penalty::PerFeature { .. } => (strengths, ones),
        }
    }

    /// `1/2 sum strength W^2`.
    pub fn value(&self, strengths: &[f64], weights: &[f64], outputs: usize) -> f64 {
        let mut sum = 0.0;
        self.for_each_weight(weights.len(), outputs, |i, h| sum += strengths[h] * weights[i] * weights[i]);
        0.5 * sum
    }

    /// `out = strength * v`: the gradient at `v`, and the Hessian times `v`.
    pub fn product(&self, strengths: &[f64], v: &[f64], outputs: usize, out: &mut [f64]) {
        self.for_each_product(strengths, v, outputs, out, |out, product| *out = product);
    }

    /// `out += factor * strength * v`.
    pub fn add_product(&self, factor: f64, strengths: &[f64], v: &[f64], outputs: usize, out: &mut [f64]) {
        self.for_each_product(strengths, v, outputs, out, |out, product| *out += factor * product);
    }

    /// `put` for each `strength_h(i) v_i`.
    #[inline(always)]
    fn for_each_product(
        &self,
        strengths: &[f64],
        v: &[f64],
        outputs: usize,
        out: &mut [f64],
        put: impl Fn(&mut f64, f64),
    ) {
        vectorize(
            #[inline(always)]
            || match self {
                Penalty::Shared => {
                    let strength = strengths[0];
                    out.iter_mut().zip(v).for_each(|(out, v)| put(out, strength * v));
                }
                Penalty::PerFeature { .. } if outputs == 1 => {
                    out.iter_mut().zip(strengths).zip(v).for_each(|((out, s), v)| put(out, s * v));
                }
                Penalty::PerClass { .. } if outputs <= TILED_OUTPUTS => {
                    let mut tile = [0.0; TILED_ROWS * TILED_OUTPUTS];
                    let tile = &mut tile[..TILED_ROWS * outputs];
                    tile.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(strengths));
                    for (out, v) in out.chunks_mut(tile.len()).zip(v.chunks(tile.len())) {
                        out.iter_mut().zip(&*tile).zip(v).for_each(|((out, s), v)| put(out, s * v));
                    }
                }
                _ => self.for_each_feature(
                    v.len() / outputs,
                    #[inline(always)]
                    |j, obeyed| {
                        let weights = j * outputs..(j + 1) * outputs;
                        let (out, v) = (&mut out[weights.clone()], &v[weights]);
                        match obeyed {
                            Some(h) => out.iter_mut().zip(v).for_each(|(out, v)| put(out, strengths[h] * v)),
                            None => out.iter_mut().zip(strengths).zip(v).for_each(|((out, s), v)| put(out, s * v)),
                        }
                    },
                ),
            },
        );
    }

    /// `out_h = strength_h sum_{i obeys h} W_i v_i`: the derivative in `lambda` of `gradient^T v`.
    pub fn cross_product(&self, strengths: &[f64], weights: &[f64], v: &[f64], outputs: usize, out: &mut [f64]) {
        out.fill(0.0);
        vectorize(
            #[inline(always)]
            || match self {
                Penalty::PerFeature { .. } if outputs == 1 => {
                    out.iter_mut().zip(weights).zip(v).for_each(|((out, w), v)| *out = w * v);
                }
                Penalty::PerClass { .. } if outputs <= TILED_OUTPUTS => {
                    let mut tile = [0.0; TILED_ROWS * TILED_OUTPUTS];
                    let tile = &mut tile[..TILED_ROWS * outputs];
                    for (w, v) in weights.chunks(tile.len()).zip(v.chunks(tile.len())) {
                        tile.iter_mut().zip(w).zip(v).for_each(|((sum, w), v)| *sum += w * v);
                    }
                    for row in tile.chunks_exact(outputs) {
                        out.iter_mut().zip(row).for_each(|(out, sum)| *out += sum);
                    }
                }
                _ => self.for_each_feature(
                    v.len() / outputs,
                    #[inline(always)]
                    |j, obeyed| {
                        let weights = weights[j * outputs..].iter().zip(&v[j * outputs..(j + 1) * outputs]);
                        match obeyed {
                            Some(h) => out[h] += weights.map(|(w, v)| w * v).sum::<f64>(),
                            None => out.iter_mut().zip(weights).for_each(|(out, (w, v))| *out += w * v),
                        }
                    },
                ),
            },
        );
        out.iter_mut().zip(strengths).for_each(|(o, s)| *o *= s);
    }

    /// `out_i = strength_h(i) W_i delta_h(i)`: how the gradient in the weights moves along `delta` in `lambda`.
    pub fn tangent(&self, strengths: &[f64], weights: &[f64], delta: &[f64], outputs: usize, out: &mut [f64]) {
        self.for_each_weight(weights.len(), outputs, |i, h| out[i] = strengths[h] * weights[i] * delta[h]);
    }
}

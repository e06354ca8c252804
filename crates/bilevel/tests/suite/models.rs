//! Small generalised linear models in every storage, and the bundled data as models.

use std::path::PathBuf;

use bilevel::data::{
    CsrMatrix, Dataset, DenseMatrix, DesignMatrix, Element, EncodeOptions, LearnOptions, RowRanges, Schema,
    Standardization, Storage, Target,
};
use bilevel::problems::glm::{EmpiricalRisk, Loss, Penalty, Weighting};
use bilevel::sample::{Purpose, Rng};

/// One of each, with three classes and a threshold of 0.7.
pub const LOSSES: [Loss; 6] = [
    Loss::Logistic,
    Loss::Softmax { classes: 3 },
    Loss::Squared,
    Loss::Huber { delta: 0.7 },
    Loss::SquaredHinge,
    Loss::Poisson,
];

/// Dense or sparse, single or double precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stored {
    DenseF32,
    DenseF64,
    CsrF32,
    CsrF64,
}

pub const STORED: [Stored; 4] = [Stored::DenseF32, Stored::DenseF64, Stored::CsrF32, Stored::CsrF64];

/// The `n x p` matrix of `values` (row after row), stored so.
pub fn matrix(values: &[f64], p: usize, stored: Stored) -> DesignMatrix {
    match stored {
        Stored::DenseF32 => DesignMatrix::DenseF32(dense(values, p)),
        Stored::DenseF64 => DesignMatrix::DenseF64(dense(values, p)),
        Stored::CsrF32 => DesignMatrix::CsrF32(csr(values, p)),
        Stored::CsrF64 => DesignMatrix::CsrF64(csr(values, p)),
    }
}

fn dense<T: Element>(values: &[f64], p: usize) -> DenseMatrix<T> {
    DenseMatrix::new(values.len() / p, p, values.iter().map(|&x| T::from_f64(x)).collect())
}

fn csr<T: Element>(values: &[f64], p: usize) -> CsrMatrix<T> {
    let (mut offsets, mut indices, mut stored) = (vec![0], Vec::new(), Vec::new());
    for row in values.chunks_exact(p) {
        for (j, &x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            indices.push(j as u32);
            stored.push(T::from_f64(x));
        }
        offsets.push(indices.len());
    }
    CsrMatrix::new(p, offsets, indices, stored)
}

/// Numbers for a model: a matrix with zeros in it, positive row weights.
#[derive(Debug, Clone)]
pub struct Numbers {
    pub n: usize,
    pub p: usize,
    pub x: Vec<f64>,
    pub row_weights: Vec<f64>,
    pub seed: u64,
}

impl Numbers {
    /// Normal numbers, of which about a third are zero; all are exact in single precision.
    pub fn random(n: usize, p: usize, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, Purpose::Start, 50);
        let x = (0..n * p).map(|_| if rng.uniform() < 0.35 { 0.0 } else { f64::from(rng.normal() as f32) }).collect();
        let row_weights = (0..n).map(|_| 0.2 + 2.0 * rng.uniform()).collect();
        Numbers { n, p, x, row_weights, seed }
    }

    pub fn parameters(&self, loss: Loss, intercept: bool) -> usize {
        (self.p + usize::from(intercept)) * loss.outputs()
    }

    /// A point to differentiate at.
    pub fn point(&self, loss: Loss, intercept: bool) -> Vec<f64> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, 51);
        let scale = 0.8 / (self.p as f64).sqrt();
        (0..self.parameters(loss, intercept)).map(|_| scale * rng.normal()).collect()
    }

    pub fn lambda(&self, penalty: &Penalty) -> Vec<f64> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, 52);
        (0..penalty.hyperparameters()).map(|_| -1.5 + rng.normal()).collect()
    }

    /// Targets for `loss`, those of regression chosen so that residuals at `w` keep off Huber's kinks.
    pub fn target(&self, loss: Loss, w: &[f64], intercept: bool) -> Vec<f64> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, 53);
        (0..self.n)
            .map(|i| match loss {
                Loss::Logistic | Loss::SquaredHinge => rng.below(2) as f64,
                Loss::Softmax { classes } => rng.below(classes) as f64,
                Loss::Poisson => rng.below(5) as f64,
                Loss::Squared | Loss::Huber { .. } => {
                    let residual = [0.2, -0.4, 1.3, -2.0, 0.5][i % 5];
                    self.margin(i, w, intercept) - residual
                }
            })
            .collect()
    }

    /// `x_i^T w + b` for a single output, by hand.
    pub fn margin(&self, i: usize, w: &[f64], intercept: bool) -> f64 {
        let row = &self.x[i * self.p..(i + 1) * self.p];
        row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + if intercept { w[self.p] } else { 0.0 }
    }

    pub fn weighting(&self, weighted: bool) -> Weighting<'_> {
        if weighted { Weighting::Rows(&self.row_weights) } else { Weighting::Uniform }
    }

    /// The four kinds of penalty that fit `loss`.
    pub fn penalties(&self, loss: Loss) -> [Penalty; 4] {
        penalties(self.p, loss.outputs())
    }
}

/// The four kinds of penalty.
pub fn penalties(features: usize, outputs: usize) -> [Penalty; 4] {
    let groups = features.min(3);
    [
        Penalty::Shared,
        Penalty::PerGroup { of_feature: (0..features).map(|j| (j % groups) as u32).collect(), groups },
        Penalty::PerClass { outputs },
        Penalty::PerFeature { features },
    ]
}

/// A bundled data set: rows in a fixed random order.
pub struct Bundled {
    pub design: DesignMatrix,
    pub target: Vec<f64>,
    pub classes: usize,
}

impl Bundled {
    /// Reads `name` of the bundled data; at most `rows` rows of it, standardised, in double precision.
    pub fn read(name: &str, rows: usize) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name);
        let encode = EncodeOptions { storage: Storage::Dense, ..EncodeOptions::default() };
        let learned = Schema::learn(&path, &LearnOptions { encode, ..LearnOptions::default() }).unwrap();
        let Dataset { design, target, .. } = learned.data;
        let design = design.widened();
        let mut order: Vec<u32> = (0..design.rows() as u32).collect();
        Rng::stream(0, Purpose::Split, 0).shuffle(&mut order);
        order.truncate(rows);
        let (target, classes) = match target.select(&order) {
            Target::Classes { codes, names } => (codes.iter().map(|&c| f64::from(c)).collect(), names.len()),
            Target::Values(values) => (values.into_vec(), 0),
        };
        let mut design = design.select_rows(&order);
        let rows = RowRanges::all(design.rows());
        Standardization::learn(&design, &rows, None, true, &vec![true; design.cols()]).apply(&mut design).unwrap();
        Bundled { design, target, classes }
    }

    pub fn rows(&self) -> usize {
        self.design.rows()
    }

    pub fn risk(&self, rows: std::ops::Range<usize>, loss: Loss, intercept: bool) -> EmpiricalRisk<'_> {
        EmpiricalRisk::new(&self.design, &self.target, RowRanges::new([rows]), loss, intercept)
    }
}

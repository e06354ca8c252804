//! Cholesky factorisations of the Hessian: by parameters, or by rows when there are fewer rows than features.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatMut, MatRef, Side};

use super::curvature::GlmCurvature;
use super::loss::Loss;
use crate::data::RowPick;
use crate::lower::Factorization;
use crate::{Error, Result};

/// Numbers that the partial Gram matrices of a pass may hold together (128 MiB).
const PARTIAL_LIMIT: usize = 16 << 20;

fn not_positive_definite() -> Error {
    Error::numeric("the Hessian of the lower level is not positive definite")
        .remedy("raise the smallest penalty (--lambda-min) or standardise the features")
}

struct ByParameters(Llt<f64>);

impl Factorization for ByParameters {
    fn solve_in_place(&self, b: &mut [f64]) {
        let n = b.len();
        self.0.solve_in_place(MatMut::from_column_major_slice_mut(b, n, 1));
    }
}

/// Weighted Gram matrices of the features, one for each pair of outputs `a >= b`, with column sums and total.
struct PairGrams {
    features: usize,
    sums: Vec<f64>,
}

impl PairGrams {
    fn size(features: usize) -> usize {
        features * features + features + 1
    }

    fn pair(a: usize, b: usize) -> usize {
        a * (a + 1) / 2 + b
    }

    /// `sum_i d_i x_ij x_ik` with the intercept as feature `p`.
    fn entry(&self, pair: usize, j: usize, k: usize) -> f64 {
        let p = self.features;
        let block = &self.sums[pair * Self::size(p)..(pair + 1) * Self::size(p)];
        let (j, k) = (j.max(k), j.min(k));
        match (j == p, k == p) {
            (true, true) => block[p * p + p],
            (true, false) => block[p * p + k],
            _ => block[j * p + k],
        }
    }
}

fn pair_grams(curvature: &GlmCurvature<'_, '_>) -> PairGrams {
    let risk = &curvature.glm.risk;
    let (p, outputs) = (risk.features(), risk.outputs());
    let size = PairGrams::size(p);
    let mut sums = vec![0.0; outputs * (outputs + 1) / 2 * size];
    let parts = (PARTIAL_LIMIT / sums.len().max(1)).clamp(2, 16);
    risk.pass.accumulate(
        parts,
        |rows, position, partial| {
            let count = rows.len();
            let weights = risk.weighting.of(rows.clone());
            let pick = RowPick::Span(rows);
            let block = &curvature.rows[position * outputs..(position + count) * outputs];
            for a in 0..outputs {
                for b in 0..=a {
                    let d: Vec<f64> = block
                        .chunks_exact(outputs)
                        .enumerate()
                        .map(|(i, row)| {
                            let d = match risk.loss {
                                Loss::Softmax { .. } if a == b => row[a] * (1.0 - row[a]),
                                Loss::Softmax { .. } => -row[a] * row[b],
                                _ => row[0],
                            };
                            d * weights.map_or(1.0, |c| c[i])
                        })
                        .collect();
                    let pair = PairGrams::pair(a, b);
                    let (gram, rest) = partial[pair * size..(pair + 1) * size].split_at_mut(p * p);
                    risk.design.add_block_gram(&pick, &d, gram);
                    if risk.intercept {
                        risk.design.add_block_transpose(&pick, &d, 1, &mut rest[..p]);
                        rest[p] += d.iter().sum::<f64>();
                    }
                }
            }
        },
        &mut sums,
    );
    PairGrams { features: p, sums }
}

/// Cholesky factors of the `d x d` Hessian; `n p^2 C^2 / 2 + d^3 / 3` multiplications.
pub(super) fn by_parameters(curvature: &GlmCurvature<'_, '_>) -> Result<Box<dyn Factorization>> {
    let risk = &curvature.glm.risk;
    let outputs = risk.outputs();
    let d = risk.parameters();
    let grams = pair_grams(curvature);
    let penalty = curvature.penalty_diagonal();
    let mut hessian = Mat::<f64>::zeros(d, d);
    for column in 0..d {
        let (k, b) = (column / outputs, column % outputs);
        for row in column..d {
            let (j, a) = (row / outputs, row % outputs);
            hessian[(row, column)] = risk.scale * grams.entry(PairGrams::pair(a.max(b), a.min(b)), j, k);
            if outputs > 1 && k == risk.features() && j == k {
                hessian[(row, column)] += 1.0 / outputs as f64;
            }
        }
        hessian[(column, column)] += penalty[column];
    }
    let factors = Llt::new(hessian.as_ref(), Side::Lower).map_err(|_| not_positive_definite())?;
    Ok(Box::new(ByParameters(factors)))
}

/// Woodbury: with `A = X^T D X s + Lambda`, `A^{-1} = Lambda^{-1} - Z^T K^{-1} Z`, `Z = (s D)^{1/2} X Lambda^{-1}`,
/// `K = I + (s D)^{1/2} X Lambda^{-1} X^T (s D)^{1/2}`; the intercept, which has no penalty, is eliminated last.
struct ByRows {
    /// `Z`, `n x p`, row-major.
    z: Vec<f64>,
    inverse_penalty: Vec<f64>,
    kernel: Llt<f64>,
    /// With an intercept: `u = s X^T D 1`, `A^{-1} u` and the Schur complement.
    border: Option<(Vec<f64>, Vec<f64>, f64)>,
    rows: usize,
}

impl ByRows {
    fn solve_features(&self, b: &mut [f64]) {
        let p = b.len();
        let z = MatRef::from_row_major_slice(&self.z, self.rows, p);
        let mut projected = z * MatRef::from_column_major_slice(b, p, 1);
        self.kernel.solve_in_place(projected.as_mut());
        let correction = z.transpose() * projected;
        for (j, b) in b.iter_mut().enumerate() {
            *b = *b * self.inverse_penalty[j] - correction[(j, 0)];
        }
    }
}

impl Factorization for ByRows {
    fn solve_in_place(&self, b: &mut [f64]) {
        let Some((column, solved, schur)) = &self.border else { return self.solve_features(b) };
        let (features, intercept) = b.split_at_mut(column.len());
        self.solve_features(features);
        let inner: f64 = column.iter().zip(features.iter()).map(|(u, x)| u * x).sum();
        intercept[0] = (intercept[0] - inner) / schur;
        features.iter_mut().zip(solved).for_each(|(x, s)| *x -= s * intercept[0]);
    }
}

/// Factors of an `n x n` kernel matrix; `n^2 p / 2 + n^3 / 3` multiplications.
pub(super) fn by_rows(curvature: &GlmCurvature<'_, '_>) -> Result<Box<dyn Factorization>> {
    let risk = &curvature.glm.risk;
    let (p, n) = (risk.features(), risk.len());
    let penalty = curvature.penalty_diagonal();
    let inverse_penalty: Vec<f64> = penalty[..p].iter().map(|s| 1.0 / s).collect();
    let half: Vec<f64> = inverse_penalty.iter().map(|s| s.sqrt()).collect();
    let matrix_rows: Vec<usize> = risk.rows.ranges().iter().cloned().flatten().collect();
    let d: Vec<f64> = matrix_rows
        .iter()
        .zip(&curvature.rows)
        .map(|(&i, d)| d * risk.scale * risk.weighting.of(i..i + 1).map_or(1.0, |c| c[0]))
        .collect();
    let mut z = vec![0.0; n * p];
    for ((z, &row), d) in z.chunks_exact_mut(p).zip(&matrix_rows).zip(&d) {
        risk.design.add_scaled_row(row, &half, z);
        z.iter_mut().for_each(|z| *z *= d.sqrt());
    }
    let mut kernel = Mat::<f64>::identity(n, n);
    let rows = MatRef::from_row_major_slice(&z, n, p);
    faer::linalg::matmul::matmul(kernel.as_mut(), faer::Accum::Add, rows, rows.transpose(), 1.0, faer::Par::Seq);
    for z in z.chunks_exact_mut(p) {
        z.iter_mut().zip(&half).for_each(|(z, h)| *z *= h);
    }
    let kernel = Llt::new(kernel.as_ref(), Side::Lower).map_err(|_| not_positive_definite())?;
    let mut factors = ByRows { z, inverse_penalty, kernel, border: None, rows: n };
    if risk.intercept {
        let mut column = vec![0.0; p];
        let mut total = 0.0;
        for (&row, d) in matrix_rows.iter().zip(&d) {
            risk.design.add_scaled_row(row, &vec![*d; p], &mut column);
            total += d;
        }
        let mut solved = column.clone();
        factors.solve_features(&mut solved);
        let schur = total - column.iter().zip(&solved).map(|(u, x)| u * x).sum::<f64>();
        if schur.is_nan() || schur <= 0.0 {
            return Err(not_positive_definite());
        }
        factors.border = Some((column, solved, schur));
    }
    Ok(Box::new(factors))
}

//! Cholesky factorisations of the Hessian: by parameters, or by rows when there are fewer rows than features.

use std::sync::Arc;

use faer::linalg::matmul::triangular;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

use super::curvature::GlmCurvature;
use crate::cholesky::Cholesky;
use crate::data::RowPick;
use crate::lower::Factorization;
use crate::problems::scaled::Whitening;
use crate::stop::StopSignal;
use crate::{Error, Result};

/// Numbers that the partial Gram matrices of a pass may hold together (128 MiB).
const PARTIAL_LIMIT: usize = 16 << 20;
/// So many of them may be there however small the data; more take no more than a third of their memory.
const FEW_PARTS: usize = 4;

fn not_positive_definite() -> Error {
    Error::numeric("the Hessian of the lower level is not positive definite")
        .remedy("raise the penalty (of a tuning the smallest, --lambda-min) or standardise the features")
}

impl Factorization for Cholesky {
    fn solve_in_place(&self, b: &mut [f64]) {
        Cholesky::solve_in_place(self, b);
    }
}

/// Rows that are expanded at a time for the products of probabilities.
const EXPANDED_ROWS: usize = 64;

/// The sums a Hessian is made of: for each output `c` the Gram matrix `sum_i d_ic x_i x_i^T` with column sums and total
/// (the intercept is a feature that is always 1), and for the softmax `sum_i z_i z_i^T` with `z_i = x_i (x) p_i`.
#[derive(Debug)]
pub(super) struct Sums {
    features: usize,
    outputs: usize,
    parameters: usize,
    values: Vec<f64>,
}

impl Sums {
    fn gram_size(&self) -> usize {
        self.features * self.features + self.features + 1
    }

    /// `sum_i d_ic x_ij x_ik` with the intercept as feature `p`, `j >= k`.
    fn gram(&self, output: usize, j: usize, k: usize) -> f64 {
        let p = self.features;
        let block = &self.values[output * self.gram_size()..];
        match (j == p, k == p) {
            (true, true) => block[p * p + p],
            (true, false) => block[p * p + k],
            _ => block[j * p + k],
        }
    }

    /// The Hessian of one output, in its memory: the lower triangle, column after column.
    fn into_hessian(self, scale: f64, intercept: bool, penalty: &[f64]) -> Vec<f64> {
        let (p, d) = (self.features, self.parameters);
        let mut values = self.values;
        let border = values.split_off(p * p);
        // What is below the diagonal row after row is wanted column after column.
        for j in 0..p {
            for k in 0..j {
                values[k * p + j] = values[j * p + k];
            }
        }
        // Columns are a little longer than those of the Gram matrix: from the end.
        values.resize(d * d, 0.0);
        for k in (0..p).rev() {
            values.copy_within(k * p + k..(k + 1) * p, k * d + k);
            if intercept {
                values[k * d + p] = border[k];
            }
        }
        if intercept {
            values[p * d + p] = border[p];
        }
        for (k, column) in values.chunks_exact_mut(d).enumerate() {
            column[k..].iter_mut().for_each(|x| *x *= scale);
            column[k] += penalty[k];
        }
        values
    }

    /// Entry of `sum_i z_i z_i^T`, `row >= column`; 0 with one output.
    fn product(&self, row: usize, column: usize) -> f64 {
        if self.outputs == 1 {
            return 0.0;
        }
        self.values[self.outputs * self.gram_size() + row * self.parameters + column]
    }
}

/// The sums at the point of `curvature`; those of the squared loss are the same everywhere and computed once.
fn sums_at(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Arc<Sums>> {
    if !curvature.is_constant() {
        return Ok(Arc::new(collect_sums(curvature, stop)?));
    }
    let kept = &curvature.glm.risk.gram;
    if let Some(sums) = kept.get() {
        return Ok(sums.clone());
    }
    let sums = collect_sums(curvature, stop)?;
    Ok(kept.get_or_init(|| Arc::new(sums)).clone())
}

fn collect_sums(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Sums> {
    let risk = &curvature.glm.risk;
    let (p, outputs, d) = (risk.features(), risk.outputs(), risk.parameters());
    let mut sums = Sums { features: p, outputs, parameters: d, values: Vec::new() };
    let size = sums.gram_size();
    let products = if outputs == 1 { 0 } else { d * d };
    // Room for the Hessian, which takes their place.
    let mut values = Vec::with_capacity((outputs * size + products).max(d * d));
    values.resize(outputs * size + products, 0.0);
    let beside_data = risk.design.bytes() / 3 / size_of_val(&values[..]).max(1);
    let parts = match risk.design.gram_is_parallel() && outputs == 1 {
        true => 1,
        false => (PARTIAL_LIMIT / values.len().max(1)).clamp(2, 16).min(beside_data.max(FEW_PARTS)),
    };
    risk.pass.accumulate(
        parts,
        |rows, position, partial| {
            // What is left out does not count: nothing is made of the sums then.
            if stop.is_raised() {
                return;
            }
            let count = rows.len();
            let weights = curvature.weighting().of(rows.clone());
            let block = curvature.of_rows(position, count);
            let (grams, products) = partial.split_at_mut(outputs * size);
            for (output, gram) in grams.chunks_exact_mut(size).enumerate() {
                // Of the softmax only `diag(p)` goes here; `p p^T` is in the products.
                let d: Vec<f64> =
                    (0..count).map(|i| block[i * outputs + output] * weights.map_or(1.0, |c| c[i])).collect();
                let pick = RowPick::Span(rows.clone());
                let (gram, rest) = gram.split_at_mut(p * p);
                risk.design.add_block_gram(&pick, &d, gram);
                if risk.intercept {
                    risk.design.add_block_transpose(&pick, &d, 1, &mut rest[..p]);
                    rest[p] += d.iter().sum::<f64>();
                }
            }
            if outputs > 1 {
                add_expanded_products(curvature, rows, block, weights, products);
            }
        },
        &mut values,
    );
    stop.check()?;
    sums.values = values;
    Ok(sums)
}

/// Lower triangle of `out += sum_i c_i z_i z_i^T`, `z_i = x_i (x) p_i` with the intercept as last feature.
fn add_expanded_products(
    curvature: &GlmCurvature<'_, '_>,
    rows: std::ops::Range<usize>,
    probabilities: &[f64],
    weights: Option<&[f64]>,
    out: &mut [f64],
) {
    let risk = &curvature.glm.risk;
    let (p, outputs, d) = (risk.features(), risk.outputs(), risk.parameters());
    let ones = vec![1.0; p];
    let mut x = vec![1.0; d / outputs];
    let mut expanded = vec![0.0; EXPANDED_ROWS * d];
    let mut out = MatMut::from_row_major_slice_mut(out, d, d);
    for first in (0..rows.len()).step_by(EXPANDED_ROWS) {
        let count = EXPANDED_ROWS.min(rows.len() - first);
        for (i, z) in expanded.chunks_exact_mut(d).take(count).enumerate() {
            x[..p].fill(0.0);
            risk.design.add_scaled_row(rows.start + first + i, &ones, &mut x[..p]);
            let scale = weights.map_or(1.0, |c| c[first + i].sqrt());
            let probabilities = &probabilities[(first + i) * outputs..(first + i + 1) * outputs];
            for (z, x) in z.chunks_exact_mut(outputs).zip(&x) {
                z.iter_mut().zip(probabilities).for_each(|(z, p)| *z = scale * x * p);
            }
        }
        let z = MatRef::from_row_major_slice(&expanded[..count * d], count, d);
        triangular::matmul(
            out.as_mut(),
            triangular::BlockStructure::TriangularLower,
            Accum::Add,
            z.transpose(),
            triangular::BlockStructure::Rectangular,
            z,
            triangular::BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
    }
}

/// Cholesky factors of the `d x d` Hessian; `n d^2 / 2 + d^3 / 3` multiplications.
pub(super) fn by_parameters(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Box<dyn Factorization>> {
    Ok(Box::new(cholesky(curvature, stop)?))
}

/// The units in which the Hessian is the identity; cost as that of the Cholesky factors.
pub(super) fn whitening(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Whitening> {
    let factors = cholesky(curvature, stop)?;
    Ok(Whitening::new(curvature.glm.risk.parameters(), |i, j| factors.entry(i, j)))
}

fn cholesky(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Cholesky> {
    let risk = &curvature.glm.risk;
    let outputs = risk.outputs();
    let d = risk.parameters();
    let penalty = curvature.penalty_diagonal();
    let sums = match Arc::try_unwrap(sums_at(curvature, stop)?) {
        Ok(sums) if outputs == 1 => {
            let hessian = sums.into_hessian(risk.scale, risk.intercept, &penalty);
            return Cholesky::new(d, hessian).ok_or_else(not_positive_definite);
        }
        Ok(sums) => Arc::new(sums),
        Err(sums) => sums,
    };
    let mut hessian = vec![0.0; d * d];
    for column in 0..d {
        let entries = &mut hessian[column * d..][..d];
        let (k, b) = (column / outputs, column % outputs);
        for (row, out) in entries.iter_mut().enumerate().skip(column) {
            let (j, a) = (row / outputs, row % outputs);
            let own = if a == b { sums.gram(a, j, k) } else { 0.0 };
            let mut entry = risk.scale * (own - sums.product(row, column));
            if outputs > 1 && k == risk.features() {
                entry += 1.0 / outputs as f64;
            }
            *out = entry;
        }
        entries[column] += penalty[column];
    }
    drop(sums);
    Cholesky::new(d, hessian).ok_or_else(not_positive_definite)
}

/// Woodbury: with `A = X^T D X s + Lambda`, `A^{-1} = Lambda^{-1} - Z^T K^{-1} Z`, `Z = (s D)^{1/2} X Lambda^{-1}`,
/// `K = I + (s D)^{1/2} X Lambda^{-1} X^T (s D)^{1/2}`; the intercept, which has no penalty, is eliminated last.
///
/// With `r = (s D)^{1/2} 1` and `u = s X^T D 1`, the Schur complement `r^T r - u^T A^{-1} u` is `r^T K^{-1} r`, and `A^{-1} u`
/// is `Z^T K^{-1} r`. Taken as the difference it would be lost where penalties are small: features that are not centred can
/// nearly make an intercept themselves.
struct ByRows {
    /// `Z`, `n x p`, row-major.
    z: Vec<f64>,
    inverse_penalty: Vec<f64>,
    kernel: Llt<f64>,
    /// With an intercept: `A^{-1} u` and the Schur complement.
    border: Option<(Vec<f64>, f64)>,
    rows: usize,
}

/// `a b` on one thread: on several, how sums are divided depends on their number.
fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    faer::linalg::matmul::matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

impl ByRows {
    fn solve_features(&self, b: &mut [f64]) {
        let p = b.len();
        let z = MatRef::from_row_major_slice(&self.z, self.rows, p);
        let mut projected = product(z, MatRef::from_column_major_slice(b, p, 1));
        self.kernel.solve_in_place(projected.as_mut());
        let correction = product(z.transpose(), projected.as_ref());
        for (j, b) in b.iter_mut().enumerate() {
            *b = *b * self.inverse_penalty[j] - correction[(j, 0)];
        }
    }
}

impl Factorization for ByRows {
    fn solve_in_place(&self, b: &mut [f64]) {
        let Some((solved, schur)) = &self.border else { return self.solve_features(b) };
        let (features, intercept) = b.split_at_mut(solved.len());
        let inner: f64 = solved.iter().zip(features.iter()).map(|(s, b)| s * b).sum();
        self.solve_features(features);
        intercept[0] = (intercept[0] - inner) / schur;
        features.iter_mut().zip(solved).for_each(|(x, s)| *x -= s * intercept[0]);
    }
}

/// Factors of an `n x n` kernel matrix; `n^2 p / 2 + n^3 / 3` multiplications.
pub(super) fn by_rows(curvature: &GlmCurvature<'_, '_>, stop: &StopSignal) -> Result<Box<dyn Factorization>> {
    let risk = &curvature.glm.risk;
    let (p, n) = (risk.features(), risk.len());
    let penalty = curvature.penalty_diagonal();
    let inverse_penalty: Vec<f64> = penalty[..p].iter().map(|s| 1.0 / s).collect();
    let half: Vec<f64> = inverse_penalty.iter().map(|s| s.sqrt()).collect();
    let matrix_rows: Vec<usize> = risk.rows.ranges().iter().cloned().flatten().collect();
    let factor = |(position, &i): (usize, &usize)| {
        let count = curvature.weighting().of(i..i + 1).map_or(1.0, |c| c[0]);
        curvature.of_rows(position, 1)[0] * risk.scale * count
    };
    let d: Vec<f64> = matrix_rows.iter().enumerate().map(factor).collect();
    let mut z = vec![0.0; n * p];
    for ((z, &row), d) in z.chunks_exact_mut(p).zip(&matrix_rows).zip(&d) {
        risk.design.add_scaled_row(row, &half, z);
        z.iter_mut().for_each(|z| *z *= d.sqrt());
    }
    stop.check()?;
    let mut kernel = Mat::<f64>::identity(n, n);
    let rows = MatRef::from_row_major_slice(&z, n, p);
    faer::linalg::matmul::matmul(kernel.as_mut(), Accum::Add, rows, rows.transpose(), 1.0, Par::Seq);
    for z in z.chunks_exact_mut(p) {
        z.iter_mut().zip(&half).for_each(|(z, h)| *z *= h);
    }
    stop.check()?;
    let kernel = Llt::new(kernel.as_ref(), Side::Lower).map_err(|_| not_positive_definite())?;
    let mut factors = ByRows { z, inverse_penalty, kernel, border: None, rows: n };
    if risk.intercept {
        let root = Mat::from_fn(n, 1, |i, _| d[i].sqrt());
        let mut inner = root.clone();
        factors.kernel.solve_in_place(inner.as_mut());
        let schur: f64 = (0..n).map(|i| root[(i, 0)] * inner[(i, 0)]).sum();
        if schur.is_nan() || schur <= 0.0 {
            return Err(not_positive_definite());
        }
        let z = MatRef::from_row_major_slice(&factors.z, n, p);
        let solved = product(z.transpose(), inner.as_ref());
        factors.border = Some(((0..p).map(|j| solved[(j, 0)]).collect(), schur));
    }
    Ok(Box::new(factors))
}

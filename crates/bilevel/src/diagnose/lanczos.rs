//! Extreme eigenvalues of a symmetric matrix given by products: Lanczos with full reorthogonalisation.

use faer::{Mat, Side};

use crate::error::{Error, Result};
use crate::sample::{Purpose, Rng};
use crate::vector;

/// Extreme eigenvalues, each within its error of a true one.
///
/// Ritz values lie inside the spectrum: `largest` never exceeds the largest eigenvalue and `smallest` is never below the
/// smallest; when the errors are small they are those eigenvalues with probability one over the random start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectrum {
    /// Smallest Ritz value.
    pub smallest: f64,
    /// Norm of its residual.
    pub smallest_error: f64,
    /// Largest Ritz value.
    pub largest: f64,
    /// Norm of its residual.
    pub largest_error: f64,
    /// Products that were computed.
    pub products: usize,
}

impl Spectrum {
    /// The largest eigenvalue, estimated from above: the one near the largest Ritz value is no larger.
    pub fn largest_at_most(&self) -> f64 {
        self.largest + self.largest_error
    }
}

/// Up to `steps` products with a symmetric matrix of size `dim`; exact when `steps >= dim`.
///
/// Stops early when both errors are below `1e-10` times the size of the matrix; memory is `steps * dim` numbers.
///
/// # Errors
/// Numeric, when a product is not finite.
pub fn lanczos(product: impl FnMut(&[f64], &mut [f64]), dim: usize, steps: usize, seed: u64) -> Result<Spectrum> {
    let (spectrum, ..) = run(product, dim, steps, seed)?;
    Ok(spectrum)
}

/// Vectors of norm one that belong to the extreme eigenvalues.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtremeVectors {
    /// To the smallest eigenvalue.
    pub smallest: Vec<f64>,
    /// To the largest.
    pub largest: Vec<f64>,
}

/// As [`lanczos`], with the vectors.
///
/// # Errors
/// As [`lanczos`].
pub fn lanczos_vectors(
    product: impl FnMut(&[f64], &mut [f64]),
    dim: usize,
    steps: usize,
    seed: u64,
) -> Result<(Spectrum, ExtremeVectors)> {
    let (spectrum, ritz, basis) = run(product, dim, steps, seed)?;
    let combine = |coefficients: &[f64]| {
        let mut sum = vec![0.0; dim];
        basis.iter().zip(coefficients).for_each(|(vector, c)| vector::axpy(*c, vector, &mut sum));
        sum
    };
    Ok((spectrum, ExtremeVectors { smallest: combine(&ritz[0]), largest: combine(&ritz[1]) }))
}

/// The spectrum, the coefficients of both extreme vectors, and the basis they refer to.
type Run = (Spectrum, [Vec<f64>; 2], Vec<Vec<f64>>);

fn run(mut product: impl FnMut(&[f64], &mut [f64]), dim: usize, steps: usize, seed: u64) -> Result<Run> {
    assert!(dim > 0 && steps > 0, "Lanczos needs a matrix and at least one step");
    let mut rng = Rng::stream(seed, Purpose::Start, 3);
    let mut current: Vec<f64> = (0..dim).map(|_| rng.normal()).collect();
    let norm = vector::norm(&current);
    vector::scale(1.0 / norm, &mut current);

    let (mut diagonal, mut off_diagonal) = (Vec::new(), Vec::new());
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut image = vec![0.0; dim];
    loop {
        product(&current, &mut image);
        diagonal.push(vector::dot(&current, &image));
        basis.push(std::mem::take(&mut current));
        // Twice is enough, once is not: without it converged eigenvalues come back as copies.
        for _ in 0..2 {
            for vector in &basis {
                let overlap = vector::dot(vector, &image);
                vector::axpy(-overlap, vector, &mut image);
            }
        }
        let rest = vector::norm(&image);
        if !rest.is_finite() {
            return Err(Error::numeric("a product with the matrix is not finite")
                .remedy("check the data for non-finite or huge values"));
        }
        let size = diagonal.iter().chain(&off_diagonal).fold(0.0_f64, |a, b| a.max(b.abs()));
        let exhausted = rest <= 1e-13 * size || basis.len() == dim;
        let last = exhausted || basis.len() == steps;
        if last || basis.len().is_multiple_of(10) {
            let (spectrum, vectors) = ritz(&diagonal, &off_diagonal, if exhausted { 0.0 } else { rest })?;
            let done = spectrum.smallest_error.max(spectrum.largest_error) <= 1e-10 * size;
            if last || done {
                return Ok((spectrum, vectors, basis));
            }
        }
        off_diagonal.push(rest);
        current = image.iter().map(|x| x / rest).collect();
    }
}

/// Eigenvalues of the tridiagonal matrix; `rest` times the last component of an eigenvector is the residual.
fn ritz(diagonal: &[f64], off_diagonal: &[f64], rest: f64) -> Result<(Spectrum, [Vec<f64>; 2])> {
    let k = diagonal.len();
    let tridiagonal = Mat::from_fn(k, k, |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => off_diagonal[i.min(j)],
        _ => 0.0,
    });
    let eigen = tridiagonal
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::numeric("the eigenvalues of the Lanczos matrix did not converge"))?;
    let value = |i: usize| eigen.S().column_vector()[i];
    let error = |i: usize| rest * eigen.U()[(k - 1, i)].abs();
    let vector = |i: usize| (0..k).map(|row| eigen.U()[(row, i)]).collect();
    let spectrum = Spectrum {
        smallest: value(0),
        smallest_error: error(0),
        largest: value(k - 1),
        largest_error: error(k - 1),
        products: k,
    };
    Ok((spectrum, [vector(0), vector(k - 1)]))
}

//! Does a map contract, and if not, in which direction does it fail to?
//!
//! `q = |d1Phi|` near `w` is the square root of the largest eigenvalue of `d1Phi' d1Phi`; its eigenvector is the direction
//! that the map shrinks least. A person can act on that direction once its main coordinates have names.

use super::constants::Difference;
use super::lanczos::lanczos_vectors;
use crate::error::{Error, Result};
use crate::lower::StochasticMap;
use crate::sample::Sample;
use crate::work::Work;

/// Coordinates that a message names.
const NAMED: usize = 3;

/// How a map moves the direction that it shrinks least.
#[derive(Debug, Clone, PartialEq)]
pub struct Contraction {
    /// `q = |d1Phi(w, lambda)|`; a lower estimate within `error` of a singular value.
    pub q: f64,
    /// Norm of the residual behind `q^2`.
    pub error: f64,
    /// The direction of norm one that is shrunk least, in R^d.
    pub direction: Vec<f64>,
    /// What it cost.
    pub work: Work,
}

impl Contraction {
    /// Measures a map at `w` by at most `steps` Lanczos steps; products with `d1Phi` are central differences of `Phi`.
    ///
    /// # Errors
    /// Numeric, when a product is not finite.
    pub fn of<M: StochasticMap + ?Sized>(map: &M, w: &[f64], lambda: &[f64], steps: usize, seed: u64) -> Result<Self> {
        let mut image = vec![0.0; w.len()];
        let mut difference = Difference::new(w);
        let (spectrum, direction) = lanczos_vectors(
            |u, out| {
                difference.along(u, &mut image, |w, out| map.apply(w, lambda, &Sample::Full, out));
                map.vjp_w(w, lambda, &Sample::Full, &image, out);
            },
            w.len(),
            steps,
            seed,
        )?;
        let rows = map.size(&Sample::Full) * spectrum.products;
        Ok(Contraction {
            q: spectrum.largest.max(0.0).sqrt(),
            error: spectrum.largest_error,
            direction: direction.largest,
            work: Work::gradient(2 * rows) + Work::hessian_product(rows),
        })
    }

    /// The coordinates that make up most of the direction, with their shares of its squared length.
    pub fn main_coordinates(&self) -> Vec<(usize, f64)> {
        main_coordinates(&self.direction)
    }

    /// Nothing for a contraction; else one line that names the direction by `names` (a name for each coordinate) and says
    /// what to do.
    ///
    /// # Errors
    /// Numeric, when `q >= 1`.
    pub fn ensure(&self, names: impl Fn(usize) -> String) -> Result<()> {
        if self.q < 1.0 {
            return Ok(());
        }
        let direction = describe_direction(&self.direction, names);
        Err(Error::numeric(format!(
            "the map does not contract: it multiplies the direction {direction} by {:.4}",
            self.q
        ))
        .remedy("use a smaller map_step (below 2/L for a loss), or a stronger penalty on these coordinates"))
    }
}

/// `mainly x3 (81 %), x5 (12 %)`: the coordinates with the largest shares of the squared length of `direction`.
pub fn describe_direction(direction: &[f64], names: impl Fn(usize) -> String) -> String {
    let parts: Vec<String> = main_coordinates(direction)
        .into_iter()
        .map(|(i, share)| format!("{} ({:.0} %)", names(i), 100.0 * share))
        .collect();
    format!("mainly {}", parts.join(", "))
}

fn main_coordinates(direction: &[f64]) -> Vec<(usize, f64)> {
    let mut shares: Vec<(usize, f64)> = direction.iter().map(|x| x * x).enumerate().collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    shares.truncate(NAMED);
    shares.iter_mut().for_each(|(_, share)| *share /= total);
    // The first always counts; others where they add something.
    let least = 0.05;
    shares
        .into_iter()
        .enumerate()
        .filter(|(rank, (_, share))| *rank == 0 || *share >= least)
        .map(|(_, pair)| pair)
        .collect()
}

//! Taylor tests: is a derivative the derivative of the function beside it?
//!
//! For `F: R^p -> R` with gradient `D` and a direction `u`, the remainder `R(h) = |F(x + h u) - F(x) - h D'u|` falls like
//! `h^2` when `D` is right and like `h` when it is not, whatever the scaling of `F`: the slope of `log R` over `log h`
//! decides, and no tolerance on a difference quotient has to be guessed. A vector-valued `G` is paired with a fixed random
//! `v`, `F = v'G`, whose gradient is the transposed product `(dG)' v`: this also finds a product that was not transposed.
//!
//! The slope is read at the smallest steps whose remainder still stands clear of rounding, where a small error of the
//! derivative shows best: relative errors of 1e-5 and more are found. Functions of storage precision f32 need
//! [`Taylor::precision`] set to it.

use super::check::Check;
use crate::error::Result;
use crate::lower::{Curved, FirstOrder, StochasticLoss, StochasticMap};
use crate::sample::{Purpose, Rng, Sample};
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;

/// Largest slope of a wrong derivative, with room for the transition from 1 to 2.
const SLOPE: f64 = 1.7;
/// Points on which a slope is fitted.
const WINDOW: usize = 5;
/// Halvings of the step, and at most, where remainders still stand clear of rounding.
const HALVINGS: (usize, usize) = (26, 52);
/// Local slope below which a remainder is rounding and not a power of `h`.
const NOISE_SLOPE: f64 = 0.7;
/// Largest difference of local slopes on what counts as one power of `h`.
const SPREAD: f64 = 0.5;
/// Size of remainders, relative to what they are made of, that counts as exact where no slope can be fitted.
const EXACT: f64 = 1e-8;
/// Roundings of a function whose evaluation ends a solve.
const ROUNDINGS: f64 = 20.0;

/// Settings of the tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taylor {
    /// Largest step `h` along a direction of norm one.
    pub step: f64,
    /// Relative rounding error of one evaluation, per term.
    pub precision: f64,
    /// Seed of the directions.
    pub seed: u64,
}

impl Default for Taylor {
    fn default() -> Self {
        Taylor { step: 0.5, precision: f64::EPSILON, seed: 0 }
    }
}

impl Taylor {
    /// `gradient` (and the value it returns), `hessian_product` and `cross_product` of a loss at one point and sample.
    pub fn loss<L: StochasticLoss + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64], zeta: &Sample) -> Vec<Check> {
        let v = self.direction(w.len(), 1);
        let mut gradient = vec![0.0; w.len()];
        let returned = loss.gradient(w, lambda, zeta, &mut gradient);
        let value = loss.value(w, lambda, zeta);
        let mut hessian = vec![0.0; w.len()];
        loss.hessian_product(w, lambda, zeta, &v, &mut hessian);
        let mut cross = vec![0.0; lambda.len()];
        loss.cross_product(w, lambda, zeta, &v, &mut cross);

        let mut out = vec![0.0; w.len()];
        let mut along = |w: &[f64], lambda: &[f64]| {
            loss.gradient(w, lambda, zeta, &mut out);
            (vector::dot(&v, &out), vector::dot_abs(&v, &out))
        };
        let hessian = self.scalar("hessian_product", w, |w| along(w, lambda), &hessian);
        let cross = self.scalar("cross_product", lambda, |lambda| along(w, lambda), &cross);
        let value_of = |w: &[f64]| {
            let value = loss.value(w, lambda, zeta);
            (value, value.abs())
        };
        vec![
            self.scalar("gradient", w, value_of, &gradient),
            self.same_value("value returned by gradient", returned, value),
            hessian,
            cross,
        ]
    }

    /// `curvature` against `hessian_product` on all rows: products, a positive diagonal, and the factorisation if any.
    pub fn curvature<L: Curved + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64]) -> Vec<Check> {
        let v = self.direction(w.len(), 1);
        let curvature = loss.curvature(w, lambda);
        let (mut expected, mut found) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        loss.hessian_product(w, lambda, &Sample::Full, &v, &mut expected);
        curvature.product(&v, &mut found);
        let size = vector::norm(&expected);
        let tolerance = self.closeness();
        let product_error = vector::distance(&expected, &found) / size;
        let mut checks = vec![Check::new(
            "curvature product",
            product_error <= tolerance,
            Some(product_error),
            format!("relative distance {product_error:.1e} from hessian_product"),
        )];

        let mut diagonal = vec![0.0; w.len()];
        curvature.diagonal(&mut diagonal);
        let smallest = diagonal.iter().copied().fold(f64::INFINITY, f64::min);
        let positive = diagonal.iter().all(|&d| d > 0.0 && d.is_finite());
        let message = format!("smallest entry {smallest:e}, all must be positive and finite");
        checks.push(Check::new("curvature diagonal", positive, Some(smallest), message));

        match curvature.factorize(&StopSignal::never()) {
            None => {}
            Some(Err(error)) => checks.push(Check::new("factorization", false, None, error.to_string())),
            Some(Ok(factorization)) => {
                factorization.solve_in_place(&mut found);
                // H u = H v leaves u = v up to the condition number; the backward error H u - H v is free of it.
                curvature.product(&found, &mut expected);
                curvature.product(&v, &mut found);
                let error = vector::distance(&expected, &found) / size;
                let message = format!("relative residual {error:.1e} of a solve");
                checks.push(Check::new("factorization", error <= tolerance, Some(error), message));
            }
        }
        checks
    }

    /// `gradient_lambda` of a loss at one point and sample.
    pub fn gradient_lambda<L: FirstOrder + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64], zeta: &Sample) -> Check {
        let mut gradient = vec![0.0; lambda.len()];
        loss.gradient_lambda(w, lambda, zeta, &mut gradient);
        let value_of = |lambda: &[f64]| {
            let value = loss.value(w, lambda, zeta);
            (value, value.abs())
        };
        self.scalar("gradient_lambda", lambda, value_of, &gradient)
    }

    /// `directions` of a loss, which may be computed in one visit of the sample, against its parts.
    pub fn directions<L: StochasticLoss + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64], zeta: &Sample) -> Check {
        let v = self.direction(w.len(), 1);
        let [mut fused, mut parts] = [0, 1].map(|_| vec![0.0; 2 * w.len() + lambda.len()]);
        loss.directions(w, lambda, zeta, &v, blocks(&mut fused, w.len()));
        let [gradient, hessian_product, cross_product] = blocks(&mut parts, w.len());
        loss.gradient_only(w, lambda, zeta, gradient);
        loss.hessian_product(w, lambda, zeta, &v, hessian_product);
        loss.cross_product(w, lambda, zeta, &v, cross_product);
        let error = vector::distance(&fused, &parts) / vector::norm(&parts).max(f64::MIN_POSITIVE);
        let message = format!("relative distance {error:.1e} from gradient, hessian_product and cross_product");
        Check::new("directions", error <= self.closeness(), Some(error), message)
    }

    /// That `d1Phi` is symmetric, by products with two random vectors. Jacobians of samples need not be.
    pub fn symmetric<M: StochasticMap + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64]) -> Check {
        let [u, v] = [3, 4].map(|number| self.direction(w.len(), number));
        let [mut by_u, mut by_v] = [0, 1].map(|_| vec![0.0; w.len()]);
        map.vjp_w(w, lambda, &Sample::Full, &u, &mut by_u);
        map.vjp_w(w, lambda, &Sample::Full, &v, &mut by_v);
        let (left, right) = (vector::dot(&u, &by_v), vector::dot(&v, &by_u));
        let error = (left - right).abs() / (vector::norm(&by_u) + vector::norm(&by_v)).max(f64::MIN_POSITIVE);
        let message =
            format!("u . vjp_w(v) = {left:.6e} and v . vjp_w(u) = {right:.6e}, relative distance {error:.1e}");
        Check::new("symmetric", error <= self.closeness(), Some(error), message)
    }

    /// `vjp_w` and `vjp_lambda` of a map at one point and sample.
    pub fn map<M: StochasticMap + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64], zeta: &Sample) -> Vec<Check> {
        let v = self.direction(w.len(), 1);
        let mut vjp_w = vec![0.0; w.len()];
        map.vjp_w(w, lambda, zeta, &v, &mut vjp_w);
        let mut vjp_lambda = vec![0.0; lambda.len()];
        map.vjp_lambda(w, lambda, zeta, &v, &mut vjp_lambda);

        let mut out = vec![0.0; w.len()];
        let mut along = |w: &[f64], lambda: &[f64]| {
            map.apply(w, lambda, zeta, &mut out);
            (vector::dot(&v, &out), vector::dot_abs(&v, &out))
        };
        vec![
            self.scalar("vjp_w", w, |w| along(w, lambda), &vjp_w),
            self.scalar("vjp_lambda", lambda, |lambda| along(w, lambda), &vjp_lambda),
        ]
    }

    /// Both gradients of an upper objective (and the value they return) at one point and sample.
    pub fn upper<U: UpperObjective + ?Sized>(&self, upper: &U, w: &[f64], lambda: &[f64], xi: &Sample) -> Vec<Check> {
        let (mut grad_w, mut grad_lambda) = (vec![0.0; w.len()], vec![0.0; lambda.len()]);
        let returned = upper.gradients(w, lambda, xi, &mut grad_w, &mut grad_lambda);
        let value_of = |w: &[f64], lambda: &[f64]| {
            let value = upper.value(w, lambda, xi);
            (value, value.abs())
        };
        vec![
            self.scalar("grad_w", w, |w| value_of(w, lambda), &grad_w),
            self.scalar("grad_lambda", lambda, |lambda| value_of(w, lambda), &grad_lambda),
            self.same_value("value returned by gradients", returned, upper.value(w, lambda, xi)),
        ]
    }

    /// The test itself: `f(x)` returns `F(x)` and the size of the terms that make it up; `gradient` is to be `F`'s.
    pub fn scalar(&self, name: &str, x: &[f64], mut f: impl FnMut(&[f64]) -> (f64, f64), gradient: &[f64]) -> Check {
        // Half along the gradient, where the slope is large and an error of scale shows; half anywhere.
        let mut direction = self.direction(x.len(), 2);
        let length = vector::norm(gradient);
        if length > 0.0 && length.is_finite() {
            // The sign that does not cancel, as it would for a single coordinate in every other case.
            let sign = if vector::dot(&direction, gradient) < 0.0 { -1.0 } else { 1.0 };
            vector::axpy(sign / length, gradient, &mut direction);
            let norm = vector::norm(&direction);
            vector::scale(1.0 / norm, &mut direction);
        }
        let slope_at_x = vector::dot(&direction, gradient);
        let (base, base_size) = f(x);
        let mut moved = vec![0.0; x.len()];
        // What the rounding of `x` does counts, too: it is all that is left of a step much shorter than `x`.
        let smallest = base_size.max(base.abs()).max(vector::dot_abs(x, gradient));
        let (mut points, mut size, mut largest, mut clear) = (Vec::new(), smallest, 0.0_f64, true);
        for halving in 0..HALVINGS.1 {
            if halving >= HALVINGS.0 && !clear {
                break;
            }
            let h = self.step * 0.5_f64.powi(halving as i32);
            moved.copy_from_slice(x);
            vector::axpy(h, &direction, &mut moved);
            let (value, value_size) = f(&moved);
            let remainder = (value - base - h * slope_at_x).abs();
            if !remainder.is_finite() {
                return Check::new(name, false, None, format!("not finite at step {h:.1e}"));
            }
            let here = smallest.max(value_size).max((h * slope_at_x).abs());
            (size, largest) = (size.max(here), largest.max(remainder));
            // Not the end: where the linear error of a wrong derivative cancels the curvature, a larger remainder follows.
            clear = remainder > 200.0 * self.precision * here;
            if clear {
                points.push((h.ln(), remainder.ln()));
            }
        }
        // From the smallest steps upwards, the first window that is a power of h decides.
        for window in points.windows(WINDOW).rev() {
            let local = window.windows(2).map(|pair| (pair[0].1 - pair[1].1) / (pair[0].0 - pair[1].0));
            let (low, high) = local.fold((f64::INFINITY, 0.0_f64), |(low, high), s| (low.min(s), high.max(s)));
            if low >= NOISE_SLOPE && high - low <= SPREAD {
                let slope = fit(window);
                let message = format!("remainder falls like h^{slope:.2}; a right derivative gives 2, a wrong one 1");
                return Check::new(name, slope >= SLOPE, Some(slope), message);
            }
        }
        let relative = largest / size.max(f64::MIN_POSITIVE);
        let exact = largest == 0.0 || relative <= EXACT.max(1e4 * self.precision);
        let verdict =
            if exact { "exact up to rounding" } else { "too large to be rounding, too irregular for a slope" };
        Check::new(name, exact, None, format!("relative remainder {relative:.1e}: {verdict}"))
    }

    /// A hypergradient against central differences of `f` along `directions` random directions of norm one.
    ///
    /// `f(lambda)` must solve the lower level to about `step^3`; `tolerance` is relative to the larger of the slope and
    /// its typical size `|gradient|/sqrt(m)`. What rounding of `f` does to the differences is allowed beside it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn hypergradient(
        &self,
        mut f: impl FnMut(&[f64]) -> Result<f64>,
        lambda: &[f64],
        gradient: &[f64],
        directions: u64,
        tolerance: f64,
    ) -> Result<Vec<Check>> {
        let typical = vector::norm(gradient) / (lambda.len() as f64).sqrt();
        let h = 1e-2 * self.step;
        let mut moved = vec![0.0; lambda.len()];
        let mut checks = Vec::new();
        for number in 0..directions {
            let direction = self.direction(lambda.len(), 10 + number);
            let mut largest = 0.0_f64;
            let mut central = |h: f64| -> Result<f64> {
                let mut difference = 0.0;
                for sign in [1.0, -1.0] {
                    moved.copy_from_slice(lambda);
                    vector::axpy(sign * h, &direction, &mut moved);
                    let value = f(&moved)?;
                    largest = largest.max(value.abs());
                    difference += sign * value;
                }
                Ok(difference / (2.0 * h))
            };
            // Richardson extrapolation: the error is O(h^4).
            let difference = (4.0 * central(h / 2.0)? - central(h)?) / 3.0;
            let slope = vector::dot(&direction, gradient);
            let rounding = ROUNDINGS * self.precision * largest / h;
            checks.push(Check::near("hypergradient", slope, difference, slope.abs().max(typical), tolerance, rounding));
        }
        Ok(checks)
    }

    /// Largest relative distance of what should be the same and is computed in two ways.
    pub fn closeness(&self) -> f64 {
        (1e6 * self.precision).min(1e-3)
    }

    fn same_value(&self, name: &str, returned: f64, value: f64) -> Check {
        Check::equal(name, returned, value, value.abs().max(f64::MIN_POSITIVE), 1e4 * self.precision)
    }

    /// A random direction of norm one.
    fn direction(&self, length: usize, number: u64) -> Vec<f64> {
        let mut rng = Rng::stream(self.seed, Purpose::Start, number);
        let mut direction: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
        let norm = vector::norm(&direction);
        vector::scale(1.0 / norm, &mut direction);
        direction
    }
}

/// Two blocks of length `d`, and what remains.
fn blocks(all: &mut [f64], d: usize) -> [&mut [f64]; 3] {
    let (first, rest) = all.split_at_mut(d);
    let (second, third) = rest.split_at_mut(d);
    [first, second, third]
}

/// Least-squares slope of a line through the points.
fn fit(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

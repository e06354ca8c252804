//! One row of the dual: the exact update of its gradient when everything else stays.
//!
//! A change of the row's dual variable `A` (the gradient of its loss in its `C` margins) by `A_new - A_old` moves its own
//! margins from `u` to `m = u - q (A_new - A_old)`, so the best one solves `m + q c grad loss(m) = z = u + q A_old`: the
//! prox of the loss, `C` equations in `C` unknowns whose Jacobian is a diagonal plus rank one.

use super::loss::Loss;

/// Newton steps on one row at most; the problem is strictly convex and the start is good.
const STEPS: usize = 30;
/// Squared Newton decrement after which the next step is exact to rounding.
const DECREMENT: f64 = 1e-9;
/// Probabilities from which Newton can start.
const SMALLEST: f64 = 1e-10;

/// What an update of a row did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gain {
    /// Rise of the dual function, or fall of the quadratic energy, per unit of scale, to second order.
    pub rise: f64,
    /// Weighted loss at the new margins.
    pub loss: f64,
    /// `A^T m` at the new margins.
    pub product: f64,
}

/// A row at hand.
pub(super) struct Row<'r> {
    pub loss: Loss,
    pub y: f64,
    /// Weight of the row.
    pub c: f64,
    /// What a unit of each component of `A` takes off its margin, `q_c`.
    pub q: &'r [f64],
}

impl Row<'_> {
    /// Replaces the dual variable `a` by the best one, the margins `u` by the new ones; `delta = a_old - a_new`.
    #[inline(always)]
    pub(super) fn update(&self, u: &mut [f64], a: &mut [f64], delta: &mut [f64]) -> Gain {
        if self.c == 0.0 {
            delta.copy_from_slice(a);
            a.fill(0.0);
            return Gain::default();
        }
        match self.loss {
            Loss::Softmax { .. } => self.softmax(u, a, delta),
            loss => {
                let (kappa, z) = (self.q[0] * self.c, u[0] + self.q[0] * a[0]);
                let m = prox(loss, self.y, kappa, z, u[0]);
                let (value, slope, curvature) = loss.jet(m, self.y);
                let new = self.c * slope;
                delta[0] = a[0] - new;
                u[0] = m;
                a[0] = new;
                // A loss without curvature has no conjugate to bend: half of what the margin moves counts then.
                let bend = self.q[0] + 1.0 / (self.c * curvature).max(1.0 / self.q[0]);
                Gain { rise: 0.5 * bend * delta[0] * delta[0], loss: self.c * value, product: new * m }
            }
        }
    }

    /// Newton's method on the probabilities `p`: all `l_c = z_c - k_c p_c - ln p_c` must equal the log-partition `L`
    /// and `sum p = 1`. With `h_c = p_c / (1 + k_c p_c)` the step is `dp = (l - L) h`, and `L` follows from the sum.
    #[inline(always)]
    fn softmax(&self, u: &mut [f64], a: &mut [f64], p: &mut [f64]) -> Gain {
        let own = self.y as usize;
        // From here on `p` holds the probabilities and `u` holds z; `delta` is formed at the end.
        for (c, (p, u)) in p.iter_mut().zip(u.iter_mut()).enumerate() {
            let old = a[c] / self.c + f64::from(u8::from(c == own));
            *u += self.q[c] * self.c * old;
            *p = old.max(SMALLEST);
        }
        const WIDTH: usize = 64;
        let (mut l_buffer, mut h_buffer) = ([0.0; WIDTH], [0.0; WIDTH]);
        let (mut l_heap, mut h_heap) = (Vec::new(), Vec::new());
        let (l, h) = if p.len() <= WIDTH {
            (&mut l_buffer[..p.len()], &mut h_buffer[..p.len()])
        } else {
            l_heap.resize(p.len(), 0.0);
            h_heap.resize(p.len(), 0.0);
            (&mut l_heap[..], &mut h_heap[..])
        };
        for _ in 0..STEPS {
            let (mut weighted, mut weight, mut total) = (0.0, 0.0, 0.0);
            for c in 0..p.len() {
                let k = self.q[c] * self.c;
                l[c] = u[c] - k * p[c] - p[c].ln();
                h[c] = p[c] / (1.0 + k * p[c]);
                weighted += l[c] * h[c];
                weight += h[c];
                total += p[c];
            }
            let level = (weighted - (1.0 - total)) / weight;
            let mut decrement = 0.0;
            for c in 0..p.len() {
                let step = (l[c] - level) * h[c];
                decrement += step * (l[c] - level);
                p[c] = (p[c] + step).max(0.05 * p[c]);
            }
            if decrement <= DECREMENT {
                break;
            }
        }
        let total: f64 = p.iter().sum();
        let mut gain = Gain::default();
        for c in 0..p.len() {
            let (k, own) = (self.q[c] * self.c, f64::from(u8::from(c == own)));
            let new = p[c] / total;
            let old = a[c] / self.c + own;
            u[c] -= k * new;
            let change = old - new;
            gain.rise += 0.5 * self.c * change * change * (k + 2.0 / (new + old.max(0.0)).max(f64::MIN_POSITIVE));
            a[c] = self.c * (new - own);
            gain.product += a[c] * u[c];
            if own > 0.0 {
                gain.loss = -self.c * new.max(f64::MIN_POSITIVE).ln();
            }
            p[c] = self.c * change;
        }
        gain
    }

    /// The linear counterpart: replaces `b` by the solution of `b_new = c D (u + q (b_old - b_new))`, with `D` as kept
    /// by [`Loss::curvature`] in `curvature`; `delta = b_old - b_new`.
    ///
    /// For the softmax the new margins are `y = (t + k p s) / (1 + k p)` with `t = u + q b_old`, `k = c q` and the mean
    /// `s = p^T y`, which is `sum p t / (1 + k p)` over `sum p / (1 + k p)`.
    #[inline(always)]
    pub(super) fn update_linear(&self, u: &mut [f64], b: &mut [f64], curvature: &[f64], delta: &mut [f64]) -> Gain {
        let mut gain = Gain::default();
        let Loss::Softmax { .. } = self.loss else {
            let d = self.c * curvature[0];
            let new = d * (u[0] + self.q[0] * b[0]) / (1.0 + self.q[0] * d);
            delta[0] = b[0] - new;
            b[0] = new;
            if d > 0.0 {
                gain.rise = 0.5 * delta[0] * delta[0] * (self.q[0] + 1.0 / d);
            }
            return gain;
        };
        let (mut top, mut bottom) = (0.0, 0.0);
        for (c, p) in curvature.iter().enumerate() {
            let weight = p / (1.0 + self.q[c] * self.c * p);
            top += weight * (u[c] + self.q[c] * b[c]);
            bottom += weight;
        }
        let mean = top / bottom;
        for (c, p) in curvature.iter().enumerate() {
            let k = self.q[c] * self.c * p;
            let y = (u[c] + self.q[c] * b[c] + k * mean) / (1.0 + k);
            let new = self.c * p * (y - mean);
            delta[c] = b[c] - new;
            b[c] = new;
            gain.rise += 0.5 * delta[c] * delta[c] * (self.q[c] + 1.0 / (self.c * p).max(f64::MIN_POSITIVE));
        }
        gain
    }
}

/// The `m` with `m + kappa loss'(m) = z`: Newton within a bracket. As `loss'` rises, `m` lies between `z` and
/// `z - kappa loss'(z)`.
fn prox(loss: Loss, y: f64, kappa: f64, z: f64, start: f64) -> f64 {
    let far = z - kappa * loss.jet(z, y).1;
    let (mut low, mut high) = (z.min(far).max(-1e300), z.max(far).min(1e300));
    let mut m = start.clamp(low, high);
    for _ in 0..4 * STEPS {
        let (_, slope, curvature) = loss.jet(m, y);
        let excess = m + kappa * slope - z;
        if excess > 0.0 {
            high = m;
        } else {
            low = m;
        }
        let step = excess / (1.0 + kappa * curvature);
        let next = m - step;
        let last = m;
        m = if next > low && next < high { next } else { 0.5 * (low + high) };
        if (m - last).abs() <= 1e-14 * (1.0 + m.abs()) || excess == 0.0 {
            break;
        }
    }
    m
}

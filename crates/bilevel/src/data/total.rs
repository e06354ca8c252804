//! Sums whose mean is a number wherever their terms are numbers.

/// A sum of at most 2^32 numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total(f64);

impl Total {
    pub(super) const ZERO: Self = Total(-0.0);

    /// So much smaller all numbers are summed up, so that no sum is too large; a power of two rounds none.
    const SCALE: f64 = 1.0 / (1u64 << 33) as f64;

    pub(super) fn add(&mut self, x: f64) {
        self.0 += x * Self::SCALE;
    }

    /// Adds another sum.
    pub(super) fn join(&mut self, more: Total) {
        self.0 += more.0;
    }

    /// The mean of `count` numbers.
    pub(super) fn mean(self, count: usize) -> f64 {
        self.0 / count as f64 / Self::SCALE
    }
}

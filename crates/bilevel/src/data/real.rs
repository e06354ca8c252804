//! The precisions in which short sums are computed.

use std::cell::Cell;
use std::ops::Add;

/// `f32` or `f64`, with what kernels need of them.
pub trait Real: Copy + Send + Sync + Add<Output = Self> + 'static {
    /// The number 0.
    const ZERO: Self;

    /// `self * a + b`, rounded once.
    #[must_use]
    fn times_plus(self, a: Self, b: Self) -> Self;

    /// Rounded from double precision.
    fn narrowed(x: f64) -> Self;

    /// Widened to double precision.
    fn widened(self) -> f64;

    /// Runs `body` on `len` numbers of any value, memory that the thread keeps between calls.
    fn scratch<R>(len: usize, body: impl FnOnce(&mut [Self]) -> R) -> R;
}

macro_rules! real {
    ($real:ty) => {
        impl Real for $real {
            const ZERO: Self = 0.0;

            #[inline(always)]
            fn times_plus(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }

            #[inline(always)]
            fn narrowed(x: f64) -> Self {
                x as $real
            }

            #[inline(always)]
            fn widened(self) -> f64 {
                self.into()
            }

            #[inline]
            fn scratch<R>(len: usize, body: impl FnOnce(&mut [Self]) -> R) -> R {
                thread_local! {
                    static KEPT: Cell<Vec<$real>> = const { Cell::new(Vec::new()) };
                }
                // Taken out while in use, so that a call within a call finds memory of its own.
                let mut buffer = KEPT.take();
                if buffer.len() < len {
                    buffer.resize(len, 0.0);
                }
                let result = body(&mut buffer[..len]);
                KEPT.set(buffer);
                result
            }
        }
    };
}

real!(f32);
real!(f64);

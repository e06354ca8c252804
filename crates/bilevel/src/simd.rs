//! Vector instructions chosen at run time.
//!
//! Kernels are plain loops that the compiler turns into vector code; [`vectorize`] compiles them once for each
//! instruction set (AVX-512, AVX2 with FMA, NEON, portable) and picks the best that the processor has.

use pulp::{Arch, Simd, WithSimd};

struct Kernel<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Kernel<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Runs `kernel` with the best vector instructions.
///
/// The closure must be marked `#[inline(always)]`, and so must every function it calls. It is called as `FnMut`: called
/// as `FnOnce` it would go through a shim that is compiled for the baseline instruction set.
#[inline(always)]
pub(crate) fn vectorize<R>(kernel: impl FnMut() -> R) -> R {
    Arch::new().dispatch(Kernel(kernel))
}

/// Asks for `slice` to be brought into the cache; where the processor cannot be asked, does nothing.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let first = slice.as_ptr().cast::<i8>();
        for offset in (0..size_of_val(slice)).step_by(LINE) {
            // SAFETY: a hint about memory of the slice, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

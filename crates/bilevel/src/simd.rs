//! Vector instructions chosen at run time.
//!
//! Kernels are plain loops that the compiler turns into vector code; [`vectorize`] compiles them once for each
//! instruction set (AVX-512, AVX2 with FMA, NEON, portable) and picks the best that the processor has.

use pulp::Arch;
pub(crate) use pulp::{Simd, WithSimd};

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
    dispatch(Kernel(kernel))
}

/// Runs a kernel that names its vectors, for loops that the compiler does not see them in.
#[inline(always)]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    Arch::new().dispatch(kernel)
}

/// Bytes of a line of the cache.
pub(crate) const LINE: usize = 64;

/// Asks for the line at `address` to be brought into the cache; where the processor cannot be asked, does nothing. Nothing is
/// read, so any address will do.
#[inline(always)]
pub(crate) fn prefetch_line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for `slice` to be brought into the cache.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T]) {
    let first = slice.as_ptr().cast::<u8>();
    for offset in (0..size_of_val(slice)).step_by(LINE) {
        prefetch_line(first.wrapping_add(offset));
    }
}

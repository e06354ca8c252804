//! Vector instructions chosen at run time.
//!
//! Kernels are plain loops that the compiler turns into vector code; [`vectorize`] compiles them once for each
//! instruction set (AVX-512, AVX2 with FMA, NEON, portable) and picks the best that the processor has.

use pulp::Arch;
pub(crate) use pulp::bytemuck::cast as same_bits;
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

/// Bytes of all vector registers.
pub(crate) fn register_bytes() -> usize {
    struct Registers;
    impl WithSimd for Registers {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::REGISTER_COUNT * size_of::<S::f32s>()
        }
    }
    dispatch(Registers)
}

/// Numbers in the vectors of the processor.
pub(crate) trait Vectors: Copy + Default {
    type Vector<S: Simd>: Copy;
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    fn total<S: Simd>(simd: S, lanes: Self::Vector<S>) -> Self;
    /// `sums + w x`.
    fn plus_multiple<S: Simd>(
        simd: S,
        sums: Self::Vector<S>,
        w: Self::Vector<S>,
        x: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `numbers` as vectors, but for those at the end that do not fill one.
    fn vectors<S: Simd>(numbers: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Simd>(numbers: &mut [Self]) -> &mut [Self::Vector<S>];
}

macro_rules! vectors {
    ($number:ty, $vector:ident, $splat:ident, $total:ident, $mul_add:ident, $of:ident, $of_mut:ident) => {
        impl Vectors for $number {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$vector {
                simd.$splat(x)
            }
            #[inline(always)]
            fn total<S: Simd>(simd: S, lanes: S::$vector) -> Self {
                simd.$total(lanes)
            }
            #[inline(always)]
            fn plus_multiple<S: Simd>(simd: S, sums: S::$vector, w: S::$vector, x: S::$vector) -> S::$vector {
                simd.$mul_add(w, x, sums)
            }
            #[inline(always)]
            /// `numbers` as vectors, but for those at the end that do not fill one.
            fn vectors<S: Simd>(numbers: &[Self]) -> &[S::$vector] {
                S::$of(numbers).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(numbers: &mut [Self]) -> &mut [S::$vector] {
                S::$of_mut(numbers).0
            }
        }
    };
}

vectors!(f32, f32s, splat_f32s, reduce_sum_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
vectors!(f64, f64s, splat_f64s, reduce_sum_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);

/// `pair` over and over, in the vector that is number `vector` of those that hold it.
#[inline(always)]
pub(crate) fn splat_pair<S: Simd>(simd: S, pair: &[f32; 2], vector: usize) -> S::f32s {
    if size_of::<S::f32s>() < size_of_val(pair) {
        return simd.splat_f32s(pair[vector % 2]);
    }
    // Two numbers in single precision as one in double precision.
    same_bits(simd.splat_f64s(same_bits(*pair)))
}

/// Numbers in a vector.
#[inline(always)]
pub(crate) fn lanes<S: Simd, N: Vectors>() -> usize {
    size_of::<N::Vector<S>>() / size_of::<N>()
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

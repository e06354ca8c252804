//! Small blocks of numbers with rows and columns exchanged.

/// Rows and columns of a block.
pub(super) const SIDE: usize = 4;

/// A block, row after row.
pub(super) type Block<N> = [[N; SIDE]; SIDE];

/// The transpose, for numbers of any kind.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn exchanged<N: Copy>(block: &Block<N>) -> Block<N> {
    std::array::from_fn(|i| std::array::from_fn(|j| block[j][i]))
}

/// The transpose. The compiler would move the numbers one by one.
#[inline(always)]
pub(super) fn transposed_f32(block: &Block<f32>) -> Block<f32> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let mut out = [[0.0; SIDE]; SIDE];
        // SAFETY: the instructions belong to every processor of this kind, and rows hold four numbers.
        unsafe {
            let row = |i: usize| _mm_loadu_ps(block[i].as_ptr());
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            _mm_storeu_ps(out[0].as_mut_ptr(), _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(out[1].as_mut_ptr(), _mm_movehl_ps(cd, ab));
            let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            _mm_storeu_ps(out[2].as_mut_ptr(), _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(out[3].as_mut_ptr(), _mm_movehl_ps(cd, ab));
        }
        out
    }
    #[cfg(not(target_arch = "x86_64"))]
    exchanged(block)
}

/// [`transposed_f32`] in double precision.
#[inline(always)]
pub(super) fn transposed_f64(block: &Block<f64>) -> Block<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_loadu_pd, _mm_storeu_pd, _mm_unpackhi_pd, _mm_unpacklo_pd};
        let mut out = [[0.0; SIDE]; SIDE];
        for i in [0, 2] {
            for j in [0, 2] {
                // SAFETY: the instructions belong to every processor of this kind, and rows hold four numbers.
                unsafe {
                    let a = _mm_loadu_pd(block[i].as_ptr().add(j));
                    let b = _mm_loadu_pd(block[i + 1].as_ptr().add(j));
                    _mm_storeu_pd(out[j].as_mut_ptr().add(i), _mm_unpacklo_pd(a, b));
                    _mm_storeu_pd(out[j + 1].as_mut_ptr().add(i), _mm_unpackhi_pd(a, b));
                }
            }
        }
        out
    }
    #[cfg(not(target_arch = "x86_64"))]
    exchanged(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let block: Block<f64> = std::array::from_fn(|i| std::array::from_fn(|j| (SIDE * i + j) as f64));
        let (wide, narrow) = (transposed_f64(&block), transposed_f32(&block.map(|row| row.map(|x| x as f32))));
        for (i, row) in block.iter().enumerate() {
            for (j, &x) in row.iter().enumerate() {
                assert_eq!((wide[j][i], f64::from(narrow[j][i])), (x, x));
            }
        }
    }
}

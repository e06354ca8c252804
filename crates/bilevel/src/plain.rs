//! Types that are nothing but their bytes.

/// Numbers of which every bit pattern is a value, so that the bytes of a file may be taken for them.
///
/// # Safety
/// Every bit pattern must be a valid value, without padding.
pub(crate) unsafe trait Plain: Copy + 'static {}

// SAFETY: integers and floats have no padding and no invalid bit patterns.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for usize {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}

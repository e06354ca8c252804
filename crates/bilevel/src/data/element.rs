//! The types of the numbers that are stored.

/// Number type of a stored matrix.
pub trait Element: Copy + Send + Sync + Default + PartialEq + Into<f64> + std::fmt::Debug + 'static {
    /// Widened to double precision.
    fn to_f64(self) -> f64;
    /// Rounded from double precision.
    fn from_f64(x: f64) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Element for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
}

impl Element for u8 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as u8
    }
}

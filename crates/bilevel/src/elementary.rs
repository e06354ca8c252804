//! Exponential and logarithm without branches, so that loops over them become vector instructions.
//!
//! The functions of the standard library are calls, one number at a time; a pass over margins spends most of its time
//! in them. These are accurate to a few units in the last place on the arguments the losses need.

use std::f64::consts::LOG2_E;

const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Adding and subtracting 1.5 * 2^52 rounds to an integer and leaves it in the low bits of the mantissa.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `exp(x)` for finite `x`, clamped to `exp(-708) ..= exp(709)`.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let x = x.clamp(-708.0, 709.0);
    let shifted = x.mul_add(LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = k.mul_add(-LN_2_LOW, k.mul_add(-LN_2_HIGH, x));
    // Taylor polynomial of degree 13 on |r| <= ln(2)/2: the remainder is below 4e-18.
    let mut p: f64 = 1.0 / 6_227_020_800.0;
    for coefficient in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p.mul_add(r, coefficient);
    }
    f64::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// `ln(1 + e)` for `0 <= e <= 1`.
#[inline(always)]
pub fn ln_1p_unit(e: f64) -> f64 {
    // ln(1 + e) = 2 artanh(s) with s = e / (2 + e) <= 1/3; the first omitted term is below 2e-18.
    let s = e / (2.0 + e);
    let square = s * s;
    let mut p: f64 = 1.0 / 35.0;
    for odd in [33.0, 31.0, 29.0, 27.0, 25.0, 23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        p = p.mul_add(square, 1.0 / odd);
    }
    2.0 * s * p.mul_add(square, 1.0)
}

/// `y ln(y)` for `y >= 0`, with its limit 0 at 0.
#[inline(always)]
pub fn x_ln_x(y: f64) -> f64 {
    // y = 2^k m with 1 <= m < 2; zero becomes the smallest normal number, whose product vanishes.
    let bits = y.max(f64::MIN_POSITIVE).to_bits();
    let k = f64::from((bits >> 52) as i32 - 1023);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    y * k.mul_add(std::f64::consts::LN_2, ln_1p_unit(m - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_standard_library() {
        for i in -70_000..=70_000 {
            let x = f64::from(i) * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-15 * (1.0 + x.abs() / 100.0), "exp({x})");
        }
        for i in 0..=10_000 {
            let e = f64::from(i) * 1e-4;
            assert!((ln_1p_unit(e) - e.ln_1p()).abs() <= 7e-16 * e.ln_1p(), "ln_1p({e})");
        }
        for i in 1..=10_000 {
            let y = f64::from(i) * 0.37;
            assert!((x_ln_x(y) - y * y.ln()).abs() <= 1e-15 * (1.0 + y * y.ln().abs()), "{y} ln {y}");
        }
        assert_eq!(x_ln_x(0.0), 0.0);
        assert!(exp(f64::NAN).is_nan());
    }
}

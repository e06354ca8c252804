//! Numbers on their way through a temporary file, in the fewest bytes that give every one of them back.
//!
//! Indicators are ones at small indices, class codes and pixels are small integers: as bytes they pass through the file in
//! a quarter of the time or less, and a run of equal numbers is one number. Whether that is so is found out run by run.

use crate::data::buffer::{Plain, bytes_of, bytes_of_mut};

/// How the numbers of a run are written.
const PLAIN: u8 = 0;
const EQUAL: u8 = 1;
const BYTES: u8 = 2;
const SHORTS: u8 = 3;

/// Bytes in front of a run: how it is written, and how many numbers it has.
const HEAD: usize = 9;

/// Numbers that may be small integers.
pub(super) trait Packable: Plain + Default {
    fn to_byte(self) -> u8;
    fn of_byte(byte: u8) -> Self;
    fn to_short(self) -> u16;
    fn of_short(short: u16) -> Self;
    /// True when the bits are equal: zeros of both signs are two numbers, and all that is no number is itself.
    fn is(self, other: Self) -> bool;
}

macro_rules! packable {
    ($type:ty, $bits:expr) => {
        impl Packable for $type {
            #[inline(always)]
            fn to_byte(self) -> u8 {
                self as u8
            }
            #[inline(always)]
            fn of_byte(byte: u8) -> Self {
                byte as Self
            }
            #[inline(always)]
            fn to_short(self) -> u16 {
                self as u16
            }
            #[inline(always)]
            fn of_short(short: u16) -> Self {
                short as Self
            }
            #[inline(always)]
            fn is(self, other: Self) -> bool {
                $bits(self) == $bits(other)
            }
        }
    };
}

packable!(u32, u32::from);
packable!(f32, f32::to_bits);
packable!(f64, f64::to_bits);

/// Appends `numbers` to `out`.
pub(super) fn pack<T: Packable>(numbers: &[T], out: &mut Vec<u8>) {
    let mut head = |how: u8| {
        out.push(how);
        out.extend_from_slice(&(numbers.len() as u64).to_le_bytes());
    };
    if let Some(&first) = numbers.first()
        && all(numbers, |x| x.is(first))
    {
        head(EQUAL);
        out.extend_from_slice(bytes_of(&[first]));
    } else if all(numbers, |x| T::of_byte(x.to_byte()).is(x)) {
        head(BYTES);
        out.extend(numbers.iter().map(|x| x.to_byte()));
    } else if all(numbers, |x| T::of_short(x.to_short()).is(x)) {
        head(SHORTS);
        out.extend(numbers.iter().flat_map(|x| x.to_short().to_le_bytes()));
    } else {
        head(PLAIN);
        out.extend_from_slice(bytes_of(numbers));
    }
}

/// Appends the numbers of the run at the beginning of `packed` to `numbers` and moves on behind it; `None` where there is
/// no whole run.
pub(super) fn unpack<T: Packable>(packed: &mut &[u8], numbers: &mut Vec<T>) -> Option<()> {
    let (head, rest) = packed.split_at_checked(HEAD)?;
    let count = usize::try_from(u64::from_le_bytes(head[1..].try_into().ok()?)).ok()?;
    let bytes = match head[0] {
        PLAIN => count.checked_mul(size_of::<T>())?,
        EQUAL => size_of::<T>(),
        BYTES => count,
        SHORTS => count.checked_mul(2)?,
        _ => return None,
    };
    let (run, rest) = rest.split_at_checked(bytes)?;
    *packed = rest;
    match head[0] {
        BYTES => numbers.extend(run.iter().map(|&byte| T::of_byte(byte))),
        SHORTS => numbers.extend(run.chunks_exact(2).map(|pair| T::of_short(u16::from_le_bytes([pair[0], pair[1]])))),
        how => {
            let first = numbers.len();
            let own = if how == EQUAL { 1 } else { count };
            numbers.resize(first + own, T::default());
            bytes_of_mut(&mut numbers[first..]).copy_from_slice(run);
            let number = numbers[first];
            numbers.resize(first + count, number);
        }
    }
    Some(())
}

/// Whether `holds` is true of all `numbers`, looked at some at a time so that the test becomes vector code.
#[inline(always)]
fn all<T: Copy>(numbers: &[T], holds: impl Fn(T) -> bool) -> bool {
    numbers.chunks(256).all(|some| some.iter().fold(true, |all, &x| all & holds(x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_there_and_back<T: Packable>(runs: &[Vec<T>]) -> usize {
        let mut packed = Vec::new();
        runs.iter().for_each(|run| pack(run, &mut packed));
        let (mut rest, mut found) = (&packed[..], Vec::<T>::new());
        while !rest.is_empty() {
            unpack(&mut rest, &mut found).expect("whole runs");
        }
        let expected: Vec<T> = runs.concat();
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(&expected).all(|(a, b)| a.is(*b)), "some number came back as another");
        assert!(
            packed.is_empty()
                || unpack::<T>(&mut &packed[..packed.len() - 1], &mut Vec::new()).is_none()
                || runs.len() > 1
        );
        packed.len() - HEAD * runs.len()
    }

    #[test]
    fn small_numbers_take_few_bytes() {
        assert_eq!(bytes_there_and_back(&[vec![1.0f32; 1000]]), 4);
        assert_eq!(bytes_there_and_back(&[(0..256u32).collect::<Vec<_>>()]), 256);
        assert_eq!(bytes_there_and_back(&[(0..257u32).collect::<Vec<_>>()]), 514);
        assert_eq!(bytes_there_and_back(&[(0..65537u32).collect::<Vec<_>>()]), 4 * 65537);
        assert_eq!(bytes_there_and_back(&[(0..256).map(f64::from).collect::<Vec<_>>()]), 256);
    }

    #[test]
    fn what_only_looks_like_an_integer_is_kept() {
        for odd in [-0.0f32, f32::NAN, -1.0, 0.5, 70000.0, f32::INFINITY, f32::MIN_POSITIVE] {
            assert_eq!(bytes_there_and_back(&[vec![0.0, 1.0, odd]]), 12, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn every_number_comes_back(
            doubles in prop::collection::vec(prop::collection::vec(prop_oneof![prop::num::f64::ANY, Just(0.0), Just(-0.0), Just(7.0)], 0..40), 0..4),
            singles in prop::collection::vec(prop::num::f32::ANY, 0..40),
            codes in prop::collection::vec(prop_oneof![0u32..300, 0u32..70000, any::<u32>()], 0..40),
        ) {
            bytes_there_and_back(&doubles);
            bytes_there_and_back(&[singles]);
            bytes_there_and_back(&[codes]);
        }
    }
}

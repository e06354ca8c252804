//! Equally spaced values, found from their roundings.
//!
//! What is stored are values of a grid rounded to single precision. Each confines the grid: `shift + scale k` must lie in the
//! interval that is rounded to the `k`-th value. For a given scale the shifts that serve form an interval, whose length is a
//! concave function of the scale; a search for its maximum finds a grid wherever there is one.

/// `shift + scale k`, rounded to single precision, for `k` in `0..256`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// The value of code 0.
    pub shift: f64,
    /// The distance of two values.
    pub scale: f64,
}

/// Largest code.
const LARGEST: f64 = 255.0;
/// Divisions of the bracket of the scale; each leaves two thirds.
const DIVISIONS: usize = 120;

impl Grid {
    /// The grid of rising, distinct values; `None` where there is none, or a value is not finite.
    pub fn of(values: &[f32]) -> Option<Self> {
        let (&first, &last) = (values.first()?, values.last()?);
        if !values.iter().all(|x| x.is_finite()) {
            return None;
        }
        if first == last {
            return Some(Grid { shift: f64::from(first), scale: 0.0 });
        }
        let (first, span) = (f64::from(first), f64::from(last) - f64::from(first));
        let gaps = values.windows(2).map(|pair| f64::from(pair[1]) - f64::from(pair[0]));
        let gap = gaps.fold(f64::INFINITY, f64::min);
        // The smallest gap is a multiple of the distance, mostly the distance itself.
        (1..=LARGEST as u32)
            .map(|multiple| (span * f64::from(multiple) / gap).round())
            .take_while(|&steps| steps <= LARGEST)
            .find_map(|steps| Grid { shift: first, scale: span / steps }.fitted(values))
    }

    /// The value of a code.
    #[inline(always)]
    pub fn value(&self, code: u8) -> f32 {
        (self.shift + self.scale * f64::from(code)) as f32
    }

    /// The code of a value of the grid.
    #[inline(always)]
    pub fn code(&self, value: f32) -> u8 {
        if self.scale == 0.0 { 0 } else { ((f64::from(value) - self.shift) / self.scale).round() as u8 }
    }

    fn reproduces(&self, values: &[f32]) -> bool {
        values.iter().all(|&x| self.value(self.code(x)) == x)
    }

    /// A grid with about this distance that reproduces the values.
    fn fitted(self, values: &[f32]) -> Option<Self> {
        if self.reproduces(values) {
            return Some(self);
        }
        let far = |&x: &f32| ((f64::from(x) - self.shift) / self.scale - f64::from(self.code(x))).abs() > 0.1;
        if values.iter().any(far) {
            return None;
        }
        let middle = |x: f32, y: f32| 0.5 * (f64::from(x) + f64::from(y));
        let intervals: Vec<(f64, f64, f64)> = values
            .iter()
            .map(|&x| (f64::from(self.code(x)), middle(x.next_down(), x), middle(x, x.next_up())))
            .collect();
        let shifts = |scale: f64| {
            intervals.iter().fold((f64::NEG_INFINITY, f64::INFINITY), |(low, high), &(code, from, to)| {
                (low.max(from - scale * code), high.min(to - scale * code))
            })
        };
        let room = |scale: f64| {
            let (low, high) = shifts(scale);
            high - low
        };
        let error = intervals.iter().map(|&(_, from, to)| to - from).fold(0.0, f64::max);
        // A value of zero leaves almost no room for the shift, at any scale that serves; the middle of these scales is safe.
        let best = |leftmost: bool| {
            let (mut from, mut to) = (self.scale - 2.0 * error, self.scale + 2.0 * error);
            for _ in 0..DIVISIONS {
                let third = (to - from) / 3.0;
                let (left, right) = (room(from + third), room(to - third));
                if left < right || left == right && !leftmost { from += third } else { to -= third }
            }
            0.5 * (from + to)
        };
        let scale = 0.5 * (best(true) + best(false));
        let (low, high) = shifts(scale);
        Some(Grid { shift: 0.5 * (low + high), scale }).filter(|grid| grid.reproduces(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_found_from_roundings() {
        for (shift, scale, codes) in [
            (0.0, 1.0, vec![0, 1, 2, 255]),
            (0.0, 1.0 / 255.0, (0..=255).collect::<Vec<u8>>()),
            (-0.42, 0.012_72, vec![0, 4, 6, 10, 200]),
            (-3.1e-3, 0.737, (0..=255).step_by(3).collect()),
            (1e3, 0.1, (0..100).collect()),
            (7.5, 0.0, vec![0]),
            (0.0, 1.0 / 255.0, vec![0, 61, 79, 85, 152]),
        ] {
            let values: Vec<f32> = codes.iter().map(|&k| (shift + scale * f64::from(k)) as f32).collect();
            let grid = Grid::of(&values).unwrap_or_else(|| panic!("{shift} + {scale} k"));
            assert!(values.iter().all(|&x| grid.value(grid.code(x)) == x));
        }
        assert_eq!(Grid::of(&[0.0, 1.0, 2.5, 3.7, 1e6]), None);
        assert_eq!(Grid::of(&[0.0, f32::NAN]), None);
        assert_eq!(Grid::of(&[0.0, f32::INFINITY]), None);
        let cubes: Vec<f32> = (1..200).map(|k| (k as f32).powi(3)).collect();
        assert_eq!(Grid::of(&cubes), None);
    }
}

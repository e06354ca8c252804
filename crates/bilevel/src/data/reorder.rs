//! Rows in another order without a second copy of the matrix.
//!
//! Rows are handed from the end of the old matrix, which shrinks, to some buckets by where they will stand; then one bucket
//! after the other is put in order behind the rows that are done, and is given back. At any time about one copy of the
//! numbers and one bucket are in memory, and all copying is nearly sequential.

use std::ops::Range;

/// Number of buckets; one of them is the memory needed on top.
const BUCKETS: usize = 32;

/// `numbers` with the rows `order[0], order[1], ...`, each of them once; row `i` is `start(i)..start(i + 1)`.
///
/// # Panics
/// When `order` is no order of the rows.
pub(super) fn reorder<T: Copy>(mut numbers: Vec<T>, start: impl Fn(usize) -> usize, order: &[u32]) -> Vec<T> {
    let rows = order.len();
    let mut place = vec![u32::MAX; rows];
    for (position, &row) in (0u32..).zip(order) {
        assert_eq!(std::mem::replace(&mut place[row as usize], position), u32::MAX, "each row once");
    }
    let part =
        |bucket: usize| -> Range<usize> { (bucket * rows).div_ceil(BUCKETS)..((bucket + 1) * rows).div_ceil(BUCKETS) };
    let length = |row: usize| start(row + 1) - start(row);
    // The first one is given back first and so is made last: allocators return memory to the system from the end.
    let mut buckets: Vec<Vec<T>> = (0..BUCKETS)
        .rev()
        .map(|bucket| Vec::with_capacity(order[part(bucket)].iter().map(|&row| length(row as usize)).sum()))
        .collect();
    buckets.reverse();
    for bucket in (0..BUCKETS).rev() {
        let old = part(bucket);
        for row in old.clone().rev() {
            buckets[place[row] as usize * BUCKETS / rows].extend_from_slice(&numbers[start(row)..start(row + 1)]);
        }
        numbers.truncate(start(old.start));
        numbers.shrink_to_fit();
    }
    drop(place);
    let mut ordered = Vec::with_capacity(buckets.iter().map(Vec::len).sum());
    let mut found: Vec<(u32, usize)> = Vec::new();
    for (bucket, held) in buckets.into_iter().enumerate() {
        // The bucket holds its rows from the last one on.
        let positions = part(bucket);
        found.clear();
        found.extend((0u32..).zip(&order[positions.clone()]).map(|(position, &row)| (position, row as usize)));
        found.sort_unstable_by_key(|&(_, row)| std::cmp::Reverse(row));
        let mut first = vec![0; positions.len()];
        let mut at = 0;
        for &(position, row) in &found {
            first[position as usize] = at;
            at += length(row);
        }
        for (&row, &first) in order[positions].iter().zip(&first) {
            ordered.extend_from_slice(&held[first..first + length(row as usize)]);
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::reorder;
    use crate::sample::{Purpose, Rng};

    #[test]
    fn rows_of_any_length_come_in_order() {
        let mut rng = Rng::stream(3, Purpose::Start, 0);
        for rows in [0usize, 1, 2, 31, 32, 33, 1000] {
            let mut offsets = vec![0];
            (0..rows).for_each(|i| offsets.push(offsets[i] + rng.below(5)));
            let numbers: Vec<usize> = (0..offsets[rows]).collect();
            let mut order: Vec<u32> = (0..rows as u32).collect();
            rng.shuffle(&mut order);
            let expected: Vec<usize> =
                order.iter().flat_map(|&row| offsets[row as usize]..offsets[row as usize + 1]).collect();
            assert_eq!(reorder(numbers, |i| offsets[i], &order), expected, "{rows} rows");
        }
    }
}

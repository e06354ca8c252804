//! Rows in another order without a second copy of the matrix.
//!
//! Rows are handed from the end of the old matrix, which shrinks, to some buckets by where they will stand; then one bucket
//! after the other is put in order behind the rows that are done, and is given back. At any time about one copy of the
//! numbers and one bucket are in memory, and all copying is nearly sequential. Buckets are pages of their own: of what is given
//! back to an allocator, the system may see nothing again.

use std::ops::Range;

use memmap2::MmapMut;

/// Number of buckets; one of them is the memory needed on top.
const BUCKETS: usize = 32;
/// No bucket.
const NOWHERE: u8 = u8::MAX;
/// Bytes below which one bucket is enough.
const SMALL: usize = 1 << 20;

/// Room for numbers outside of the heap.
struct Bucket<T> {
    /// Nothing where there is room for none.
    pages: Option<MmapMut>,
    room: usize,
    held: usize,
    numbers: std::marker::PhantomData<T>,
}

impl<T: Copy> Bucket<T> {
    fn with_capacity(count: usize) -> Self {
        let pages = (count > 0).then(|| MmapMut::map_anon(count * size_of::<T>()).expect("memory for the rows"));
        Bucket { pages, room: count, held: 0, numbers: std::marker::PhantomData }
    }

    fn extend_from_slice(&mut self, more: &[T]) {
        assert!(more.len() <= self.room - self.held, "more numbers than there is room for");
        if let Some(pages) = &mut self.pages {
            // SAFETY: there is room behind the numbers that are held, on pages that are aligned for any number.
            unsafe {
                let end = pages.as_mut_ptr().cast::<T>().add(self.held);
                std::ptr::copy_nonoverlapping(more.as_ptr(), end, more.len());
            }
        }
        self.held += more.len();
    }

    fn numbers(&self) -> &[T] {
        match &self.pages {
            // SAFETY: pages are aligned for any number, and the first `held` were written.
            Some(pages) => unsafe { std::slice::from_raw_parts(pages.as_ptr().cast::<T>(), self.held) },
            None => &[],
        }
    }
}

/// `numbers` with the rows `order[0], order[1], ...`, each of them once; row `i` is `start(i)..start(i + 1)`.
///
/// # Panics
/// When `order` is no order of the rows.
pub(super) fn reorder<T: Copy>(mut numbers: Vec<T>, start: impl Fn(usize) -> usize, order: &[u32]) -> Vec<T> {
    let rows = order.len();
    let count = if size_of_val(&numbers[..]) < SMALL { 1 } else { BUCKETS };
    // The bucket of each row, in a byte.
    let mut bucket_of = vec![NOWHERE; rows];
    for (position, &row) in order.iter().enumerate() {
        let bucket = (position * count / rows) as u8;
        assert_eq!(std::mem::replace(&mut bucket_of[row as usize], bucket), NOWHERE, "each row once");
    }
    let part =
        |bucket: usize| -> Range<usize> { (bucket * rows).div_ceil(count)..((bucket + 1) * rows).div_ceil(count) };
    let length = |row: usize| start(row + 1) - start(row);
    let mut buckets: Vec<Bucket<T>> = (0..count)
        .map(|bucket| Bucket::with_capacity(order[part(bucket)].iter().map(|&row| length(row as usize)).sum()))
        .collect();
    for bucket in (0..count).rev() {
        let old = part(bucket);
        for row in old.clone().rev() {
            buckets[usize::from(bucket_of[row])].extend_from_slice(&numbers[start(row)..start(row + 1)]);
        }
        numbers.truncate(start(old.start));
        numbers.shrink_to_fit();
    }
    drop(bucket_of);
    let mut ordered = Vec::with_capacity(buckets.iter().map(|bucket| bucket.held).sum());
    let mut found: Vec<(u32, usize)> = Vec::new();
    for (bucket, held) in buckets.into_iter().enumerate() {
        // The bucket holds its rows from the last one on.
        let held = held.numbers();
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
        for rows in [0usize, 1, 2, 31, 32, 33, 1000, 100_000] {
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

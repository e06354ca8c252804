//! Numbers that are owned, lent, or lie in a file that is mapped into memory; the matrices need not know which.
//!
//! Copies of a buffer share its numbers until one of them is written to: the target of a data set and that of the problem
//! made from it are one piece of memory.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

pub(super) use crate::plain::Plain;
use crate::simd::LINE;

/// The bytes of `numbers`, as they lie in memory.
pub(super) fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no padding, and any bytes are valid.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast::<u8>(), size_of_val(numbers)) }
}

/// The bytes of `numbers`, to be written.
pub(super) fn bytes_of_mut<T: Plain>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: plain numbers have no padding, and any bytes that are written are valid numbers.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<u8>(), size_of_val(numbers)) }
}

/// A slice of numbers with shared ownership: on the heap, in a file mapped read-only, or in memory that is lent.
pub struct Buffer<T> {
    start: *const T,
    len: usize,
    owner: Owner<T>,
}

enum Owner<T> {
    Heap(Arc<Vec<T>>),
    File(Arc<Mmap>),
    Lent(Arc<dyn Any + Send + Sync>),
}

// SAFETY: a buffer is a shared slice; what it points to is only written through `make_mut`, by its only owner.
unsafe impl<T: Send + Sync> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Buffer<T> {}

impl<T> Buffer<T> {
    /// The bytes `bytes` of `map` as numbers; `None` when they lie outside the map, at an address that is no multiple of
    /// the size of a number, or hold a broken number of them.
    pub(super) fn mapped(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self>
    where
        T: Plain,
    {
        let found = map.get(bytes)?;
        let start = found.as_ptr().cast::<T>();
        if !start.is_aligned() || found.len() % size_of::<T>() != 0 {
            return None;
        }
        Some(Buffer { start, len: found.len() / size_of::<T>(), owner: Owner::File(Arc::clone(map)) })
    }

    /// The `len` numbers from `start` on, in memory that somebody else manages, such as that of an array in Python. They are
    /// copied once they are to be written.
    ///
    /// # Safety
    /// They must be initialised and aligned, and stay where and what they are as long as `owner` lives.
    pub unsafe fn lent(start: *const T, len: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Buffer { start, len, owner: Owner::Lent(owner) }
    }

    /// `numbers`, the first of them at the begin of a line of the cache, for rows that are loaded by vectors: one as long as a
    /// line would straddle two. They are moved within their memory, which grows by less than a line.
    pub(super) fn in_lines(mut numbers: Vec<T>) -> Self
    where
        T: Copy,
    {
        if numbers.is_empty() || numbers.as_ptr().align_offset(LINE) == 0 {
            return numbers.into();
        }
        let len = numbers.len();
        numbers.reserve_exact(Self::SPARE);
        let before = numbers.as_ptr().align_offset(LINE);
        numbers.resize(len + before, numbers[0]);
        numbers.copy_within(..len, before);
        Buffer { start: numbers[before..].as_ptr(), len, owner: Owner::Heap(Arc::new(numbers)) }
    }

    /// Numbers of a line, at least one.
    const SPARE: usize = if size_of::<T>() < LINE { LINE / size_of::<T>() } else { 1 };

    /// Where the numbers are in a vector on the heap that nobody shares and that holds less than a line of others.
    fn own_place(&mut self) -> Option<Range<usize>> {
        let Owner::Heap(numbers) = &mut self.owner else { return None };
        let numbers = Arc::get_mut(numbers)?;
        let before = (self.start as usize - numbers.as_ptr() as usize) / size_of::<T>();
        (numbers.len() - self.len < Self::SPARE).then_some(before..before + self.len)
    }

    /// The numbers `range`, shared.
    ///
    /// # Panics
    /// When they lie outside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let found = &self[range];
        Buffer { start: found.as_ptr(), len: found.len(), owner: self.owner.clone() }
    }

    /// Tells the system in what order the file will be read; nothing for numbers on the heap.
    pub fn advise(&self, access: Access) {
        #[cfg(unix)]
        if let Owner::File(map) = &self.owner {
            let advice = match access {
                Access::Scattered => memmap2::Advice::Random,
                Access::Ordered => memmap2::Advice::Normal,
            };
            let first = self.start as usize - map.as_ptr() as usize;
            // Advice that is not taken only costs time.
            let _ = map.advise_range(advice, first, self.len * size_of::<T>());
        }
        #[cfg(not(unix))]
        let _ = access;
    }
}

/// How a mapped file is about to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A few rows here and there: what lies behind them is not wanted.
    Scattered,
    /// One row after the other.
    Ordered,
}

impl<T: Copy> Buffer<T> {
    /// The numbers, for writing; copied first where they are shared or mapped.
    pub fn make_mut(&mut self) -> &mut [T] {
        let place = self.own_place().unwrap_or_else(|| {
            *self = Buffer::in_lines(self.to_vec());
            self.own_place().expect("a copy of its own")
        });
        match &mut self.owner {
            Owner::Heap(numbers) => &mut Arc::get_mut(numbers).expect("the only owner")[place],
            Owner::File(_) | Owner::Lent(_) => unreachable!("copied to the heap above"),
        }
    }

    /// Appends `more`; what is there is copied first where it is shared or mapped.
    pub(super) fn extend(&mut self, more: impl Iterator<Item = T>) {
        let mut numbers = std::mem::take(self).into_vec();
        numbers.extend(more);
        *self = Buffer::in_lines(numbers);
    }

    /// The numbers as a vector; copied where they are shared or mapped.
    pub fn into_vec(mut self) -> Vec<T> {
        let Some(place) = self.own_place() else { return self.to_vec() };
        let Owner::Heap(numbers) = &mut self.owner else { unreachable!("a place on the heap") };
        let mut numbers = std::mem::take(Arc::get_mut(numbers).expect("the only owner"));
        numbers.truncate(place.end);
        numbers.drain(..place.start);
        numbers
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` points to `len` numbers that the owner keeps alive and in place: the vector behind the `Arc` is
        // never grown, and a map stays where it is. Only `make_mut` writes to them, with `self` borrowed.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(numbers: Vec<T>) -> Self {
        Buffer { start: numbers.as_ptr(), len: numbers.len(), owner: Owner::Heap(Arc::new(numbers)) }
    }
}

impl<T> FromIterator<T> for Buffer<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        numbers.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Buffer { start: self.start, len: self.len, owner: self.owner.clone() }
    }
}

impl<T> Clone for Owner<T> {
    fn clone(&self) -> Self {
        match self {
            Owner::Heap(numbers) => Owner::Heap(Arc::clone(numbers)),
            Owner::File(map) => Owner::File(Arc::clone(map)),
            Owner::Lent(owner) => Owner::Lent(Arc::clone(owner)),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: PartialEq> PartialEq<Vec<T>> for Buffer<T> {
    fn eq(&self, other: &Vec<T>) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(bytes: &[u8]) -> Arc<Mmap> {
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Arc::new(map.make_read_only().unwrap())
    }

    #[test]
    fn copies_share_until_one_is_written() {
        let mut first = Buffer::from(vec![1.0, 2.0]);
        let second = first.clone();
        assert!(std::ptr::eq(&*first, &*second));
        first.make_mut()[0] = 5.0;
        assert_eq!((&*first, &*second), (&[5.0, 2.0][..], &[1.0, 2.0][..]));
        let address = first.as_ptr();
        first.make_mut()[1] = 6.0;
        assert_eq!(first.as_ptr(), address, "an only owner writes in place");
        assert_eq!(first.into_vec(), [5.0, 6.0]);
    }

    #[test]
    fn numbers_in_lines_stay_what_they_are() {
        for len in [0_usize, 1, 15, 16, 1000, 100_000] {
            let numbers: Vec<f32> = (0..len).map(|x| x as f32).collect();
            let mut buffer = Buffer::in_lines(numbers.clone());
            assert!(len == 0 || buffer.as_ptr().align_offset(LINE) == 0);
            assert_eq!(buffer, numbers);
            let address = buffer.as_ptr();
            buffer.make_mut().iter_mut().for_each(|x| *x += 1.0);
            assert_eq!(buffer.as_ptr(), address, "an only owner writes in place");
            let more: Vec<f32> = numbers.iter().map(|x| x + 1.0).collect();
            assert_eq!(buffer, more);
            let (mut copy, part) = (buffer.clone(), buffer.slice(len / 2..len));
            copy.make_mut().fill(0.0);
            assert!(len == 0 || copy.as_ptr().align_offset(LINE) == 0, "so does a copy that was written to");
            assert_eq!((part.into_vec(), buffer), (more[len / 2..].to_vec(), more.clone().into()));
            assert_eq!(Buffer::in_lines(more.clone()).into_vec(), more);
        }
    }

    #[test]
    fn what_is_lent_is_kept_alive_and_never_written() {
        let owner: Arc<Vec<f64>> = Arc::new(vec![1.0, 2.0]);
        // SAFETY: the numbers are those of the owner, which nobody writes to.
        let lent = unsafe { Buffer::lent(owner.as_ptr(), 2, owner.clone() as Arc<dyn Any + Send + Sync>) };
        let (weak, mut copy) = (Arc::downgrade(&owner), lent.clone());
        drop(owner);
        assert!(std::ptr::eq(&*copy, &*lent));
        copy.make_mut()[0] = 5.0;
        assert_eq!((&*copy, &*lent), (&[5.0, 2.0][..], &[1.0, 2.0][..]));
        assert!(weak.upgrade().is_some());
        drop(lent);
        assert!(weak.upgrade().is_none(), "given back");
    }

    #[test]
    fn ranges_of_a_map_are_checked() {
        let map = map(&[1u32.to_le_bytes(), 2u32.to_le_bytes(), 3u32.to_le_bytes()].concat());
        assert_eq!(*Buffer::<u32>::mapped(&map, 4..12).unwrap(), [2, 3].map(u32::from_le));
        for range in [1..5, 4..11, 8..16] {
            assert!(Buffer::<u32>::mapped(&map, range).is_none());
        }
        let mut copy = Buffer::<u32>::mapped(&map, 0..4).unwrap();
        assert_eq!(copy.as_ptr().cast::<u8>(), map.as_ptr(), "not copied");
        copy.make_mut()[0] = 9;
        assert_eq!((copy[0], map[0]), (9, 1), "a map is never written to");
    }
}

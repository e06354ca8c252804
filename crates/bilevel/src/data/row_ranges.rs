//! Which rows of a matrix: those of a part of the data, and those of a visit.

use std::ops::Range;

/// Consecutive parts of the rows of a matrix: the training rows of a fold are all rows but one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRanges(Vec<Range<usize>>);

impl RowRanges {
    /// The given ranges, in rising order; empty ones are dropped.
    pub fn new(ranges: impl IntoIterator<Item = Range<usize>>) -> Self {
        let ranges: Vec<_> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "row ranges must rise");
        RowRanges(ranges)
    }

    /// The rows `0..n`.
    pub fn all(n: usize) -> Self {
        Self::new(std::iter::once(0..n))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, in rising order.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// The rows at the given positions of these rows.
    #[must_use]
    pub fn at_positions(&self, positions: Range<usize>) -> Self {
        let mut first = 0;
        Self::new(self.0.iter().map(|range| {
            let start = positions.start.max(first);
            let end = positions.end.min(first + range.len()).max(start);
            let found = range.start + start - first..range.start + end - first;
            first += range.len();
            found
        }))
    }

    /// These rows without those at the given positions.
    #[must_use]
    pub fn without_positions(&self, positions: Range<usize>) -> Self {
        let (before, after) = (self.at_positions(0..positions.start), self.at_positions(positions.end..self.len()));
        Self::new(before.0.into_iter().chain(after.0))
    }

    /// The matrix row at position `position` of these rows.
    pub fn row(&self, mut position: usize) -> usize {
        for range in &self.0 {
            if position < range.len() {
                return range.start + position;
            }
            position -= range.len();
        }
        panic!("position outside the rows");
    }
}

/// Rows of a matrix to visit: consecutive, or in any order.
#[derive(Debug, Clone)]
pub enum RowPick<'a> {
    /// Consecutive rows.
    Span(Range<usize>),
    /// Any rows, with repetition.
    List(&'a [u32]),
}

impl RowPick<'_> {
    /// Number of rows.
    #[inline(always)]
    pub fn len(&self) -> usize {
        match self {
            RowPick::Span(span) => span.len(),
            RowPick::List(list) => list.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows at some positions of these.
    pub(super) fn part(&self, positions: Range<usize>) -> RowPick<'_> {
        match self {
            RowPick::Span(span) => RowPick::Span(span.start + positions.start..span.start + positions.end),
            RowPick::List(list) => RowPick::List(&list[positions]),
        }
    }

    /// The row at position `i`.
    #[inline(always)]
    pub fn row(&self, i: usize) -> usize {
        match self {
            RowPick::Span(span) => span.start + i,
            RowPick::List(list) => list[i] as usize,
        }
    }
}

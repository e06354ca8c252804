//! Which operator is put around both levels of a problem: how a direction is estimated from a sample.

use super::{AdjointOperator, LowerOperator, RandomOperator, Saga, Svrg};
use crate::lower::StochasticMap;
use crate::row_sums::RowSums;

/// A way to estimate directions, for maps of the kind `M`.
pub trait Direction<M: StochasticMap + ?Sized>: Sync {
    /// The operator of the lower level.
    fn lower<'a>(&self, operator: LowerOperator<'a, M>) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a;

    /// The operator of the linear system.
    fn linear<'a>(&self, operator: AdjointOperator<'a, M>) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a;
}

/// The sample as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plain;

/// [`Svrg`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvrgDirection {
    /// Steps between two passes.
    pub period: usize,
}

/// [`Saga`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SagaDirection;

macro_rules! direction {
    ($name:ident, $bound:ident, |$self:ident, $operator:ident| $wrapped:expr) => {
        impl<M: $bound + ?Sized> Direction<M> for $name {
            fn lower<'a>(&$self, $operator: LowerOperator<'a, M>) -> Box<dyn RandomOperator + 'a>
            where
                M: 'a,
            {
                Box::new($wrapped)
            }

            fn linear<'a>(&$self, $operator: AdjointOperator<'a, M>) -> Box<dyn RandomOperator + 'a>
            where
                M: 'a,
            {
                Box::new($wrapped)
            }
        }
    };
}

direction!(Plain, StochasticMap, |self, operator| operator);
direction!(SvrgDirection, StochasticMap, |self, operator| Svrg::new(operator, self.period));
direction!(SagaDirection, RowSums, |self, operator| Saga::new(operator));

//! What SAGA remembers of a block of rows: the few numbers of each row where the problem has them, else its directions.
//!
//! Both remember the same point for each block. Numbers take `2 C` places a row instead of `2 d + m` a block, a step costs what
//! the sample costs and next to nothing for the table, and what depends on no row, such as a penalty, is exact and adds no
//! noise.

use super::problem::Bilevel;
use super::saga::Cut;
use crate::error::{Error, Result};
use crate::operator::RowMemory;
use crate::sample::Sample;
use crate::vector;

/// Numbers a table may hold (2 GiB).
const LARGEST: usize = 1 << 28;

/// Of the lower level: gradient, Hessian product and cross product.
pub(super) enum LowerMemory {
    /// Of each row, its numbers in the gradient and in the product. The cross product depends on no row and is exact.
    Rows(Cut, Box<[RowNumbers; 2]>),
    /// Of each block, all three directions.
    Blocks(Table),
}

/// Of the upper objective: its two gradients.
pub(super) enum UpperMemory {
    /// Of each row, its numbers. `grad2 E` depends on no row and is exact.
    Rows(Cut, Box<RowNumbers>),
    /// Of each block, both gradients.
    Blocks(Table),
}

/// The memory of rows, and room for what a block brings.
pub(super) struct RowNumbers {
    memory: RowMemory,
    fresh: Vec<f64>,
    change: Vec<f64>,
}

/// What was seen last of each block.
pub(super) struct Table {
    cut: Cut,
    width: usize,
    entries: Vec<f64>,
    mean: Vec<f64>,
    fresh: Vec<f64>,
}

impl LowerMemory {
    pub fn new(problem: &Bilevel<'_>, cut: Cut) -> Result<Self> {
        let (lower, dims) = (problem.lower, problem.dims());
        let width = lower.width();
        if width < dims.w && lower.cross_size(&Sample::Full) == 0 {
            let numbers = RowNumbers::new(cut, width, dims.w)?;
            return Ok(LowerMemory::Rows(cut, Box::new([numbers, RowNumbers::new(cut, width, dims.w)?])));
        }
        Ok(LowerMemory::Blocks(Table::new(cut, 2 * dims.w + dims.lambda)?))
    }

    pub fn cut(&self) -> Cut {
        match self {
            LowerMemory::Rows(cut, _) => *cut,
            LowerMemory::Blocks(table) => table.cut,
        }
    }

    /// Remembers all rows at this point.
    pub fn fill(&mut self, problem: &Bilevel<'_>, w: &[f64], lambda: &[f64], v: &[f64]) {
        match self {
            LowerMemory::Rows(_, numbers) => {
                let [gradient, product] = &mut **numbers;
                problem.lower.changes(
                    w,
                    lambda,
                    &Sample::Full,
                    v,
                    [&[], &[]],
                    [&mut gradient.memory.numbers, &mut product.memory.numbers],
                    [&mut gradient.memory.mean, &mut product.memory.mean],
                );
            }
            LowerMemory::Blocks(table) => {
                for block in 0..table.cut.blocks() {
                    table.visit_lower(problem, block, w, lambda, v);
                }
            }
        }
    }

    /// `out` = gradient, Hessian product and cross product, estimated from a block, which is remembered at this point.
    pub fn estimate(
        &mut self,
        problem: &Bilevel<'_>,
        block: usize,
        w: &[f64],
        lambda: &[f64],
        v: &[f64],
        out: [&mut [f64]; 3],
    ) {
        let [gradient, product, cross] = out;
        match self {
            LowerMemory::Rows(cut, numbers) => {
                let (zeta, [first, second]) = (cut.sample(block), &mut **numbers);
                first.make_room(*cut, block);
                second.make_room(*cut, block);
                problem.lower.changes(
                    w,
                    lambda,
                    &zeta,
                    v,
                    [&first.memory.numbers, &second.memory.numbers],
                    [&mut first.fresh, &mut second.fresh],
                    [&mut first.change, &mut second.change],
                );
                problem.lower.cross_product(w, lambda, &zeta, v, cross);
                first.exchange(*cut, block, gradient);
                second.exchange(*cut, block, product);
                problem.lower.add_gradient_rest(1.0, w, lambda, gradient);
                problem.lower.add_product_rest(1.0, w, lambda, v, product);
            }
            LowerMemory::Blocks(table) => {
                table.visit_lower(problem, block, w, lambda, v);
                let (first, rest) = table.fresh.split_at(w.len());
                gradient.copy_from_slice(first);
                product.copy_from_slice(&rest[..w.len()]);
                cross.copy_from_slice(&rest[w.len()..]);
            }
        }
    }
}

impl UpperMemory {
    pub fn new(problem: &Bilevel<'_>, cut: Cut) -> Result<Self> {
        let dims = problem.dims();
        let width = problem.upper.width();
        if width < dims.w {
            return Ok(UpperMemory::Rows(cut, Box::new(RowNumbers::new(cut, width, dims.w)?)));
        }
        Ok(UpperMemory::Blocks(Table::new(cut, dims.w + dims.lambda)?))
    }

    pub fn cut(&self) -> Cut {
        match self {
            UpperMemory::Rows(cut, _) => *cut,
            UpperMemory::Blocks(table) => table.cut,
        }
    }

    /// Remembers all rows at this point.
    pub fn fill(&mut self, problem: &Bilevel<'_>, w: &[f64], lambda: &[f64]) {
        match self {
            UpperMemory::Rows(_, numbers) => {
                let RowMemory { numbers, mean } = &mut numbers.memory;
                problem.upper.gradient_change(w, lambda, &Sample::Full, &[], numbers, mean);
            }
            UpperMemory::Blocks(table) => {
                for block in 0..table.cut.blocks() {
                    table.visit_upper(problem, block, w, lambda);
                }
            }
        }
    }

    /// Both gradients, estimated from a block, which is remembered at this point.
    pub fn estimate(
        &mut self,
        problem: &Bilevel<'_>,
        block: usize,
        w: &[f64],
        lambda: &[f64],
        grad_w: &mut [f64],
        grad_lambda: &mut [f64],
    ) {
        match self {
            UpperMemory::Rows(cut, numbers) => {
                let xi = cut.sample(block);
                numbers.make_room(*cut, block);
                let RowNumbers { memory, fresh, change } = &mut **numbers;
                problem.upper.gradient_change(w, lambda, &xi, &memory.numbers, fresh, change);
                problem.upper.gradient_lambda(w, lambda, grad_lambda);
                numbers.exchange(*cut, block, grad_w);
            }
            UpperMemory::Blocks(table) => {
                table.visit_upper(problem, block, w, lambda);
                let (of_w, of_lambda) = table.fresh.split_at(grad_w.len());
                grad_w.copy_from_slice(of_w);
                grad_lambda.copy_from_slice(of_lambda);
            }
        }
    }
}

impl RowNumbers {
    fn new(cut: Cut, width: usize, dim: usize) -> Result<Self> {
        fits(cut.rows, width, "a larger file needs an algorithm with SARAH directions, such as SRBA")?;
        Ok(RowNumbers { memory: RowMemory::zeros(cut.rows, width, dim), fresh: Vec::new(), change: vec![0.0; dim] })
    }

    fn make_room(&mut self, cut: Cut, block: usize) {
        self.fresh.resize(cut.span(block).len() * (self.memory.numbers.len() / cut.rows), 0.0);
    }

    /// The estimate of the part that rows have, in `out`; remembers what the block has brought.
    fn exchange(&mut self, cut: Cut, block: usize, out: &mut [f64]) {
        let RowNumbers { memory, fresh, change } = self;
        out.copy_from_slice(&memory.mean);
        vector::axpy(1.0, change, out);
        vector::axpy(cut.share(block), change, &mut memory.mean);
        let width = memory.numbers.len() / cut.rows;
        memory.numbers[cut.span(block).start * width..][..fresh.len()].copy_from_slice(fresh);
    }
}

impl Table {
    fn new(cut: Cut, width: usize) -> Result<Self> {
        fits(cut.blocks(), width, "use a larger batch, or an algorithm with SARAH directions, such as SRBA")?;
        let zeros = vec![0.0; width];
        Ok(Table { cut, width, entries: vec![0.0; cut.blocks() * width], mean: zeros.clone(), fresh: zeros })
    }

    /// The estimate of gradient, Hessian product and cross product from one block, in `fresh`.
    fn visit_lower(&mut self, problem: &Bilevel<'_>, block: usize, w: &[f64], lambda: &[f64], v: &[f64]) {
        let (gradient, rest) = self.fresh.split_at_mut(w.len());
        let (product, cross) = rest.split_at_mut(w.len());
        problem.lower.directions(w, lambda, &self.cut.sample(block), v, [gradient, product, cross]);
        self.exchange(block);
    }

    /// The estimate of the gradients of the upper objective from one block, in `fresh`.
    fn visit_upper(&mut self, problem: &Bilevel<'_>, block: usize, w: &[f64], lambda: &[f64]) {
        let (grad_w, grad_lambda) = self.fresh.split_at_mut(w.len());
        problem.upper.gradients(w, lambda, &self.cut.sample(block), grad_w, grad_lambda);
        self.exchange(block);
    }

    /// Remembers `fresh` for `block`, and replaces it by the estimate.
    fn exchange(&mut self, block: usize) {
        let share = self.cut.share(block);
        let entry = &mut self.entries[block * self.width..(block + 1) * self.width];
        for ((fresh, entry), mean) in self.fresh.iter_mut().zip(entry).zip(&mut self.mean) {
            let change = *fresh - *entry;
            *entry = *fresh;
            *fresh = change + *mean;
            *mean += share * change;
        }
    }
}

fn fits(entries: usize, width: usize, remedy: &str) -> Result<()> {
    if entries.saturating_mul(width) <= LARGEST {
        return Ok(());
    }
    let gigabytes = entries as f64 * width as f64 * 8e-9;
    Err(Error::input(format!("what SAGA is to remember would take {gigabytes:.1} GB")).remedy(remedy))
}

//! Maps that are means over rows, each of which enters by a few numbers.
//!
//! The gradient of a generalised linear model on row `i` is `x_i` times one number for each output. Whoever remembers what
//! each row contributed once (SAGA, SVRG) then keeps `C` numbers a row and not a vector, and pays for the difference to
//! what is remembered as much as for the contribution alone. A mean over rows without such a structure is one too: its
//! numbers are the contribution itself, which is what the default bodies say.
//!
//! A *memory* holds the numbers of all rows in their order; an empty one stands for zeros.

mod loss;
mod map;
mod objective;

pub use loss::RowSumLoss;
pub use map::RowSums;
pub use objective::RowSumObjective;

use crate::sample::Sample;
use crate::vector;

/// Takes from `numbers`, those of the rows of `zeta` from its `first` on, what `memory` holds of these rows.
pub(crate) fn subtract_memory(zeta: &Sample, first: usize, width: usize, memory: &[f64], numbers: &mut [f64]) {
    if memory.is_empty() {
        return;
    }
    let subtract = |from: &[f64], numbers: &mut [f64]| vector::axpy(-1.0, from, numbers);
    match zeta {
        Sample::Full => subtract(&memory[first * width..][..numbers.len()], numbers),
        Sample::Block(block) => subtract(&memory[(block.start + first) * width..][..numbers.len()], numbers),
        Sample::Rows(rows) => {
            for (numbers, &row) in numbers.chunks_exact_mut(width).zip(&rows[first..]) {
                let remembered = &memory[row as usize * width..][..width];
                numbers.iter_mut().zip(remembered).for_each(|(number, memory)| *number -= memory);
            }
        }
        Sample::Seed(_) => {}
    }
}

/// The change of a mean over rows whose numbers are the contributions themselves.
fn each_row(
    zeta: &Sample,
    size: usize,
    memory: &[f64],
    fresh: &mut [f64],
    out: &mut [f64],
    mut evaluate: impl FnMut(&Sample, &mut [f64]),
) {
    let width = out.len();
    out.fill(0.0);
    let mut at = 0;
    zeta.for_each_row(size, |row| {
        let numbers = &mut fresh[at * width..(at + 1) * width];
        evaluate(&Sample::Block(row..row + 1), numbers);
        vector::axpy(1.0 / size as f64, numbers, out);
        if !memory.is_empty() {
            vector::axpy(-1.0 / size as f64, &memory[row * width..(row + 1) * width], out);
        }
        at += 1;
    });
}

fn mean_of_numbers(size: usize, numbers: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for row in numbers.chunks_exact(out.len()) {
        vector::axpy(1.0 / size as f64, row, out);
    }
}

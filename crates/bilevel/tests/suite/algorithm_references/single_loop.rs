//! Single loops: all blocks together, the adjoint carried along.

use bilevel::algorithms::Algorithm;
use bilevel::sample::Batch;

use super::harness::*;
use super::ridge::*;

/// Dagreou et al. 2022, algorithm 1.
#[test]
fn soba() {
    compare(Algorithm::Soba, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        axpy(-STEPS[0] * fallen(t, 0.4), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.4), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.6), &d_l);
    });
}

/// Chen, Xiao, Balasubramanian 2023: the weight of the average falls like the outer step.
#[test]
fn ma_soba() {
    let average = std::cell::Cell::new([0.0; D]);
    compare(Algorithm::MaSoba, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        let weight = fallen(t, 0.5);
        let before = average.get();
        let d: Vector = std::array::from_fn(|k| (1.0 - weight) * before[k] + weight * d_l[k]);
        average.set(d);
        axpy(-STEPS[0] * fallen(t, 0.5), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.5), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.5), &d);
    });
}

/// Li, Gu, Huang 2022: the outer direction corrected by what the same sample says of the last point.
#[test]
fn fsla() {
    let last = std::cell::RefCell::new(([0.0; D], [[0.0; D]; 3]));
    compare(Algorithm::Fsla, Batch::Rows(BATCH), 50, |t, r| {
        let (i, j) = (r.draw_lower(), r.draw_upper());
        let [d_w, d_v, d_l] = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
        let mut d = d_l;
        if t > 0 {
            let (before, [w, v, l]) = *last.borrow();
            let there = directions(r.ridge, [&i, &j], &w, &v, &l)[2];
            axpy(1.0 - fallen(t, 0.5), &minus(&before, &there), &mut d);
        }
        *last.borrow_mut() = (d, [r.w, r.v, r.l]);
        axpy(-STEPS[0] * fallen(t, 0.5), &d_w, &mut r.w);
        axpy(-STEPS[1] * fallen(t, 0.5), &d_v, &mut r.v);
        r.move_lambda(STEPS[2] * fallen(t, 0.5), &d);
    });
}

/// Fixed blocks of rows with their places; the last one is smaller.
fn blocks(n: usize) -> Vec<Vec<usize>> {
    (0..n).step_by(BATCH).map(|start| (start..(start + BATCH).min(n)).collect()).collect()
}

/// Dagreou et al. 2022, section 3.2: every sum over rows has a table of its own.
#[test]
fn saba() {
    type Tables = (Vec<[Vector; 3]>, Vec<[Vector; 2]>);
    let tables: std::cell::RefCell<Tables> = Default::default();
    compare(Algorithm::Saba, Batch::Rows(BATCH), 50, |_, r| {
        let lower = |at: &[usize], r: &Reference<'_>| {
            let product = times(&hessian(&r.ridge.lower, at, &r.l), &r.v);
            [gradient(&r.ridge.lower, at, &r.w, &r.l), product, cross(&r.w, &r.l, &r.v)]
        };
        let upper =
            |at: &[usize], r: &Reference<'_>| [upper_gradient(&r.ridge.upper, at, &r.w), upper_gradient_lambda(&r.l)];
        let (lower_blocks, upper_blocks) = (blocks(ROWS), blocks(UPPER_ROWS));
        let (lower_table, upper_table) = &mut *tables.borrow_mut();
        if lower_table.is_empty() {
            *lower_table = lower_blocks.iter().map(|at| lower(at, r)).collect();
            *upper_table = upper_blocks.iter().map(|at| upper(at, r)).collect();
        }
        let i = r.lower.below(ROWS) / BATCH;
        let j = r.upper.below(UPPER_ROWS) / BATCH;
        let (fresh, upper_fresh) = (lower(&lower_blocks[i], r), upper(&upper_blocks[j], r));
        let estimate = |k: usize, c: usize| {
            let mean: f64 = lower_table.iter().zip(&lower_blocks).map(|(e, at)| e[k][c] * at.len() as f64).sum::<f64>()
                / ROWS as f64;
            fresh[k][c] - lower_table[i][k][c] + mean
        };
        let upper_estimate = |k: usize, c: usize| {
            let mean: f64 = upper_table.iter().zip(&upper_blocks).map(|(e, at)| e[k][c] * at.len() as f64).sum::<f64>()
                / UPPER_ROWS as f64;
            upper_fresh[k][c] - upper_table[j][k][c] + mean
        };
        let d_w: Vector = std::array::from_fn(|c| estimate(0, c));
        let d_v: Vector = std::array::from_fn(|c| estimate(1, c) - upper_estimate(0, c));
        let d_l: Vector = std::array::from_fn(|c| upper_estimate(1, c) - estimate(2, c));
        (lower_table[i], upper_table[j]) = (fresh, upper_fresh);
        axpy(-STEPS[0], &d_w, &mut r.w);
        axpy(-STEPS[1], &d_v, &mut r.v);
        r.move_lambda(STEPS[2], &d_l);
    });
}

/// Dagreou et al. 2024, algorithm 1, without the ball: all rows once in half a pass over the rows of both levels.
#[test]
fn srba() {
    let period = (ROWS + UPPER_ROWS).div_ceil(2 * BATCH);
    let last = std::cell::RefCell::new(([[0.0; D]; 3], [[0.0; D]; 3]));
    compare(Algorithm::Srba, Batch::Rows(BATCH), 50, |t, r| {
        let all = [(0..ROWS).collect::<Vec<_>>(), (0..UPPER_ROWS).collect()];
        let d = if t % period == 0 {
            directions(r.ridge, [&all[0], &all[1]], &r.w, &r.v, &r.l)
        } else {
            let (i, j) = (r.draw_lower(), r.draw_upper());
            let (mut d, [w, v, l]) = *last.borrow();
            let here = directions(r.ridge, [&i, &j], &r.w, &r.v, &r.l);
            let there = directions(r.ridge, [&i, &j], &w, &v, &l);
            for k in 0..3 {
                axpy(1.0, &minus(&here[k], &there[k]), &mut d[k]);
            }
            d
        };
        *last.borrow_mut() = (d, [r.w, r.v, r.l]);
        axpy(-STEPS[0], &d[0], &mut r.w);
        axpy(-STEPS[1], &d[1], &mut r.v);
        r.move_lambda(STEPS[2], &d[2]);
    });
}

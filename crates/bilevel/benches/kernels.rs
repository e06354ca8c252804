//! Passes over a matrix larger than the caches, against the speed at which its bytes can be read.
//!
//! ```text
//! cargo bench -p bilevel --bench kernels
//! ```
//! The read bandwidth is measured in the same run, by adding up as many bytes on as many threads; every product is printed with
//! its share of it and the share it should reach. Sampled products are measured on 64 rows: scattered ones against a loop that
//! multiplies row by row and fetches nothing ahead, blocks against the time in which their bytes can be read.

mod common;

use std::hint::black_box;
use std::ops::Range;

use bilevel::data::{DesignMatrix, Pass, RowPick, RowRanges};
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng, Sample, Sampling};
use common::{Candidate, Data};
use rayon::prelude::*;

const BATCH: usize = 64;

/// Adds up all bytes, eight at a time.
fn sum(words: &[u64]) -> u64 {
    words
        .par_chunks(1 << 15)
        .map(|chunk| chunk.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)))
        .reduce(|| 0, u64::wrapping_add)
}

/// Share of the read bandwidth that a pass over dense rows should reach.
const PASS_TARGET: f64 = 0.85;
/// The same for a block of a sample.
const BLOCK_TARGET: f64 = 0.80;
/// How many times faster than the naive loop scattered rows should be.
const SCATTERED_TARGET: f64 = 2.0;

/// Passes on so many threads; returns the bytes a second of reading.
fn passes(data: &Data, bytes: usize, threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let (n, p) = (data.design.rows(), data.design.cols());
    let words = vec![1u64; bytes / 8];
    let pass = Pass::new(&data.design, &RowRanges::all(n));
    let (weights, u) = (vec![0.01; p], vec![0.01; n]);
    let (mut out, mut sums, mut columns) = (vec![0.0; p], vec![0.0; p], [0.0]);
    let transposed = |rows: Range<usize>, position: usize, partial: &mut [f64]| {
        let u = &u[position..position + rows.len()];
        data.design.add_block_transpose(&RowPick::Span(rows), u, 1, partial);
    };
    let mut candidates = [
        Candidate::new("reading", || {
            black_box(pool.install(|| sum(&words)));
        }),
        Candidate::new("X w", || pool.install(|| drop(black_box(pass.all_margins(&weights, &[0.0]))))),
        Candidate::new("X^T u", || pool.install(|| pass.accumulate(usize::MAX, transposed, &mut sums))),
        Candidate::new("X^T (X w), one pass", || {
            pool.install(|| pass.margins_and_transpose(&weights, &[0.0], |_, _, _| 0.0, &mut out, &mut columns));
        }),
    ];
    let seconds = common::measure(&mut candidates);
    for (candidate, seconds_of) in candidates.iter().zip(&seconds) {
        let speed = bytes as f64 / seconds_of.quiet / 1e9;
        let share = 100.0 * seconds[0].quiet / seconds_of.quiet;
        let target = if candidate.name == "reading" { 1.0 } else { PASS_TARGET };
        let name = &candidate.name;
        println!("{:<32} {name:<22} {threads} {speed:8.1} {share:8.0} % {:8.0} %", data.name, 100.0 * target);
    }
    bytes as f64 / seconds[0].quiet
}

/// The gradient on scattered rows as it would be written first.
fn naive(data: &Data, rows: &[u32], w: &[f64], out: &mut [f64]) {
    let DesignMatrix::DenseF32(matrix) = &data.design else { return };
    out.fill(0.0);
    for &row in rows {
        let x = matrix.row(row as usize);
        let margin: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * w).sum();
        let g = 1.0 / (1.0 + (-margin).exp()) - data.target[row as usize];
        out.iter_mut().zip(x).for_each(|(out, x)| *out += g * f64::from(*x));
    }
}

/// Sampled products; `speed` is that of reading, in bytes a second, and `bytes` those of a row.
fn samples(data: &Data, bytes: usize, speed: f64) {
    let (n, p) = (data.design.rows(), data.design.cols());
    let risk = EmpiricalRisk::new(&data.design, &data.target, RowRanges::all(n), Loss::Logistic, false);
    let glm = Glm::new(risk, Penalty::Shared);
    let w = vec![0.01; p];
    let candidate = |name: &str, sampling: Sampling, plain: bool| {
        let (w, glm) = (&w, &glm);
        let (mut rng, mut sample, mut out) = (Rng::stream(0, Purpose::Lower, 0), Sample::Full, vec![0.0; p]);
        Candidate::new(name, move || {
            sampling.draw(n, BATCH, &mut rng, &mut sample);
            match &sample {
                Sample::Rows(rows) if plain => naive(data, rows, w, &mut out),
                _ => glm.gradient_only(w, &[-2.0], &sample, &mut out),
            }
        })
    };
    let mut candidates = vec![
        candidate("64 rows, row by row", Sampling::Rows, true),
        candidate("64 rows", Sampling::Rows, false),
        candidate("block of 64 rows", Sampling::Blocks, false),
    ];
    if !matches!(data.design, DesignMatrix::DenseF32(_)) {
        candidates.remove(0);
    }
    let seconds = common::measure(&mut candidates);
    for (candidate, seconds) in candidates.iter().zip(&seconds) {
        println!("{:<32} {:<22}   {:8.2} us", data.name, candidate.name, seconds.quiet * 1e6);
    }
    let [.., scattered, block] = &seconds[..] else { unreachable!("at least two candidates") };
    if seconds.len() == 3 {
        let times = seconds[0].quiet / scattered.quiet;
        println!("{:<32} scattered rows: {times:.1} times the naive loop (target {SCATTERED_TARGET})", data.name);
    }
    let share = 100.0 * (BATCH * bytes) as f64 / speed / block.quiet;
    println!("{:<32} blocks: {share:.0} % of reading (target {:.0} %)", data.name, 100.0 * BLOCK_TARGET);
}

fn main() {
    println!("matrix                           product         threads   GB/s   of reading   target (quiet tenth)");
    let data = common::pixels(60_000, 784, 0.19);
    let coded = Data {
        name: format!("{}, coded", data.name),
        design: data.design.clone().compressed(),
        target: data.target.clone(),
    };
    let entries = data.design.rows() * data.design.cols();
    let columns = data.design.cols();
    let mut speeds = Vec::new();
    for threads in [1, 2] {
        speeds.push(passes(&data, 4 * entries, threads));
        passes(&coded, entries, threads);
    }
    samples(&data, 4 * columns, speeds[0]);
    samples(&coded, columns, speeds[0]);
}

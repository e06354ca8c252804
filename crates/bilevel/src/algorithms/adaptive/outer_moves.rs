//! How far `lambda` moves in an iteration.
//!
//! With `s_j` a running mean of the squares of the outer direction and `p_j` the largest that it has been,
//!
//! ```text
//! lambda_j -= rate unit_j D_lambda_j / sqrt(max(p_j, floor^2 max_i p_i)).
//! ```
//!
//! At its steepest each coordinate moves by `rate` units an iteration, whatever the scale of the objective. As the maximum is kept
//! and not a mean (Reddi, Kale, Kumar, ICLR 2018), the step is constant once the direction falls, and directions without noise
//! at the end converge linearly, as with steps that are tuned.
//!
//! To first order a span of such moves lowers `f` by `span rate sum_j unit_j s_j / sqrt(p_j)`. That is kept below what is
//! allowed, which sets the scale of the first moves too: one unit may be nothing, or far too much.

use crate::domain::Domain;

/// Directions of coordinates that are shorter than this part of the longest are not lengthened to it.
const FLOOR: f64 = 1e-3;
/// Units an iteration, at first and at most, and units a span.
const RATE: (f64, f64) = (0.01, 0.1);
const UNITS: f64 = 32.0;
/// Iterations over which squares are averaged, as a part of the span.
const AVERAGED: f64 = 0.25;

/// What is known of earlier directions.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    squares: Vec<f64>,
    peaks: Vec<f64>,
    moves: usize,
}

pub(super) struct OuterMoves {
    memory: Memory,
    /// 1, or a quarter of the box where that is less.
    units: Vec<f64>,
    rate: f64,
    /// The rate of the last move, which may be less than the wanted one.
    taken: f64,
    /// What a span may promise.
    pub allowed: f64,
    /// What a span of moves like the last one promises.
    pub promised: f64,
}

impl OuterMoves {
    pub fn new(domain: &Domain) -> Self {
        let width = |j: usize| domain.upper()[j] - domain.lower()[j];
        let m = domain.len();
        OuterMoves {
            memory: Memory { squares: vec![0.0; m], peaks: vec![0.0; m], moves: 0 },
            units: (0..m).map(|j| (0.25 * width(j)).min(1.0)).collect(),
            rate: RATE.0,
            taken: RATE.0,
            allowed: f64::INFINITY,
            promised: 0.0,
        }
    }

    pub fn units(&self) -> &[f64] {
        &self.units
    }

    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    pub fn restore(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// Raises the rate, unless it is not the rate that holds `lambda` back.
    pub fn faster(&mut self, factor: f64, span: usize) {
        if self.taken >= self.rate {
            self.rate = (self.rate * factor).min(RATE.1).min(UNITS / span as f64);
        }
    }

    /// Lowers the rate below that of the last move.
    pub fn slower(&mut self, factor: f64) {
        self.rate = factor * self.rate.min(self.taken);
        self.taken = self.rate;
    }

    /// Moves `lambda` against `direction` in a span of so many iterations.
    pub fn step(&mut self, factor: f64, span: usize, direction: &[f64], lambda: &mut [f64]) {
        let Memory { squares, peaks, moves } = &mut self.memory;
        let span = span as f64;
        *moves += 1;
        let forget = (1.0 / (AVERAGED * span)).max(1.0 / *moves as f64).min(1.0);
        let mut highest = 0.0_f64;
        for ((square, peak), d) in squares.iter_mut().zip(&mut *peaks).zip(direction) {
            *square += forget * (d * d - *square);
            *peak = square.max(*peak);
            highest = highest.max(*peak);
        }
        let floor = (FLOOR * FLOOR * highest).max(f64::MIN_POSITIVE);
        let falls = squares.iter().zip(&*peaks).zip(&self.units);
        let fall: f64 = falls.map(|((square, peak), unit)| unit * square / peak.max(floor).sqrt()).sum();
        self.taken = self.rate.min(self.allowed / (span * fall.max(f64::MIN_POSITIVE)));
        self.promised = span * self.taken * fall;
        let rate = factor * self.taken;
        for (((lambda, d), peak), unit) in lambda.iter_mut().zip(direction).zip(&*peaks).zip(&self.units) {
            *lambda -= rate * unit * d / peak.max(floor).sqrt();
        }
    }
}

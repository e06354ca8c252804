//! What follows from a look at the end of a span: for the rate of `lambda`, for the best point, and for who moves next.

use super::watch::Seen;

/// Factors of the rate: after a success, before and after the first failure; after a failure; where nothing gets better.
const GROWTH: [f64; 2] = [3.0, 2.0];
pub(super) const SHRINK: f64 = 0.25;
const HALF: f64 = 0.5;
/// Spans that `w` and `v` may have to themselves at first; afterwards it is a power of two, up to this one.
const SETTLING: usize = 8;
const LONGEST_SETTLING: u32 = 6;
/// The relative change of `E` in a span that ends them, before and after the first failure.
const STILL: [f64; 2] = [0.3, 0.05];
/// Part of what was gained that `E` may rise.
const SLACK: f64 = 0.002;
/// Spans without a better point after which the rate is halved.
const PATIENCE: usize = 16;
/// How much faster than before `E` may rise while it settles.
const FADING: f64 = 1.5;
/// Multiple of what was promised, beyond which a rise is not the fault of `lambda`.
const BLAME: f64 = 10.0;

/// A verdict: first the rate may grow, then it may shrink.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub faster: Option<f64>,
    pub slower: Option<f64>,
    pub point: Next,
}

/// What becomes of the point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// It is the best one.
    Best,
    /// The best one is another, and `lambda` goes on from here.
    Goes,
    /// `lambda` goes back to the best one.
    Back,
}

/// All that verdicts remember of earlier ones.
#[derive(Debug, Clone)]
pub(super) struct Verdicts {
    /// What `E` has fallen by.
    gained: f64,
    /// Spans that `w` and `v` still have to themselves.
    settling: usize,
    /// The last settling ended with a rising `E`.
    rising: bool,
    /// The change of the last span.
    change: f64,
    /// Spans in which `lambda` moved since the best point was found.
    idle: usize,
    /// Failures since the last success, and whether there was any.
    failures: u32,
    failed: bool,
}

impl Verdicts {
    pub fn new() -> Self {
        Verdicts { gained: 0.0, settling: SETTLING, rising: false, change: 0.0, idle: 0, failures: 0, failed: false }
    }

    /// Whether `lambda` moves, and not only `w` and `v`.
    pub fn lambda_moves(&self) -> bool {
        self.settling == 0
    }

    /// Gives `w` and `v` the next span.
    pub fn settle(&mut self) {
        self.settling = self.settling.max(1);
    }

    /// Judges a span by `change`, that of `E` against the best point with what `w` owes, by what is `owed` here, and by what the
    /// moves of `lambda` had `promised`.
    pub fn judge(&mut self, seen: &Seen, change: f64, owed: f64, promised: f64) -> Verdict {
        let verdict = self.of(seen, change, owed, promised);
        self.change = change;
        verdict
    }

    fn of(&mut self, seen: &Seen, change: f64, owed: f64, promised: f64) -> Verdict {
        let same = Verdict { faster: None, slower: None, point: Next::Best };
        let doubt = 2.0 * seen.error;
        let allowed = SLACK * self.gained + doubt;
        if self.settling > 0 {
            self.settling -= 1;
            let still = STILL[usize::from(self.failed)] * seen.value.abs();
            if change.abs() <= still.max(doubt) {
                self.settling = 0;
            }
            self.rising = change > allowed;
            return same;
        }
        if change > allowed {
            if change > BLAME * promised || (self.rising && change <= FADING * self.change.max(0.0)) {
                return same;
            }
            self.failed = true;
            self.failures += 1;
            self.settling = 1 << self.failures.min(LONGEST_SETTLING);
            return Verdict { slower: Some(SHRINK), point: Next::Back, ..same };
        }
        let lower = change < -doubt;
        let follows = owed.abs() <= change.abs() + doubt;
        let faster = ((lower || !self.failed) && follows).then_some(GROWTH[usize::from(self.failed)]);
        if lower {
            self.gained -= seen.change.min(0.0);
            self.failures = 0;
            self.rising = false;
            self.idle = 0;
            return Verdict { faster, ..same };
        }
        self.idle += 1;
        if self.idle < PATIENCE {
            return Verdict { faster, point: Next::Goes, ..same };
        }
        // It circles around a minimum, or the best point looked better than it was.
        self.idle = 0;
        Verdict { faster, slower: Some(HALF), ..same }
    }
}

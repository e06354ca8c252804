//! A second thread for parts of a step that take a microsecond.
//!
//! A thread that sleeps needs longer to wake up than a small step takes altogether. So a loop over such steps keeps another thread
//! awake meanwhile, which looks for work without a pause and begins with it a tenth of a microsecond after it is there. That costs
//! the time of a core, and whether it pays depends on the sizes, the processor and what else runs on it: [`Paced`] finds out.
//! Only the time differs, since each part computes the same on whichever thread.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::vector;

thread_local! {
    /// Whether this thread keeps company.
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// Runs both parts, the second on the thread that is kept awake, where this thread keeps one. The first should be the longer one: its
/// own parts can go to the other thread, too, once that is done.
pub(crate) fn join(first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    if KEPT.get() {
        let (mut first, mut second) = (Some(first), Some(second));
        let part = "each part runs once";
        on_both(&mut || first.take().expect(part)(), &mut || second.take().expect(part)());
    } else {
        first();
        second();
    }
}

/// Compiled once, and not for each pair of parts: what is behind it takes the compiler much longer than most of them.
fn on_both(first: &mut (dyn FnMut() + Send), second: &mut (dyn FnMut() + Send)) {
    rayon::join(first, second);
}

/// [`join`] of `visit` for half of the items and for the rest; where there is one item only, that stays here.
pub(crate) fn for_each<T: Send>(items: &mut [T], visit: impl Fn(&mut T) + Sync) {
    let (first, second) = items.split_at_mut(items.len().div_ceil(2));
    if second.is_empty() {
        return first.iter_mut().for_each(visit);
    }
    join(|| first.iter_mut().for_each(&visit), || second.iter_mut().for_each(&visit));
}

/// Fewer numbers than this are done before another thread has begun.
const LONG: usize = 4096;

/// `visit` of `out` and the inputs at the same places: at once, or for either half where they are long.
pub(crate) fn in_halves<const N: usize>(
    out: &mut [f64],
    inputs: [&[f64]; N],
    visit: impl Fn(&mut [f64], [&[f64]; N]) + Sync,
) {
    if out.len() < LONG || !KEPT.get() {
        return visit(out, inputs);
    }
    let middle = out.len() / 2;
    let (first, second) = out.split_at_mut(middle);
    join(|| visit(first, inputs.map(|x| &x[..middle])), || visit(second, inputs.map(|x| &x[middle..])));
}

/// `y += a x`.
pub(crate) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    in_halves(y, [x], |y, [x]| vector::axpy(a, x, y));
}

/// A thread that is kept awake until this is dropped.
struct Company {
    wanted: Arc<AtomicBool>,
    /// It is of the thread that made it.
    here: PhantomData<*const ()>,
}

impl Company {
    /// To be called within the pool of threads.
    fn new() -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        rayon::spawn(move || {
            // A thread that keeps company itself, this one or that of another loop, has steps to take: two that kept each other
            // company would wait for each other without an end.
            while !KEPT.get() && still.load(Ordering::Relaxed) {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    std::hint::spin_loop();
                }
            }
        });
        KEPT.set(true);
        Company { wanted, here: PhantomData }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        KEPT.set(false);
    }
}

/// Steps of either way that are timed, of which the median counts.
const TIMED: usize = 15;
/// How long either way goes on before that.
const WARM: Duration = Duration::from_micros(300);
/// How long it takes until both ways are timed anew: at first, and at most. The time doubles.
const TRUSTED: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// Steps that take so long together are worth the way into the pool.
const WORTH: Duration = Duration::from_micros(500);

/// What is known of the steps of a loop: whether they are faster in company.
pub(crate) struct Paced {
    /// False: other threads may not be used at all.
    allowed: bool,
    /// Of a step.
    pace: Duration,
    stage: Stage,
    /// Of steps alone, and in company.
    times: [[Duration; TIMED]; 2],
    trusted: Duration,
    faster: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    /// One way is timed.
    Timing { in_company: bool, done: usize },
    /// So many steps are taken the faster way.
    Trusting { left: usize },
}

const BEGINNING: Stage = Stage::Timing { in_company: false, done: 0 };

impl Paced {
    /// `allowed`: whether steps may call on other threads at all.
    pub fn new(allowed: bool) -> Self {
        let times = [[Duration::ZERO; TIMED]; 2];
        Paced { allowed, pace: Duration::ZERO, stage: BEGINNING, times, trusted: TRUSTED.0, faster: false }
    }

    /// Takes the steps `steps`, on another thread of the pool where company may pay.
    ///
    /// # Errors
    /// Of a step, which is the last one.
    pub fn run<E: Send>(
        &mut self,
        mut steps: Range<usize>,
        mut step: impl FnMut(usize) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        if !self.allowed || rayon::current_num_threads() < 2 {
            return steps.try_for_each(step);
        }
        if self.pace.is_zero() {
            // The first step shows how long one takes.
            let Some(t) = steps.next() else { return Ok(()) };
            let clock = Instant::now();
            step(t)?;
            self.pace = clock.elapsed();
        }
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX).max(1);
        if self.pace.saturating_mul(count) < WORTH {
            let clock = Instant::now();
            let ended = steps.try_for_each(step);
            self.pace = clock.elapsed() / count;
            return ended;
        }
        rayon::scope(|_| {
            let (mut company, mut since) = (None, Instant::now());
            steps.try_for_each(|t| {
                let wanted = match self.stage {
                    Stage::Timing { in_company, .. } => in_company,
                    Stage::Trusting { .. } => self.faster,
                };
                if wanted != company.is_some() {
                    company = wanted.then(Company::new);
                    since = Instant::now();
                }
                match self.stage {
                    Stage::Trusting { left: 0 } => {
                        step(t)?;
                        self.stage = BEGINNING;
                        since = Instant::now();
                    }
                    Stage::Trusting { left } => {
                        step(t)?;
                        self.stage = Stage::Trusting { left: left - 1 };
                    }
                    Stage::Timing { in_company, done } => {
                        let clock = Instant::now();
                        step(t)?;
                        if clock - since >= WARM {
                            self.times[usize::from(in_company)][done] = clock.elapsed();
                            self.stage = self.after(in_company, done + 1);
                        }
                    }
                }
                Ok(())
            })
        })
    }

    /// What follows so many timed steps.
    fn after(&mut self, in_company: bool, done: usize) -> Stage {
        match (in_company, done) {
            (_, ..TIMED) => Stage::Timing { in_company, done },
            (false, _) => Stage::Timing { in_company: true, done: 0 },
            (true, _) => {
                let [alone, together] = self.times.map(|mut times| {
                    times.sort_unstable();
                    times[TIMED / 2]
                });
                let faster = together < alone;
                self.trusted = if faster == self.faster { (2 * self.trusted).min(TRUSTED.1) } else { TRUSTED.0 };
                self.faster = faster;
                self.pace = alone.min(together);
                let steps = self.trusted.as_nanos() / self.pace.as_nanos().max(1);
                Stage::Trusting { left: usize::try_from(steps).unwrap_or(usize::MAX) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(time: Duration) {
        let clock = Instant::now();
        while clock.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    fn within_pool<R: Send>(threads: usize, body: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(body)
    }

    /// Which steps kept company.
    fn kept(allowed: bool, threads: usize, ranges: &[Range<usize>]) -> Vec<bool> {
        within_pool(threads, || {
            let (mut paced, mut kept) = (Paced::new(allowed), Vec::new());
            for steps in ranges.iter().cloned() {
                let taken = paced.run::<()>(steps, |t| {
                    assert_eq!(t, kept.len(), "steps are taken in turn");
                    kept.push(KEPT.get());
                    let (mut a, mut b) = (0, 0);
                    join(
                        || {
                            busy(Duration::from_micros(10));
                            a = t;
                        },
                        || {
                            busy(Duration::from_micros(10));
                            b = t;
                        },
                    );
                    assert_eq!((a, b), (t, t), "both parts are done");
                    Ok(())
                });
                taken.unwrap();
                assert!(!KEPT.get(), "no company beyond the steps");
            }
            kept
        })
    }

    #[test]
    fn both_ways_are_tried_where_there_are_threads() {
        for ranges in [&[0..200, 200..200][..], &[0..0, 0..2, 2..200]] {
            let tried = kept(true, 2, ranges);
            assert_eq!(tried.len(), 200);
            assert!(!tried[0] && tried.contains(&true), "{ranges:?}");
        }
    }

    #[test]
    fn nothing_runs_elsewhere_where_it_may_not_or_cannot() {
        assert!(!kept(false, 2, &[0..2, 2..200]).contains(&true));
        assert!(!kept(true, 1, &[0..2, 2..200]).contains(&true));
    }

    #[test]
    fn loops_beside_each_other_come_to_an_end() {
        let steps = || {
            let mut paced = Paced::new(true);
            for steps in [0..400, 400..800] {
                let step = |_| {
                    join(|| busy(Duration::from_micros(20)), || busy(Duration::from_micros(20)));
                    Ok::<(), ()>(())
                };
                paced.run(steps, step).unwrap();
            }
        };
        for threads in [2, 3] {
            within_pool(threads, || rayon::join(steps, || rayon::join(steps, steps)));
        }
    }

    #[test]
    fn an_error_ends_the_steps() {
        let last = within_pool(2, || {
            let mut paced = Paced::new(true);
            let mut last = 0;
            for steps in [0..20, 20..500] {
                let ended = paced.run(steps, |t| {
                    last = t;
                    busy(Duration::from_micros(20));
                    if t == 100 { Err(()) } else { Ok(()) }
                });
                assert_eq!(ended.is_err(), last == 100);
            }
            last
        });
        assert_eq!(last, 100);
    }

    #[test]
    fn every_item_is_visited() {
        for count in [0, 1, 2, 5] {
            let mut items = vec![0; count];
            for_each(&mut items, |item| *item += 1);
            assert!(items.iter().all(|&item| item == 1));
        }
    }

    #[test]
    fn every_place_is_visited_with_its_inputs() {
        for count in [0, 1, LONG + 1] {
            let (mut out, input): (_, Vec<f64>) = (vec![1.0; count], (0..count).map(|i| i as f64).collect());
            let visit = |out: &mut [f64], [x]: [&[f64]; 1]| out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
            in_halves(&mut out, [&input], visit);
            within_pool(2, || {
                let _company = Company::new();
                in_halves(&mut out, [&input], visit);
            });
            assert!(out.iter().zip(&input).all(|(out, x)| *out == 1.0 + 2.0 * x));
        }
    }
}

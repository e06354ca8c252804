//! A second thread for parts of a step that take a microsecond.
//!
//! A thread that sleeps needs longer to wake up than a small step takes altogether. So a loop over such steps keeps another thread
//! awake meanwhile, which looks for work without a pause and begins with it a tenth of a microsecond after it is there. That costs
//! the time of a core, and whether it pays depends on the sizes, the processor and what else runs on it: [`Paced`] finds out.
//! Only the time differs, since each part computes the same on whichever thread.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    /// Whether this thread keeps company.
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// Runs both parts, the second on the thread that is kept awake, where this thread keeps one. The first should be the longer one: its
/// own parts can go to the other thread, too, once that is done.
pub(crate) fn join(first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    if KEPT.get() {
        rayon::join(first, second);
    } else {
        first();
        second();
    }
}

/// [`join`] of `visit` for half of the items and for the rest.
pub(crate) fn for_each<T: Send>(items: &mut [T], visit: impl Fn(&mut T) + Sync) {
    let (first, second) = items.split_at_mut(items.len() / 2);
    join(|| first.iter_mut().for_each(&visit), || second.iter_mut().for_each(&visit));
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
        let (host, still) = (rayon::current_thread_index(), Arc::clone(&wanted));
        rayon::spawn(move || {
            // Were it to end up on the thread that it is for, that would wait for itself.
            while still.load(Ordering::Relaxed) && rayon::current_thread_index() != host {
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
const TIMED: usize = 25;
/// Steps of either way before that.
const WARM: usize = 40;
/// Steps until both ways are timed anew: at first, and at most. The number doubles.
const TRUSTED: (usize, usize) = (1 << 10, 1 << 17);
/// Steps in a row that are worth the way into the pool.
const WORTH: usize = 64;

/// What is known of the steps of a loop: whether they are faster in company.
pub(crate) struct Paced {
    /// False: other threads may not be used at all.
    allowed: bool,
    /// Steps since the timing began.
    steps: usize,
    trusted: usize,
    /// Of steps alone, and in company.
    times: [[Duration; TIMED]; 2],
    faster: bool,
}

impl Paced {
    pub fn new(allowed: bool) -> Self {
        Paced { allowed, steps: 0, trusted: TRUSTED.0, times: [[Duration::ZERO; TIMED]; 2], faster: false }
    }

    /// Takes the steps `steps`, on another thread of the pool where company may pay.
    ///
    /// # Errors
    /// Of a step, which is the last one.
    pub fn run<E: Send>(
        &mut self,
        mut steps: std::ops::Range<usize>,
        mut step: impl FnMut(usize) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        if !self.allowed || steps.len() < WORTH || rayon::current_num_threads() < 2 {
            return steps.try_for_each(step);
        }
        rayon::scope(|_| {
            let mut company = None;
            steps.try_for_each(|t| {
                let way = self.steps / (WARM + TIMED);
                let timed = way < 2;
                let wanted = if timed { way == 1 } else { self.faster };
                if wanted != company.is_some() {
                    company = wanted.then(Company::new);
                }
                let clock = timed.then(Instant::now);
                step(t)?;
                self.note(way, clock);
                Ok(())
            })
        })
    }

    fn note(&mut self, way: usize, clock: Option<Instant>) {
        if let (Some(clock), Some(at)) = (clock, (self.steps % (WARM + TIMED)).checked_sub(WARM)) {
            self.times[way][at] = clock.elapsed();
        }
        self.steps += 1;
        if self.steps == 2 * (WARM + TIMED) {
            self.decide();
        } else if self.steps > self.trusted {
            self.steps = 0;
        }
    }

    fn decide(&mut self) {
        let [alone, in_company] = self.times.map(|mut times| {
            times.sort_unstable();
            times[TIMED / 2]
        });
        let faster = in_company < alone;
        self.trusted = if faster == self.faster { (2 * self.trusted).min(TRUSTED.1) } else { TRUSTED.0 };
        self.faster = faster;
    }
}

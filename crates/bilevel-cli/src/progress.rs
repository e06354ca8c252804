//! What a person sees while the tuning runs: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bilevel::clean::Step;
use bilevel::observer::{Event, Observer};
use bilevel::tune::TraceRow;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{interrupt, memory, numbers};

/// What is done sooner than this is not worth a line where there is no terminal.
const QUIET: Duration = Duration::from_secs(1);
/// Time between lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows the tuning on standard error.
pub struct Progress {
    shown: Shown,
    best: f64,
    candidate: String,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { started: Instant, last: Instant },
}

impl Progress {
    /// A bar if standard error is a terminal, else lines; nothing if `quiet`. `iterations` is the limit for each
    /// candidate.
    pub fn new(quiet: bool, iterations: usize) -> Self {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => {
                let bar = ProgressBar::new(iterations as u64);
                let style = ProgressStyle::with_template("{spinner} {bar:20} {elapsed:>4} {wide_msg}");
                bar.set_style(style.expect("the template is sound").progress_chars("━╸ "));
                bar.enable_steady_tick(Duration::from_millis(120));
                Shown::Bar(bar)
            }
            (false, false) => Shown::Lines { started: Instant::now(), last: Instant::now() },
        };
        Progress { shown, best: f64::INFINITY, candidate: String::new() }
    }

    /// Hides the bar while something else is printed.
    pub fn pause<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(work),
            _ => work(),
        }
    }

    /// Shows how much of what was announced is done.
    pub fn done(&mut self, count: usize, message: &str) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_position(count as u64);
                bar.set_message(message.to_string());
            }
            Shown::Lines { last, .. } if last.elapsed() > BETWEEN_LINES => {
                eprintln!("{message}");
                *last = Instant::now();
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Progress {
    /// Says what is done next.
    pub fn phase(&mut self, phase: &str) {
        memory::give_back();
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_position(0);
                bar.set_message(phase.to_string());
            }
            Shown::Lines { started, last } => {
                if started.elapsed() < QUIET {
                    return;
                }
                eprintln!("{phase}");
                *last = Instant::now();
            }
        }
    }

    /// The same for work that watches its own flag.
    fn begin(&mut self, phase: &str) -> ControlFlow<()> {
        self.phase(phase);
        ControlFlow::Continue(())
    }

    /// Shows iteration `number` of what is under way, which is kept if nothing better follows.
    fn show(&mut self, number: usize, line: impl Fn() -> String) -> ControlFlow<()> {
        interrupt::found();
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_position(number as u64);
                bar.set_message(line());
            }
            Shown::Lines { last, .. } if last.elapsed() > BETWEEN_LINES => {
                eprintln!("{}", line());
                *last = Instant::now();
            }
            Shown::Lines { .. } => {}
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl<'e> Observer<Event<'e, TraceRow>> for Progress {
    fn observe(&mut self, event: &Event<'e, TraceRow>) -> ControlFlow<()> {
        let row = match event {
            Event::Phase(phase) => return self.begin(phase),
            Event::Iteration(row) => row,
        };
        let label = row.label();
        if label != self.candidate {
            (self.candidate, self.best) = (label, f64::INFINITY);
        }
        self.best = self.best.min(row.validation_loss);
        let (candidate, best) = (self.candidate.clone(), self.best);
        self.show(row.iteration, || {
            format!(
                "{candidate}: iteration {}, validation loss {} (best {}), training loss {}",
                row.iteration,
                numbers::loss(row.validation_loss),
                numbers::loss(best),
                numbers::loss(row.train_loss),
            )
        })
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(interrupt::flag())
    }
}

impl<'e> Observer<Event<'e, Step>> for Progress {
    fn observe(&mut self, event: &Event<'e, Step>) -> ControlFlow<()> {
        let step = match event {
            Event::Phase(phase) => return self.begin(phase),
            Event::Iteration(step) => step,
        };
        self.show(step.iteration, || {
            let monitor =
                step.monitor_loss.map_or(String::new(), |loss| format!(", on others {}", numbers::loss(loss)));
            format!(
                "step {}: loss on the trusted rows {}{monitor}, mean weight {}",
                step.iteration,
                numbers::loss(step.trusted_loss),
                numbers::short(step.mean_weight),
            )
        })
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(interrupt::flag())
    }
}

//! The loops allocate nothing: a hundred times the steps cost not one allocation more.
//!
//! Alone in its file, because the count is of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bilevel::hypergradient::{AidConjugateGradient, AidFixedPoint, Sid, SidSaga};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::GradientMap;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::step_size::StepSize;

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every request on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn more_steps_allocate_no_more() {
    let problem = Quadratic::random(&QuadraticOptions { noise: 0.2, ..QuadraticOptions::default() });
    let map = GradientMap { loss: &problem, map_step: 0.5 };
    let lambda = [0.1; 4];
    let count = |run: &dyn Fn()| {
        run();
        let once = || {
            let before = COUNT.load(Ordering::Relaxed);
            run();
            COUNT.load(Ordering::Relaxed) - before
        };
        // What others allocate in this process meanwhile does not come back.
        (0..3).map(|_| once()).min().unwrap()
    };
    let sid = |steps| {
        count(&|| {
            let sid = Sid::new(steps, 4, StepSize::Constant { eta: 0.1 });
            sid.estimate(&map, problem.upper(), &lambda, None, 1, 0).unwrap();
        })
    };
    let saga = |steps| {
        count(&|| {
            let saga = SidSaga { sid: Sid::new(steps, 4, StepSize::Constant { eta: 0.1 }) };
            saga.estimate(&map, problem.upper(), &lambda, None, 1, 0).unwrap();
        })
    };
    let aid = |steps| {
        count(&|| {
            let aid = AidFixedPoint { lower_steps: steps, linear_steps: steps, tolerance: 0.0 };
            aid.estimate(&map, problem.upper(), &lambda, None).unwrap();
        })
    };
    let cg = |steps| {
        count(&|| {
            let aid = AidConjugateGradient {
                lower_steps: steps,
                lower_tolerance: 0.0,
                linear: ConjugateGradient { steps: steps / 5, tolerance: 0.0 },
            };
            aid.estimate(&map, problem.upper(), &lambda, None).unwrap();
        })
    };
    // A hundred steps more would show as hundreds.
    assert!(sid(1000) <= sid(10) + 8, "SID: {} and {}", sid(10), sid(1000));
    assert!(saga(1000) <= saga(10) + 8, "SID-SAGA: {} and {}", saga(10), saga(1000));
    assert!(aid(1000) <= aid(10) + 8, "AID-FP: {} and {}", aid(10), aid(1000));
    assert!(cg(1000) <= cg(10) + 8, "AID-CG: {} and {}", cg(10), cg(1000));
    assert!(sid(10) < 60, "{}", sid(10));
}

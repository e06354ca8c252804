"""Medians of repetitions that take turns, so that all candidates meet the same disturbances of a shared machine."""

import time

REPETITIONS = 31


def measure(candidates, repetitions=REPETITIONS):
    """Seconds of each `name: run`, as `name: (median, fastest tenth)`; `run()` returns once its result is there."""
    for run in candidates.values():
        run()
        run()
    seconds = {name: [] for name in candidates}
    for _ in range(repetitions):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: (sorted(s)[len(s) // 2], sorted(s)[len(s) // 10]) for name, s in seconds.items()}

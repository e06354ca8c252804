"""Medians of repetitions that take turns, so that all candidates meet the same disturbances of a shared machine."""

import time

REPETITIONS = 31
# Seconds after which no further round begins, and the rounds that are made anyway.
BUDGET, FEWEST = 30.0, 5


def measure(candidates, repetitions=REPETITIONS):
    """Seconds of each `name: run`, as `name: (median, fastest tenth)`; `run()` returns once its result is there."""
    for run in candidates.values():
        run()
        run()
    seconds = {name: [] for name in candidates}
    begin = time.perf_counter()
    for count in range(repetitions):
        if count >= FEWEST and time.perf_counter() - begin > BUDGET:
            break
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: (sorted(s)[len(s) // 2], sorted(s)[len(s) // 10]) for name, s in seconds.items()}

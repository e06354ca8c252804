"""Ctrl-C, callbacks, limits of time, and the lock of the interpreter."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

import bilevel
from bilevel import Iteration, LogisticRegressionTuned, ProgressBar

LONGEST = 10.0
"""Seconds from an interrupt to its exception, for a machine that is busy with other things; alone it takes one."""


@pytest.fixture(scope="module")
def long() -> tuple[Any, Any]:
    """Takes seconds when nobody stops it."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(20_000, 300))
    y = (X[:, :20].sum(axis=1) + 5 * generator.normal(size=len(X)) > 0).astype(int)
    return X, y


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupt_leaves_the_best_so_far(step: int, long: Any) -> None:
    X, y = long
    seen: list[Iteration] = []
    sent: list[float] = []

    def interrupt(row: Iteration) -> None:
        seen.append(row)
        if len(seen) == step:
            sent.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    model = LogisticRegressionTuned(penalties="per-feature", callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.status_ == "interrupted"
    assert model.coef_.shape == (1, X.shape[1]) and np.isfinite(model.coef_).all()
    assert len(model.history_) < 20, "it stopped at once"
    assert time.monotonic() - sent[0] < LONGEST


def test_an_interrupt_between_two_kinds_of_penalty_keeps_the_first() -> None:
    X, y = bilevel.datasets.load("a9a", return_X_y=True)
    kept = []
    for step in range(12, 26, 2):
        seen: list[Iteration] = []

        def interrupt(row: Iteration, seen: list[Iteration] = seen, step: int = step) -> None:
            seen.append(row)
            if len(seen) == step:
                signal.raise_signal(signal.SIGINT)

        model = LogisticRegressionTuned(penalties="per-feature", callbacks=[interrupt])
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
        assert model.status_ == "interrupted", step
        kept.append(model.penalties_)
    assert "shared" in kept


def test_an_interrupt_of_many_classes_does_not_wait_for_another_fit() -> None:
    generator = np.random.default_rng(1)
    X = generator.normal(size=(9000, 420))
    y = (X[:, :40] @ generator.normal(size=(40, 10)) + 4 * generator.normal(size=(len(X), 10))).argmax(axis=1)
    seen: list[Iteration] = []
    sent: list[float] = []

    def interrupt(row: Iteration) -> None:
        seen.append(row)
        if len(seen) == 8:
            sent.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    model = LogisticRegressionTuned(penalties="shared", callbacks=[interrupt])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    late = time.monotonic() - sent[0]
    # As the load of the machine slows down both alike.
    evaluation = (sent[0] - began) / 8
    assert late < 0.4 + 0.3 * evaluation, f"{late:.2f} s, at {evaluation:.2f} s for one evaluation"
    assert model.status_ == "interrupted"
    assert model.score(X, y) > 0.3, model.notes_


def test_reading_is_interrupted(tmp_path: Any) -> None:
    path = tmp_path / "never-ends.svm"
    os.mkfifo(path)
    ended = threading.Event()

    def write_after_all() -> None:
        if not ended.wait(LONGEST):
            path.write_text("1 1:1\n-1 2:1\n")

    helper = threading.Thread(target=write_after_all)
    helper.start()
    began = time.monotonic()
    threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            bilevel.datasets.read(path)
        assert time.monotonic() - began < LONGEST
    finally:
        ended.set()
        helper.join()


def test_a_callback_may_stop(heart: Any) -> None:
    seen: list[Iteration] = []

    def stop(row: Iteration) -> bool:
        seen.append(row)
        return len(seen) == 12

    model = LogisticRegressionTuned(penalties="per-feature", callbacks=[stop], n_jobs=1).fit(heart.data, heart.target)
    assert model.status_ in {"interrupted", "converged"}
    assert seen[0] == model.history_[0] and len(seen) >= 12
    assert model.score(heart.data, heart.target) > 0.7


@pytest.mark.parametrize("penalties", ["shared", "per-feature", "auto"])
@pytest.mark.parametrize("step", [1, 7])
def test_where_a_callback_stops_does_not_depend_on_how_fast_anybody_is(penalties: str, step: int, heart: Any) -> None:
    fits = []
    for pause in (0.0, 0.0, 0.03, 0.0):
        seen: list[Iteration] = []

        def stop(row: Iteration, seen: list[Iteration] = seen, pause: float = pause) -> bool:
            seen.append(row)
            time.sleep(pause)
            return len(seen) == step

        model = LogisticRegressionTuned(penalties=penalties, callbacks=[stop], n_jobs=1 + len(fits) % 2)
        fits.append(model.fit(heart.data, heart.target))
        assert model.status_ == "interrupted" and model.history_[:step] == seen
    assert all((fit.coef_ == fits[0].coef_).all() and fit.n_iter_ == fits[0].n_iter_ for fit in fits)


def test_a_callback_stops_long_work_soon(long: Any) -> None:
    X, y = long
    stopped: list[float] = []

    def stop(row: Iteration) -> bool:
        stopped.append(time.monotonic())
        return len(stopped) == 3

    model = LogisticRegressionTuned(penalties="per-feature", callbacks=[stop]).fit(X, y)
    assert model.status_ == "interrupted" and len(stopped) == 3
    assert time.monotonic() - stopped[-1] < LONGEST


def test_what_a_callback_raises_is_raised(heart: Any) -> None:
    def fail(row: Iteration) -> None:
        raise RuntimeError("enough")

    model = LogisticRegressionTuned(penalties="per-feature", callbacks=[fail])
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(heart.data, heart.target)


def test_a_limit_of_time(long: Any) -> None:
    X, y = long
    began = time.monotonic()
    model = LogisticRegressionTuned(penalties="auto", max_time=4.0).fit(X, y)
    assert model.status_ == "time-limit"
    assert time.monotonic() - began < 4.0 + LONGEST


def test_other_threads_go_on(long: Any) -> None:
    X, y = long
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.wait(0.01):
            ticks += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        LogisticRegressionTuned(penalties="shared").fit(X, y)
    finally:
        done.set()
        thread.join()
    assert ticks > 10


def test_the_bar_as_text(heart: Any) -> None:
    out = io.StringIO()
    bar = ProgressBar(stream=out, interval=0)
    LogisticRegressionTuned(callbacks=[bar]).fit(heart.data, heart.target)
    assert "fitting on all rows\n" in out.getvalue() and "\r" not in out.getvalue()

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    LogisticRegressionTuned(callbacks=[ProgressBar(stream=terminal, interval=0)]).fit(heart.data, heart.target)
    assert "\r" in terminal.getvalue() and "loss" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r"), "the line is cleared"


def test_verbose(heart: Any, capsys: Any) -> None:
    bilevel.RidgeTuned(verbose=True).fit(heart.data, heart.target)
    assert "tuning on all rows" in capsys.readouterr().err

"""Progress of a tuning: in a notebook, on a terminal, or as plain lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias

import numpy as np

from bilevel import _core, _settings
from bilevel._records import CleaningStep, Iteration

Callback: TypeAlias = Callable[[Iteration], object]


def says_stop(answer: object) -> bool:
    """Whether a callback asks to stop: by True, Python's or NumPy's. Anything else it may return by chance.

    Parameters
    ----------
    answer : object
        What it returned.

    Returns
    -------
    bool
        Whether it does.
    """
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def any_says_stop(callbacks: Iterable[Callable[[Any], object]], row: Any) -> bool:
    """Tell callbacks where a computation stands.

    Parameters
    ----------
    callbacks : iterable of callable
        All are called, whatever the first of them says.
    row : object
        What they are called with.

    Returns
    -------
    bool
        Whether one asks to stop.
    """
    return any([says_stop(callback(row)) for callback in callbacks])


class Listener:
    """Passes on what the core tells.

    Parameters
    ----------
    callbacks : sequence of callable
        Each is called with every `Iteration`; one that returns True ends the tuning with the best so far. Methods
        ``phase(text)`` and ``finish()`` are called where a callback has them.
    record : type, default=Iteration
        What the numbers of a step are the fields of.
    """

    def __init__(self, callbacks: Sequence[Callable[[Any], object]], record: Callable[..., Any] = Iteration) -> None:
        self.callbacks = callbacks
        self.record = record

    def phase(self, text: str) -> None:
        """Tell that a new phase began.

        Parameters
        ----------
        text : str
            A few words.
        """
        self._call("phase", text)

    def iteration(self, values: _core.TraceValues | _core.CleaningStepValues) -> bool:
        """Tell that an iteration ended.

        Parameters
        ----------
        values : tuple
            The numbers of an `Iteration`, or of another step.

        Returns
        -------
        bool
            Whether to stop.
        """
        return any_says_stop(self.callbacks, self.record(*values))

    def finish(self) -> None:
        """Tell that there is nothing more to come."""
        self._call("finish")

    def _call(self, name: str, *arguments: object) -> None:
        for callback in self.callbacks:
            method = getattr(callback, name, None)
            if method is not None:
                method(*arguments)


@contextmanager
def listening(
    callbacks: Any, verbose: bool, record: Callable[..., Any] = Iteration
) -> Iterator[Listener | None]:
    """Listen to the core, and tell callbacks in the end that there is nothing more to come.

    Parameters
    ----------
    callbacks : sequence of callable or None
        The callbacks of an estimator.
    verbose : bool
        Whether to show a `ProgressBar`, too.
    record : type, default=Iteration
        What the numbers of a step are the fields of.

    Yields
    ------
    Listener or None
        What the core takes; None where nobody listens.
    """
    all_of_them = _settings.callables(callbacks) + ([ProgressBar()] if verbose else [])
    listener = Listener(all_of_them, record) if all_of_them else None
    try:
        yield listener
    finally:
        if listener is not None:
            listener.finish()


class ProgressBar:
    """Show how far a tuning is.

    In a notebook a bar that is updated in place, on a terminal a line that is overwritten, and otherwise one line for
    each phase.

    Parameters
    ----------
    stream : file, default=None
        Where to write; standard error by default. A notebook is only used by default.
    interval : float, default=0.1
        Least number of seconds between two updates.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 0.1) -> None:
        self.stream = stream
        self.interval = interval
        self._text = ""
        self._shown = -math.inf
        self._width = 0
        self._display: Any = None
        self._first = math.nan

    def phase(self, text: str) -> None:
        """Show that a new phase began.

        Parameters
        ----------
        text : str
            A few words.
        """
        self._text = text
        if not self._terminal() and not self._notebook():
            self._out().write(f"{text}\n")
        self._shown = -math.inf

    def __call__(self, row: Iteration | CleaningStep) -> bool:
        """Show an iteration.

        Parameters
        ----------
        row : Iteration or CleaningStep
            Where the work stands.

        Returns
        -------
        bool
            False: a bar never stops anything.
        """
        now = time.monotonic()
        if now - self._shown < self.interval:
            return False
        self._shown = now
        kind, loss = row.progress()
        line = f"{self._text}: {kind}step {row.iteration}, loss {loss:.5g}, {row.seconds:.1f} s"
        if self._notebook():
            self._display.update(_Html(f"<progress></progress> {line}"))
        elif self._terminal():
            self._out().write("\r" + line.ljust(self._width))
            self._out().flush()
            self._width = len(line)
        return False

    def finish(self) -> None:
        """Leave the place as it was found."""
        if self._display is not None:
            self._display.update(_Html(""))
            self._display = None
        elif self._terminal() and self._width:
            self._out().write("\r" + " " * self._width + "\r")
            self._out().flush()
        self._width = 0

    def _out(self) -> TextIO:
        return sys.stderr if self.stream is None else self.stream

    def _terminal(self) -> bool:
        return self._out().isatty()

    def _notebook(self) -> bool:
        """Open a display where a kernel with a screen for it runs this."""
        if self._display is None and self.stream is None and "ipykernel" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if hasattr(get_ipython(), "kernel"):
                self._display = display(_Html(""), display_id=True)  # type: ignore[no-untyped-call]
        return self._display is not None


class _Html:
    """Text that a notebook shows as it is meant and everything else as text."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.html.replace("<progress></progress> ", "")

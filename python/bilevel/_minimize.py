"""Minimising over the upper variable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, Unpack

import numpy as np

from bilevel import _core, _settings
from bilevel._arrays import threads
from bilevel._estimates import Work
from bilevel._hypergradient import Settings, chosen, core_settings, core_start
from bilevel._levels import Floats, Level, Lower, UpperObjective, arranged, check_levels, vector
from bilevel._progress import any_says_stop

DESCENTS = ("lbfgs", "gradient")
"""Loops over hypergradients; all other methods are algorithms of the literature."""

_OPTIONS = {
    "lbfgs": frozenset({"gradient_tolerance"}),
    "gradient": frozenset({"gradient_tolerance", "patience", "step_rule", "outer_step"}),
    "adaptive": frozenset({"steps"}),
}
_OF_ALGORITHMS = frozenset({"steps", "outer_step"})


class UpperStep(NamedTuple):
    """Where a minimisation stands.

    Parameters
    ----------
    iteration : int
        Number of the iteration, from 0.
    objective : float
        The upper objective there, on the sample that was used.
    projected_gradient : float
        Largest component of the projected hypergradient; NaN where an algorithm has none.
    lam : ndarray or structure
        The upper variable.
    rows : int
        Rows visited so far.
    seconds : float
        Seconds since the beginning.
    """

    iteration: int
    objective: float
    projected_gradient: float
    lam: Any
    rows: int
    seconds: float


UpperCallback: TypeAlias = Callable[[UpperStep], object]


@dataclass(frozen=True, eq=False)
class MinimizeResult:
    """How a minimisation ended.

    Parameters
    ----------
    lam : ndarray or structure
        The upper variable: the best one of ``"lbfgs"`` and ``"gradient"``, the last one of other methods.
    w : ndarray or structure
        The lower variable that goes with it.
    objective : float
        The upper objective there; NaN where it has no exact mean and the method is an algorithm of the literature.
    hypergradient : ndarray, structure or None
        The hypergradient there, where it was computed.
    success : bool
        Whether the method came to rest by itself; not where no step from the start lowered the objective although
        the hypergradient says so.
    status : str
        ``"stationary"``, ``"stalled"``, ``"iteration-limit"``, ``"time-limit"`` or ``"interrupted"``.
    message : str
        What that means.
    n_iter : int
        Iterations made.
    work : Work
        What it cost.
    seconds : float
        Time it took.
    method : str
        The method that was used.
    history : tuple of UpperStep
        All iterations of ``"lbfgs"`` and ``"gradient"``; of other methods some, ever further apart.
    """

    lam: Any
    w: Any
    objective: float
    hypergradient: Any
    success: bool
    status: str
    message: str
    n_iter: int
    work: Work
    seconds: float
    method: str
    history: tuple[UpperStep, ...] = field(repr=False)


def minimize(
    lower: Lower,
    upper: UpperObjective,
    lam0: Any,
    *,
    domain: Any = None,
    method: str = "auto",
    hypergradient: str = "auto",
    start: Any = None,
    max_iter: int | None = None,
    max_time: float | None = None,
    gradient_tolerance: float | None = None,
    patience: int | None = None,
    step_rule: str | None = None,
    outer_step: float | None = None,
    steps: tuple[float, float, float] | None = None,
    callbacks: Sequence[UpperCallback] | None = None,
    random_state: Any = 0,
    n_jobs: int = 1,
    **settings: Unpack[Settings],
) -> MinimizeResult:
    r"""Minimise :math:`f(\lambda) = E(w(\lambda), \lambda)` over a box.

    An interrupt (Ctrl-C) ends it with `KeyboardInterrupt`, whose attribute ``result`` is what was found until then, a
    `MinimizeResult` with the status ``"interrupted"``. So it is with what a callback or one of the functions raises; the
    attribute is missing where nothing had been found yet.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    upper : UpperObjective
        The upper level.
    lam0 : array-like or structure
        Where to begin.
    domain : scipy.optimize.Bounds, sequence of pairs or pair, default=None
        Bounds of ``lam``: as in SciPy, or one pair ``(low, high)`` for all; None in a pair is no bound.
    method : str, default="auto"
        ``"lbfgs"``: line searches along exact hypergradients; ``"gradient"``: steps along any hypergradients; for losses over
        rows ``"adaptive"``: a single stochastic loop that finds its steps by itself; or an algorithm of the literature for
        losses, such as ``"soba"``, ``"saba"``, ``"stocbio"``, ``"amigo"``, ``"f2sa"`` or ``"hoag"``. By default ``"lbfgs"``
        where the hypergradient is exact, else ``"gradient"``.
    hypergradient : str, default="auto"
        How ``"lbfgs"`` and ``"gradient"`` compute hypergradients: a method of `hypergradient`.
    start : Hypergradient, array-like or structure, default=None
        Lower variable to start from; zeros by default. Later solves start where the last one ended.
    max_iter : int, default=None
        Largest number of iterations, at least 1: by default 200 of ``"lbfgs"``, 500 of ``"gradient"``, 10 000 of other methods.
    max_time : float, default=None
        Largest number of seconds.
    gradient_tolerance : float, default=None
        Projected gradient at which ``"lbfgs"``, relative to the objective, and ``"gradient"`` stop; 1e-6 by default.
    patience : int, default=None
        Iterations of ``"gradient"`` without an improvement of 1e-4 after which it stops; 0, the default, never.
    step_rule : {"adam", "adagrad-norm", "constant"}, default=None
        Steps of ``"gradient"``, those of Adam by default.
    outer_step : float, default=None
        Largest move of a coordinate in the first iteration of ``"gradient"`` and of algorithms without `steps`, 0.1 by default;
        for ``step_rule="constant"`` the factor of the hypergradient.
    steps : tuple of float, default=None
        First steps of an algorithm in ``w``, in the adjoint and in ``lam``; by default half of the longest safe step, twice,
        and what `outer_step` says. Factors of the steps that ``"adaptive"`` finds.
    callbacks : sequence of callable, default=None
        Each is called with every `UpperStep`; one that returns True ends the minimisation with what there is.
    random_state : int, RandomState or None, default=0
        What all randomness follows from.
    n_jobs : int, default=1
        Threads for replicates, as in `hypergradient`.
    **settings : dict
        Settings of the hypergradient, as in `hypergradient`; of algorithms ``batch`` alone, the rows of a sample.

    Returns
    -------
    MinimizeResult
        What was found, how it ended and what it cost.

    See Also
    --------
    hypergradient : What is followed.

    Examples
    --------
    >>> import bilevel
    >>> lower = bilevel.StochasticMap(
    ...     lambda w, lam, sample: 0.5 * w + lam,
    ...     lambda w, lam, sample, v: 0.5 * v,
    ...     lambda w, lam, sample, v: v,
    ...     dim_w=2,
    ...     dim_lam=2,
    ... )
    >>> upper = bilevel.UpperObjective(
    ...     lambda w, lam, sample: ((w - 1) ** 2).sum(),
    ...     lambda w, lam, sample: (((w - 1) ** 2).sum(), 2 * (w - 1), 0 * lam),
    ...     dim_w=2,
    ...     dim_lam=2,
    ... )
    >>> found = bilevel.minimize(lower, upper, [0.0, 0.0], domain=[(0, 0.2), (None, None)])
    >>> found.success, found.lam.round(4)
    (True, array([0.2, 0.5]))
    """
    check_levels(lower, upper)
    method, hypergradient = _settings.choice(method, "method"), _settings.choice(hypergradient, "hypergradient")
    heard = _settings.callables(callbacks)
    descends = method in (*DESCENTS, "auto")
    name = chosen(lower, upper, hypergradient, settings.get("precision"))
    if method == "auto":
        method = "lbfgs" if name in ("exact", "aid-fp", "aid-cg") else "gradient"
    if method == "lbfgs" and name not in ("exact", "aid-fp", "aid-cg"):
        raise ValueError(f"method='lbfgs' needs exact hypergradients, not those of {name!r}; take method='gradient'")
    if not descends and (hypergradient != "auto" or settings.keys() - {"batch"}):
        raise ValueError(f"of the settings of hypergradients method={method!r} takes batch alone")
    given = {
        "gradient_tolerance": gradient_tolerance,
        "patience": patience,
        "step_rule": step_rule,
        "outer_step": outer_step,
        "steps": steps,
    }
    for option, value in given.items():
        if value is not None and option not in _OPTIONS.get(method, _OF_ALGORITHMS):
            raise ValueError(f"method={method!r} takes no {option}")
    if steps is not None and outer_step is not None:
        raise ValueError("steps and outer_step both say how far lam moves at first; give one of them")
    seed = _settings.seed(random_state)
    estimator = core_settings(lower, name if descends else "sid", settings, seed)
    finite = lower.has_mean and upper.has_mean
    low, high = bounds(domain, lower)
    limit = {"lbfgs": 200, "gradient": 500}.get(method, 10_000)
    options: _core.LoopOptions = {
        "method": method,
        "low": low,
        "high": high,
        "max_iter": limit if max_iter is None else _settings.whole(max_iter, "max_iter"),
        "max_time": _settings.seconds(max_time),
        "tolerance": _settings.real(
            1e-6 if gradient_tolerance is None else gradient_tolerance,
            "gradient_tolerance",
            0.0,
            math.inf,
            "finite and not negative",
            closed=True,
        ),
        "patience": 0 if patience is None else _settings.whole(patience, "patience", least=0),
        "step_rule": "adam" if step_rule is None else _settings.choice(step_rule, "step_rule"),
        "outer_step": _settings.real(
            0.1 if outer_step is None else outer_step, "outer_step", 0.0, math.inf, "positive and finite"
        ),
        "steps": _first_steps(steps),
        "batch": 0 if finite and lower.n_samples == 1 else estimator["batch"],
    }

    def step(numbers: _core.StepValues) -> UpperStep:
        iteration, objective, projected_gradient, lam, rows, seconds = numbers
        return UpperStep(
            iteration, objective, projected_gradient, arranged(lam, lower.lam_structure), rows, seconds
        )

    def listen(*numbers: Any) -> bool:
        return any_says_stop(heard, step(numbers))

    def result(record: _core.MinimizeRecord) -> MinimizeResult:
        return MinimizeResult(
            lam=arranged(record["lam"], lower.lam_structure),
            w=arranged(record["w"], lower.w_structure),
            objective=record["objective"],
            hypergradient=arranged(record["gradient"], lower.lam_structure),
            success=record["status"] == "stationary" or (record["status"] == "stalled" and record["iterations"] > 0),
            status=record["status"],
            message=record["message"],
            n_iter=record["iterations"],
            work=Work(*record["work"]),
            seconds=record["seconds"],
            method=method,
            history=tuple(step(numbers) for numbers in record["history"]),
        )

    at = vector(lam0, lower.lam_structure, lower.dim_lam, "lam0")
    place, jobs = core_start(lower, start), threads(n_jobs)
    try:
        return result(
            _core.minimize(lower, upper, at, estimator, options, place, jobs, listen if heard else None)
        )
    except BaseException as error:
        record = getattr(error, "record", None)
        if record is not None:
            error.result = result(record)  # type: ignore[attr-defined]
            del error.record  # type: ignore[attr-defined]
        raise


def _first_steps(steps: Any) -> tuple[float, float, float] | None:
    if steps is None:
        return None
    what = "three positive numbers: in w, in the adjoint and in lam"
    if not isinstance(steps, Sequence) or isinstance(steps, str) or len(steps) != 3:
        raise ValueError(f"steps={steps!r} must be {what}")
    lower, linear, outer = (_settings.real(each, "steps", 0.0, math.inf, what) for each in steps)
    return lower, linear, outer


def bounds(domain: Any, level: Level) -> tuple[Floats, Floats]:
    """Give the bounds of each coordinate.

    Parameters
    ----------
    domain : Bounds, sequence of pairs, pair or None
        As `minimize` takes it.
    level : Level
        The level that knows how ``lam`` is arranged.

    Returns
    -------
    low : ndarray of shape (dim_lam,)
        Lower bounds.
    high : ndarray of shape (dim_lam,)
        Upper bounds.
    """
    m = level.dim_lam
    if domain is None:
        return np.full(m, -np.inf), np.full(m, np.inf)
    if hasattr(domain, "lb"):
        sides = [domain.lb, domain.ub]
    else:
        if not isinstance(domain, Iterable) or isinstance(domain, str):
            raise ValueError(f"domain={domain!r} must be a pair of bounds (low, high), or one pair for each component of lam")
        pairs = list(domain)
        one = len(pairs) == 2 and all(side is None or np.ndim(side) == 0 for side in pairs)
        sides = pairs if one else [list(side) for side in zip(*pairs, strict=True)]
        if not one and len(pairs) != m:
            raise ValueError(f"{len(pairs)} pairs of bounds for {m} components of lam")
    found = []
    for side, unbounded in zip(sides, (-np.inf, np.inf), strict=True):
        values = [side] if side is None or np.ndim(side) == 0 else side
        numbers = np.array([unbounded if value is None else value for value in values], dtype=np.float64)
        found.append(np.broadcast_to(numbers, (m,)).copy())
    return found[0], found[1]

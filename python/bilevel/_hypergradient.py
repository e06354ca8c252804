"""Hypergradients of functions of one's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, overload

from sklearn.exceptions import ConvergenceWarning

from bilevel import _core, _settings
from bilevel._arrays import threads
from bilevel._estimates import Hypergradient, Stage, Work, message_of
from bilevel._levels import Lower, StochasticLoss, UpperObjective, arranged, check_levels, vector
from bilevel._progress import any_says_stop

ROUGH = 0.05
"""Relative precision where none was asked for and nothing exact can be had."""

ABOVE_ONE = math.nextafter(1.0, 2.0)
"""The smallest bound that leaves 1 allowed."""

_STEPS = frozenset({"lower_steps", "linear_steps", "map_step"})
_SAMPLED = _STEPS | {"batch", "eta", "average", "cross_batch", "upper_batch", "replicates"}
_PRECISE = frozenset({"absolute", "probability", "max_samples", "batch", "eta", "map_step", "contraction"})
_ALLOWED = {
    ("exact", False): frozenset[str](),
    ("aid-fp", False): _STEPS | {"tolerance"},
    ("aid-cg", False): _STEPS | {"tolerance"},
    ("sid", False): _SAMPLED,
    ("sid-svrg", False): _SAMPLED | {"period"},
    ("sid-saga", False): _SAMPLED,
    ("sid", True): _PRECISE,
    ("sid-svrg", True): _PRECISE | {"lower_steps", "replicates"},
}
_CHAINS = 4
"""Fewest replicates of ``"sid-svrg"`` with a precision, whose spread is the error bar."""


class Settings(TypedDict, total=False):
    """The settings of `hypergradient`, by name."""

    precision: float | None
    absolute: bool | None
    probability: float | None
    max_samples: int | None
    lower_steps: int | None
    linear_steps: int | None
    batch: int | None
    eta: float | tuple[float, float] | None
    average: float | None
    cross_batch: int | str | None
    upper_batch: int | str | None
    period: int | None
    tolerance: float | None
    map_step: float | None
    contraction: float | None
    replicates: int | None


def chosen(lower: Lower, upper: UpperObjective, method: str, precision: float | None) -> str:
    """Choose the method that ``"auto"`` stands for.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    upper : UpperObjective
        The upper level.
    method : str
        A name, or ``"auto"``.
    precision : float or None
        The precision, where one was asked for.

    Returns
    -------
    str
        The name of a method.
    """
    if method != "auto":
        return method
    if precision is not None or not (lower.has_mean and upper.has_mean):
        return "sid"
    return "exact" if isinstance(lower, StochasticLoss) else "aid-fp"


def core_settings(lower: Lower, method: str, settings: Settings, seed: int) -> _core.EstimatorSettings:
    """Fill in defaults and refuse what the lower level or the method does not take.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    method : str
        Name of the method.
    settings : dict
        The settings that were given.
    seed : int
        What all randomness follows from.

    Returns
    -------
    dict
        All settings as the core takes them.
    """
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    precise = "precision" in given
    if "map_step" in given and not isinstance(lower, StochasticLoss):
        raise ValueError(f"map_step={given['map_step']!r} is the step along the gradient of a loss; lower is a map, leave it out")
    # What the core refuses by itself, an unknown method or one that takes no precision, it says better.
    allowed = _ALLOWED.get((method, precise), frozenset(given))
    for name in sorted(given.keys() - allowed - {"precision"}):
        other = name in _ALLOWED.get((method, not precise), frozenset())
        detail = (" with a precision" if precise else " without a precision") if other else ""
        raise ValueError(f"method={method!r}{detail} takes no {name}")
    least = _CHAINS if method == "sid-svrg" and precise else 1
    steps = _whole(given, "lower_steps", 100_000 if method.startswith("aid") else 512)
    absolute = _settings.flag(given.get("absolute", False), "absolute")
    error = _positive(given, "precision")
    return {
        "method": method,
        "precision": None if error is None else ("absolute" if absolute else "relative", error),
        "probability": _settings.real(given.get("probability", 0.95), "probability", 0.0, 1.0, "between 0 and 1"),
        "max_rows": _whole(given, "max_samples", None),
        "lower_steps": steps,
        "linear_steps": _whole(given, "linear_steps", steps),
        "batch": _whole(given, "batch", 64),
        "cross_batch": _settings.batch(given.get("cross_batch"), "cross_batch"),
        "upper_batch": _settings.batch(given.get("upper_batch"), "upper_batch"),
        "eta": _eta(given.get("eta", 0.5)),
        "average": _settings.real(given.get("average", 0.5), "average", 0.0, ABOVE_ONE, "from 0 to 1", closed=True),
        "period": _whole(given, "period", None),
        "tolerance": _settings.real(
            given.get("tolerance", 1e-10), "tolerance", 0.0, math.inf, "finite and not negative", closed=True
        ),
        "map_step": _positive(given, "map_step"),
        "contraction": None if "contraction" not in given else _settings.real(
            given["contraction"], "contraction", 0.0, 1.0, "from 0 to below 1", closed=True
        ),
        "replicates": _settings.whole(given.get("replicates", least), "replicates", least=least),
        "seed": seed,
    }


@overload
def _whole(given: dict[str, Any], name: str, default: int) -> int: ...
@overload
def _whole(given: dict[str, Any], name: str, default: None) -> int | None: ...
def _whole(given: dict[str, Any], name: str, default: int | None) -> int | None:
    return _settings.whole(given[name], name) if name in given else default


def _positive(given: dict[str, Any], name: str) -> float | None:
    return _settings.real(given[name], name, 0.0, math.inf, "positive and finite") if name in given else None


def _eta(eta: Any) -> float | tuple[float, float]:
    what = "positive and finite, or a pair (beta, gamma) of such numbers"
    if isinstance(eta, Sequence) and not isinstance(eta, str) and len(eta) == 2:
        beta, gamma = (_settings.real(each, "eta", 0.0, math.inf, what) for each in eta)
        return beta, gamma
    return _settings.real(eta, "eta", 0.0, math.inf, what)


def core_start(lower: Lower, start: Any) -> _core.Start:
    """Give the place to start from as the core takes it.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    start : Hypergradient, ndarray, structure or None
        An earlier result, or a lower variable.

    Returns
    -------
    tuple or None
        The lower variable, and the adjoint where it is known.
    """
    if start is None:
        return None
    w, adjoint = (start.w, start.adjoint) if isinstance(start, Hypergradient) else (start, None)
    if w is None:
        return None
    flat = vector(w, lower.w_structure, lower.dim_w, "the start")
    return flat, None if adjoint is None else vector(adjoint, lower.w_structure, lower.dim_w, "the adjoint")


def hypergradient(
    lower: Lower,
    upper: UpperObjective,
    lam: Any,
    *,
    method: str = "auto",
    precision: float | None = None,
    absolute: bool | None = None,
    probability: float | None = None,
    max_samples: int | None = None,
    start: Any = None,
    lower_steps: int | None = None,
    linear_steps: int | None = None,
    batch: int | None = None,
    eta: float | tuple[float, float] | None = None,
    average: float | None = None,
    cross_batch: int | str | None = None,
    upper_batch: int | str | None = None,
    period: int | None = None,
    tolerance: float | None = None,
    map_step: float | None = None,
    contraction: float | None = None,
    replicates: int | None = None,
    random_state: Any = 0,
    n_jobs: int = 1,
    callbacks: Sequence[Callable[[Stage], object]] | None = None,
) -> Hypergradient:
    r"""Compute the gradient of :math:`f(\lambda) = E(w(\lambda), \lambda)`.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level, which defines :math:`w(\lambda)`.
    upper : UpperObjective
        The upper level :math:`E`.
    lam : array-like or structure
        Where to differentiate.
    method : str, default="auto"
        ``"sid"``: stochastic implicit differentiation, at a cost that does not depend on the number of rows; ``"sid-svrg"``
        and ``"sid-saga"``: the same with variance reduction; ``"aid-fp"`` and ``"aid-cg"``: over all rows by fixed-point
        iteration, or conjugate gradients for the linear system; ``"exact"``: Newton's method, for losses. By default
        ``"sid"`` with a precision or where there is no exact mean, else ``"exact"`` for losses and ``"aid-fp"`` for maps.
    precision : float, default=None
        Largest error, as a part of the norm of the hypergradient, for ``"sid"`` and ``"sid-svrg"``: step counts, batches and
        error bars then follow from it.
    absolute : bool, default=None
        Whether `precision` is in the units of the hypergradient; it is not by default.
    probability : float, default=None
        How sure the error must be below `precision`, 0.95 by default.
    max_samples : int, default=None
        With a precision, a longer estimate that would visit more rows is never started. The first one, of some hundred steps a
        replicate, is made in any case; it may visit up to millions.
    start : Hypergradient, array-like or structure, default=None
        An earlier result, or a lower variable, to start from; zeros by default.
    lower_steps : int, default=None
        Steps of the lower solve: 512 of those that sample, at most 100 000 of the others.
    linear_steps : int, default=None
        Steps of the linear solve; as many as `lower_steps` by default.
    batch : int, default=None
        Rows drawn at each step, 64 by default.
    eta : float or tuple, default=None
        Constant step of both solves, 0.5 by default, or ``(beta, gamma)`` for steps ``beta / (gamma + s)``. A precision
        makes it smaller where solves diverge.
    average : float, default=None
        Part of the iterates, the last ones, whose mean is the solution, 0.5 by default; 0 takes the last iterate.
    cross_batch : int or "all", default=None
        Rows of the derivative in ``lam``, by default an eighth of those of a solve.
    upper_batch : int or "all", default=None
        Rows of the upper level, by default as many as in a solve.
    period : int, default=None
        Steps between two passes of ``"sid-svrg"``; a pass of samples by default.
    tolerance : float, default=None
        Relative residual at which ``"aid-fp"`` and ``"aid-cg"`` stop, 1e-10 by default.
    map_step : float, default=None
        Step of the gradient map of a loss; by default the longest one that no sample turns into an expansion at the start. A
        map has none.
    contraction : float, default=None
        Contraction modulus of the map. That of a loss is measured by default, on some thousand rows. Give it for a map where
        you know it: otherwise an error bar takes what the map forgets slowly for what does not matter.
    replicates : int, default=None
        Independent estimates of which the mean is taken, with a standard error; one by default. With a precision those that
        ``"sid-svrg"`` makes at a time, at least 4, which is the default there.
    random_state : int, RandomState or None, default=0
        What all randomness follows from.
    n_jobs : int, default=1
        Threads for replicates. Functions in Python hold the lock of the interpreter, so that more than one helps only where
        they let go of it, as JAX and PyTorch do. The result does not depend on it.
    callbacks : sequence of callable, default=None
        Each is called with every `Stage` of an estimate to a precision; one that returns True ends it with what there is.

    Returns
    -------
    Hypergradient
        The value with its error bar, status and cost.

    Warns
    -----
    ConvergenceWarning
        Where a precision was asked for and not reached.

    See Also
    --------
    minimize : Follow it.
    check : Compare it with differences.

    Examples
    --------
    >>> import bilevel
    >>> import numpy as np
    >>> lower = bilevel.StochasticMap(
    ...     lambda w, lam, seeds: 0.5 * w + lam + np.random.default_rng(seeds).normal(size=(len(seeds), 1)).mean(axis=0),
    ...     lambda w, lam, seeds, v: 0.5 * v,
    ...     lambda w, lam, seeds, v: v,
    ...     dim_w=1,
    ...     dim_lam=1,
    ...     n_samples=None,
    ... )
    >>> upper = bilevel.UpperObjective(
    ...     lambda w, lam, _: w[0] ** 2 / 2, lambda w, lam, _: (w[0] ** 2 / 2, w, 0 * lam), dim_w=1, dim_lam=1
    ... )
    >>> found = bilevel.hypergradient(lower, upper, [1.0], precision=0.05)
    >>> found.status, found.error < found.allowed
    ('converged', True)
    >>> bool(abs(found.value[0] - 4.0) < found.error)
    True
    """
    check_levels(lower, upper)
    settings: Settings = {
        "precision": precision,
        "absolute": absolute,
        "probability": probability,
        "max_samples": max_samples,
        "lower_steps": lower_steps,
        "linear_steps": linear_steps,
        "batch": batch,
        "eta": eta,
        "average": average,
        "cross_batch": cross_batch,
        "upper_batch": upper_batch,
        "period": period,
        "tolerance": tolerance,
        "map_step": map_step,
        "contraction": contraction,
        "replicates": replicates,
    }
    method = _settings.choice(method, "method")
    name = chosen(lower, upper, method, precision)
    if method == "auto" and name == "sid" and precision is None:
        settings["precision"] = ROUGH
    heard = _settings.callables(callbacks)
    if heard and settings["precision"] is None:
        raise ValueError("callbacks see the stages of an estimate to a precision; give precision=, or leave them out")
    record = _core.hypergradient(
        lower,
        upper,
        vector(lam, lower.lam_structure, lower.dim_lam, "lam"),
        core_settings(lower, name, settings, _settings.seed(random_state)),
        core_start(lower, start),
        threads(n_jobs),
        (lambda *numbers: any_says_stop(heard, Stage(*numbers))) if heard else None,
    )
    w, adjoint = record["place"] or (None, None)
    precise = record["precise"]
    message = message_of(record)
    if precise is not None and precise["error"] > precise["allowed"]:
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    return Hypergradient(
        value=arranged(record["value"], lower.lam_structure),
        std_error=arranged(record["std_error"], lower.lam_structure),
        objective=record["objective"],
        status=record["status"],
        message=message,
        work=Work(*record["work"]),
        method=name,
        w=arranged(w, lower.w_structure),
        adjoint=arranged(adjoint, lower.w_structure),
        error=None if precise is None else precise["error"],
        allowed=None if precise is None else precise["allowed"],
        bias=None if precise is None else precise["bias"],
        replicates=None if precise is None else precise["replicates"],
        map_step=record["map_step"],
    )

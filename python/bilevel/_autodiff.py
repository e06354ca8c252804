"""What levels written for a framework with automatic differentiation have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bilevel import _settings
from bilevel._levels import Function, Level, StochasticLoss, StochasticMap, UpperObjective

CHUNK = 65_536
"""Rows of the mean over everything that are evaluated at once."""


@dataclass(frozen=True, kw_only=True)
class Derivatives:
    """Operations on a function ``f(w, lam)`` of two vectors, the function on one batch.

    Parameters
    ----------
    gradient : callable
        ``(f, w, lam)`` to the gradient in ``w``.
    gradient_lam : callable
        ``(f, w, lam)`` to the gradient in ``lam``.
    gradients : callable
        ``(f, w, lam)`` to the value and both gradients.
    value_and_gradient : callable
        ``(f, w, lam)`` to the value and the gradient in ``w``.
    hessian_product : callable
        ``(f, w, lam, v)`` to the Hessian in ``w`` times ``v``.
    cross_product : callable
        ``(f, w, lam, v)`` to the gradient in ``lam`` of the gradient in ``w`` times ``v``.
    directions : callable
        ``(f, w, lam, v)`` to the value, the gradient in ``w`` and the last two.
    vjp_w : callable
        ``(f, w, lam, v)`` to the transposed derivative in ``w`` of ``f``, a vector, times ``v``.
    vjp_lam : callable
        ``(f, w, lam, v)`` to that in ``lam``.
    """

    gradient: Function
    gradient_lam: Function
    gradients: Function
    value_and_gradient: Function
    hessian_product: Function
    cross_product: Function
    directions: Function
    vjp_w: Function
    vjp_lam: Function


def rows_of(shapes: list[tuple[int, ...]] | None, simulates: bool) -> int | None:
    """Give the number of rows of the data; None where there are no data.

    Parameters
    ----------
    shapes : list of tuple of int or None
        Shapes of all arrays; None where there are no data.
    simulates : bool
        Whether the function simulates and takes no data.

    Returns
    -------
    int or None
        The number of rows.
    """
    if shapes is None:
        return None
    if not all(shapes):
        raise ValueError("data holds a single number, which has no rows; let the function know it without data")
    lengths = {shape[0] for shape in shapes}
    if simulates or len(lengths) != 1:
        reason = "a simulation has none" if simulates else f"their first axes have the lengths {sorted(lengths)}"
        raise ValueError(f"data must have one row for each sample, but {reason}")
    length = next(iter(lengths))
    if not length:
        raise ValueError("data has no rows; give at least one, or leave data out where the function takes none")
    return length


def mean(on: Callable[[slice], Any], length: int, chunk: int) -> Any:
    """Compute the mean over all rows, some of them at a time.

    Parameters
    ----------
    on : callable
        From a slice of the rows to the mean over them: an array, or a tuple of arrays.
    length : int
        The number of rows.
    chunk : int
        How many are evaluated at once.

    Returns
    -------
    array or tuple
        The mean, in the form of the parts.
    """
    total: list[Any] = []
    several = False
    for first in range(0, length, chunk):
        rows = slice(first, min(first + chunk, length))
        found, share = on(rows), (rows.stop - first) / length
        several = isinstance(found, tuple)
        parts = [share * part for part in (found if several else (found,))]
        total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
    return tuple(total) if several else total[0]


def level(
    kind: str, run: Callable[[Function], Function], on: Derivatives, symmetric: bool, shared: dict[str, Any]
) -> Level:
    """Make a level of a function whose derivatives are automatic.

    Parameters
    ----------
    kind : {"loss", "map", "objective"}
        What the function is.
    run : callable
        From an operation on ``f(w, lam)`` to one on samples as the core gives them.
    on : Derivatives
        The operations.
    symmetric : bool
        Whether the derivative of a map in ``w`` is symmetric.
    shared : dict
        What all kinds are told alike.

    Returns
    -------
    StochasticLoss, StochasticMap or UpperObjective
        The level.
    """
    if _settings.flag(symmetric, "symmetric") and kind in ("loss", "objective"):
        raise ValueError(f"symmetric=True says something of a map; with kind={kind!r} leave it out")
    value = run(lambda f, w, lam: f(w, lam))
    if kind == "loss":
        return StochasticLoss(
            value=value,
            gradient=run(on.gradient),
            hessian_product=run(on.hessian_product),
            cross_product=run(on.cross_product),
            gradient_lam=run(on.gradient_lam),
            value_and_gradient=run(on.value_and_gradient),
            directions=run(on.directions),
            **shared,
        )
    if kind == "map":
        return StochasticMap(
            apply=value, vjp_w=run(on.vjp_w), vjp_lam=run(on.vjp_lam), symmetric=symmetric, **shared
        )
    if kind == "objective":
        return UpperObjective(value=value, gradients=run(on.gradients), **shared)
    raise ValueError(f"kind={kind!r} must be 'loss', 'map' or 'objective'")

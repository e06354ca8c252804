"""What comes out of a hypergradient: the value, how far to trust it, and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bilevel import _core
from bilevel._levels import Floats


class Work(NamedTuple):
    """What a computation cost, in rows visited.

    Parameters
    ----------
    rows : int
        Rows visited, for whatever purpose.
    gradients : int
        Rows of maps, gradients and objectives.
    hessian_products : int
        Rows of products with the derivative in ``w``.
    cross_products : int
        Rows of products with the derivative in ``lam``.
    factorizations : int
        Factorised matrices, a number and not rows.
    """

    rows: int
    gradients: int
    hessian_products: int
    cross_products: int
    factorizations: int


class Stage(NamedTuple):
    """Where an estimate to a precision stands.

    Parameters
    ----------
    steps : int
        Steps of a replicate.
    replicates : int
        Replicates so far.
    error : float
        Bound on the error so far.
    allowed : float
        The allowed error.
    rows : int
        Rows visited so far.
    """

    steps: int
    replicates: int
    error: float
    allowed: float
    rows: int


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """A hypergradient and how far to trust it.

    Parameters
    ----------
    value : ndarray or structure
        The gradient, arranged like ``lam``.
    std_error : ndarray, structure or None
        Standard error of each component, where there are replicates: of the noise, which does not see the bias. Of an estimate to
        a precision that was cut short it holds the bias as well, and is infinite where nothing bounds that.
    objective : float
        The upper objective at the lower variable found, on the sample that was used.
    status : str
        ``"converged"``, ``"step-limit"`` or ``"stagnated"``.
    message : str
        What that means, and what to do about it.
    work : Work
        What it cost.
    method : str
        The method that was used.
    w : ndarray, structure or None
        The lower variable; None where there were several solves.
    adjoint : ndarray, structure or None
        Solution of the linear system, arranged like ``w``: of that with the Hessian for a loss.
    error : float or None
        With a precision: the norm of the error is below this with the requested probability. Of an estimate that was cut short
        it is infinite where nothing bounds the bias; giving ``contraction`` may help.
    allowed : float or None
        With a precision: what it allowed.
    bias : float or None
        With a precision: estimated norm of the bias, which is part of `error`; infinite where nothing bounds it.
    replicates : ndarray of shape (n_replicates, dim_lam) or None
        With a precision: independent estimates.
    map_step : float or None
        Step of the gradient map where the lower level is a loss.
    """

    value: Any
    std_error: Any
    objective: float
    status: str
    message: str
    work: Work
    method: str
    w: Any = None
    adjoint: Any = None
    error: float | None = None
    allowed: float | None = None
    bias: float | None = None
    replicates: Floats | None = field(default=None, repr=False)
    map_step: float | None = None


def message_of(record: _core.HypergradientRecord) -> str:
    """Say how an estimate ended, and what its error bars hold.

    Parameters
    ----------
    record : dict
        What the core says of it.

    Returns
    -------
    str
        One line.
    """
    precise = record["precise"]
    if precise is None:
        unseen = record["std_error"] is not None and record["status"] != "converged"
        bars = "; std_error is that of the noise alone and does not see what is left of the starts, precision= bounds both"
        return record["message"] + (bars if unseen else "")
    if record["status"] == "converged":
        return record["message"]
    if precise["error"] <= precise["allowed"]:
        return f"stopped early; the error is below {precise['error']:.3g}, as was asked for"
    if not math.isfinite(precise["error"]):
        reached = "the solves had not settled, and nothing bounds the error"
    else:
        reached = f"the error is below {precise['error']:.3g}, but {precise['allowed']:.3g} is allowed"
    return f"the precision was not reached: {reached}; raise max_samples, or give contraction= of a map"

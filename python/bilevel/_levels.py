"""The two levels of a problem of one's own, as functions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from bilevel import _settings

Function: TypeAlias = Callable[..., Any]
Floats: TypeAlias = npt.NDArray[np.float64]

SAMPLINGS = ("rows", "blocks", "runs")
"""Ways to draw rows."""


@dataclass(frozen=True)
class Structure:
    """How parameters that are not one vector become one, and back.

    Parameters
    ----------
    pack : callable
        From parameters to a vector.
    unpack : callable
        From a vector to parameters.
    """

    pack: Callable[[Any], Floats]
    unpack: Callable[[Floats], Any]


def vector(value: Any, structure: Structure | None, length: int, name: str) -> Floats:
    """Put parameters into one vector.

    Parameters
    ----------
    value : array-like or structure
        The parameters.
    structure : Structure or None
        How they are arranged; None where they are one vector.
    length : int
        How many numbers there must be.
    name : str
        What to call them in messages.

    Returns
    -------
    ndarray of shape (length,)
        A new vector.
    """
    given = structure is not None and not (isinstance(value, np.ndarray) and value.shape == (length,))
    try:
        found = structure.pack(value) if given and structure is not None else np.array(value, dtype=np.float64, ndmin=1)
    except TypeError as error:
        raise TypeError(f"{name} is a {type(value).__name__}; give {length} numbers, arranged as the problem has them") from error
    if found.shape != (length,):
        raise ValueError(f"{name} has shape {found.shape}, the problem needs ({length},)")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} is not finite")
    return np.ascontiguousarray(found, dtype=np.float64)


def arranged(value: Floats | None, structure: Structure | None) -> Any:
    """Put a vector into the form in which the user holds parameters.

    Parameters
    ----------
    value : ndarray or None
        The vector.
    structure : Structure or None
        The form; None for the vector itself.

    Returns
    -------
    object
        The parameters; None for None.
    """
    return value if value is None or structure is None else structure.unpack(value)


@dataclass(frozen=True, kw_only=True)
class Level:
    """What both levels have in common; see `StochasticLoss` for the meaning of all.

    Parameters
    ----------
    dim_w : int
        Length of ``w``.
    dim_lam : int
        Length of ``lam``.
    n_samples : int or None, default=1
        Rows over which the level is a mean.
    exact_mean : bool, default=False
        Whether a simulation takes ``sample=None`` for its exact mean.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        How rows are drawn.
    rounding : float, default=2.2e-16
        Relative rounding error of the functions.
    w_structure : Structure, default=None
        How ``w`` is arranged outside.
    lam_structure : Structure, default=None
        How ``lam`` is arranged outside.
    """

    kind: ClassVar[str] = ""

    dim_w: int
    dim_lam: int
    n_samples: int | None = 1
    exact_mean: bool = False
    sampling: str = "rows"
    rounding: float = sys.float_info.epsilon
    w_structure: Structure | None = None
    lam_structure: Structure | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("dim_w", "dim_lam"):
            _settings.whole(getattr(self, name), name)
        if self.n_samples is not None:
            _settings.whole(self.n_samples, "n_samples")
        object.__setattr__(self, "exact_mean", _settings.flag(self.exact_mean, "exact_mean"))
        _settings.real(self.rounding, "rounding", 0.0, math.inf, "positive and finite")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling={self.sampling!r} must be one of {', '.join(SAMPLINGS)}")

    @property
    def has_mean(self) -> bool:
        """True where the mean over everything can be computed."""
        return self.n_samples is not None or self.exact_mean


@dataclass(frozen=True)
class StochasticMap(Level):
    r"""A lower level :math:`w = \Phi(w, \lambda)` as functions that return arrays.

    The map must be a contraction in ``w``; a single sample need not be. Every function is called as ``function(w, lam,
    sample)``, or ``function(w, lam, sample, v)``, and returns its mean over the sample, by which rows are indexed:
    ``X[sample]``. They may keep what they are given.

    Parameters
    ----------
    apply : callable
        ``(w, lam, sample)`` to the image of ``w``, of shape (dim_w,).
    vjp_w : callable
        ``(w, lam, sample, v)`` to the transposed derivative in ``w`` times ``v``, of shape (dim_w,).
    vjp_lam : callable
        ``(w, lam, sample, v)`` to the transposed derivative in ``lam`` times ``v``, of shape (dim_lam,).
    symmetric : bool, default=False
        Whether the derivative in ``w`` is a symmetric matrix, which conjugate gradients need.
    dim_w : int
        Length of ``w``.
    dim_lam : int
        Length of ``lam``.
    n_samples : int or None, default=1
        Rows over which the map is a mean; 1 where nothing is random. A sample is then an array of their numbers, or a slice.
        None for a simulation, whose sample is an array of seeds: ``np.random.default_rng(sample)`` draws ``len(sample)``
        elements.
    exact_mean : bool, default=False
        Whether a simulation takes ``sample=None`` for its exact mean.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        Independent rows; or, for rows that are in random order already, consecutive ones from a random start, or such blocks
        one behind the other, for rows that are slow to go to.
    rounding : float, default=2.2e-16
        Relative rounding error of the functions.
    w_structure : Structure, default=None
        How ``w`` is arranged outside; set by `from_jax` and `from_torch`.
    lam_structure : Structure, default=None
        How ``lam`` is arranged outside.

    See Also
    --------
    StochasticLoss : A lower level that is minimised.
    from_jax : The products by automatic differentiation.
    check : Whether the functions are what they say.

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
    ...     lambda w, lam, sample: w @ w / 2, lambda w, lam, sample: (w @ w / 2, w, 0 * lam), dim_w=2, dim_lam=2
    ... )
    >>> bilevel.hypergradient(lower, upper, [1.0, -1.0]).value.round(6)
    array([ 4., -4.])
    """

    kind: ClassVar[str] = "map"

    apply: Function
    vjp_w: Function
    vjp_lam: Function
    symmetric: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        super().__post_init__()
        object.__setattr__(self, "symmetric", _settings.flag(self.symmetric, "symmetric"))


@dataclass(frozen=True)
class StochasticLoss(Level):
    r"""A lower level :math:`w = \arg\min g(w, \lambda)` as functions that return arrays.

    The loss must be strongly convex in ``w``. Every function is called as ``function(w, lam, sample)``, or ``function(w, lam,
    sample, v)``, and returns its mean over the sample, by which rows are indexed: ``X[sample]``. They may keep what they
    are given.

    Parameters
    ----------
    value : callable
        ``(w, lam, sample)`` to the loss, a number.
    gradient : callable
        ``(w, lam, sample)`` to its gradient in ``w``, of shape (dim_w,).
    hessian_product : callable
        ``(w, lam, sample, v)`` to its Hessian in ``w`` times ``v``, of shape (dim_w,).
    cross_product : callable
        ``(w, lam, sample, v)`` to the gradient in ``lam`` of ``gradient(w, lam, sample) @ v``, of shape (dim_lam,).
    gradient_lam : callable, default=None
        ``(w, lam, sample)`` to the gradient in ``lam``, which algorithms of first order need.
    value_and_gradient : callable, default=None
        ``(w, lam, sample)`` to the tuple of both, where that is cheaper than one after the other.
    directions : callable, default=None
        ``(w, lam, sample, v)`` to the tuple of ``value``, ``gradient``, ``hessian_product`` and ``cross_product``, where
        that is cheaper.
    dim_w : int
        Length of ``w``.
    dim_lam : int
        Length of ``lam``.
    n_samples : int or None, default=1
        Rows over which the loss is a mean; 1 where nothing is random. A sample is then an array of their numbers, or a slice.
        None for a simulation, whose sample is an array of seeds: ``np.random.default_rng(sample)`` draws ``len(sample)``
        elements.
    exact_mean : bool, default=False
        Whether a simulation takes ``sample=None`` for its exact mean.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        Independent rows; or, for rows that are in random order already, consecutive ones from a random start, or such blocks
        one behind the other, for rows that are slow to go to.
    rounding : float, default=2.2e-16
        Relative rounding error of the functions.
    w_structure : Structure, default=None
        How ``w`` is arranged outside; set by `from_jax` and `from_torch`.
    lam_structure : Structure, default=None
        How ``lam`` is arranged outside.

    See Also
    --------
    StochasticMap : A lower level that is a fixed point.
    from_jax : The products by automatic differentiation.
    check : Whether the functions are what they say.

    Examples
    --------
    One penalty, in logarithm, of a ridge regression:

    >>> import numpy as np, bilevel
    >>> X, y = bilevel.datasets.load("abalone", return_X_y=True)
    >>> X, y = X[:500] / X.std(axis=0), y[:500] - y.mean()
    >>> ridge = bilevel.StochasticLoss(
    ...     lambda w, lam, rows: np.mean((X[rows] @ w - y[rows]) ** 2) / 2 + np.exp(lam[0]) * w @ w / 2,
    ...     lambda w, lam, rows: X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows]) + np.exp(lam[0]) * w,
    ...     lambda w, lam, rows, v: X[rows].T @ (X[rows] @ v) / len(y[rows]) + np.exp(lam[0]) * v,
    ...     lambda w, lam, rows, v: np.exp(lam) * (w @ v),
    ...     dim_w=8,
    ...     dim_lam=1,
    ...     n_samples=500,
    ... )
    """

    kind: ClassVar[str] = "loss"

    value: Function
    gradient: Function
    hessian_product: Function
    cross_product: Function
    gradient_lam: Function | None = None
    value_and_gradient: Function | None = None
    directions: Function | None = None


@dataclass(frozen=True)
class UpperObjective(Level):
    r"""An upper level :math:`E(w, \lambda)` as functions.

    Both are called as ``function(w, lam, sample)`` and return means over the sample, by which rows are indexed.

    Parameters
    ----------
    value : callable
        ``(w, lam, sample)`` to the objective, a number.
    gradients : callable
        ``(w, lam, sample)`` to the tuple of the objective, its gradient in ``w`` and that in ``lam``.
    dim_w : int
        Length of ``w``.
    dim_lam : int
        Length of ``lam``.
    n_samples : int or None, default=1
        Rows over which the objective is a mean; 1 where nothing is random. A sample is then an array of their numbers, or a
        slice. None for a simulation, whose sample is an array of seeds.
    exact_mean : bool, default=False
        Whether a simulation takes ``sample=None`` for its exact mean.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        Independent rows; or, for rows that are in random order already, consecutive ones from a random start, or such blocks
        one behind the other, for rows that are slow to go to.
    rounding : float, default=2.2e-16
        Relative rounding error of the functions.
    w_structure : Structure, default=None
        How ``w`` is arranged outside; set by `from_jax` and `from_torch`.
    lam_structure : Structure, default=None
        How ``lam`` is arranged outside.

    See Also
    --------
    hypergradient : The gradient of the objective where the lower level is solved.
    """

    kind: ClassVar[str] = "objective"

    value: Function
    gradients: Function


Lower: TypeAlias = StochasticMap | StochasticLoss


def check_levels(lower: Lower, upper: UpperObjective) -> None:
    """Refuse levels that do not belong together.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    upper : UpperObjective
        The upper level.
    """
    if not isinstance(lower, (StochasticMap, StochasticLoss)):
        raise TypeError(f"lower is a {type(lower).__name__}; it must be a StochasticMap or a StochasticLoss")
    if not isinstance(upper, UpperObjective):
        raise TypeError(f"upper is a {type(upper).__name__}; it must be an UpperObjective")
    for name in ("dim_w", "dim_lam"):
        if getattr(lower, name) != getattr(upper, name):
            raise ValueError(f"lower.{name} is {getattr(lower, name)}, but upper.{name} is {getattr(upper, name)}")

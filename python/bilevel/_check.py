"""Checks of functions of one's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bilevel import _core, _settings
from bilevel._hypergradient import Settings, core_settings, core_start
from bilevel._levels import Lower, StochasticLoss, UpperObjective, check_levels, vector

COARSE = 1e-10
"""Rounding errors beyond which no derivative can be told by differences."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Parameters
    ----------
    place : str
        What it is about.
    name : str
        The function that was checked.
    passed : bool
        The verdict.
    measure : float or None
        The number behind it, as `message` says.
    message : str
        One sentence.
    """

    place: str
    name: str
    passed: bool
    measure: float | None
    message: str

    def __str__(self) -> str:
        """One line."""
        return f"{'passed' if self.passed else 'FAILED'}  {self.place}: {self.name}: {self.message}"


@dataclass(frozen=True)
class CheckReport:
    """All checks of a problem.

    Parameters
    ----------
    checks : tuple of Check
        Their outcomes.
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True where all passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Those that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def __str__(self) -> str:
        """One line for each check, and the count."""
        total, failed = len(self.checks), len(self.failures)
        verdict = f"all {total} checks passed" if not failed else f"{failed} of {total} checks failed"
        return "\n".join([*map(str, self.checks), verdict])

    def raise_for_failures(self) -> None:
        """Raise an `AssertionError` that lists what failed."""
        if not self.passed:
            raise AssertionError("\n".join(map(str, self.failures)))


def check(
    lower: Lower,
    upper: UpperObjective,
    lam: Any,
    *,
    w: Any = None,
    batch: int = 4,
    samples: int = 500,
    tolerance: float = 1e-5,
    random_state: Any = 0,
) -> CheckReport:
    """Check that functions are what they say.

    Derivatives are tested by the rate at which Taylor remainders fall, a map that is declared symmetric by two products, means
    over samples against the mean over everything, and the hypergradient of the whole problem against differences of the
    objective where the lower level is solved.

    Parameters
    ----------
    lower : StochasticMap or StochasticLoss
        The lower level.
    upper : UpperObjective
        The upper level.
    lam : array-like or structure
        Where to check.
    w : array-like or structure, default=None
        Where to check, and where to start solving; by default near the solution.
    batch : int, default=4
        Rows of a sample.
    samples : int, default=500
        Samples whose means are compared; a right function fails one comparison with probability 6e-7.
    tolerance : float, default=1e-5
        Largest relative difference between the hypergradient and differences.
    random_state : int, RandomState or None, default=0
        What directions and samples follow from.

    Returns
    -------
    CheckReport
        The outcomes; print it.

    See Also
    --------
    hypergradient : What is checked in the end.

    Examples
    --------
    A product that belongs to another map:

    >>> import bilevel
    >>> lower = bilevel.StochasticMap(
    ...     lambda w, lam, sample: 0.5 * w + lam**2,
    ...     lambda w, lam, sample, v: 0.5 * v,
    ...     lambda w, lam, sample, v: lam * v,
    ...     dim_w=2,
    ...     dim_lam=2,
    ... )
    >>> upper = bilevel.UpperObjective(
    ...     lambda w, lam, sample: w @ w, lambda w, lam, sample: (w @ w, 2 * w, 0 * lam), dim_w=2, dim_lam=2
    ... )
    >>> report = bilevel.check(lower, upper, [1.0, 2.0])
    >>> report.passed, report.failures[0].name
    (False, 'vjp_lam')
    """
    check_levels(lower, upper)
    exact = isinstance(lower, StochasticLoss)
    settings: Settings = {} if exact else {"lower_steps": 1_000_000, "tolerance": 1e-13}
    seed = _settings.seed(random_state)
    rounding = max(lower.rounding, upper.rounding)
    if rounding > COARSE:
        raise ValueError("in single precision differences are rounding errors; check with double=True")
    outcomes = _core.check(
        lower,
        upper,
        vector(lam, lower.lam_structure, lower.dim_lam, "lam"),
        core_settings(lower, "exact" if exact else "aid-fp", settings, seed),
        {
            "batch": _settings.whole(batch, "batch"),
            "samples": _settings.whole(samples, "samples", least=2),
            "rounding": rounding,
            "tolerance": _settings.real(tolerance, "tolerance", 0.0, math.inf, "positive and finite"),
            "seed": seed,
        },
        core_start(lower, w),
    )
    renamed = {"vjp_lambda": "vjp_lam", "grad_lambda": "grad_lam", "gradient_lambda": "gradient_lam"}
    return CheckReport(
        tuple(
            Check(place, renamed.get(name, name), passed, measure, message)
            for place, name, passed, measure, message in outcomes
        )
    )

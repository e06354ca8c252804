"""Arguments of estimators and functions, checked one by one, with messages that name them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_random_state

T = TypeVar("T")


def whole(value: Any, name: str, *, least: int = 1, most: int | None = None) -> int:
    """Check a whole number.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.
    least : int, default=1
        The smallest that is allowed.
    most : int, optional
        The largest that is allowed.

    Returns
    -------
    int
        The number.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_)):
        if least <= int(value) and (most is None or int(value) <= most):
            return int(value)
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name}={value!r} must be a whole number {bounds}")


def real(value: Any, name: str, low: float, high: float, what: str, *, closed: bool = False) -> float:
    """Check a number.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.
    low : float
        What it must be above.
    high : float
        What it must be below.
    what : str
        What to say that it must be.
    closed : bool, default=False
        Whether it may be `low`.

    Returns
    -------
    float
        The number.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        number = float(value)
        if low < number < high or (closed and number == low):
            return number
    raise ValueError(f"{name}={value!r} must be {what}")


def batch(value: Any, name: str) -> int | None:
    """Check a number of rows.

    Parameters
    ----------
    value : object
        None for what follows from other settings, a whole number, or ``"all"``.
    name : str
        Name of the argument.

    Returns
    -------
    int or None
        The number as the core takes it: 0 for all.
    """
    if value is None or (isinstance(value, str) and value == "all"):
        return None if value is None else 0
    try:
        return whole(value, name)
    except ValueError as error:
        raise ValueError(f"{error}, or 'all'") from None


def each(value: Any, name: str, check: Callable[[Any], T]) -> list[T]:
    """Check a sequence, or one element in its place.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.
    check : callable
        What checks an element.

    Returns
    -------
    list
        The elements as they were checked.
    """
    given = value.tolist() if isinstance(value, np.ndarray) else value
    alone = isinstance(given, str) or not isinstance(given, Iterable)
    found = [check(one) for one in ([given] if alone else given)]
    if not found:
        raise ValueError(f"{name}={value!r} is empty; give at least one")
    return found


def seconds(value: Any, name: str = "max_time") -> float | None:
    """Check a limit of time.

    Parameters
    ----------
    value : object
        What was given.
    name : str, default="max_time"
        Name of the argument.

    Returns
    -------
    float or None
        Seconds; None for no limit.
    """
    return None if value is None else real(value, name, 0.0, 1e9, "a positive number of seconds, or None")


def flag(value: Any, name: str) -> bool:
    """Check a truth value.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.

    Returns
    -------
    bool
        The value.
    """
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, numbers.Integral) and int(value) in (0, 1)):
        return bool(value)
    raise ValueError(f"{name}={value!r} must be True or False")


def choice(value: Any, name: str) -> str:
    """Check that something is a name; which names there are, the core knows.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.

    Returns
    -------
    str
        The name.
    """
    if isinstance(value, str):
        return str(value)
    raise ValueError(f"{name}={value!r} must be one of its names, a str")


def penalty_range(value: Any) -> tuple[float | None, float | None]:
    """Check the range of penalties.

    Parameters
    ----------
    value : object
        None, or two positive numbers that rise, each of which may be None.

    Returns
    -------
    tuple
        Logarithms of the two.
    """
    if value is None:
        return None, None
    sides = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if len(sides) == 2:
        low, high = (math.nan if not isinstance(side, numbers.Real) else float(side) for side in sides)
        low, high = (0.0 if sides[0] is None else low), (math.inf if sides[1] is None else high)
        fits = (low > 0.0 or sides[0] is None) and (high < math.inf or sides[1] is None)
        if low < high and fits:
            return (None if sides[0] is None else math.log(low)), (None if sides[1] is None else math.log(high))
    raise ValueError(f"penalty_range={value!r} is no range; give two positive numbers that rise, or None for one of them")


def callables(value: Any, name: str = "callbacks") -> list[Callable[..., object]]:
    """Check callbacks.

    Parameters
    ----------
    value : object
        None, or a sequence of functions.
    name : str, default="callbacks"
        Name of the argument.

    Returns
    -------
    list of callable
        The functions.
    """
    if value is None:
        return []
    found = list(value) if isinstance(value, Iterable) else []
    if not isinstance(value, Iterable) or not all(callable(each) for each in found):
        raise ValueError(f"{name}={value!r} must be a sequence of functions; put a single one into a list")
    return found


def seed(random_state: Any) -> int:
    """Turn a random state into a seed.

    Parameters
    ----------
    random_state : int, RandomState or None
        As in scikit-learn; integers are seeds as they are.

    Returns
    -------
    int
        The seed, below ``2**64``.
    """
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, (bool, np.bool_)):
        if 0 <= int(random_state) < 2**64:
            return int(random_state)
        raise ValueError(f"random_state={random_state} must not be negative, and below 2**64")
    return int(check_random_state(random_state).randint(2**31))


def shown(label: Any) -> str:
    """Write a label as the user would.

    Parameters
    ----------
    label : object
        One of a target.

    Returns
    -------
    str
        Without what NumPy puts around it.
    """
    return repr(label.item() if isinstance(label, np.generic) else label)

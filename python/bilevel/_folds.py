"""From a ``cv`` argument to what judges the penalties."""

import numbers
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import check_cv

Rows: TypeAlias = npt.NDArray[np.intp]
Criterion: TypeAlias = npt.NDArray[np.uint32] | float | None
"""The fold of each row, a fraction to hold out, or None to leave it to the library."""


def criterion(cv: Any, X: Any, y: npt.NDArray[Any], *, classifier: bool) -> Criterion | tuple[Rows, Rows]:
    """Understand ``cv``.

    Parameters
    ----------
    cv : None, int, float, splitter or iterable of splits
        What the user gave.
    X : array-like of shape (n_samples, n_features)
        The features.
    y : ndarray of shape (n_samples,)
        The target.
    classifier : bool
        Whether an int means stratified folds.

    Returns
    -------
    ndarray, float, None or tuple
        The fold of each row, a fraction to hold out, None for the library's choice, or the rows to fit and those
        to judge by.

    Raises
    ------
    ValueError
        Where the parts that judge overlap or leave rows out.
    """
    if cv is None:
        return None
    if isinstance(cv, numbers.Real) and not isinstance(cv, numbers.Integral):
        if not 0.0 < float(cv) < 1.0:
            raise ValueError(f"cv={cv} holds out no part of the rows; give a fraction between 0 and 1")
        return float(cv)
    if isinstance(cv, Iterable) and not hasattr(cv, "split") and not isinstance(cv, str):
        cv = list(cv)
        if not all(map(_is_split, cv)):
            raise ValueError("cv must be a list of splits, each of them a pair (train, test); put a single pair into a list")
    try:
        parts = list(check_cv(cv, y, classifier=classifier).split(X, y))
    except ValueError as error:
        if "'groups'" not in str(error):
            raise
        raise ValueError(f"cv={cv!r} needs groups of rows; give its splits, as list(cv.split(X, y, groups))") from error
    splits = [(_rows(train, len(y)), _rows(test, len(y))) for train, test in parts]
    if len(splits) == 1:
        if np.intersect1d(*splits[0]).size:
            raise ValueError("cv has rows in its one validation part that are fitted, too; take them out of one of the two")
        return splits[0]
    return _folds(splits, len(y))


def _is_split(split: Any) -> bool:
    return isinstance(split, Sequence | np.ndarray) and len(split) == 2 and all(np.ndim(part) == 1 for part in split)


def _rows(rows: Any, n: int) -> Rows:
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise ValueError(f"cv has a mask of shape {rows.shape}, but there are {n} rows; give one truth value for each")
        return np.flatnonzero(rows)
    if rows.size and rows.dtype.kind not in "iu":
        raise ValueError(f"cv names rows by numbers of type {rows.dtype}; give whole numbers, or a mask")
    indices: Rows = rows.astype(np.intp)
    outside = indices[(indices < -n) | (indices >= n)]
    if len(outside):
        raise ValueError(f"cv names row {outside[0]}, but there are {n} rows")
    return np.where(indices < 0, indices + n, indices)


def _folds(splits: Sequence[tuple[Rows, Rows]], n: int) -> npt.NDArray[np.uint32]:
    """Number the rows by the split that judges by them."""
    judged = np.zeros(n, dtype=np.intp)
    fold = np.zeros(n, dtype=np.uint32)
    complements = True
    for number, (train, test) in enumerate(splits):
        judged[test] += 1
        fold[test] = number
        others = np.ones(n, dtype=bool)
        others[test] = False
        complements &= len(train) == others.sum() and bool(others[train].all())
    if (judged == 1).all() and complements:
        return fold
    if (judged > 1).any():
        fault = "some rows are in more than one validation part"
    elif (judged == 0).any():
        fault = "some rows are in no validation part"
    else:
        fault = "a training part is not all rows but its validation part"
    raise ValueError(
        f"cv must split the rows into folds, but {fault}; use a KFold-like splitter, a single split, or X_val and y_val"
    )

"""Arrays in the form that the core takes, without a copy where theirs will do."""

from __future__ import annotations

import numbers
import os
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from scipy import sparse

from bilevel import _core
from bilevel._settings import shown

FLOATS = (np.float64, np.float32)
"""Number types that are kept; all others become the first."""


def core_matrix(X: Any) -> _core.Matrix:
    """Give the parts of a validated matrix.

    Parameters
    ----------
    X : ndarray or sparse matrix
        Of 32-bit or 64-bit floating-point numbers; compressed rows where it is sparse.

    Returns
    -------
    ndarray or tuple
        The array itself, or ``(data, indices, indptr, n_features)``.
    """
    if not sparse.issparse(X):
        # A field of records may lie where its type must not.
        array: npt.NDArray[Any] = np.require(X, requirements="A")
        return array
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return *(np.require(part, requirements="A") for part in (X.data, X.indices, X.indptr)), X.shape[1]


def stored_like(X: Any, other: Any) -> Any:
    """Store further rows so that they can be brought to the scale of the training rows.

    Parameters
    ----------
    X : ndarray or sparse matrix
        The training rows.
    other : ndarray or sparse matrix
        The further ones.

    Returns
    -------
    ndarray or sparse matrix
        An array where `X` is one: its features are centred, which sparse rows cannot be.
    """
    return other.toarray() if sparse.issparse(other) and not sparse.issparse(X) else other


def codes_of(y: npt.NDArray[Any], classes: npt.NDArray[Any], whose: str) -> npt.NDArray[np.uint32]:
    """Number further labels as those of the training rows.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        The labels.
    classes : ndarray of shape (n_classes,)
        Those of the training rows, sorted.
    whose : str
        What to call the rows of `y` in messages.

    Returns
    -------
    ndarray of shape (n_samples,)
        The position of each label in `classes`.

    Raises
    ------
    ValueError
        Where a label is none of them.
    """
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unseen = y[classes[codes] != y]
    if len(unseen):
        raise ValueError(f"the class {shown(unseen[0])} of a {whose} row is in no training row; leave such rows out")
    return codes.astype(np.uint32)


def feature_names(estimator: Any) -> list[str]:
    """Give the names of the features of an estimator that has seen its training rows.

    Parameters
    ----------
    estimator : estimator
        With ``n_features_in_``, and ``feature_names_in_`` where the features had names.

    Returns
    -------
    list of str
        The names, or ``x0``, ``x1``, ... without.
    """
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{j}" for j in range(estimator.n_features_in_)] if names is None else [str(name) for name in names]


def dataset(
    X: Any,
    y: npt.NDArray[Any],
    *,
    classes: npt.NDArray[Any] | None,
    feature_names: list[str],
    groups: tuple[npt.NDArray[np.uint32], list[str]] | None,
    weights: npt.NDArray[np.float64] | None,
    shuffled: bool = False,
) -> _core.Dataset:
    """Put validated arrays together.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        The features.
    y : ndarray of shape (n_samples,)
        Codes of the classes, or numbers.
    classes : ndarray or None
        The labels that the codes stand for; None for numbers.
    feature_names : list of str
        One for each feature.
    groups : tuple or None
        The number of each feature's group and the names of the groups; None where each feature is its own.
    weights : ndarray of shape (n_samples,) or None
        What each row counts.
    shuffled : bool, default=False
        Whether the rows are in random order already, and are to stay where they are.

    Returns
    -------
    Dataset
        The rows as the core holds them.
    """
    numbers, names = (None, []) if groups is None else groups
    target: _core.Floats | _core.Codes = y.astype(np.float64, copy=False) if classes is None else y.astype(np.uint32)
    return _core.Dataset(
        core_matrix(X),
        target,
        classes=[] if classes is None else [str(label) for label in classes],
        feature_names=feature_names,
        groups=numbers,
        group_names=names,
        weights=weights,
        shuffled=shuffled,
    )


def threads(n_jobs: int | None) -> int:
    """Decide on the number of threads.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib; None is one thread per core, or as many as ``OMP_NUM_THREADS`` allows, by which joblib
        keeps its workers from taking all cores each.

    Returns
    -------
    int
        At least 1.
    """
    if n_jobs is not None:
        if not (isinstance(n_jobs, numbers.Integral) and int(n_jobs) != 0):
            raise ValueError(f"n_jobs={n_jobs!r} must be a number of threads, -1 for one per core, or None")
        return max(1, int(joblib.effective_n_jobs(n_jobs)) if n_jobs < 0 else int(n_jobs))
    cores = int(joblib.cpu_count())
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(limit))) if limit.isdigit() and int(limit) > 0 else max(1, cores)

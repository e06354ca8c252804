"""From margins to predictions, the same for all models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit, log_softmax, softmax

Array = npt.NDArray[Any]


def parameters(coef: Array, intercept: Array, classifies: bool) -> tuple[Array, Any]:
    """Arrange weights as linear models of scikit-learn do.

    Parameters
    ----------
    coef : ndarray of shape (n_features, n_outputs)
        What the core gives.
    intercept : ndarray of shape (n_outputs,)
        Likewise.
    classifies : bool
        Whether it is a classifier: a regressor has one output and no axis for it.

    Returns
    -------
    tuple
        ``coef_`` and ``intercept_``.
    """
    found = np.ascontiguousarray(coef.T)
    return (found, intercept) if classifies else (found[0], float(intercept[0]))


def margins(X: Any, coef: Array, intercept: Any) -> Array:
    """Compute ``X W + b``, in the precision of `X` where that can hold the weights.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        The rows.
    coef : ndarray of shape (n_features,), (1, n_features) or (n_classes, n_features)
        The weights.
    intercept : float or ndarray
        The intercepts.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_classes)
        Of two classes the margin of the second.
    """
    if not (_holds(X.dtype, coef) and _holds(X.dtype, np.asarray(intercept))):
        X = X.astype(np.float64)
    found: Array = np.asarray(X @ coef.astype(X.dtype, copy=False).T) + np.asarray(intercept, dtype=X.dtype)
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def _holds(kind: Any, numbers: Array) -> bool:
    """Tell whether numbers of this type can be as large as these, and as small."""
    sizes, limits = np.abs(numbers[numbers != 0.0]), np.finfo(kind)
    return kind == numbers.dtype or bool(np.all((limits.tiny <= sizes) & (sizes <= limits.max)))


def labels(of: Array, classes: Array) -> Array:
    """Choose the class of the largest margin.

    Parameters
    ----------
    of : ndarray
        What `margins` gives.
    classes : ndarray of shape (n_classes,)
        The labels.

    Returns
    -------
    ndarray of shape (n_samples,)
        One of them for each row.
    """
    found: Array = classes[(of > 0).astype(np.intp) if of.ndim == 1 else of.argmax(axis=1)]
    return found


def probabilities(of: Array) -> Array:
    """Compute the probability of each class.

    Parameters
    ----------
    of : ndarray
        What `margins` gives.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Probabilities, also small ones to all digits.
    """
    # Not one minus the other: of a large margin nothing would be left.
    found: Array = np.column_stack([expit(-of), expit(of)]) if of.ndim == 1 else softmax(of, axis=1)
    return found


def log_probabilities(of: Array) -> Array:
    """Compute the logarithm of the probability of each class.

    Parameters
    ----------
    of : ndarray
        What `margins` gives.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Logarithms, finite where the probability itself is too small for a number.
    """
    found: Array = np.column_stack([log_expit(-of), log_expit(of)]) if of.ndim == 1 else log_softmax(of, axis=1)
    return found

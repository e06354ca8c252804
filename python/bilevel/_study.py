"""The error of one hypergradient against its cost, as a data frame."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _get_feature_names, check_X_y

from bilevel import _core, _settings
from bilevel._arrays import FLOATS, codes_of, dataset, stored_like, threads
from bilevel._groups import GroupsArgument, numbered

METHODS = tuple(_core.STUDY_METHODS)


def study(
    X: Any,
    y: Any,
    at: float | Sequence[float],
    *,
    loss: str = "auto",
    penalties: str = "shared",
    groups: GroupsArgument = None,
    X_val: Any = None,
    y_val: Any = None,
    validation_fraction: float | None = None,
    methods: Sequence[str] | str = METHODS,
    eta: float | Sequence[float] | None = None,
    replicates: int = 20,
    batch: int = 32,
    cross_batch: int | str | None = None,
    max_epochs: float = 50.0,
    checkpoints: int | Sequence[int] | None = None,
    fit_intercept: bool = True,
    standardize: bool = True,
    random_state: Any = 0,
    n_jobs: int | None = None,
) -> Any:
    """Measure the mean squared error of one hypergradient against samples, epochs and seconds.

    Parameters
    ----------
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Training rows.
    y : array-like of shape (n_samples,)
        Target: classes, or numbers.
    at : float or sequence of float
        The penalty at which to look, or all of them.
    loss : str, default="auto"
        ``"logistic"``, ``"softmax"``, ``"squared"``, ``"huber"``, ``"squared-hinge"`` or ``"poisson"``; found from the
        target by default.
    penalties : {"shared", "per-group", "per-class", "per-feature"}, default="shared"
        How many penalties there are.
    groups : None, sequence, mapping or callable, default=None
        Groups of features, as in the estimators.
    X_val : {array-like, sparse matrix, data frame} of shape (n_val, n_features), default=None
        Rows of the upper level; by default a part of `X`.
    y_val : array-like of shape (n_val,), default=None
        Their target.
    validation_fraction : float, default=None
        The part of `X` that is held out for the upper level without `X_val`; a quarter by default.
    methods : sequence of str or str, default=METHODS
        What is compared; by default what the command ``bilevel study`` compares: ``"sid-constant"``, ``"sid-decreasing"``,
        ``"sid-svrg"``, ``"sid-saga"``, ``"aid-fp"`` and ``"aid-cg"``.
    eta : float or sequence of float, default=None
        Constant steps; by default a half, a quarter and an eighth of the longest that no minibatch expands.
    replicates : int, default=20
        Independent repetitions of each sampled method.
    batch : int, default=32
        Rows drawn at each step, but at most a quarter of all.
    cross_batch : int or "all", default=None
        Rows of the cross derivative; as many as at each step by default.
    max_epochs : float, default=50.0
        Samples of the longest hypergradient, in passes over the rows.
    checkpoints : int or sequence of int, default=None
        Numbers of steps to look at; four a decade by default.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    standardize : bool, default=True
        Whether to bring features to one scale.
    random_state : int, RandomState or None, default=0
        What all randomness follows from.
    n_jobs : int, default=None
        Number of threads, as in the estimators.

    Returns
    -------
    pandas.DataFrame
        One row for each point of each curve: ``method``, ``eta``, ``t``, ``samples``, ``epochs``, ``seconds``, ``mse``,
        ``relative_mse``, and the ``low`` and ``high`` tenth of the relative squared errors. Its ``attrs`` hold the exact
        ``hypergradient``, the ``objective`` and the ``contraction`` of the map, and as ``failed`` the method, step and
        reason of each replicate that diverged, of which a warning tells.

    Examples
    --------
    >>> import bilevel
    >>> X, y = bilevel.datasets.load("heart", return_X_y=True)
    >>> curves = bilevel.study(X, y, at=0.1, methods=["sid-constant", "aid-fp"], replicates=2, max_epochs=5)
    >>> sorted(curves["method"].unique())
    ['aid-fp', 'sid-constant']
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("a study gives a data frame, which needs pandas; pip install pandas") from error

    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together; give both or neither")
    if X_val is not None and validation_fraction is not None:
        raise ValueError("validation_fraction and X_val both say what the upper level is; give one of them")
    positive = partial(_settings.real, low=0.0, high=math.inf, what="positive and finite")
    share = 0.25 if validation_fraction is None else validation_fraction
    options: _core.Options = {
        "loss": _settings.choice(loss, "loss"),
        "penalties": _settings.choice(penalties, "penalties"),
        "method": "auto",
        "criterion": None if X_val is not None else _settings.real(
            share, "validation_fraction", 0.0, 1.0, "between 0 and 1"
        ),
        "intercept": _settings.flag(fit_intercept, "fit_intercept"),
        "standardize": _settings.flag(standardize, "standardize"),
        "lambda_min": None,
        "lambda_max": None,
        "start": None,
        "seed": _settings.seed(random_state),
        "max_time": None,
        "max_iter": 1,
        "tolerance": 1e-5,
    }
    settings: _core.StudySettings = {
        "at": [math.log(strength) for strength in _settings.each(at, "at", partial(positive, name="at"))],
        "methods": _settings.each(methods, "methods", partial(_settings.choice, name="methods")),
        "etas": [] if eta is None else _settings.each(eta, "eta", partial(positive, name="eta")),
        "replicates": _settings.whole(replicates, "replicates", most=1_000_000),
        "batch": _settings.whole(batch, "batch"),
        "cross_batch": _settings.batch(cross_batch, "cross_batch"),
        "max_epochs": positive(max_epochs, "max_epochs"),
        "checkpoints": None if checkpoints is None else _settings.each(
            checkpoints, "checkpoints", partial(_settings.whole, name="checkpoints")
        ),
    }
    given = _get_feature_names(X)
    X, y = check_X_y(X, y, accept_sparse="csr", dtype=FLOATS)
    classes = None
    if loss in ("logistic", "softmax", "squared-hinge") or (
        loss == "auto" and type_of_target(y) in ("binary", "multiclass") and np.asarray(y).dtype.kind != "f"
    ):
        classes, y = np.unique(y, return_inverse=True)
    names = [f"x{j}" for j in range(X.shape[1])] if given is None else [str(name) for name in given]
    numbers = numbered(groups, names)

    def data(X: Any, y: Any) -> _core.Dataset:
        return dataset(X, y, classes=classes, feature_names=names, groups=numbers, weights=None)

    validation = None
    if X_val is not None:
        others = _get_feature_names(X_val)
        if given is not None and others is not None and list(others) != names:
            raise ValueError("X_val has other feature names than X, or in another order; give the same features in both")
        X_val, y_val = check_X_y(X_val, y_val, accept_sparse="csr", dtype=FLOATS)
        if X_val.shape[1] != X.shape[1]:
            raise ValueError(f"X_val has {X_val.shape[1]} columns, but X has {X.shape[1]}; give the same features in both")
        validation = data(stored_like(X, X_val), y_val if classes is None else codes_of(y_val, classes, "validation"))
    record = _core.study(data(X, y), validation, options, settings, threads(n_jobs), None)
    if failed := record["failed"]:
        of = sorted({method if eta is None else f"{method} with eta {eta:g}" for method, eta, _ in failed})
        warnings.warn(f"{len(failed)} replicates failed ({', '.join(of)}): {failed[0][2]}", RuntimeWarning, stacklevel=2)
    about: dict[Any, Any] = {
        "failed": failed,
        "hypergradient": record["hypergradient"],
        "objective": record["objective"],
        "contraction": record["contraction"],
    }
    curves = pd.DataFrame({name: column for name, column in record.items() if name not in about})
    curves["eta"] = curves["eta"].astype(float)
    curves.attrs = about
    return curves

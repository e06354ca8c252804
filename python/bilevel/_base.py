"""What all estimators share: from arguments to a tuning, and from its result to attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from bilevel import _core, _display, _folds, _plots, _predict, _settings
from bilevel._arrays import FLOATS, dataset, feature_names, stored_like, threads
from bilevel._groups import GroupsArgument, numbered
from bilevel._progress import Callback, listening
from bilevel._records import Candidate, Iteration, candidate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_ROWS = 4
"""Rows below which the library refuses to tune."""


class TunedLinearModel(BaseEstimator):
    """A linear model whose penalties are tuned while it is fitted.

    Parameters
    ----------
    penalties : {"auto", "shared", "per-group", "per-class", "per-feature"}
        How many penalties there are.
    groups : None, sequence, mapping or callable
        Groups of features.
    cv : None, int, float, splitter or iterable
        What judges the penalties.
    method : str
        How hypergradients are computed.
    precision : float
        Relative precision of the tuned criterion.
    fit_intercept : bool
        Whether to fit an intercept.
    standardize : bool
        Whether to bring features to one scale while fitting.
    shuffle : bool
        Whether to bring rows into a random order, which copies them.
    penalty_range : None or tuple of float
        Smallest and largest penalty.
    max_iter : int
        Most steps of each candidate.
    max_time : float or None
        Seconds after which to stop.
    warm_start : bool
        Whether to begin where the last fit ended.
    random_state : int, RandomState or None
        What all randomness follows from.
    n_jobs : int or None
        Number of threads.
    callbacks : sequence of callable or None
        Called after each step.
    verbose : bool
        Whether to show progress.
    """

    _loss: ClassVar[str]

    coef_: npt.NDArray[Any]
    intercept_: Any
    hyperparameters_: npt.NDArray[np.float64]
    n_features_in_: int

    def __init__(
        self,
        *,
        penalties: str = "auto",
        groups: GroupsArgument = None,
        cv: Any = None,
        method: str = "auto",
        precision: float = 1e-5,
        fit_intercept: bool = True,
        standardize: bool = True,
        shuffle: bool = True,
        penalty_range: tuple[float, float] | None = None,
        max_iter: int = 200,
        max_time: float | None = None,
        warm_start: bool = False,
        random_state: Any = 0,
        n_jobs: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: bool = False,
    ) -> None:
        self.penalties = penalties
        self.groups = groups
        self.cv = cv
        self.method = method
        self.precision = precision
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.shuffle = shuffle
        self.penalty_range = penalty_range
        self.max_iter = max_iter
        self.max_time = max_time
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.callbacks = callbacks
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Tune the penalties and fit the model with them on all rows.

        An interrupt (Ctrl-C) ends the tuning: the estimator is fitted with the best that was found, its ``status_`` is
        ``"interrupted"``, and `KeyboardInterrupt` is raised. What a callback raises is handed on in the same way.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Training rows. Numbers of 32 bits stay so. Sparse matrices other than CSR are converted.
        y : array-like of shape (n_samples,)
            What is to be predicted.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts, while fitting and judging alike. A weight of 2 is like two equal rows.
        X_val : {array-like, sparse matrix, data frame} of shape (n_val, n_features), default=None
            Rows that judge the penalties, instead of folds; the model is fitted on `X` alone.
        y_val : array-like of shape (n_val,), default=None
            Their target.
        sample_weight_val : array-like of shape (n_val,), default=None
            What each of them counts.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together; give both or neither")
        if X_val is None and sample_weight_val is not None:
            raise ValueError("sample_weight_val weighs the rows of X_val, and there are none; give X_val and y_val, too")
        if X_val is not None and self.cv is not None:
            raise ValueError("cv and X_val both say what judges the penalties; give one of them")
        self._check_in_place()
        X, y = self._validated(X, y, reset=True)
        weights = _weights(sample_weight, X)
        judged = _folds.criterion(self.cv, X, y, classifier=self._is_classifier())
        held_out: tuple[Any, npt.NDArray[Any], Any] | None = None
        if isinstance(judged, tuple):
            train, test = judged
            held_out = (X[test], y[test], None if weights is None else weights[test])
            X, y, weights = X[train], y[train], None if weights is None else weights[train]
            judged = None
        if X_val is not None:
            X_other, y_other = self._validated(X_val, y_val, reset=False)
            held_out = (stored_like(X, X_other), y_other, _weights(sample_weight_val, X_other))
        if weights is not None and isinstance(judged, np.ndarray):
            judged = judged[weights > 0.0]
        X, y, weights = _counted(X, y, weights)
        if held_out is not None:
            if held_out[2] is not None and not held_out[2].any():
                raise ValueError("no row that judges has a positive sample_weight; give one to at least one of them")
            held_out = _counted(*held_out)
        if len(y) < LEAST_ROWS:
            raise ValueError(f"n_samples={len(y)} rows to fit are too few; give at least {LEAST_ROWS}")
        self._tune(X, y, weights, held_out, judged)
        return self

    def _tune(
        self,
        X: Any,
        y: npt.NDArray[Any],
        weights: npt.NDArray[np.float64] | None,
        held_out: tuple[Any, npt.NDArray[Any], npt.NDArray[np.float64] | None] | None,
        criterion: _folds.Criterion,
    ) -> None:
        classes, codes = self._encoded(y)
        names = feature_names(self)
        groups = numbered(self.groups, names)

        def data(
            X: Any, y: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None, shuffled: bool = False
        ) -> _core.Dataset:
            counts = self._weighed(y, weights, classes)
            return dataset(
                X, y, classes=classes, feature_names=names, groups=groups, weights=counts, shuffled=shuffled
            )

        train = data(X, codes, weights, shuffled=not self.shuffle)
        validation = None
        if held_out is not None:
            X_val, y_val, weights_val = held_out
            validation = data(X_val, self._coded(y_val, classes), weights_val)
        options, jobs = self._options(classes, criterion), threads(self.n_jobs)
        # Of other features, groups or classes than before only the mean says something.
        counts = {
            "per-feature": len(names),
            "per-group": len(names) if groups is None else len(groups[1]),
            "per-class": 1 if classes is None or len(classes) == 2 else len(classes),
        }
        start = options["start"]
        if start is not None and len(start) != counts.get(options["penalties"], 1):
            options["start"] = [float(np.mean(start))]
        with listening(self.callbacks, self.verbose) as listener:
            record, raised = _core.tune(train, validation, options, jobs, listener)
        self._keep(record, classes)
        if raised is not None:
            raise raised

    def _options(self, classes: npt.NDArray[Any] | None, criterion: _folds.Criterion) -> _core.Options:
        low, high = _settings.penalty_range(self.penalty_range)
        return {
            "loss": self._loss if classes is None or len(classes) == 2 else "softmax",
            "penalties": _settings.choice(self.penalties, "penalties"),
            "method": _settings.choice(self.method, "method"),
            "criterion": criterion,
            "intercept": _settings.flag(self.fit_intercept, "fit_intercept"),
            "standardize": _settings.flag(self.standardize, "standardize"),
            "lambda_min": low,
            "lambda_max": high,
            "start": self._start(),
            "seed": _settings.seed(self.random_state),
            "max_time": _settings.seconds(self.max_time),
            "max_iter": _settings.whole(self.max_iter, "max_iter"),
            "tolerance": _settings.real(self.precision, "precision", 0.0, 1.0, "between 0 and 1"),
        }

    def _check_in_place(self) -> None:
        """Refuse what cannot be done to rows that stay where they are."""
        if _settings.flag(self.shuffle, "shuffle"):
            return
        if self.standardize:
            raise ValueError(
                "shuffle=False leaves the rows where they are, so that they cannot be brought to one scale; "
                "pass standardize=False, and scale them before where that matters"
            )
        if self.cv is not None and not isinstance(self.cv, float):
            raise ValueError(
                "shuffle=False leaves the rows in their order, in which folds are consecutive rows; "
                "leave cv out, give a fraction to hold out, or X_val and y_val"
            )

    def _start(self) -> list[float] | None:
        """Where the last fit ended, as far as it says anything about this one."""
        before = getattr(self, "hyperparameters_", None)
        if not _settings.flag(self.warm_start, "warm_start") or before is None:
            return None
        if self.penalties == self.penalties_:
            return [float(value) for value in before]
        return [float(np.mean(before))]

    def _keep(self, record: _core.TunedRecord, classes: npt.NDArray[Any] | None) -> None:
        classifies = classes is not None
        self.coef_, self.intercept_ = _predict.parameters(record["coef"], record["intercept"], classifies)
        if classes is not None:
            self.classes_ = classes
        self.hyperparameters_ = record["lambda"]
        self.hyperparameter_names_ = np.array(record["lambda_names"], dtype=object)
        self.penalties_ = record["penalties"]
        self.penalty_path_: list[Candidate] = [candidate(each) for each in record["candidates"]]
        self.history_: list[Iteration] = [Iteration(*values) for values in record["trace"]]
        self.status_ = record["status"]
        self.n_iter_ = max(1, len(self.history_))
        chosen = next(each for each in self.penalty_path_ if each.chosen)
        self.validation_loss_ = chosen.validation_loss
        self.std_error_ = chosen.validation_std_error
        self.criterion_ = record["criterion"]
        self.method_ = record["method"]
        self.notes_ = record["notes"]
        self.fit_seconds_ = record["seconds"]
        self._keep_more(record)

    def _keep_more(self, record: _core.TunedRecord) -> None:
        """Keep what only one kind of model has."""

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, npt.NDArray[Any]]:
        """Check input; an array or CSR matrix of floating-point numbers is given back as it is."""
        least = LEAST_ROWS if reset else 1
        X, y = validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=FLOATS, ensure_min_samples=least, y_numeric=False
        )
        return X, self._checked(column_or_1d(y, warn=True))

    def _margins(self, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self)
        return _predict.margins(self._inputs(X), self.coef_, self.intercept_)

    def _inputs(self, X: Any) -> Any:
        return validate_data(self, X, reset=False, accept_sparse="csr", dtype=FLOATS)

    def _is_classifier(self) -> bool:
        return False

    def _checked(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Check a target."""
        return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")  # type: ignore[no-any-return]

    def _encoded(self, y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any]]:
        """Give the classes, where there are any, and the target as the core takes it."""
        return None, y

    def _coded(self, y: npt.NDArray[Any], classes: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        """Give the target of further rows as the core takes it."""
        return y

    def _weighed(
        self,
        y: npt.NDArray[Any],
        weights: npt.NDArray[np.float64] | None,
        classes: npt.NDArray[Any] | None,
    ) -> npt.NDArray[np.float64] | None:
        """Give what each row counts, or None if they all count the same."""
        return None if weights is None or (weights == weights[0]).all() else weights

    def _html_repr(self) -> str:
        return str(super()._html_repr()) + _display.summary(self)

    def plot_curves(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the losses while the penalties were tuned.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        return _plots.curves(self, ax)

    def plot_penalties(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the penalties, by group where there is more than one.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        return _plots.penalties(self, ax)

    def plot(self) -> "npt.NDArray[np.object_]":
        """Plot the losses and the penalties side by side.

        Returns
        -------
        ndarray of matplotlib Axes
            The two that were drawn on.
        """
        axes = _plots.side_by_side()
        self.plot_curves(axes[0])
        self.plot_penalties(axes[1])
        return axes


def _weights(sample_weight: Any, X: Any) -> npt.NDArray[np.float64] | None:
    if sample_weight is None:
        return None
    weights: npt.NDArray[np.float64] = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise ValueError("all rows have sample_weight 0; leave it out, or give at least one positive weight")
    return weights


def _counted(
    X: Any, y: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None
) -> tuple[Any, npt.NDArray[Any], npt.NDArray[np.float64] | None]:
    """Leave out rows that count nothing, which would take places of others where rows are divided."""
    if weights is None or weights.all():
        return X, y, weights
    present = np.flatnonzero(weights)
    return X[present], y[present], weights[present]

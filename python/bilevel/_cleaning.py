"""Data cleaning: a weight for each training row, learned from rows that are known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from bilevel import _core, _predict, _settings
from bilevel._arrays import FLOATS, codes_of, dataset, feature_names, stored_like, threads
from bilevel._base import LEAST_ROWS, TunedLinearModel
from bilevel._progress import Callback, listening
from bilevel._records import CleaningStep

CLASSIFIERS = {"logistic", "softmax", "squared-hinge"}
REGRESSORS = {"squared", "huber", "poisson"}
PROBABILISTIC = {"classifier", "logistic", "softmax"}
METHODS = ("auto", "exact", "aid-cg")


def _has_probabilities(tuner: SampleWeightTuner) -> bool:
    """Tell from what is asked for, or after a fit from what was fitted."""
    loss = getattr(tuner, "_loss", None) or tuner._kind()
    if loss not in PROBABILISTIC:
        raise AttributeError(f"a model with the loss {loss!r} has no probabilities")
    return True


def _plain(label: Any) -> Any:
    """Give a label as Python has it; frames would make other columns of those of NumPy."""
    return label.item() if isinstance(label, np.generic) else label


class SuspiciousRow(NamedTuple):
    """What is known of the label of a training row.

    Parameters
    ----------
    row : int
        Its index in `X`.
    label : object
        The label it was given.
    weight : float
        Its weight.
    suggested : object
        The label that the model would rather give it; None where that is the same, and for regression.
    probability : float or None
        The probability of its label under the model; None where the loss has none.
    trusted_loss : float
        Its loss under the model of the trusted rows alone.
    """

    row: int
    label: Any
    weight: float
    suggested: Any
    probability: float | None
    trusted_loss: float


class SampleWeightTuner(BaseEstimator):
    """Weights of training rows, learned from a small set of rows whose labels are known to be right.

    Each training row gets a weight in (0, 1), such that the model fitted with these weights serves the trusted rows. Rows
    whose labels do not go with the trusted rows are weighed down. The weights follow the hypergradient of the loss on
    the trusted rows; a part of these (monitor rows) does not steer and says when to stop.

    Parameters
    ----------
    estimator : str or estimator, default="classifier"
        The kind of model: ``"classifier"`` (logistic for two classes, softmax for more), ``"regressor"`` (least squares),
        the name of a loss (``"logistic"``, ``"softmax"``, ``"squared-hinge"``, ``"squared"``, ``"huber"``,
        ``"poisson"``), or an estimator of this package such as `RidgeTuned`, whose kind of model, ``fit_intercept`` and
        ``standardize`` are taken over. It is not fitted itself. Any other estimator of scikit-learn says only
        whether to classify.
    penalty : float, default=None
        Strength ``s`` of the penalty ``s |W|^2 / 2`` on the weights of the model; by default it is tuned on the trusted
        rows.
    method : {"auto", "exact", "aid-cg"}, default="auto"
        How hypergradients are computed.
    start : {"trusted", "uniform"}, default="trusted"
        Where the weights begin: at how well each label goes with a model of the trusted rows, or at one half.
    monitor : float, default=0.2
        Share of the trusted rows kept as monitor rows, which do not steer; with 0 all of them do.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    standardize : bool, default=True
        Whether to bring features to standard deviation 1 while fitting. Coefficients are those of the features as given.
    precision : float, default=1e-5
        The learning ends when no weight of a row can lower the trusted loss at a rate above this share of it, divided by the
        number of rows.
    max_iter : int, default=None
        Most steps of the weights; None is 3, or 30 from the uniform start.
    max_time : float, default=None
        Seconds after which the learning ends with the best so far.
    random_state : int, RandomState or None, default=0
        What the order of the rows and the choice of monitor rows follow from.
    n_jobs : int, default=None
        Number of threads. None is one per core, or as many as ``OMP_NUM_THREADS`` allows; -1 is one per core.
    callbacks : sequence of callable, default=None
        Called with a `CleaningStep` after each step of the weights, for which the learning waits; True ends it with the best
        so far.
    verbose : bool, default=False
        Whether to show a `ProgressBar`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_samples,)
        The weight of each training row.
    suspicious_ : ndarray of shape (n_samples,)
        Indices of the training rows, the smallest weight first.
    report_ : list of SuspiciousRow
        What is known of the label of each training row, in the order of `suspicious_`; pandas and polars take it as rows.
    coef_ : ndarray of shape (n_features,), (1, n_features) or (n_classes, n_features)
        Coefficients of the model of the weighted rows, as those of linear models of scikit-learn.
    intercept_ : float or ndarray
        Its intercepts.
    classes_ : ndarray of shape (n_classes,)
        The labels, for classifiers.
    penalty_ : float
        The strength of the penalty, on the scale of the fit.
    status_ : str
        Why the learning ended: ``"converged"``, ``"stalled"``, ``"monitor"`` (the loss on the monitor rows was lowest for
        earlier weights, which were kept), ``"iteration-limit"``, ``"time-limit"``, ``"interrupted"``.
    history_ : list of CleaningStep
        Every step of the weights.
    n_iter_ : int
        Number of the step whose weights were kept, at least 1.
    method_ : str
        How hypergradients were computed.
    notes_ : list of str
        Remarks to be read.
    fit_seconds_ : float
        Seconds of learning.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where `X` had names of type str.

    References
    ----------
    L. Franceschi, M. Donini, P. Frasconi, M. Pontil, "Forward and reverse gradient-based hyperparameter optimization",
    ICML 2017. A. Shaban, C. Cheng, N. Hatch, B. Boots, "Truncated back-propagation for bilevel optimization", AISTATS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from bilevel import SampleWeightTuner, datasets
    >>> X, y = datasets.load("breast-cancer", return_X_y=True)
    >>> train, trusted = np.arange(len(y)) >= 100, np.arange(len(y)) < 100
    >>> given = y[train].copy()
    >>> given[:100] = 1 - given[:100]
    >>> tuner = SampleWeightTuner().fit(X[train], given, X[trusted], y[trusted])
    >>> bool(np.mean(tuner.suspicious_[:100] < 100) > 0.85)
    True
    """

    coef_: npt.NDArray[Any]
    intercept_: Any
    classes_: npt.NDArray[Any]
    n_features_in_: int

    def __init__(
        self,
        estimator: Any = "classifier",
        *,
        penalty: float | None = None,
        method: str = "auto",
        start: str = "trusted",
        monitor: float = 0.2,
        fit_intercept: bool = True,
        standardize: bool = True,
        precision: float = 1e-5,
        max_iter: int | None = None,
        max_time: float | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.penalty = penalty
        self.method = method
        self.start = start
        self.monitor = monitor
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.precision = precision
        self.max_iter = max_iter
        self.max_time = max_time
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.callbacks = callbacks
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.estimator_type = "classifier" if self._kind() in CLASSIFIERS | {"classifier"} else "regressor"
        return tags

    def fit(self, X: Any, y: Any, X_clean: Any, y_clean: Any) -> Self:
        """Learn the weights, and fit the model with them.

        An interrupt (Ctrl-C) ends the learning: the tuner keeps the best weights so far, its ``status_`` is
        ``"interrupted"``, and `KeyboardInterrupt` is raised. What a callback raises is handed on in the same way.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Their labels, some of which may be wrong.
        X_clean : {array-like, sparse matrix, data frame} of shape (n_clean, n_features)
            Trusted rows.
        y_clean : array-like of shape (n_clean,)
            Their labels, which are right.

        Returns
        -------
        self : object
            The fitted tuner.
        """
        kind = self._kind()
        classifies = kind in CLASSIFIERS | {"classifier"}
        X, y = self._validated(X, y, classifies, reset=True)
        X_clean, y_clean = self._validated(X_clean, y_clean, classifies, reset=False)
        classes: npt.NDArray[Any] | None = None
        codes, codes_clean = y, y_clean
        if classifies:
            classes, codes = np.unique(y, return_inverse=True)
            if len(classes) < 2:
                raise ValueError(f"there is only one class in y, {_settings.shown(classes[0])}; a classifier needs at least 2 classes")
            codes_clean = codes_of(y_clean, classes, "trusted")
        names = feature_names(self)

        def data(X: Any, y: npt.NDArray[Any]) -> _core.Dataset:
            return dataset(X, y, classes=classes, feature_names=names, groups=None, weights=None)

        train, trusted = data(X, codes), data(stored_like(X, X_clean), codes_clean)
        options, jobs = self._options(kind), threads(self.n_jobs)
        with listening(self.callbacks, self.verbose, CleaningStep) as listener:
            record, raised = _core.clean(train, trusted, options, jobs, listener)
        self._keep(record, classes, y)
        if raised is not None:
            raise raised
        return self

    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Compute the margins.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of two classes the margin of the second; of a regression the linear predictor.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=FLOATS)
        return _predict.margins(X, self.coef_, self.intercept_)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict by the model of the weighted rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, or numbers.
        """
        margins = self.decision_function(X)
        if self._loss in CLASSIFIERS:
            return _predict.labels(margins, self.classes_)
        return np.exp(margins) if self._loss == "poisson" else margins

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return _predict.probabilities(self.decision_function(X))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> npt.NDArray[Any]:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return _predict.log_probabilities(self.decision_function(X))

    def score(self, X: Any, y: Any) -> float:
        """Compute how well the model of the weighted rows predicts.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples,)
            What is true of them.

        Returns
        -------
        float
            The share of right labels, or the coefficient of determination of a regression.
        """
        predicted = self.predict(X)
        figure = accuracy_score if self._loss in CLASSIFIERS else r2_score
        return float(figure(y, predicted))

    def _kind(self) -> str:
        """Give what `estimator` asks for: the name of a loss, classifier or regressor."""
        asked = self.estimator
        if isinstance(asked, str):
            if asked not in CLASSIFIERS | REGRESSORS | {"classifier", "regressor"}:
                known = ", ".join(sorted(CLASSIFIERS | REGRESSORS))
                raise ValueError(f"estimator={asked!r} is unknown; use 'classifier', 'regressor', a loss ({known})")
            return asked
        if isinstance(asked, TunedLinearModel):
            # The logistic one is a softmax for more than two classes.
            return "classifier" if asked._loss == "logistic" else asked._loss
        if isinstance(asked, type) or not hasattr(asked, "__sklearn_tags__"):
            raise ValueError(f"estimator={asked!r} is neither a name nor an estimator, such as bilevel.RidgeTuned()")
        return "classifier" if is_classifier(asked) else "regressor"

    def _options(self, kind: str) -> _core.CleanOptions:
        ours = self.estimator if isinstance(self.estimator, TunedLinearModel) else self
        penalty, most = self.penalty, self.max_iter
        return {
            "loss": {"classifier": "auto", "regressor": "squared"}.get(kind, kind),
            "penalty": None if penalty is None else _settings.real(
                penalty, "penalty", 0.0, float("inf"), "positive, or None to tune it"
            ),
            "method": self._method(),
            "start": _settings.choice(self.start, "start"),
            "intercept": _settings.flag(ours.fit_intercept, "fit_intercept"),
            "standardize": _settings.flag(ours.standardize, "standardize"),
            "monitor": _settings.real(self.monitor, "monitor", 0.0, 1.0, "a share from 0 to below 1", closed=True),
            "seed": _settings.seed(self.random_state),
            "max_time": _settings.seconds(self.max_time),
            "max_iter": None if most is None else _settings.whole(most, "max_iter"),
            "tolerance": _settings.real(self.precision, "precision", 0.0, 1.0, "between 0 and 1"),
        }

    def _method(self) -> str:
        method = _settings.choice(self.method, "method")
        if method not in METHODS:
            raise ValueError(f"method={method!r} does not learn weights of rows; choose from {', '.join(METHODS)}")
        return method

    def _validated(self, X: Any, y: Any, classifies: bool, *, reset: bool) -> tuple[Any, npt.NDArray[Any]]:
        X, y = validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=FLOATS, ensure_min_samples=LEAST_ROWS, y_numeric=False
        )
        y = column_or_1d(y, warn=True)
        if classifies:
            check_classification_targets(y)
            return X, y
        return X, check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")

    def _keep(self, record: _core.CleanedRecord, classes: npt.NDArray[Any] | None, y: npt.NDArray[Any]) -> None:
        classifies = classes is not None
        self.coef_, self.intercept_ = _predict.parameters(record["coef"], record["intercept"], classifies)
        self._loss = record["loss"]
        if classes is not None:
            self.classes_ = classes
        self.weights_ = record["weights"]
        self.suspicious_ = record["suspicious"].astype(np.intp)
        self.penalty_ = record["penalty"]
        self.status_ = record["status"]
        self.method_ = record["method"]
        self.history_: list[CleaningStep] = [CleaningStep(*values) for values in record["trace"]]
        self.n_iter_ = max(1, record["kept"])
        self.notes_ = record["notes"]
        self.fit_seconds_ = record["seconds"]
        predicted = None if classes is None else classes[record["predicted"]]
        probability = record["probability"]

        def row(i: int) -> SuspiciousRow:
            return SuspiciousRow(
                row=i,
                label=_plain(y[i]),
                weight=float(self.weights_[i]),
                suggested=None if predicted is None or predicted[i] == y[i] else _plain(predicted[i]),
                probability=float(probability[i]) if len(probability) else None,
                trusted_loss=float(record["trusted_losses"][i]),
            )

        self.report_: list[SuspiciousRow] = [row(int(i)) for i in self.suspicious_]

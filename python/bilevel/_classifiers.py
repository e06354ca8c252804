"""Classifiers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from bilevel import _predict, _settings
from bilevel._arrays import codes_of
from bilevel._base import TunedLinearModel
from bilevel._docs import documented
from bilevel._groups import GroupsArgument
from bilevel._progress import Callback

ClassWeight: TypeAlias = Mapping[Any, float] | str | None


class TunedClassifier(ClassifierMixin, TunedLinearModel):
    """What the classifiers share.

    Parameters
    ----------
    penalties, groups, cv, method, precision, fit_intercept, standardize, shuffle, penalty_range, class_weight, max_iter, \
max_time, warm_start, random_state, n_jobs, callbacks, verbose : object
        As in the classifiers.
    """

    classes_: npt.NDArray[Any]
    _binary_only: ClassVar[bool] = False

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
        class_weight: ClassWeight = None,
        max_iter: int = 200,
        max_time: float | None = None,
        warm_start: bool = False,
        random_state: Any = 0,
        n_jobs: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            penalties=penalties,
            groups=groups,
            cv=cv,
            method=method,
            precision=precision,
            fit_intercept=fit_intercept,
            standardize=standardize,
            shuffle=shuffle,
            penalty_range=penalty_range,
            max_iter=max_iter,
            max_time=max_time,
            warm_start=warm_start,
            random_state=random_state,
            n_jobs=n_jobs,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = not self._binary_only
        return tags

    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Compute the margins.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of two classes the margin of the second.
        """
        return self._margins(X)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict the class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, as they were in `y`.
        """
        return _predict.labels(self.decision_function(X), self.classes_)

    def _is_classifier(self) -> bool:
        return True

    def _checked(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        check_classification_targets(y)
        return y

    def _encoded(self, y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            only = _settings.shown(classes[0])
            raise ValueError(f"there is only one class in y, {only}; a classifier needs rows of at least 2 classes")
        if self._binary_only and len(classes) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}. "
                "Put the estimator into sklearn.multiclass.OneVsRestClassifier"
            )
        return classes, codes.astype(np.uint32)

    def _coded(self, y: npt.NDArray[Any], classes: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        assert classes is not None
        return codes_of(y, classes, "validation")

    def _weighed(
        self,
        y: npt.NDArray[Any],
        weights: npt.NDArray[np.float64] | None,
        classes: npt.NDArray[Any] | None,
    ) -> npt.NDArray[np.float64] | None:
        if self.class_weight is not None:
            assert classes is not None
            counts = np.ones(len(y)) if weights is None else weights
            if self.class_weight == "balanced":
                present = np.bincount(y, weights=counts, minlength=len(classes))
                of_class = counts.sum() / (len(classes) * np.maximum(present, np.finfo(float).tiny))
            else:
                of_class = compute_class_weight(self.class_weight, classes=classes, y=classes[y])
                for label, weight in zip(classes, of_class, strict=True):
                    if not 0.0 < weight < np.inf:
                        raise ValueError(
                            f"class_weight gives the class {_settings.shown(label)} the weight {weight:g}; give each class a "
                            "positive one, or leave out the rows of the class"
                        )
            weights = counts * of_class[y]
        return super()._weighed(y, weights, classes)


@documented
class LogisticRegressionTuned(TunedClassifier):
    """Logistic regression with tuned penalties, of two classes or more.

    Fits ``mean loss + 1/2 sum_j exp(lambda_j) w_j**2`` and chooses the log-penalties ``lambda`` so that the mean loss
    on rows that were not fitted is least. Of more than two classes the loss is the cross entropy of the softmax.

    Parameters
    ----------
    {penalties}
    {class_weight}
    {run}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights, in the scale of the features as given.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; zero without.
    {attributes}

    See Also
    --------
    LinearSVCTuned : Another loss, without probabilities.
    sklearn.linear_model.LogisticRegressionCV : One strength, from a grid.

    Examples
    --------
    >>> from bilevel import LogisticRegressionTuned, datasets
    >>> heart = datasets.load("heart")
    >>> model = LogisticRegressionTuned(penalties="per-feature", cv=5).fit(heart.data, heart.target)
    >>> model.hyperparameters_.shape
    (13,)
    >>> model.predict_proba(heart.data[:2]).shape
    (2, 2)
    """

    _loss = "logistic"

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return _predict.probabilities(self.decision_function(X))

    def predict_log_proba(self, X: Any) -> npt.NDArray[Any]:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log-probabilities, in the order of ``classes_``.
        """
        return _predict.log_probabilities(self.decision_function(X))


@documented
class LinearSVCTuned(TunedClassifier):
    """Linear support vector machine with the squared hinge loss and tuned penalties, of two classes.

    Fits ``mean max(0, 1 - y margin)**2 / 2 + 1/2 sum_j exp(lambda_j) w_j**2``. For more classes put it into
    `sklearn.multiclass.OneVsRestClassifier`.

    Parameters
    ----------
    {penalties}
    {class_weight}
    {run}

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features)
        Weights, in the scale of the features as given.
    intercept_ : ndarray of shape (1,)
        Intercept; zero without.
    {attributes}

    See Also
    --------
    LogisticRegressionTuned : Another loss, with probabilities.

    Examples
    --------
    >>> from bilevel import LinearSVCTuned, datasets
    >>> heart = datasets.load("heart")
    >>> model = LinearSVCTuned(penalties="shared").fit(heart.data, heart.target)
    >>> model.score(heart.data, heart.target) > 0.8
    True
    """

    _loss = "squared-hinge"
    _binary_only = True

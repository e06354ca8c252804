"""Regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_tweedie_score

from bilevel import _core
from bilevel._base import TunedLinearModel
from bilevel._docs import documented


class TunedRegressor(RegressorMixin, TunedLinearModel):
    """What the regressors share, with the parameters of all linear models."""

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict the target of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Expected values.
        """
        return self._margins(X)


@documented
class RidgeTuned(TunedRegressor):
    """Ridge regression with tuned penalties.

    Fits ``mean (margin - y)**2 / 2 + 1/2 sum_j exp(lambda_j) w_j**2`` and chooses the log-penalties ``lambda`` so that
    the mean loss on rows that were not fitted is least.

    Parameters
    ----------
    {penalties}
    {run}

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights, in the scale of the features as given.
    intercept_ : float
        Intercept; zero without.
    {attributes}

    See Also
    --------
    HuberTuned : A loss that bounds the pull of outliers.
    sklearn.linear_model.RidgeCV : One strength, from a list.

    Examples
    --------
    >>> from bilevel import RidgeTuned, datasets
    >>> abalone = datasets.load("abalone")
    >>> model = RidgeTuned(penalties="per-feature").fit(abalone.data, abalone.target)
    >>> round(model.score(abalone.data, abalone.target), 2)
    0.53
    """

    _loss = "squared"


@documented
class HuberTuned(TunedRegressor):
    """Robust linear regression with the Huber loss and tuned penalties.

    The loss is quadratic up to ``delta`` and linear beyond, with ``delta`` 1.345 robust standard deviations of the
    target.

    Parameters
    ----------
    {penalties}
    {run}

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights, in the scale of the features as given.
    intercept_ : float
        Intercept; zero without.
    delta_ : float
        Residual from which on the loss is linear.
    {attributes}

    See Also
    --------
    RidgeTuned : The squared loss.

    Examples
    --------
    >>> from bilevel import HuberTuned, datasets
    >>> abalone = datasets.load("abalone")
    >>> HuberTuned(penalties="shared").fit(abalone.data, abalone.target).delta_ > 0
    True
    """

    _loss = "huber"

    def _keep_more(self, record: _core.TunedRecord) -> None:
        self.delta_ = record["delta"]


@documented
class PoissonTuned(TunedRegressor):
    """Poisson regression with tuned penalties, for counts and other targets that are not negative.

    Fits ``mean exp(margin) - y margin + y log(y) - y``, half the deviance, with quadratic penalties; predictions are
    ``exp(margin)``.

    Parameters
    ----------
    {penalties}
    {run}

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights, in the scale of the features as given.
    intercept_ : float
        Intercept; zero without.
    {attributes}

    See Also
    --------
    sklearn.linear_model.PoissonRegressor : One strength, given.

    Examples
    --------
    >>> from bilevel import PoissonTuned, datasets
    >>> abalone = datasets.load("abalone")
    >>> model = PoissonTuned(penalties="shared").fit(abalone.data, abalone.target)
    >>> bool((model.predict(abalone.data) > 0).all())
    True
    """

    _loss = "poisson"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict the rate of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Rates, positive numbers.
        """
        return np.exp(super().predict(X))  # type: ignore[no-any-return]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the share of the Poisson deviance that is explained.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples,)
            Their target.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts.

        Returns
        -------
        float
            1 is perfect, 0 as good as the mean.
        """
        return float(d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=1))

    def _checked(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        y = super()._checked(y)
        if (y < 0).any():
            raise ValueError("Negative values in y: a Poisson model needs a target that is not negative")
        return y

"""The estimators are what scikit-learn expects of one."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import bilevel

ESTIMATORS = [
    bilevel.RidgeTuned(),
    bilevel.LogisticRegressionTuned(),
    bilevel.PoissonTuned(),
    bilevel.HuberTuned(),
    bilevel.LinearSVCTuned(),
]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_what_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)

"""What the estimators find, keep and refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.multiclass import OneVsRestClassifier

import bilevel
from bilevel import HuberTuned, LinearSVCTuned, LogisticRegressionTuned, PoissonTuned, RidgeTuned

ALL = [RidgeTuned, HuberTuned, PoissonTuned, LogisticRegressionTuned, LinearSVCTuned]


def data_for(cls: Any, heart: Any, abalone: Any) -> tuple[Any, Any]:
    found = heart if cls in (LogisticRegressionTuned, LinearSVCTuned) else abalone
    return found.data, found.target


@pytest.mark.parametrize("cls", ALL)
def test_attributes(cls: Any, heart: Any, abalone: Any) -> None:
    X, y = data_for(cls, heart, abalone)
    model = cls(penalties="per-feature").fit(X, y)
    features = X.shape[1]
    assert model.coef_.shape[-1] == features == len(model.hyperparameters_) == len(model.hyperparameter_names_)
    assert model.penalties_ == "per-feature"
    assert model.status_ in {"converged", "stalled"}
    assert model.n_iter_ == len(model.history_) > 0
    assert 0 < model.std_error_ < model.validation_loss_
    assert [each.chosen for each in model.penalty_path_] == [False, False, True]
    assert model.penalty_path_[-1].validation_loss == model.validation_loss_
    assert model.history_[-1].validation_loss == pytest.approx(model.validation_loss_, rel=1e-2)
    assert model.criterion_ == "5 folds"


def test_it_is_the_minimum_that_other_solvers_find(heart: Any, abalone: Any) -> None:
    X, y = heart.data, heart.target
    model = LogisticRegressionTuned(penalties="shared", standardize=False).fit(X, y)
    strength = np.exp(model.hyperparameters_[0])
    other = LogisticRegression(C=1 / (strength * len(y)), tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))
    X, y = abalone.data, abalone.target
    ridge = RidgeTuned(penalties="shared", standardize=False).fit(X, y)
    same = Ridge(alpha=np.exp(ridge.hyperparameters_[0]) * len(y)).fit(X, y)
    np.testing.assert_allclose(ridge.coef_, same.coef_, rtol=1e-5)


def test_several_classes(digits: Any) -> None:
    model = LogisticRegressionTuned(penalties="per-class", cv=3).fit(digits.data, digits.target)
    assert model.coef_.shape == (10, 16) and model.intercept_.shape == (10,)
    assert len(model.hyperparameters_) == 10
    assert model.score(digits.data, digits.target) > 0.95
    np.testing.assert_allclose(model.predict_proba(digits.data).sum(axis=1), 1)
    with pytest.raises(ValueError, match="OneVsRestClassifier"):
        LinearSVCTuned().fit(digits.data, digits.target)
    each = OneVsRestClassifier(LinearSVCTuned(penalties="shared", cv=3)).fit(digits.data, digits.target)
    assert each.score(digits.data, digits.target) > 0.85


def test_poisson_predicts_rates(abalone: Any) -> None:
    model = PoissonTuned(penalties="shared").fit(abalone.data, abalone.target)
    rates = model.predict(abalone.data)
    assert rates.min() > 0 and rates.mean() == pytest.approx(abalone.target.mean(), rel=1e-6)
    assert 0.3 < model.score(abalone.data, abalone.target) < 1
    with pytest.raises(ValueError, match="not negative"):
        model.fit(abalone.data, -abalone.target)


def test_labels_of_any_kind(heart: Any) -> None:
    labels = np.array(["ill", "well"], dtype=object)[heart.target]
    model = LogisticRegressionTuned(penalties="shared").fit(heart.data, labels)
    assert list(model.classes_) == ["ill", "well"]
    assert set(model.predict(heart.data)) == {"ill", "well"}


# What judges.


def test_cv_as_folds_of_scikit_learn(heart: Any) -> None:
    X, y = heart.data, heart.target
    by_number = LogisticRegressionTuned(penalties="shared", cv=4).fit(X, y)
    assert by_number.criterion_ == "4 given folds"
    for cv in (StratifiedKFold(4), list(StratifiedKFold(4).split(X, y))):
        same = LogisticRegressionTuned(penalties="shared", cv=cv).fit(X, y)
        assert (same.coef_ == by_number.coef_).all()
    masks = []
    for train, test in StratifiedKFold(4).split(X, y):
        mask = np.zeros(len(y), dtype=bool)
        mask[test] = True
        masks.append((~mask, mask))
    same = LogisticRegressionTuned(penalties="shared", cv=masks).fit(X, y)
    assert (same.coef_ == by_number.coef_).all()
    # The criterion is that of these folds and no others.
    strength = np.exp(by_number.hyperparameters_[0])
    losses = []
    for train, test in StratifiedKFold(4).split(X, y):
        scale = X.std(axis=0)
        scale[np.isin(X, (0, 1)).all(axis=0)] = 1
        fold = LogisticRegression(C=1 / (strength * len(train)), tol=1e-10, max_iter=10_000).fit(X[train] / scale, y[train])
        losses.extend(-fold.predict_log_proba(X[test] / scale)[np.arange(len(test)), y[test]])
    assert by_number.validation_loss_ == pytest.approx(np.mean(losses), rel=1e-4)
    assert by_number.std_error_ == pytest.approx(np.std(losses, ddof=1) / np.sqrt(len(losses)), rel=1e-3)


def test_groups_of_rows_stay_together(heart: Any) -> None:
    groups = np.arange(len(heart.target)) // 9
    cv = list(GroupKFold(5).split(heart.data, heart.target, groups))
    model = LogisticRegressionTuned(cv=cv).fit(heart.data, heart.target)
    assert model.criterion_ == "5 given folds"


def test_one_split_and_validation_rows_are_the_same(heart: Any) -> None:
    X, y = heart.data, heart.target
    train, test = np.arange(200), np.arange(200, 270)
    split = LogisticRegressionTuned(penalties="per-feature", cv=[(train, test)]).fit(X, y)
    given = LogisticRegressionTuned(penalties="per-feature").fit(X[train], y[train], X_val=X[test], y_val=y[test])
    assert (split.coef_ == given.coef_).all()
    assert split.criterion_ == "validation rows"
    one = ShuffleSplit(1, test_size=0.3, random_state=0)
    assert RidgeTuned(cv=one).fit(X, y).status_ == "converged"
    assert RidgeTuned(cv=0.3).fit(X, y).criterion_ == "30 % held out"


@pytest.mark.parametrize("cls", [RidgeTuned, LogisticRegressionTuned])
def test_validation_rows_may_be_stored_otherwise(cls: Any, heart: Any) -> None:
    X, y = heart.data, heart.target
    for store in (sparse.csr_array, sparse.csc_matrix):
        dense = cls(penalties="shared").fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
        mixed = cls(penalties="shared").fit(X[:200], y[:200], X_val=store(X[200:]), y_val=y[200:])
        assert (mixed.coef_ == dense.coef_).all()
        thin = cls(penalties="shared").fit(store(X[:200]), y[:200], X_val=store(X[200:]), y_val=y[200:])
        mixed = cls(penalties="shared").fit(store(X[:200]), y[:200], X_val=X[200:], y_val=y[200:])
        np.testing.assert_allclose(mixed.coef_, thin.coef_, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_few_validation_rows(rows: int, heart: Any) -> None:
    # Of one or two none can be spared for the choice between kinds of penalty.
    X, y = heart.data, heart.target.astype(float)
    model = RidgeTuned().fit(X[20:], y[20:], X_val=X[:rows], y_val=y[:rows])
    assert np.isfinite(model.coef_).all() and model.status_ in {"converged", "stalled"}
    if rows < 3:
        assert model.penalties_ == "shared" and "validation rows" in model.notes_[0]


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (ShuffleSplit(3, random_state=0), "more than one validation part"),
        ([(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))], "in no validation part"),
        (1.5, "fraction"),
        ([(np.arange(10), np.arange(9, 20))], "fitted, too"),
        ([(np.arange(10), [500])], "row 500"),
        ((np.arange(200), np.arange(200, 270)), "a list of splits"),
        ((np.arange(2), np.arange(2, 4)), "a list of splits"),
        (GroupKFold(3), r"list\(cv\.split\(X, y, groups\)\)"),
        ([(np.arange(270) < 200, np.arange(200) < 70)], r"mask of shape \(200,\), but there are 270 rows"),
        ([(np.arange(200), np.arange(200.5, 270))], "numbers of type float64"),
    ],
)
def test_cv_that_makes_no_folds(cv: Any, message: str, heart: Any) -> None:
    with pytest.raises(ValueError, match=message):
        RidgeTuned(cv=cv).fit(heart.data, heart.target)


def test_mistakes(heart: Any) -> None:
    X, y = heart.data, heart.target
    for arguments, message in [
        ({"penalties": "many"}, "unknown variant `many`, expected one of `auto`"),
        ({"method": "magic"}, "method: unknown variant"),
        ({"groups": ["a"]}, "1 labels for 13 features"),
        ({"groups": {"nobody": 1}}, "'nobody'"),
        ({"penalty_range": (2.0, 1.0)}, "penalty_range"),
        ({"precision": 2.0}, "precision"),
        ({"max_iter": 0}, "max_iter"),
        ({"max_time": -1.0}, "max_time"),
        # What is of another type is named as well, and nothing is taken for true or cut off.
        ({"precision": None}, "precision=None"),
        ({"max_time": "1"}, "max_time='1'"),
        ({"max_iter": 2.5}, "max_iter=2.5"),
        ({"penalty_range": 3}, "penalty_range=3"),
        ({"penalty_range": (None, -1.0)}, "penalty_range"),
        ({"standardize": "no"}, "standardize='no'"),
        ({"method": None}, "method=None"),
        ({"penalties": ["shared"]}, "penalties="),
        ({"callbacks": 3}, "callbacks=3"),
        ({"callbacks": [3]}, "callbacks="),
        ({"groups": 3}, "groups=3"),
        ({"groups": np.zeros((13, 1))}, "groups="),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"n_jobs": 1.5}, "n_jobs=1.5"),
        ({"random_state": -1}, "random_state=-1"),
        ({"random_state": 2**70}, "random_state="),
    ]:
        with pytest.raises(ValueError, match=message):
            LogisticRegressionTuned(**arguments).fit(X, y)
    with pytest.raises(ValueError, match="belong together"):
        RidgeTuned().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="give one of them"):
        RidgeTuned(cv=3).fit(X, y, X_val=X, y_val=y)
    with pytest.raises(ValueError, match="no rows|there are none"):
        RidgeTuned().fit(X, y, sample_weight_val=np.ones(3))
    with pytest.raises(ValueError, match="in no training row"):
        LogisticRegressionTuned().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="13"):
        RidgeTuned().fit(X, y, X_val=X[:, :5], y_val=y)
    with pytest.raises(ValueError, match="non-zero|sample_weight 0"):
        RidgeTuned().fit(X, y, sample_weight=np.zeros(len(y)))


@pytest.mark.parametrize("cls", ALL)
def test_shuffled_rows_stay_where_they_are(cls: Any, heart: Any, abalone: Any) -> None:
    X, y = data_for(cls, heart, abalone)
    rows = np.random.default_rng(0).permutation(len(y))
    X, y = np.ascontiguousarray(X[rows]), y[rows]
    before = X.copy()
    model = cls(penalties="shared", cv=0.25, standardize=False, shuffle=False).fit(X, y)
    assert (before == X).all()
    # The last rows judge, and the model is fitted on all, as with the same split given.
    first = len(y) - round(0.25 * len(y))
    same = cls(penalties="shared", standardize=False).fit(X[:first], y[:first], X_val=X[first:], y_val=y[first:])
    assert model.hyperparameters_[0] == pytest.approx(same.hyperparameters_[0], abs=1e-2)
    folds = cls(penalties="shared", standardize=False, shuffle=False).fit(X, y)
    assert folds.criterion_ == "5 folds" and folds.status_ in {"converged", "stalled"}
    with pytest.raises(ValueError, match="standardize=False"):
        cls(shuffle=False).fit(X, y)
    with pytest.raises(ValueError, match="leave cv out"):
        cls(shuffle=False, standardize=False, cv=3).fit(X, y)


# Weights.


@pytest.mark.parametrize("cls", ALL)
def test_a_weight_is_a_number_of_rows(cls: Any, heart: Any, abalone: Any) -> None:
    X, y = data_for(cls, heart, abalone)
    X, y = X[:150], y[:150]
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    folds = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), weights)

    def splits(folds: Any) -> list[Any]:
        return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]

    weighted = cls(penalties="per-feature", cv=splits(folds), max_iter=10).fit(X, y, sample_weight=weights)
    repeated = cls(penalties="per-feature", cv=splits(folds[rows]), max_iter=10).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-4, atol=1e-6)
    assert weighted.validation_loss_ == pytest.approx(repeated.validation_loss_, rel=1e-6)
    plain = cls(penalties="per-feature", cv=splits(folds), max_iter=10).fit(X, y)
    assert abs(plain.coef_ - weighted.coef_).max() > 1e-3


@pytest.mark.parametrize("penalties", ["shared", "auto"])
def test_rows_of_weight_zero_that_judge_are_not_there(penalties: str, heart: Any) -> None:
    X, y = heart.data, heart.target
    rng = np.random.default_rng(0)
    for positive in (2, 30):
        weights = np.zeros(len(y))
        rows = rng.choice(len(y), positive, replace=False)
        weights[rows] = rng.integers(1, 3, positive)
        rows = np.flatnonzero(weights)
        train = np.flatnonzero(weights == 0)
        kept = {"X_val": X[rows], "y_val": y[rows], "sample_weight_val": weights[rows]}
        expected = RidgeTuned(penalties=penalties).fit(X[train], y[train], **kept)
        given = {"X_val": X, "y_val": y, "sample_weight_val": weights}
        found = RidgeTuned(penalties=penalties).fit(X[train], y[train], **given)
        assert (found.coef_ == expected.coef_).all() and found.penalties_ == expected.penalties_
        # A single split, where half of the rows that judge count nothing.
        test = np.concatenate([rows, train[:50]])
        judged = np.where(np.isin(np.arange(len(y)), train[:50]), 0.0, 1.0)
        judged[rows] = weights[rows]
        split = RidgeTuned(penalties=penalties, cv=[(train[50:], test)]).fit(X, y, sample_weight=judged)
        kept["sample_weight"] = np.ones(len(train) - 50)
        same = RidgeTuned(penalties=penalties).fit(X[train[50:]], y[train[50:]], **kept)
        assert (split.coef_ == same.coef_).all()
    with pytest.raises(ValueError, match="no row that judges has a positive sample_weight"):
        RidgeTuned(cv=[(train[50:], train[:50])]).fit(X, y, sample_weight=judged)
    with pytest.raises(ValueError, match="non-zero|sample_weight 0"):
        RidgeTuned().fit(X, y, X_val=X, y_val=y, sample_weight_val=np.zeros(len(y)))


def test_class_weights(heart: Any) -> None:
    X, y = heart.data[:200], heart.target[:200]
    by_class = LogisticRegressionTuned(penalties="shared", cv=4, class_weight={0: 1.0, 1: 3.0}).fit(X, y)
    by_row = LogisticRegressionTuned(penalties="shared", cv=4).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    assert (by_class.coef_ == by_row.coef_).all()
    balanced = LogisticRegressionTuned(penalties="shared", cv=4, class_weight="balanced").fit(X, y)
    assert balanced.predict_proba(X)[:, 1].mean() > 0.45
    held_out = LogisticRegressionTuned(penalties="shared", class_weight="balanced")
    assert held_out.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:]).status_ == "converged"
    for weight in (0, -1, np.inf):
        with pytest.raises(ValueError, match=f"class_weight gives the class 0 the weight {weight}"):
            LogisticRegressionTuned(class_weight={0: weight, 1: 1}).fit(X, y)


# Penalties.


def test_groups(heart: Any) -> None:
    X, y = heart.data, heart.target
    groups = ["blood", "heart", "other"] * 4 + ["blood"]
    model = LogisticRegressionTuned(penalties="per-group", groups=groups).fit(X, y)
    assert list(model.hyperparameter_names_) == ["blood", "heart", "other"]
    with_names = LogisticRegressionTuned(penalties="per-group", groups={"x0": "first", "x1": "first"}).fit(X, y)
    assert len(with_names.hyperparameters_) == 12
    called = LogisticRegressionTuned(penalties="per-group", groups=lambda names: [len(n) for n in names]).fit(X, y)
    assert list(called.hyperparameter_names_) == ["2", "3"]


def test_the_penalties_stay_in_their_range(heart: Any) -> None:
    model = RidgeTuned(penalties="per-feature", penalty_range=(0.1, 0.2)).fit(heart.data, heart.target)
    assert np.log(0.1) - 1e-9 <= model.hyperparameters_.min() <= model.hyperparameters_.max() <= np.log(0.2) + 1e-9


@pytest.mark.parametrize("penalties", ["shared", "per-feature"])
def test_warm_start(penalties: str, heart: Any) -> None:
    X, y = heart.data, heart.target
    model = LogisticRegressionTuned(penalties=penalties, warm_start=True).fit(X, y)
    cold, loss = model.n_iter_, model.validation_loss_
    assert model.fit(X, y).n_iter_ < cold / 2
    assert model.validation_loss_ == pytest.approx(loss, rel=1e-3)
    # Fewer features than before have fewer penalties.
    assert model.fit(X[:, :5], y).coef_.shape == (1, 5)


@pytest.mark.parametrize("method", ["exact", "aid-cg", "aid-fp", "sid-constant", "sid-decreasing"])
def test_methods(method: str, heart: Any) -> None:
    model = LogisticRegressionTuned(penalties="shared", method=method, max_iter=20, cv=0.3)
    model.fit(heart.data, heart.target)
    assert model.method_ == method
    assert model.score(heart.data, heart.target) > 0.8


# Randomness, copies, processes.


def test_same_seed_same_bits_on_any_number_of_threads(heart: Any) -> None:
    X, y = heart.data, heart.target
    fits = [LogisticRegressionTuned(n_jobs=n, random_state=3).fit(X, y) for n in (1, 2, 3, -1, None)]
    assert all((fit.coef_ == fits[0].coef_).all() for fit in fits)
    other = LogisticRegressionTuned(random_state=4).fit(X, y)
    assert (other.coef_ != fits[0].coef_).any()
    generator = LogisticRegressionTuned(random_state=np.random.RandomState(0)).fit(X, y)
    assert generator.status_ == "converged"


def test_clone_and_pickle(heart: Any) -> None:
    model = LogisticRegressionTuned(groups=bilevel.SourceColumns(["a"]), cv=3).fit(heart.data, heart.target)
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(heart.data) == model.predict_proba(heart.data)).all()
    assert again.history_ == model.history_
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_several_processes(backend: str, heart: Any) -> None:
    joblib = pytest.importorskip("joblib")
    X, y = heart.data, heart.target
    alone = cross_val_score(LogisticRegressionTuned(penalties="shared"), X, y, cv=3)
    # Threads of this process are running by now; a fork must not mind.
    with joblib.parallel_backend(backend, n_jobs=2):
        assert (cross_val_score(LogisticRegressionTuned(penalties="shared"), X, y, cv=3) == alone).all()


def test_grid_search(heart: Any) -> None:
    search = GridSearchCV(RidgeTuned(), {"penalties": ["shared", "per-feature"]}, cv=KFold(3))
    search.fit(heart.data, heart.target)
    assert search.best_params_["penalties"] in {"shared", "per-feature"}

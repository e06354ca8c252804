"""Weights of rows, learned from trusted ones."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import bilevel
from bilevel import CleaningStep, SampleWeightTuner


@pytest.fixture(scope="module")
def noisy(digits: Any) -> Any:
    """Rows with changed labels, which they are, and trusted rows."""
    X, y = digits.data, digits.target
    given = y[:400].copy()
    given[:120] = (given[:120] + 1) % 10
    return X[:400], given, np.arange(400) < 120, X[400:], y[400:]


def test_changed_labels_are_found(noisy: Any) -> None:
    X, y, wrong, X_clean, y_clean = noisy
    tuner = SampleWeightTuner().fit(X, y, X_clean, y_clean)
    assert roc_auc_score(~wrong, tuner.weights_) > 0.95
    assert ((tuner.weights_ > 0) & (tuner.weights_ < 1)).all()
    assert (np.sort(tuner.suspicious_) == np.arange(400)).all()
    assert (np.diff(tuner.weights_[tuner.suspicious_]) >= 0).all()
    assert tuner.coef_.shape == (10, 16) and tuner.intercept_.shape == (10,)
    assert tuner.score(X_clean, y_clean) > 0.85
    probabilities = tuner.predict_proba(X_clean)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (tuner.classes_[probabilities.argmax(axis=1)] == tuner.predict(X_clean)).all()
    first = tuner.report_[0]
    assert first.row == tuner.suspicious_[0] and first.label == y[first.row]
    right = [row.suggested == (row.label - 1) % 10 for row in tuner.report_[:100]]
    assert np.mean(right) > 0.8
    assert len(tuner.history_) > tuner.n_iter_ >= 1 and isinstance(tuner.history_[0], CleaningStep)
    assert tuner.status_ in {"converged", "stalled", "monitor", "iteration-limit"}


def test_what_estimators_can(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    tuner = SampleWeightTuner(penalty=0.02, max_iter=3, n_jobs=1)
    again = clone(tuner).set_params(random_state=0)
    assert again.get_params() == tuner.get_params() and "0.02" in repr(tuner)
    tuner.fit(X, y, X_clean, y_clean)
    kept = pickle.loads(pickle.dumps(tuner))
    assert (kept.predict(X) == tuner.predict(X)).all() and (kept.weights_ == tuner.weights_).all()
    again.set_params(n_jobs=2).fit(X, y, X_clean, y_clean)
    assert (again.weights_ == tuner.weights_).all(), "the same on any number of threads"
    thin = clone(tuner).fit(sparse.csc_array(X), y, sparse.csr_array(X_clean), y_clean)
    assert thin.weights_.shape == (400,)
    mixed = clone(tuner).fit(X, y, sparse.csr_array(X_clean), y_clean)
    assert (mixed.weights_ == tuner.weights_).all()
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    texts = clone(tuner).fit(X, names[y], X_clean, names[y_clean])
    assert set(texts.predict(X)) <= set(names) and texts.report_[0].label in names


def test_kinds_of_model(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    two = SampleWeightTuner("logistic", max_iter=2).fit(X, y > 4, X_clean, y_clean > 4)
    assert two.coef_.shape == (1, 16) and two.predict_proba(X).shape == (400, 2)
    hinge = SampleWeightTuner(bilevel.LinearSVCTuned(fit_intercept=False), max_iter=2).fit(
        X, y > 4, X_clean, y_clean > 4
    )
    assert hinge.intercept_ == 0 and hinge.report_[0].probability is None
    assert not hasattr(hinge, "predict_proba") and not hasattr(SampleWeightTuner("squared"), "predict_proba")
    assert hasattr(SampleWeightTuner(), "predict_proba") and hasattr(SampleWeightTuner(), "predict_log_proba")
    assert not hasattr(hinge, "predict_log_proba")
    with pytest.raises(AttributeError) as raised:
        hinge.predict_proba(X)
    assert "no probabilities" in str(raised.value.__cause__)
    numbers = SampleWeightTuner(bilevel.RidgeTuned(), max_iter=2).fit(X, 1.0 * y, X_clean, 1.0 * y_clean)
    assert numbers.coef_.shape == (16,) and numbers.report_[0].suggested is None
    assert numbers.score(X_clean, y_clean) > 0
    assert is_classifier(SampleWeightTuner()) and is_regressor(SampleWeightTuner("squared"))
    assert is_classifier(SampleWeightTuner(LogisticRegression()))


def test_probabilities_are_those_of_the_classifiers_far_out_as_well(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    for kind, labels, trusted in ((2, y > 4, y_clean > 4), (10, y, y_clean)):
        tuner = SampleWeightTuner(max_iter=1).fit(X, labels, X_clean, trusted)
        model = bilevel.LogisticRegressionTuned(penalties="shared").fit(X_clean, trusted)
        tuner.coef_, tuner.intercept_ = model.coef_, model.intercept_
        far = 100 * X
        assert (tuner.predict(far) == model.predict(far)).all()
        logarithms = tuner.predict_log_proba(far)
        assert (logarithms == model.predict_log_proba(far)).all() and np.isfinite(logarithms).all()
        probabilities = tuner.predict_proba(far)
        assert (probabilities == model.predict_proba(far)).all() and probabilities.shape[1] == kind
        assert np.allclose(probabilities, np.exp(logarithms), rtol=1e-10, atol=1e-300)
    # One minus what is close to 1 would be 0.
    model = bilevel.LogisticRegressionTuned().fit(X_clean, y_clean > 4)
    scale = 40 / model.decision_function(X_clean).max()
    model.coef_, model.intercept_ = scale * model.coef_, scale * model.intercept_
    tuner = SampleWeightTuner(max_iter=1).fit(X, y > 4, X_clean, y_clean > 4)
    tuner.coef_, tuner.intercept_ = model.coef_, model.intercept_
    for each in (model, tuner):
        assert each.predict_proba(X_clean)[:, 0].min() == pytest.approx(np.exp(-40), rel=1e-10)


def test_faults_are_named(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    with pytest.raises(ValueError, match="unknown"):
        SampleWeightTuner("forest").fit(X, y, X_clean, y_clean)
    with pytest.raises(ValueError, match="11"):
        SampleWeightTuner().fit(X, y, X_clean, np.where(np.arange(len(y_clean)) == 3, 11, y_clean))
    with pytest.raises(ValueError, match="features"):
        SampleWeightTuner().fit(X, y, X_clean[:, :5], y_clean)
    with pytest.raises(ValueError, match="penalty"):
        SampleWeightTuner(penalty=0.0).fit(X, y, X_clean, y_clean)
    for arguments in [{"monitor": "x"}, {"penalty": "x"}, {"callbacks": 3}, {"estimator": None}, {"estimator": bilevel.RidgeTuned}]:
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
            SampleWeightTuner(**arguments).fit(X, y, X_clean, y_clean)
    for method in ("sid-svrg", "sid"):
        with pytest.raises(ValueError, match=f"method='{method}' .* choose from auto, exact, aid-cg"):
            SampleWeightTuner(method=method).fit(X, y, X_clean, y_clean)


def test_labels_in_the_report_are_those_of_python(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    tuner = SampleWeightTuner(max_iter=1).fit(X, y > 4, X_clean, y_clean > 4)
    assert {type(row.label) for row in tuner.report_} == {bool}
    assert {type(row.suggested) for row in tuner.report_} == {bool, type(None)}


def test_the_score_is_that_of_the_model_that_was_fitted(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    tuner = SampleWeightTuner(max_iter=1).fit(X, y, X_clean, y_clean)
    before = tuner.score(X_clean, y_clean)
    assert tuner.set_params(estimator="regressor").score(X_clean, y_clean) == before


def test_an_interrupt_keeps_the_best(noisy: Any) -> None:
    X, y, wrong, X_clean, y_clean = noisy

    def interrupt(step: CleaningStep) -> None:
        if step.iteration == 2:
            raise KeyboardInterrupt

    tuner = SampleWeightTuner(callbacks=[interrupt], precision=1e-9, max_iter=30)
    with pytest.raises(KeyboardInterrupt):
        tuner.fit(X, y, X_clean, y_clean)
    assert tuner.status_ in {"interrupted", "monitor", "stalled"} and roc_auc_score(~wrong, tuner.weights_) > 0.9


def test_where_a_callback_stops_does_not_depend_on_how_fast_it_is(noisy: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    tuners = []
    for pause in (0.0, 0.0, 0.05):

        def stop(step: CleaningStep, pause: float = pause) -> bool:
            time.sleep(pause)
            return step.iteration == 1

        tuners.append(SampleWeightTuner(callbacks=[stop], max_iter=30).fit(X, y, X_clean, y_clean))
        assert tuners[-1].status_ == "interrupted" and tuners[-1].history_[-1].iteration == 1
    assert all((tuner.weights_ == tuners[0].weights_).all() for tuner in tuners)
    assert all((tuner.coef_ == tuners[0].coef_).all() for tuner in tuners)


def test_progress_is_shown(noisy: Any, capsys: Any) -> None:
    X, y, _, X_clean, y_clean = noisy
    SampleWeightTuner(max_iter=2, verbose=True).fit(X, y, X_clean, y_clean)
    assert "learning the weights" in capsys.readouterr().err

"""Arrays of any layout give the same model, and are not copied where they need not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bilevel import LogisticRegressionTuned, RidgeTuned


def fit(X: Any, y: Any, **arguments: Any) -> Any:
    return LogisticRegressionTuned(penalties="shared", **arguments).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_layouts(dtype: Any, heart: Any) -> None:
    X, y = heart.data.astype(dtype), heart.target
    reference = fit(X, y)
    wide = np.zeros((len(y), 2 * X.shape[1]), dtype)
    wide[:, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    unaligned[:] = X
    for layout in (np.asfortranarray(X), wide[:, ::2], read_only, unaligned, np.ascontiguousarray(X[::-1])[::-1]):
        model = fit(layout, y)
        assert (model.coef_ == reference.coef_).all()
        assert (model.decision_function(layout) == reference.decision_function(layout)).all()
    assert reference.decision_function(X).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_layouts(dtype: Any, heart: Any) -> None:
    X, y = heart.data.astype(dtype), heart.target
    X[np.abs(X) < 0.3] = 0
    rows = sparse.csr_array(X)
    reference = fit(rows, y)
    long = sparse.csr_array((rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64)), shape=rows.shape)
    unsorted = sparse.csr_array(
        (rows.data[::-1].copy(), rows.indices[::-1].copy(), rows.nnz - rows.indptr[::-1]), shape=rows.shape
    )
    assert not unsorted.has_sorted_indices
    for layout in (sparse.csr_matrix(X), sparse.csc_array(X), sparse.coo_array(X), long):
        assert (fit(layout, y).coef_ == reference.coef_).all()
    assert (fit(unsorted, y[::-1]).coef_ == fit(rows[::-1], y[::-1]).coef_).all()
    assert not unsorted.has_sorted_indices, "the caller's matrix is left alone"
    np.testing.assert_allclose(reference.predict_proba(rows), reference.predict_proba(X), rtol=1e-4)
    # Dense and sparse storage give the same model.
    np.testing.assert_allclose(fit(X, y).coef_, reference.coef_, rtol=1e-2, atol=1e-3)


def test_numbers_of_other_types(heart: Any) -> None:
    X, y = (heart.data > 0).astype(int), heart.target
    assert (fit(X, y).coef_ == fit(X.astype(float), y).coef_).all()
    assert (fit(X.tolist(), y.tolist()).coef_ == fit(X.astype(float), y).coef_).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, sparse.csr_array])
def test_python_hands_on_the_memory_that_it_is_given(layout: Any, dtype: Any, heart: Any) -> None:
    from bilevel._arrays import core_matrix

    X = layout(heart.data.astype(dtype))
    model = RidgeTuned()
    validated, _ = model._validated(X, heart.target, reset=True)
    parts = core_matrix(validated)
    if isinstance(parts, tuple):
        for part, given in zip(parts[:3], (X.data, X.indices, X.indptr), strict=True):
            assert np.shares_memory(part, given) and part.__array_interface__["data"] == given.__array_interface__["data"]
    else:
        assert parts.__array_interface__["data"] == X.__array_interface__["data"]
    assert core_matrix(model.fit(X, heart.target)._inputs(X)) is not None


def test_single_precision_stays_single_until_the_end(heart: Any) -> None:
    X = heart.data.astype(np.float32)
    model = fit(X, heart.target)
    inputs = model._inputs(X)
    assert inputs.dtype == np.float32 and np.shares_memory(inputs, X)
    assert model.coef_.dtype == np.float64


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_weights_that_single_precision_cannot_hold_still_predict(scale: float, abalone: Any) -> None:
    X, y = (scale * abalone.data).astype(np.float32), (1e10 if scale < 1.0 else 1e-15) * abalone.target
    model = RidgeTuned(penalties="shared").fit(X, y)
    assert np.isfinite(model.predict(X)).all() and model.score(X, y) > 0.4


def test_nothing_given_is_changed(heart: Any) -> None:
    X, y, weights = heart.data.copy(), heart.target.copy(), np.linspace(0, 1, len(heart.target))
    before = X.copy(), y.copy(), weights.copy()
    RidgeTuned().fit(X, y, sample_weight=weights)
    for now, then in zip((X, y, weights), before, strict=True):
        assert (now == then).all()

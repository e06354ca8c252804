"""Levels written in JAX."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from ridge import Ridge, distance

import bilevel

jax = pytest.importorskip("jax")
jnp = jax.numpy


def squares(w: Any, lam: Any, batch: Any) -> Any:
    X, y = batch
    return jnp.mean((X @ w["coef"] - y) ** 2) / 2


def penalised(w: Any, lam: Any, batch: Any) -> Any:
    return squares(w, lam, batch) + jnp.exp(lam["log_penalty"]) @ w["coef"] ** 2 / 2


@pytest.fixture(scope="module")
def ridge() -> Ridge:
    """One penalty for each of five features."""
    return Ridge()


def levels(ridge: Ridge, **settings: Any) -> tuple[bilevel.StochasticLoss, bilevel.UpperObjective, Any]:
    lam = {"log_penalty": ridge.lam}
    at = {"w": {"coef": np.zeros(ridge.p, dtype=np.float32)}, "lam": lam, **settings}
    lower = bilevel.from_jax(penalised, kind="loss", data=(ridge.X, ridge.y), **at)
    upper = bilevel.from_jax(squares, kind="objective", data=(ridge.X_val, ridge.y_val), **at)
    return lower, upper, lam


@pytest.fixture(scope="module")
def problem(ridge: Ridge) -> Any:
    """Both levels, and where to look."""
    return levels(ridge)


def test_the_closed_form(ridge: Ridge, problem: Any) -> None:
    lower, upper, lam = problem
    objective, expected, w = ridge.solve(ridge.lam)
    found = bilevel.hypergradient(lower, upper, lam)
    assert distance(found.value["log_penalty"], expected) < 1e-12
    assert distance(found.w["coef"], w) < 1e-12 and found.objective == pytest.approx(objective)
    assert found.value["log_penalty"].dtype == np.float64, "whatever JAX is set to elsewhere"
    assert not jax.config.jax_enable_x64
    sampled = bilevel.hypergradient(lower, upper, lam, method="sid", lower_steps=300, replicates=2)
    assert distance(sampled.value["log_penalty"], expected) < 0.2
    assert sampled.std_error["log_penalty"].shape == (ridge.p,)
    again = bilevel.hypergradient(lower, upper, found.value, start=found)
    assert again.status == "converged"


def test_the_checks_pass(problem: Any) -> None:
    report = bilevel.check(*problem, samples=50)
    assert report.passed, report
    assert "directions" in {check.name for check in report.checks}


def test_chunks_of_the_mean_over_everything(ridge: Ridge, problem: Any) -> None:
    w, v = np.arange(5.0), np.ones(5)
    for one, other in zip(problem[:2], levels(ridge, chunk=64)[:2], strict=True):
        name, along = ("directions", (v,)) if one.kind == "loss" else ("gradients", ())
        whole = getattr(one, name)(w, ridge.lam, slice(None), *along)
        parts = getattr(other, name)(w, ridge.lam, slice(None), *along)
        assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-12), whole, parts))
        rows = getattr(one, name)(w, ridge.lam, np.arange(3, 9), *along)
        block = getattr(one, name)(w, ridge.lam, slice(3, 9), *along)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), rows, block))


@pytest.mark.parametrize("method", ["auto", "f2sa"])
def test_minimize(method: str, ridge: Ridge, problem: Any) -> None:
    lower, upper, lam = problem
    found = bilevel.minimize(lower, upper, lam, domain=(-6, 3), method=method, max_iter=100)
    assert ridge.solve(np.asarray(found.lam["log_penalty"]))[0] < ridge.solve(ridge.lam)[0]
    assert found.history[0].lam["log_penalty"].shape == (ridge.p,)


def test_a_map_without_rows() -> None:
    generator = np.random.default_rng(0)
    lam = {"A": generator.normal(size=(4, 4)) / 6, "b": generator.normal(size=4)}
    w = [np.zeros(2), np.zeros(2)]

    def layer(w: Any, lam: Any) -> Any:
        z = jnp.tanh(lam["A"] @ jnp.concatenate(w) + lam["b"])
        return [z[:2], z[2:]]

    lower = bilevel.from_jax(layer, kind="map", w=w, lam=lam)
    upper = bilevel.from_jax(lambda w, lam: jnp.sum(w[0] ** 2) + lam["b"] @ lam["b"], kind="objective", w=w, lam=lam)
    report = bilevel.check(lower, upper, lam)
    assert report.passed, report
    found = bilevel.hypergradient(lower, upper, lam)
    assert found.value["A"].shape == (4, 4) and [x.shape for x in found.w] == [(2,), (2,)]


def test_a_simulation() -> None:
    def noisy(w: Any, lam: Any, seeds: Any) -> Any:
        noise = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), w.shape))(seeds)
        return 0.5 * w + lam + noise.mean(axis=0)

    at = {"w": np.zeros(2), "lam": np.zeros(2)}
    lower = bilevel.from_jax(noisy, kind="map", simulates=True, **at)
    upper = bilevel.from_jax(lambda w, lam: w @ w / 2, kind="objective", **at)
    lam = np.array([1.0, -2.0])
    found = bilevel.hypergradient(lower, upper, lam, method="sid", lower_steps=300, batch=16)
    assert distance(found.value, 4 * lam) < 0.1


def test_single_precision(ridge: Ridge) -> None:
    lower, upper, lam = levels(ridge, double=False)
    found = bilevel.hypergradient(lower, upper, lam, method="aid-cg", tolerance=1e-5)
    assert found.value["log_penalty"].dtype == np.float32
    assert distance(found.value["log_penalty"], ridge.solve(ridge.lam)[1]) < 1e-3
    with pytest.raises(ValueError, match="double=True"):
        bilevel.check(lower, upper, lam)


def test_shapes_of_parameters_are_compared() -> None:
    lam, w = {"W": np.arange(6.0).reshape(2, 3)}, np.zeros(2)
    lower = bilevel.from_jax(lambda w, lam: w / 2 + lam["W"].sum(axis=1), kind="map", w=w, lam=lam)
    upper = bilevel.from_jax(lambda w, lam: w @ w, kind="objective", w=w, lam=lam)
    assert bilevel.hypergradient(lower, upper, lam).value["W"].shape == (2, 3)
    # All numbers in one vector are in their order.
    assert bilevel.hypergradient(lower, upper, lam["W"].ravel()).value["W"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"shapes \[\(3, 2\)\] where \[\(2, 3\)\] are needed"):
        bilevel.hypergradient(lower, upper, {"W": lam["W"].T})
    with pytest.raises(ValueError, match="shapes"):
        bilevel.hypergradient(lower, upper, lam, start=np.zeros((2, 1)))


def test_lists_are_arrays_where_one_is_needed() -> None:
    lower = bilevel.from_jax(lambda w, lam: w / 2 + lam, kind="map", w=np.zeros(2), lam=np.zeros(2))
    upper = bilevel.from_jax(lambda w, lam: w @ w / 2, kind="objective", w=np.zeros(2), lam=np.zeros(2))
    found = bilevel.hypergradient(lower, upper, [1.0, 2], start=[0.0, 1.0])
    assert distance(found.value, [4.0, 8.0]) < 1e-9
    with pytest.raises(TypeError, match="the start is a MinimizeResult"):
        bilevel.hypergradient(lower, upper, [1.0, 2.0], start=bilevel.minimize(lower, upper, [1.0, 2.0], max_iter=1))


def test_what_makes_no_sense(ridge: Ridge, problem: Any, monkeypatch: Any) -> None:
    lower, upper, lam = problem
    with pytest.raises(ValueError, match="structure"):
        bilevel.hypergradient(lower, upper, {"penalty": ridge.lam})
    with pytest.raises(ValueError, match="lengths"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam, data=(ridge.X, ridge.y[:-1]))
    with pytest.raises(ValueError, match="data holds a single number"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam, data={"X": ridge.X, "scale": 2.0})
    with pytest.raises(ValueError, match="no rows"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam, data=(ridge.X[:0], ridge.y[:0]))
    with pytest.raises(ValueError, match="floating"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5, dtype=int), lam=1, data=ridge.X)
    with pytest.raises(ValueError, match="chunk=-5 must be"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam, data=(ridge.X, ridge.y), chunk=-5)
    with pytest.raises(ValueError, match="symmetric=True says something of a map"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam, symmetric=True)
    with pytest.raises(ValueError, match="kind"):
        bilevel.from_jax(squares, kind="game", w=np.zeros(5), lam=lam)  # type: ignore[call-overload]
    wrong = bilevel.from_jax(lambda w, lam: w[:2], kind="map", w=np.zeros(5), lam=np.zeros(2))
    other = bilevel.from_jax(lambda w, lam: w @ w, kind="objective", w=np.zeros(5), lam=np.zeros(2))
    with pytest.raises(ValueError, match=r"lower\.apply returned an array of shape \(2,\)"):
        bilevel.hypergradient(wrong, other, np.zeros(2))
    failing = bilevel.from_jax(lambda w, lam: w @ lam["x"], kind="objective", w=np.zeros(5), lam=np.zeros(2))
    sound = bilevel.from_jax(lambda w, lam: w / 2, kind="map", w=np.zeros(5), lam=np.zeros(2))
    with pytest.raises(Exception, match="(?i)index|slice|string"):
        bilevel.hypergradient(sound, failing, np.zeros(2))
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match="pip install jax"):
        bilevel.from_jax(squares, kind="loss", w=np.zeros(5), lam=lam)

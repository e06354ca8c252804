"""Levels written in PyTorch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from ridge import Ridge, distance

import bilevel


def test_what_is_missing_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        bilevel.from_torch(lambda w, lam: w, kind="map", w=np.zeros(2), lam=np.zeros(2))


@pytest.fixture(scope="module")
def torch() -> Any:
    """The package, on one thread; more of them get in each other's way on problems as small as these."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def ridge() -> Ridge:
    """One penalty for each of five features."""
    return Ridge()


def levels(torch: Any, ridge: Ridge, **settings: Any) -> Any:
    def squares(model: Any, lam: Any, batch: Any) -> Any:
        return ((model(batch["X"])[:, 0] - batch["y"]) ** 2).mean() / 2

    def penalised(model: Any, lam: Any, batch: Any) -> Any:
        (weight,) = model.parameters()
        return squares(model, lam, batch) + (torch.exp(lam) * weight[0] ** 2).sum() / 2

    model = torch.nn.Linear(ridge.p, 1, bias=False)
    lam = torch.as_tensor(ridge.lam)
    data = {"X": torch.as_tensor(ridge.X), "y": torch.as_tensor(ridge.y)}
    held_out = {"X": torch.as_tensor(ridge.X_val), "y": torch.as_tensor(ridge.y_val)}
    lower = bilevel.from_torch(penalised, kind="loss", w=model, lam=lam, data=data, **settings)
    upper = bilevel.from_torch(squares, kind="objective", w=model, lam=lam, data=held_out, **settings)
    return lower, upper, lam, model


@pytest.fixture(scope="module")
def problem(torch: Any, ridge: Ridge) -> Any:
    """Both levels, where to look, and the module."""
    return levels(torch, ridge)


def test_the_closed_form(torch: Any, ridge: Ridge, problem: Any) -> None:
    lower, upper, lam, model = problem
    before = model.weight.detach().clone()
    objective, expected, w = ridge.solve(ridge.lam)
    found = bilevel.hypergradient(lower, upper, lam)
    assert distance(found.value, expected) < 1e-12 and found.value.dtype == torch.float64
    assert found.objective == pytest.approx(objective)
    assert (model.weight == before).all(), "the module is not changed"
    assert found.w["weight"].dtype == torch.float32
    model.load_state_dict(found.w)
    assert distance(model.weight.detach()[0], w) < 1e-6
    with torch.no_grad():
        again = bilevel.hypergradient(lower, upper, lam, start=model)
    assert distance(again.value, expected) < 1e-10
    sampled = bilevel.hypergradient(lower, upper, lam, method="sid", lower_steps=200)
    assert distance(sampled.value, expected) < 0.2


def test_the_checks_pass(problem: Any) -> None:
    report = bilevel.check(*problem[:3], samples=50)
    assert report.passed, report
    assert "directions" in {check.name for check in report.checks}


def test_chunks_of_the_mean_over_everything(torch: Any, ridge: Ridge, problem: Any) -> None:
    w, v = np.arange(5.0), np.ones(5)
    for one, other in zip(problem[:2], levels(torch, ridge, chunk=64)[:2], strict=True):
        name, along = ("directions", (v,)) if one.kind == "loss" else ("gradients", ())
        whole = getattr(one, name)(w, ridge.lam, slice(None), *along)
        parts = getattr(other, name)(w, ridge.lam, slice(None), *along)
        assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(whole, parts, strict=True))
        rows = getattr(one, name)(w, ridge.lam, np.arange(3, 9), *along)
        block = getattr(one, name)(w, ridge.lam, slice(3, 9), *along)
        assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(rows, block, strict=True))
        assert other.value(w, ridge.lam, slice(None)) == pytest.approx(one.value(w, ridge.lam, slice(None)))


def test_minimize(ridge: Ridge, problem: Any) -> None:
    lower, upper, lam, _ = problem
    start = ridge.solve(ridge.lam)[0]
    found = bilevel.minimize(lower, upper, lam, domain=(-6, 3), max_iter=20)
    assert ridge.solve(found.lam.numpy())[0] == pytest.approx(found.objective) and found.objective < start
    single_loop = bilevel.minimize(lower, upper, lam, domain=(-6, 3), method="soba", max_iter=100)
    assert ridge.solve(single_loop.lam.numpy())[0] < start


def test_a_module_with_buffers_and_frozen_parameters(torch: Any, ridge: Ridge) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(ridge.p), torch.nn.Linear(ridge.p, 3), torch.nn.Tanh(),
                                torch.nn.Linear(3, 1))  # fmt: skip
    model.eval()
    model[1].bias.requires_grad_(False)
    lam = [torch.tensor(0.0), torch.tensor(0.5)]

    def squares(model: Any, lam: Any, batch: Any) -> Any:
        X, y = batch
        return ((model(X)[:, 0] - y) ** 2).mean() / 2

    def penalised(model: Any, lam: Any, batch: Any) -> Any:
        named = dict(model.named_parameters())
        assert "1.bias" not in named
        first, last = named.pop("1.weight"), sum((p**2).sum() for p in named.values())
        return squares(model, lam, batch) + (torch.exp(lam[0]) * (first**2).sum() + torch.exp(lam[1]) * last) / 2

    lower = bilevel.from_torch(penalised, kind="loss", w=model, lam=lam, data=(ridge.X, ridge.y))
    upper = bilevel.from_torch(squares, kind="objective", w=model, lam=lam, data=(ridge.X_val, ridge.y_val))
    found = bilevel.hypergradient(lower, upper, lam, start=model)
    assert set(found.w) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert isinstance(found.value, list) and found.value[0].shape == ()
    report = bilevel.check(lower, upper, lam, w=found.w, samples=20)
    assert report.passed, report


def test_maps(torch: Any) -> None:
    torch.manual_seed(0)
    lam = {"A": torch.randn(4, 4) / 6, "b": torch.ones(4)}
    w = (torch.zeros(4),)
    lower = bilevel.from_torch(lambda w, lam: (torch.tanh(lam["A"] @ w[0] + lam["b"]),), kind="map", w=w, lam=lam)
    upper = bilevel.from_torch(lambda w, lam: (w[0] ** 2).sum(), kind="objective", w=w, lam=lam)
    report = bilevel.check(lower, upper, lam)
    assert report.passed, report
    found = bilevel.hypergradient(lower, upper, lam)
    assert found.value["A"].shape == (4, 4) and isinstance(found.w, tuple)

    def noisy(w: Any, lam: Any, seeds: Any) -> Any:
        draws = [torch.randn(2, generator=torch.Generator().manual_seed(int(s)), dtype=w.dtype) for s in seeds]
        return 0.5 * w + lam + torch.stack(draws).mean(0)

    at = {"w": torch.zeros(2), "lam": torch.zeros(2)}
    lower = bilevel.from_torch(noisy, kind="map", simulates=True, **at)
    upper = bilevel.from_torch(lambda w, lam: w @ w / 2, kind="objective", **at)
    sampled = bilevel.hypergradient(lower, upper, [1.0, -2.0], method="sid", lower_steps=100, batch=8)
    assert distance(sampled.value, [4.0, -8.0]) < 0.2


def test_what_does_not_depend_on_a_variable(torch: Any) -> None:
    at = {"w": torch.zeros(2), "lam": torch.zeros(3)}
    lower = bilevel.from_torch(lambda w, lam: torch.ones(2, dtype=w.dtype), kind="map", **at)
    upper = bilevel.from_torch(lambda w, lam: (lam**2).sum(), kind="objective", **at)
    assert bilevel.hypergradient(lower, upper, torch.ones(3)).value.tolist() == [2.0, 2.0, 2.0]


def test_what_makes_no_sense(torch: Any, ridge: Ridge, problem: Any) -> None:
    lower, upper, lam, model = problem
    with pytest.raises(ValueError, match="shapes"):
        bilevel.hypergradient(lower, upper, torch.zeros(3))
    with pytest.raises(ValueError, match="lengths"):
        bilevel.from_torch(lambda *_: 0, kind="loss", w=model, lam=lam, data=(torch.zeros(3), torch.zeros(4)))
    with pytest.raises(ValueError, match="data holds a single number"):
        bilevel.from_torch(lambda *_: 0, kind="loss", w=model, lam=lam, data=(torch.zeros(3), torch.tensor(2.0)))
    with pytest.raises(ValueError, match="no rows"):
        bilevel.from_torch(lambda *_: 0, kind="loss", w=model, lam=lam, data=(torch.zeros(0, 3), torch.zeros(0)))
    with pytest.raises(ValueError, match="floating"):
        bilevel.from_torch(lambda *_: 0, kind="loss", w=torch.zeros(3, dtype=torch.int64), lam=lam)
    with pytest.raises(ValueError, match="chunk=0 must be"):
        bilevel.from_torch(lambda *_: 0, kind="loss", w=model, lam=lam, chunk=0)
    with pytest.raises(ValueError, match="symmetric=True says something of a map"):
        bilevel.from_torch(lambda *_: 0, kind="objective", w=model, lam=lam, symmetric=True)
    with pytest.raises(ValueError, match="kind"):
        bilevel.from_torch(lambda *_: 0, kind="game", w=model, lam=lam)  # type: ignore[call-overload]

    def fails(model: Any, lam: Any, batch: Any) -> Any:
        raise KeyError("mine")

    broken = bilevel.from_torch(fails, kind="loss", w=model, lam=lam, data=ridge.X)
    with pytest.raises(KeyError, match="mine"):
        bilevel.hypergradient(broken, upper, lam)

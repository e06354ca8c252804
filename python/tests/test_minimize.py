"""Minimisation over the upper variable of functions of NumPy."""

from __future__ import annotations

import signal
import time
from typing import Any

import numpy as np
import pytest
from ridge import Ridge, distance
from scipy import optimize

import bilevel

BOX = (-6.0, 3.0)
ALGORITHMS = [
    "hoag",
    "bsa",
    "ttsa",
    "stocbio",
    "sustain",
    "mrbo",
    "vrbo",
    "amigo",
    "fsla",
    "soba",
    "saba",
    "bome",
    "pzobo",
    "bsgm",
    "f2sa",
    "ma-soba",
    "srba",
]


@pytest.fixture
def ridge() -> Ridge:
    """One penalty for each of five features."""
    return Ridge()


@pytest.fixture(scope="module")
def best() -> Any:
    """What SciPy makes of the closed form."""
    ridge = Ridge()
    return optimize.minimize(
        lambda lam: ridge.solve(lam)[:2], ridge.lam, jac=True, bounds=[BOX] * ridge.p, options={"ftol": 1e-14}
    )


@pytest.mark.parametrize("kind", ["loss", "map"])
def test_line_searches_find_the_minimum(kind: str, ridge: Ridge, best: Any) -> None:
    lower = ridge.lower() if kind == "loss" else ridge.map(0.05)
    found = bilevel.minimize(lower, ridge.upper(), ridge.lam, domain=BOX, gradient_tolerance=1e-9)
    assert found.method == "lbfgs" and found.success, found
    assert found.objective == pytest.approx(best.fun, rel=1e-6)
    assert ridge.solve(found.lam)[0] == pytest.approx(found.objective, rel=1e-6)
    assert distance(found.w, ridge.solve(found.lam)[2]) < 1e-5
    assert distance(found.hypergradient, ridge.solve(found.lam)[1]) < 1e-3
    values = [step.objective for step in found.history]
    assert values == sorted(values, reverse=True) and found.history[-1].rows <= found.work.rows
    assert (found.history[0].lam == ridge.lam).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "gradient"},
        {"method": "gradient", "step_rule": "adagrad-norm", "outer_step": 1.0},
        {"method": "gradient", "hypergradient": "sid", "lower_steps": 50, "batch": 32, "upper_batch": "all"},
        {"method": "gradient", "hypergradient": "aid-cg"},
    ],
)
def test_steps_come_near(settings: Any, ridge: Ridge, best: Any) -> None:
    start = ridge.solve(ridge.lam)[0]
    found = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=BOX, max_iter=150, **settings)
    assert found.status in ("iteration-limit", "stationary")
    assert ridge.solve(found.lam)[0] - best.fun < 0.5 * (start - best.fun)


@pytest.mark.parametrize("method", ALGORITHMS)
def test_algorithms_of_the_literature(method: str, ridge: Ridge) -> None:
    start = ridge.solve(ridge.lam)[0]
    iterations = 40 if method in ("hoag", "bsgm", "pzobo") else 150
    found = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=BOX, method=method, max_iter=iterations)
    assert ridge.solve(found.lam)[0] < start
    assert found.status == "iteration-limit" and found.n_iter == iterations
    value = ridge.upper().value(found.w, found.lam, slice(None))
    assert found.history[-1].objective == found.objective == pytest.approx(value)
    again = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=BOX, method=method, max_iter=iterations)
    assert (again.lam == found.lam).all()


def test_adaptive_needs_no_steps(ridge: Ridge, best: Any) -> None:
    start = ridge.solve(ridge.lam)[0]
    found = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=BOX, method="adaptive", max_iter=2000)
    assert found.status == "iteration-limit" and found.method == "adaptive"
    assert ridge.solve(found.lam)[0] - best.fun < 0.05 * (start - best.fun)
    with pytest.raises(ValueError, match="for losses"):
        bilevel.minimize(ridge.map(), ridge.upper(), ridge.lam, method="adaptive")


def test_bounds(ridge: Ridge) -> None:
    low, high = np.full(5, -2.5), np.linspace(0.0, 1.0, 5)
    forms = [
        optimize.Bounds(low, high),
        list(zip(low, high, strict=True)),
        [(-2.5, h) for h in high],
    ]
    found = [bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=domain).lam for domain in forms]
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
    assert (found[0] >= low).all() and (found[0] <= high).all() and (found[0] == low).any()
    one_side = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=(None, -1.0), max_iter=3)
    assert (one_side.lam <= -1.0).all()
    with pytest.raises(ValueError, match="2 pairs of bounds for 5"):
        bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=[(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="domain=5 must be a pair"):
        bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=5)
    with pytest.raises(ValueError, match="empty"):
        bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=(1.0, 0.0))


@pytest.mark.parametrize("method", ["lbfgs", "gradient", "soba"])
def test_callbacks(method: str, ridge: Ridge) -> None:
    seen: list[bilevel.UpperStep] = []

    def stop(step: bilevel.UpperStep) -> np.bool_:
        seen.append(step)
        return np.equal(len(seen), 3)

    found = bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, domain=BOX, method=method, callbacks=[stop])
    assert found.status == "interrupted" and len(seen) == 3 and not found.success
    assert [step.iteration for step in found.history] == [step.iteration for step in seen]
    assert np.isfinite(found.lam).all()

    def fails(step: bilevel.UpperStep) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, method=method, callbacks=[fails])


@pytest.mark.parametrize("method", ["lbfgs", "gradient", "saba"])
def test_a_limit_of_time(method: str, ridge: Ridge) -> None:
    right = ridge.functions()["gradient"]

    def slow(w: Any, lam: Any, rows: Any) -> Any:
        time.sleep(0.002)
        return right(w, lam, rows)

    rest = {} if method == "saba" else {"gradient_tolerance": 0.0}
    found = bilevel.minimize(
        ridge.lower(gradient=slow), ridge.upper(), ridge.lam, method=method, max_time=0.1, **rest
    )
    assert found.status == "time-limit" and 0.1 <= found.seconds < 10.0


@pytest.mark.parametrize("method", ["lbfgs", "gradient", "soba"])
def test_an_interrupt_keeps_the_best_so_far(method: str, ridge: Ridge) -> None:
    seen: list[bilevel.UpperStep] = []

    def interrupt(step: bilevel.UpperStep) -> None:
        seen.append(step)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as raised:
        bilevel.minimize(ridge.lower(), ridge.upper(), ridge.lam, method=method, callbacks=[interrupt])
    found = raised.value.result  # type: ignore[attr-defined]
    assert found.status == "interrupted" and not found.success
    assert found.objective == min(step.objective for step in seen) or method == "soba"
    assert np.isfinite(found.w).all() and any((found.lam == step.lam).all() for step in seen)
    assert not hasattr(raised.value, "record")


@pytest.mark.parametrize(
    ("method", "calls"),
    [("lbfgs", 2), ("lbfgs", 30), ("gradient", 2), ("gradient", 300), ("soba", 2), ("soba", 2000)],
)
def test_what_was_found_before_a_function_failed(method: str, calls: int, ridge: Ridge) -> None:
    right = ridge.functions()["gradient"]
    left = [calls]

    def worn(w: Any, lam: Any, rows: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError("the sensor is gone")
        return right(w, lam, rows)

    lower = ridge.lower(gradient=worn, value_and_gradient=None, directions=None)
    rest: Any = {"lbfgs": {"gradient_tolerance": 0.0}, "gradient": {"gradient_tolerance": 0.0, "step_rule": "constant"}}
    with pytest.raises(OSError, match="sensor") as raised:
        bilevel.minimize(lower, ridge.upper(), ridge.lam, method=method, max_iter=100_000, **rest.get(method, {}))
    found = getattr(raised.value, "result", None)
    if found is not None:
        assert found.status == "interrupted" and np.isfinite(found.objective)
        assert np.isfinite(found.w).all() and np.isfinite(found.lam).all()
    assert (found is not None) == (calls > 2)


def test_a_lower_level_that_fails_somewhere_is_a_step_too_far(ridge: Ridge, best: Any) -> None:
    right = ridge.functions()["gradient"]

    def fragile(w: Any, lam: Any, rows: Any) -> Any:
        return right(w, lam, rows) if lam.max() < 2.9 else np.full_like(w, np.nan)

    found = bilevel.minimize(ridge.lower(gradient=fragile), ridge.upper(), ridge.lam, domain=BOX)
    assert found.objective < ridge.solve(ridge.lam)[0]


@pytest.mark.parametrize("method", ["gradient", "lbfgs"])
def test_the_lower_variable_belongs_to_the_upper_one(method: str) -> None:
    """Objectives that tie, on a plateau, do not mix places up."""
    lower = bilevel.StochasticLoss(
        value=lambda w, lam, rows: 0.5 * float(((w - lam) ** 2).sum()),
        gradient=lambda w, lam, rows: w - lam,
        hessian_product=lambda w, lam, rows, v: v,
        cross_product=lambda w, lam, rows, v: -v,
        dim_w=1,
        dim_lam=1,
    )

    def value(w: Any, lam: Any, rows: Any) -> float:
        return float(np.maximum(0.0, w - 1.0).sum())

    def gradients(w: Any, lam: Any, rows: Any) -> Any:
        return value(w, lam, rows), (w > 1.0) * 1.0, np.full(1, 1e-9)

    upper = bilevel.UpperObjective(value, gradients, dim_w=1, dim_lam=1)
    steps: Any = {"outer_step": 0.3} if method == "gradient" else {}
    found = bilevel.minimize(lower, upper, [3.0], method=method, max_iter=60, **steps)
    assert found.w == pytest.approx(found.lam, abs=1e-9) and found.hypergradient is not None


def test_what_methods_need(ridge: Ridge) -> None:
    upper, lam = ridge.upper(), ridge.lam
    with pytest.raises(ValueError, match="choose from lbfgs, gradient, hoag"):
        bilevel.minimize(ridge.lower(), upper, lam, method="magic")
    with pytest.raises(ValueError, match="for losses"):
        bilevel.minimize(ridge.map(), upper, lam, method="soba")
    with pytest.raises(ValueError, match="gradient_lam"):
        bilevel.minimize(ridge.lower(gradient_lam=None), upper, lam, method="f2sa")
    with pytest.raises(ValueError, match="exact hypergradients"):
        bilevel.minimize(ridge.lower(), upper, lam, method="lbfgs", hypergradient="sid")
    with pytest.raises(ValueError, match="takes batch alone"):
        bilevel.minimize(ridge.lower(), upper, lam, method="soba", lower_steps=3)
    with pytest.raises(ValueError, match="step rule"):
        bilevel.minimize(ridge.lower(), upper, lam, method="gradient", step_rule="odd")
    with pytest.raises(ValueError, match="max_time"):
        bilevel.minimize(ridge.lower(), upper, lam, max_time=-1.0)
    for arguments, message in [
        ({"gradient_tolerance": float("nan")}, "gradient_tolerance=nan must be"),
        ({"gradient_tolerance": -1}, "gradient_tolerance=-1 must be"),
        ({"max_iter": 1.5}, r"max_iter=1\.5 must be a whole number"),
        ({"max_iter": -1}, "max_iter=-1 must be"),
        ({"method": "gradient", "patience": -1}, "patience=-1 must be"),
        ({"method": "gradient", "outer_step": 0.0}, r"outer_step=0\.0 must be positive"),
        ({"method": "gradient", "step_rule": 3}, "step_rule=3 must be"),
        # What belongs to another method is not passed over.
        ({"patience": 3}, "method='lbfgs' takes no patience"),
        ({"step_rule": "adam"}, "method='lbfgs' takes no step_rule"),
        ({"outer_step": 1.0}, "method='lbfgs' takes no outer_step"),
        ({"steps": (1, 1, 1)}, "method='lbfgs' takes no steps"),
        ({"method": "gradient", "steps": (1, 1, 1)}, "method='gradient' takes no steps"),
        ({"method": "soba", "gradient_tolerance": 1e-3}, "method='soba' takes no gradient_tolerance"),
        ({"method": "adaptive", "outer_step": 1.0}, "method='adaptive' takes no outer_step"),
        ({"method": "soba", "steps": (1, 1, 1), "outer_step": 1.0}, "give one of them"),
        ({"max_samples": 10}, "takes no max_samples"),
        ({"callbacks": 3}, "callbacks=3 must be"),
        ({"method": "soba", "steps": (1, 1)}, r"steps=\(1, 1\) must be three positive numbers"),
        ({"method": "soba", "steps": (1, 1, 0)}, "steps=0 must be three positive numbers"),
        ({"method": "soba", "batch": 0}, "batch=0 must be"),
        ({"hypergradient": "sid", "lower_steps": 0}, "lower_steps=0 must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            bilevel.minimize(ridge.lower(), upper, lam, **arguments)
    for method in ("lbfgs", "gradient", "soba"):
        with pytest.raises(ValueError, match="max_iter=0 must be a whole number of at least 1"):
            bilevel.minimize(ridge.lower(), upper, lam, method=method, max_iter=0)

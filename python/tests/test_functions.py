"""Both levels as functions of NumPy: values, error bars, errors, interrupts, threads."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from ridge import Ridge, distance
from sklearn.exceptions import ConvergenceWarning

import bilevel

LONGEST = 10.0
"""Seconds from an interrupt to its exception, for a machine that is busy with other things."""


@pytest.fixture
def ridge() -> Ridge:
    """One penalty for each of five features."""
    return Ridge()


@pytest.mark.parametrize(
    ("method", "settings", "within"),
    [
        ("auto", {}, 1e-12),
        ("exact", {}, 1e-12),
        ("aid-fp", {}, 1e-7),
        ("aid-cg", {}, 1e-7),
        ("sid", {}, 0.05),
        ("sid", {"eta": (4.0, 8.0), "average": 0.0, "cross_batch": "all", "upper_batch": "all"}, 0.1),
        ("sid-svrg", {}, 1e-6),
        ("sid-saga", {"lower_steps": 150}, 0.05),
    ],
)
@pytest.mark.parametrize("kind", ["loss", "map"])
def test_methods_agree_with_the_closed_form(
    kind: str, method: str, settings: Any, within: float, ridge: Ridge
) -> None:
    if kind == "map" and method == "exact":
        return
    lower = ridge.lower() if kind == "loss" else ridge.map()
    objective, expected, w = ridge.solve(ridge.lam)
    found = bilevel.hypergradient(lower, ridge.upper(), ridge.lam, method=method, **settings)
    if kind == "map":
        within = max(within, 1e-7)
    assert distance(found.value, expected) < within
    assert distance(found.w, w) < within
    assert found.objective == pytest.approx(objective, rel=max(within, 1e-10) * 10)
    assert found.status == ("step-limit" if method.startswith("sid") else "converged")
    assert found.work.rows > 0 and found.std_error is None and isinstance(found, bilevel.Hypergradient)


@pytest.mark.parametrize("kind", ["loss", "map"])
def test_an_earlier_result_is_a_start(kind: str, ridge: Ridge) -> None:
    lower = ridge.lower() if kind == "loss" else ridge.map()
    first = bilevel.hypergradient(lower, ridge.upper(), ridge.lam, method="aid-fp")
    again = bilevel.hypergradient(lower, ridge.upper(), ridge.lam, method="aid-fp", start=first, map_step=first.map_step)
    assert again.work.rows < first.work.rows / 4
    # The adjoint is that of the Hessian, whatever the step of the map.
    if kind == "loss":
        exact = bilevel.hypergradient(lower, ridge.upper(), ridge.lam, method="exact", start=first)
        assert distance(first.adjoint, exact.adjoint) < 1e-6


def test_error_bars_cover(ridge: Ridge) -> None:
    # Right intervals miss more than 3 of 10 times with probability 1e-3, and these err on the safe side.
    _, expected, _ = ridge.solve(ridge.lam)
    missed, standard = 0, []
    for seed in range(10):
        found = bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, precision=0.3, random_state=seed, batch=32)
        assert found.status == "converged" and found.error is not None and found.allowed is not None
        assert found.error <= found.allowed
        missed += np.linalg.norm(found.value - expected) > found.error
        standard.append((found.value - expected) / found.std_error)
    assert missed <= 3
    assert 0.3 < np.std(standard) < 2.0


def test_replicates_have_a_standard_error(ridge: Ridge) -> None:
    _, expected, _ = ridge.solve(ridge.lam)
    found = bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, method="sid", replicates=12)
    assert (np.abs(found.value - expected) < 6 * found.std_error).all() and found.w is None


def test_samples_index_rows(ridge: Ridge) -> None:
    seen: dict[str, set[str]] = {"rows": set(), "blocks": set()}
    _, expected, _ = ridge.solve(ridge.lam)
    right = ridge.functions()["gradient"]
    for sampling, kinds in seen.items():

        def gradient(w: Any, lam: Any, rows: Any, kinds: set[str] = kinds) -> Any:
            kinds.add(type(rows).__name__)
            assert len(ridge.y[rows]) in (64, ridge.n)
            return right(w, lam, rows)

        found = bilevel.hypergradient(
            ridge.lower(gradient=gradient, sampling=sampling), ridge.upper(), ridge.lam, method="sid", lower_steps=200
        )
        assert distance(found.value, expected) < 0.15
    # Blocks wrap around after the last row, where they are arrays.
    assert seen == {"rows": {"ndarray"}, "blocks": {"ndarray", "slice"}}


def test_same_seed_same_answer_on_any_number_of_threads(ridge: Ridge) -> None:
    def run(**settings: Any) -> Any:
        return bilevel.hypergradient(
            ridge.lower(), ridge.upper(), ridge.lam, method="sid", replicates=6, lower_steps=60, **settings
        ).value

    assert (run() == run()).all()
    assert (run() == run(n_jobs=3)).all()
    assert (run() != run(random_state=1)).any()


def test_several_threads_at_once(ridge: Ridge) -> None:
    _, expected, _ = ridge.solve(ridge.lam)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, method="aid-fp"), range(8))
        )
    assert all(distance(one.value, expected) < 1e-7 for one in found)


def test_a_computation_within_a_function(ridge: Ridge) -> None:
    def gradients(w: Any, lam: Any, rows: Any) -> Any:
        inner = bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam)
        return inner.objective, inner.adjoint, inner.value

    found = bilevel.hypergradient(ridge.lower(), ridge.upper(gradients=gradients), ridge.lam)
    assert found.objective == pytest.approx(ridge.solve(ridge.lam)[0])


def simulation(**changes: Any) -> bilevel.StochasticMap:
    """Make ``w/2 + lam + noise``, whose fixed point is ``2 lam``."""

    table = np.random.default_rng(3).normal(size=(4096, 2))
    table -= table.mean(axis=0)

    def noise(seeds: Any) -> Any:
        return 0.0 if seeds is None else table[seeds % len(table)].mean(axis=0)

    return bilevel.StochasticMap(
        lambda w, lam, seeds: 0.5 * w + lam + noise(seeds),
        lambda w, lam, seeds, v: 0.5 * v,
        lambda w, lam, seeds, v: v,
        **{"dim_w": 2, "dim_lam": 2, "n_samples": None, **changes},
    )


HALF_SQUARE = bilevel.UpperObjective(
    lambda w, lam, _: w @ w / 2, lambda w, lam, _: (w @ w / 2, w, 0 * lam), dim_w=2, dim_lam=2
)


def test_simulations() -> None:
    lam = np.array([1.0, -2.0])
    rough = bilevel.hypergradient(simulation(), HALF_SQUARE, lam, precision=0.2)
    assert rough.error is not None and np.linalg.norm(rough.value - 4 * lam) < 2 * rough.error
    chosen = bilevel.hypergradient(simulation(), HALF_SQUARE, lam, callbacks=[lambda stage: True])
    assert chosen.method == "sid" and chosen.error is not None, "an error bar where nothing exact can be had"
    exact = bilevel.hypergradient(simulation(exact_mean=True), HALF_SQUARE, lam, method="aid-fp")
    assert distance(exact.value, 4 * lam) < 1e-8
    assert bilevel.check(simulation(exact_mean=True), HALF_SQUARE, lam).passed
    with pytest.raises(ValueError, match="exact mean of lower"):
        bilevel.hypergradient(simulation(), HALF_SQUARE, lam, method="aid-fp")
    with pytest.raises(ValueError, match="remembers rows"):
        bilevel.hypergradient(simulation(), HALF_SQUARE, lam, method="sid-saga")
    found = bilevel.minimize(simulation(), HALF_SQUARE, lam, max_iter=40, lower_steps=50, outer_step=0.5)
    assert found.method == "gradient" and np.abs(found.lam).max() < 0.3


def test_checks_pass_where_all_is_right(ridge: Ridge) -> None:
    report = bilevel.check(ridge.lower(), ridge.upper(), ridge.lam)
    assert report.passed, report
    assert {"gradient", "hessian_product", "cross_product", "gradient_lam", "grad_lam"} <= {c.name for c in report.checks}
    assert str(report).endswith(f"all {len(report.checks)} checks passed")
    assert bilevel.check(ridge.map(), ridge.upper(), ridge.lam, w=np.ones(ridge.p)).passed
    report.raise_for_failures()


@pytest.mark.parametrize("name", ["gradient", "hessian_product", "cross_product", "gradient_lam"])
def test_checks_find_a_wrong_function(name: str, ridge: Ridge) -> None:
    right = ridge.functions()[name]
    report = bilevel.check(ridge.lower(**{name: lambda *a: 1.01 * right(*a)}), ridge.upper(), ridge.lam)
    assert name in {check.name for check in report.failures}
    with pytest.raises(AssertionError, match=name):
        report.raise_for_failures()


def test_checks_find_a_map_that_is_not_symmetric() -> None:
    A = np.array([[0.5, 0.4], [-0.4, 0.5]])

    def lower(symmetric: bool) -> bilevel.StochasticMap:
        return bilevel.StochasticMap(
            lambda w, lam, _: A @ w + lam,
            lambda w, lam, _, v: A.T @ v,
            lambda w, lam, _, v: v,
            dim_w=2,
            dim_lam=2,
            symmetric=symmetric,
        )

    lam = np.array([1.0, 2.0])
    assert bilevel.check(lower(False), HALF_SQUARE, lam).passed
    report = bilevel.check(lower(True), HALF_SQUARE, lam)
    assert [(check.place, check.name) for check in report.failures] == [("lower level, all", "symmetric")]


def test_checks_find_a_wrong_value_of_directions(ridge: Ridge) -> None:
    parts = ridge.functions()

    def directions(error: float) -> Any:
        products = ("gradient", "hessian_product", "cross_product")
        return lambda w, lam, rows, v: (
            parts["value"](w, lam, rows) + error,
            *(parts[name](w, lam, rows, *([v] if "product" in name else [])) for name in products),
        )

    assert bilevel.check(ridge.lower(directions=directions(0.0)), ridge.upper(), ridge.lam).passed
    report = bilevel.check(ridge.lower(directions=directions(0.01)), ridge.upper(), ridge.lam)
    assert {check.name for check in report.failures} == {"value returned by directions"}


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="keeps errstate for each thread")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_functions_run_in_the_context_of_the_caller(n_jobs: int, ridge: Ridge) -> None:
    def divides(w: Any, lam: Any, rows: Any) -> Any:
        return np.ones(5) / np.zeros(5)

    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        bilevel.hypergradient(
            ridge.lower(gradient=divides), ridge.upper(), ridge.lam, method="sid", replicates=3, n_jobs=n_jobs
        )


def test_checks_find_a_biased_sample_and_wrong_objectives(ridge: Ridge) -> None:
    right = ridge.functions()["gradient"]

    def sums(w: Any, lam: Any, rows: Any) -> Any:
        return right(w, lam, rows) * (1 if isinstance(rows, slice) else len(rows))

    report = bilevel.check(ridge.lower(gradient=sums), ridge.upper(), ridge.lam)
    assert ("samples of the lower level", "gradient") in {(c.place, c.name) for c in report.failures}
    upper = ridge.upper()
    wrong = ridge.upper(gradients=lambda *a: (upper.gradients(*a)[0], -upper.gradients(*a)[1], 0 * a[1]))
    names = {(c.place, c.name) for c in bilevel.check(ridge.lower(), wrong, ridge.lam).failures}
    assert ("whole problem", "hypergradient") in names and ("upper level, all", "grad_w") in names


@pytest.mark.parametrize("method", ["exact", "aid-fp", "sid", "sid-svrg", "precise", "minimize", "soba", "hoag", "check"])
def test_the_first_exception_ends_it_and_is_raised(method: str, ridge: Ridge) -> None:
    right = ridge.functions()["hessian_product"]
    calls = []

    def fails(w: Any, lam: Any, rows: Any, v: Any) -> Any:
        calls.append(1)
        if len(calls) >= 20:
            raise LookupError(f"call {len(calls)}")
        return right(w, lam, rows, v)

    lower, upper = ridge.lower(hessian_product=fails), ridge.upper()
    with pytest.raises(LookupError, match="call 20") as raised:
        if method == "check":
            bilevel.check(lower, upper, ridge.lam)
        elif method == "precise":
            bilevel.hypergradient(lower, upper, ridge.lam, precision=0.01)
        elif method in ("minimize", "soba", "hoag"):
            bilevel.minimize(lower, upper, ridge.lam, method="auto" if method == "minimize" else method)
        else:
            bilevel.hypergradient(lower, upper, ridge.lam, method=method)
    assert len(calls) == 20, "nobody is called after that"
    assert raised.traceback[-1].name == "fails"


@pytest.mark.parametrize(
    ("name", "result", "message"),
    [
        ("gradient", np.ones(3), r"lower\.gradient returned an array of shape \(3,\); .* shape \(5,\)"),
        ("gradient", np.ones((5, 1)), r"shape \(5, 1\)"),
        ("gradient", 1.0, "returned a number"),
        ("gradient", "five", "returned a str"),
        ("gradient", None, "returned a NoneType"),
        ("hessian_product", {}, r"lower\.hessian_product returned a dict"),
        ("value", "much", r"lower\.value returned a str; it must return a number"),
        ("value_and_gradient", 1.0, r"returned a float; it must return \(value, gradient\)"),
    ],
)
def test_results_of_the_wrong_form(name: str, result: Any, message: str, ridge: Ridge) -> None:
    with pytest.raises(ValueError, match=message):
        bilevel.hypergradient(ridge.lower(**{name: lambda *_: result}), ridge.upper(), ridge.lam)


def test_results_of_other_types_are_converted(ridge: Ridge) -> None:
    _, expected, _ = ridge.solve(ridge.lam)
    parts = ridge.functions()
    lower = ridge.lower(
        gradient=lambda *a: parts["gradient"](*a).tolist(),
        value=lambda *a: np.array(parts["value"](*a)),
        hessian_product=lambda *a: np.repeat(parts["hessian_product"](*a), 2)[::2],
        cross_product=lambda *a: np.asfortranarray(parts["cross_product"](*a)),
    )
    assert distance(bilevel.hypergradient(lower, ridge.upper(), ridge.lam.tolist()).value, expected) < 1e-12


def test_what_is_not_finite_is_named(ridge: Ridge) -> None:
    with pytest.raises(RuntimeError) as raised:
        bilevel.hypergradient(ridge.lower(gradient=lambda w, *_: np.full_like(w, np.nan)), ridge.upper(), ridge.lam)
    assert any("lower.gradient" in note and "|w|" in note for note in raised.value.__notes__)
    with pytest.raises(RuntimeError, match="upper objective"):
        bilevel.hypergradient(ridge.lower(), ridge.upper(gradients=lambda w, lam, _: (np.nan, w, lam)), ridge.lam)


def test_a_map_that_does_not_contract() -> None:
    lower = bilevel.StochasticMap(
        lambda w, lam, _: 1.5 * w + lam, lambda w, lam, _, v: 1.5 * v, lambda w, lam, _, v: v, dim_w=2, dim_lam=2
    )
    with pytest.raises(RuntimeError, match="not a contraction"):
        bilevel.hypergradient(lower, HALF_SQUARE, [1.0, 1.0])
    assert not bilevel.check(lower, HALF_SQUARE, [1.0, 1.0]).passed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lam": [0.0, 1.0]}, r"lam has shape \(2,\), the problem needs \(5,\)"),
        ({"lam": [np.nan] * 5}, "lam is not finite"),
        ({"method": "magic"}, "no hypergradient is called"),
        ({"method": "exact", "batch": 3}, "takes no batch"),
        ({"method": "aid-fp", "precision": 0.1}, "takes no precision"),
        ({"precision": -1.0}, "must be positive"),
        ({"method": "sid", "cross_batch": "some"}, "cross_batch"),
        ({"method": "sid", "eta": -1.0}, "eta"),
        ({"method": "sid", "map_step": -1.0}, "map_step"),
        # Nothing stands for a default but None, and nothing is cut off.
        ({"method": "sid", "lower_steps": 0}, "lower_steps=0 must be a whole number of at least 1"),
        ({"method": "sid", "linear_steps": 0}, "linear_steps=0 must be"),
        ({"method": "sid", "lower_steps": 1.5}, r"lower_steps=1\.5 must be a whole number"),
        ({"method": "sid", "batch": 0}, "batch=0 must be"),
        ({"method": "sid", "batch": -1}, "batch=-1 must be"),
        ({"method": "sid", "batch": 2.5}, r"batch=2\.5 must be"),
        ({"method": "sid", "replicates": 0}, "replicates=0 must be"),
        ({"method": "sid", "cross_batch": -1}, "cross_batch=-1 must be"),
        ({"method": "sid", "upper_batch": 0}, "upper_batch=0 must be"),
        ({"method": "sid", "eta": 0}, "eta=0 must be positive"),
        ({"method": "sid", "eta": (1.0, 0.0)}, r"eta=0\.0 must be positive"),
        ({"method": "sid", "eta": (1.0,)}, r"eta=\(1\.0,\) must be positive"),
        ({"method": "sid", "average": 1.5}, r"average=1\.5 must be from 0 to 1"),
        ({"method": "sid-svrg", "period": 0}, "period=0 must be"),
        ({"method": "aid-fp", "tolerance": float("nan")}, "tolerance=nan must be"),
        ({"precision": "high"}, "precision='high' must be positive"),
        ({"precision": 0.1, "max_samples": -5}, "max_samples=-5 must be"),
        # What says something of a precision alone is not passed over without one.
        ({"max_samples": 10}, "method='exact' takes no max_samples"),
        ({"method": "sid", "max_samples": 10}, "method='sid' without a precision takes no max_samples"),
        ({"method": "sid-svrg", "probability": 0.9}, "without a precision takes no probability"),
        ({"method": "aid-fp", "absolute": True}, "method='aid-fp' takes no absolute"),
        ({"precision": 0.1, "average": 0.5}, "method='sid' with a precision takes no average"),
        ({"method": "sid-svrg", "precision": 0.1, "replicates": 2}, "replicates=2 must be a whole number of at least 4"),
        ({"precision": 0.1, "contraction": 1.0}, r"contraction=1\.0 must be"),
        ({"precision": 0.1, "probability": 1.0}, r"probability=1\.0 must be"),
        ({"precision": 0.1, "absolute": "yes"}, "absolute='yes' must be"),
        ({"start": np.zeros(2)}, r"the start has shape \(2,\)"),
        ({"method": None}, "method=None must be one of its names"),
    ],
)
def test_arguments_that_make_no_sense(changes: Any, message: str, ridge: Ridge) -> None:
    with pytest.raises(ValueError, match=message):
        bilevel.hypergradient(ridge.lower(), ridge.upper(), **{"lam": ridge.lam, **changes})


@pytest.mark.parametrize("changes", [{"batch": 2.5}, {"batch": 0}, {"samples": 1}, {"tolerance": -1.0}])
def test_checks_refuse_what_makes_no_sense(changes: Any, ridge: Ridge) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))}="):
        bilevel.check(ridge.lower(), ridge.upper(), ridge.lam, **changes)


def test_a_loss_that_curves_downwards_names_arguments_that_exist(ridge: Ridge) -> None:
    lower = ridge.lower(hessian_product=lambda w, lam, rows, v: -v)
    with pytest.raises(RuntimeError, match=r"start elsewhere \(start=\)"):
        bilevel.hypergradient(lower, ridge.upper(), ridge.lam, method="sid")


def test_levels_that_make_no_sense(ridge: Ridge) -> None:
    with pytest.raises(ValueError, match=r"lower\.dim_w is 5, but upper\.dim_w is 2"):
        bilevel.hypergradient(ridge.lower(), HALF_SQUARE, ridge.lam)
    with pytest.raises(TypeError, match="must be an UpperObjective"):
        bilevel.hypergradient(ridge.lower(), ridge.lower(), ridge.lam)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_samples"):
        bilevel.hypergradient(ridge.lower(n_samples=0), ridge.upper(), ridge.lam)
    for changes in ({"n_samples": -3}, {"n_samples": 2.5}, {"dim_w": -1}, {"dim_w": 0}, {"dim_lam": 2.5}):
        name, value = next(iter(changes.items()))
        with pytest.raises(ValueError, match=f"{name}={value} must be a whole number of at least 1"):
            ridge.lower(**changes)
    for changes in ({"sampling": "odd"}, {"exact_mean": "no"}, {"rounding": "x"}, {"rounding": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))}="):
            ridge.lower(**changes)
    assert bilevel.hypergradient(ridge.lower(sampling="runs"), ridge.upper(), ridge.lam, method="sid").value.shape == (5,)
    with pytest.raises(TypeError, match=r"lower\.gradient must be a function"):
        bilevel.hypergradient(ridge.lower(gradient=3), ridge.upper(), ridge.lam)
    plain = bilevel.StochasticMap(
        lambda w, lam, _: 0.5 * w + lam, lambda w, lam, _, v: 0.5 * v, lambda w, lam, _, v: v, dim_w=2, dim_lam=2
    )
    with pytest.raises(ValueError, match="symmetric"):
        bilevel.hypergradient(plain, HALF_SQUARE, [1.0, 1.0], method="aid-cg")
    with pytest.raises(ValueError, match="symmetric='yes'"):
        bilevel.StochasticMap(plain.apply, plain.vjp_w, plain.vjp_lam, "yes", dim_w=2, dim_lam=2)  # type: ignore[arg-type]
    for function in (bilevel.hypergradient, bilevel.minimize):
        with pytest.raises(ValueError, match=r"map_step=1e-09 is the step along the gradient of a loss"):
            function(plain, HALF_SQUARE, [1.0, 1.0], map_step=1e-9)


def test_an_interrupt(ridge: Ridge) -> None:
    right = ridge.functions()["gradient"]
    sent: list[float] = []

    def slow(w: Any, lam: Any, rows: Any) -> Any:
        time.sleep(0.002)
        if not sent:
            sent.append(time.monotonic())
            threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGINT)).start()
        return right(w, lam, rows)

    with pytest.raises(KeyboardInterrupt):
        bilevel.hypergradient(ridge.lower(gradient=slow), ridge.upper(), ridge.lam, precision=1e-4)
    assert time.monotonic() - sent[0] < LONGEST


def test_error_bars_of_estimates_that_were_cut_short_cover(ridge: Ridge) -> None:
    # Features of very different size, so that solves are far from settled when the samples run out. Right bars are too small
    # for more than 3 of 10 with probability 1e-3; components share the bias and not the noise.
    spread = Ridge(n=2000)
    spread.X = spread.X * np.array([1, 1, 0.3, 0.2, 0.15])
    spread.lam = np.full(5, -3.0)
    _, expected, _ = spread.solve(spread.lam)
    above, outside, noise = 0, 0.0, 0.0
    for seed in range(10):
        with pytest.warns(ConvergenceWarning, match="precision was not reached"):
            found = bilevel.hypergradient(
                spread.lower(), spread.upper(), spread.lam, precision=1e-3, max_samples=1, random_state=seed
            )
        assert found.status == "step-limit" and "is allowed" in found.message
        above += np.linalg.norm(found.value - expected) > found.error
        outside += np.mean(abs(found.value - expected) > 2 * found.std_error) / 10
        spreads = found.replicates.std(axis=0, ddof=1) / len(found.replicates) ** 0.5
        noise += np.mean(abs(found.value - expected) > 2 * spreads) / 10
    assert above <= 3 and outside <= 0.2
    assert noise > 0.4, "the noise alone is no measure of the error here"


def test_what_nothing_bounds_is_said_to_be(ridge: Ridge) -> None:
    slow = bilevel.StochasticMap(
        lambda w, lam, seeds: 0.995 * w + lam + np.random.default_rng(seeds).normal(size=(len(seeds), 2)).mean(axis=0),
        lambda w, lam, seeds, v: 0.995 * v,
        lambda w, lam, seeds, v: v,
        dim_w=2,
        dim_lam=2,
        n_samples=None,
    )
    with pytest.warns(ConvergenceWarning, match="nothing bounds the error"):
        found = bilevel.hypergradient(slow, HALF_SQUARE, [1.0, -2.0], precision=0.01, max_samples=300_000)
    assert found.error == found.bias == np.inf and found.std_error[0] == np.inf and np.isfinite(found.value).all()
    # Of settings that were chosen without a precision nothing is known but the noise.
    noisy = bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, method="sid", replicates=3, lower_steps=8)
    assert np.isfinite(noisy.std_error).all() and "noise alone" in noisy.message


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_callback_ends_an_estimate_in_order(ridge: Ridge) -> None:
    stages: list[bilevel.Stage] = []
    found = bilevel.hypergradient(
        ridge.lower(), ridge.upper(), ridge.lam, precision=1e-4, callbacks=[lambda stage: True, stages.append]
    )
    assert found.status == "step-limit" and np.isfinite(found.value).all() and found.std_error is not None
    assert found.error is not None and found.allowed is not None and found.error > found.allowed
    assert stages[0].rows > 0

    def fails(stage: bilevel.Stage) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, precision=1e-4, callbacks=[fails])
    with pytest.raises(ValueError, match="callbacks=<function"):
        bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, precision=1e-4, callbacks=fails)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give precision="):
        bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, callbacks=[fails])


def test_other_threads_go_on(ridge: Ridge) -> None:
    ticks, done = 0, threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.wait(0.002):
            ticks += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        bilevel.hypergradient(ridge.lower(), ridge.upper(), ridge.lam, method="sid", replicates=4)
    finally:
        done.set()
        thread.join()
    assert ticks > 2

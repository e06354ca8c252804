"""What a fit costs beside the work of the library: memory and time."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bilevel import LogisticRegressionTuned
from bilevel._arrays import dataset


def peak(setup: str, how: str = 'cv=0.25') -> float:
    """Largest resident memory of a fit, in units of the matrix, beyond what was there before."""
    program = f"""
        import resource, sys
        import numpy as np
        from scipy import sparse
        import bilevel
        bilevel.RidgeTuned(penalties="shared").fit(np.eye(20), np.arange(20.0))
        generator = np.random.default_rng(0)
        {setup}
        y = generator.normal(size=X.shape[0])
        size = X.nbytes if hasattr(X, "nbytes") else X.data.nbytes + X.indices.nbytes
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bilevel.RidgeTuned(penalties="shared", max_iter=1, {how}).fit(X, y)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / size)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    return float(done.stdout)


SETUPS = [
    "X = generator.random((400_000, 40))",
    "X = generator.random((800_000, 40), dtype=np.float32)",
    "X = sparse.random_array((400_000, 1000), density=0.02, format='csr', rng=generator)",
]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is measured in units of Linux")


@ON_LINUX
@pytest.mark.parametrize("setup", SETUPS)
def test_shuffled_rows_are_not_copied(setup: str) -> None:
    # Nothing that grows like the matrix: targets and margins are a few numbers a row.
    assert peak(setup, "cv=0.25, shuffle=False, standardize=False") < 0.4


@ON_LINUX
@pytest.mark.parametrize("setup", SETUPS)
def test_the_rows_are_copied_once(setup: str) -> None:
    # When they are put into order, with some room for what is not the matrix. Any other copy would be one more.
    assert peak(setup) < 1.6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_used_where_they_lie(dtype: type) -> None:
    array = np.arange(12, dtype=dtype).reshape(4, 3)
    rows = sparse.csr_matrix(array)

    def address(X: Any) -> int:
        names = [f"x{j}" for j in range(X.shape[1])]
        return dataset(X, np.ones(4), classes=None, feature_names=names, groups=None, weights=None).address

    assert address(array) == array.ctypes.data
    assert address(np.asfortranarray(array)) != array.ctypes.data, "another order is copied"
    assert address(rows) == rows.data.ctypes.data


def test_rows_stay_while_they_are_used() -> None:
    # Whether the array lives is not the caller's concern.
    held = dataset(np.ones((1000, 50)), np.ones(1000), classes=None, feature_names=["x"] * 50, groups=None, weights=None)
    other = np.zeros((1000, 50))
    assert ctypes.c_double.from_address(held.address).value == 1.0 and other[0, 0] == 0.0


def test_the_layer_costs_little_time(heart: Any) -> None:
    X, y = np.tile(heart.data, (20, 1)), np.tile(heart.target, 20)
    shares = []
    for _ in range(5):
        began = time.perf_counter()
        model = LogisticRegressionTuned(penalties="per-feature").fit(X, y)
        whole = time.perf_counter() - began
        shares.append((whole - model.fit_seconds_) / whole)
    assert np.median(shares) < 0.1, shares

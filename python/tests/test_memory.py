"""What a fit costs beside the work of the library: memory and time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest

from bilevel import LogisticRegressionTuned


def peak(setup: str) -> float:
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
        bilevel.RidgeTuned(penalties="shared", cv=0.25, max_iter=1).fit(X, y)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / size)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is measured in units of Linux")
@pytest.mark.parametrize(
    "setup",
    [
        "X = generator.random((400_000, 40))",
        "X = generator.random((800_000, 40), dtype=np.float32)",
        "X = sparse.random_array((400_000, 1000), density=0.02, format='csr', rng=generator)",
    ],
)
def test_the_copies_are_those_of_the_library(setup: str) -> None:
    # One when it takes the rows over, one when it orders them, and some room for what is not the matrix. A copy that
    # Python made would be one more.
    assert peak(setup) < 2.6


def test_the_layer_costs_little_time(heart: Any) -> None:
    X, y = np.tile(heart.data, (20, 1)), np.tile(heart.target, 20)
    shares = []
    for _ in range(5):
        began = time.perf_counter()
        model = LogisticRegressionTuned(penalties="per-feature").fit(X, y)
        whole = time.perf_counter() - began
        shares.append((whole - model.fit_seconds_) / whole)
    assert np.median(shares) < 0.1, shares

"""Data that several files of tests use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bilevel


@pytest.fixture(scope="session")
def heart() -> Any:
    """Two classes, 270 rows, 13 features."""
    return bilevel.datasets.load("heart")


@pytest.fixture(scope="session")
def abalone() -> Any:
    """Numbers, 1000 rows, 8 features."""
    data = bilevel.datasets.load("abalone")
    rows = np.random.default_rng(0).permutation(len(data.target))[:1000]
    data.data, data.target = data.data[rows], data.target[rows]
    return data


@pytest.fixture(scope="session")
def digits() -> Any:
    """Ten classes, 600 rows, 16 features."""
    data = bilevel.datasets.load("pendigits")
    rows = np.random.default_rng(0).permutation(len(data.target))[:600]
    data.data, data.target = np.asarray(data.data)[rows], data.target[rows]
    return data


@pytest.fixture(scope="session")
def table() -> Any:
    """A frame with numbers and categories, 800 rows, and its target."""
    pd = pytest.importorskip("pandas")
    generator = np.random.default_rng(1)
    n = 800
    frame = pd.DataFrame(
        {
            "age": generator.integers(18, 80, n).astype(float),
            "hours": generator.normal(40, 10, n),
            "work": generator.choice(["state", "private", "self"], n),
            "town": generator.choice([f"town {i}" for i in range(12)], n),
        }
    )
    margin = 0.05 * (frame["age"] - 50) + (frame["work"] == "self") + generator.normal(0, 1, n)
    return frame, (margin > 0).to_numpy().astype(int)

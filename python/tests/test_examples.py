"""The examples run and show what they say."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def main(name: str, function: str = "main") -> Any:
    """Give the main function of an example, or another one."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))[function]


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'main("{path.stem}")' in text for path in EXAMPLES.glob("*.py"))


def test_ridge() -> None:
    found = main("ridge_numpy")()
    assert found["exact"] < 1e-10 and found["aid-cg"] < 1e-7 and found["sid"] < 0.2 and found["precise"] < 0.3
    assert found["gain"] > 0.01


def test_equilibrium_layer() -> None:
    pytest.importorskip("jax")
    found = main("equilibrium_layer_jax")()
    assert found["accuracy"] > 0.95 and found["loss"] < 0.5 * found["first_loss"]


def test_meta_learning(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    found = main("meta_learning_jax")(["--tasks", "80", "--iterations", "8"])
    assert found["after"] > found["before"] + 0.05, "learned parameters adapt better"


def test_pictures_of_omniglot(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    # Two IDX files, one of them compressed, as those of Omniglot are.
    labels = np.repeat(np.arange(4, dtype=np.uint8), 3)
    pictures = np.random.default_rng(0).integers(0, 2, size=(12, 105, 105)).astype(np.uint8)

    def content(array: Any) -> bytes:
        return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()

    (tmp_path / "images").write_bytes(content(pictures))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(content(labels)))
    data, characters = main("meta_learning_jax", "omniglot")(str(tmp_path / "images"), str(tmp_path / "labels.gz"))
    assert data.shape == (12, 14 * 14) and [list(rows) for rows in characters][1] == [3, 4, 5]
    block = pictures[2, 7:14, 14:21].mean()
    others = pictures[:, 7:14, 14:21].mean(axis=(1, 2))
    assert np.corrcoef(data[:, 14 + 2], others)[0, 1] > 0.999 and others[2] == block


def test_group_penalty() -> None:
    pytest.importorskip("torch")
    losses = main("group_penalty_torch")()
    assert losses["one a group"] < losses["one penalty"] - 0.05

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


def test_meta_learning() -> None:
    pytest.importorskip("jax")
    found = main("meta_learning_jax")(["--tasks", "100", "--iterations", "10"])
    assert found["after"] > found["before"] + 0.2, "learned features adapt better"
    assert found["after"] > found["nearest"] + 0.1, "and better than the simple way"


def test_pictures_of_omniglot(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    # Two IDX files, one of them compressed, as those of Omniglot are.
    labels = np.repeat(np.arange(4, dtype=np.uint8), 3)
    pictures = np.random.default_rng(0).integers(0, 2, size=(12, 105, 105)).astype(np.uint8)

    def content(array: Any) -> bytes:
        return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()

    (tmp_path / "images").write_bytes(content(pictures))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(content(labels)))
    omniglot = main("meta_learning_jax", "omniglot")
    data, characters = omniglot(str(tmp_path / "images"), str(tmp_path / "labels.gz"))
    assert data.shape == (12, 15 * 15) and [list(rows) for rows in characters][1] == [3, 4, 5]
    np.testing.assert_allclose((data**2).sum(axis=1), 1)
    # A picture that was turned is one of another character.
    turned, more = omniglot(str(tmp_path / "images"), str(tmp_path / "labels.gz"), turned=True)
    assert turned.shape == (48, 15 * 15) and len(more) == 16 and list(more[5]) == [15, 16, 17]
    quarter = np.rot90(turned[:12].reshape(12, 15, 15), axes=(1, 2)).reshape(12, -1)
    similar = (quarter * turned[12:24]).sum(axis=1)
    assert similar.min() > 0.8, similar


def test_group_penalty() -> None:
    pytest.importorskip("torch")
    losses = main("group_penalty_torch")()
    assert losses["one a group"] < losses["one penalty"] - 0.05

"""The examples in the documents run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import bilevel

ROOT = Path(__file__).parents[2]
MODULES = ["bilevel", *(f"bilevel.{m.name}" for m in pkgutil.iter_modules(bilevel.__path__) if m.name != "__main__")]
NEEDS = {"bilevel._jax": ["jax"], "python.md": ["jax"]}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name: str) -> None:
    for module in ("pandas", *NEEDS.get(name, ())):
        pytest.importorskip(module)
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert not failed


@pytest.mark.parametrize("path", [ROOT / "docs" / "python.md"], ids=lambda path: path.name)
def test_documents_run(path: Path) -> None:
    for module in ("pandas", *NEEDS.get(path.name, ())):
        pytest.importorskip(module)
    failed, tried = doctest.testfile(str(path), module_relative=False, optionflags=OPTIONS)
    assert tried > 20 and not failed


@pytest.mark.parametrize("path", sorted((ROOT / "python" / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_run(path: Path, tmp_path: Path) -> None:
    for module in ("matplotlib", "pandas", "ipykernel"):
        pytest.importorskip(module)
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook: Any = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without their outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in shown), "estimators show themselves"
    assert any("image/png" in output.get("data", {}) for output in shown), "there is a picture"

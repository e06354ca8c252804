"""The package around the estimators: data, study, command, pictures, documentation, types."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import bilevel

PACKAGE = Path(bilevel.__file__).parent


def test_data_sets(tmp_path: Path) -> None:
    for name in bilevel.datasets.names():
        if not name.startswith("adult"):
            found = bilevel.datasets.load(name)
            assert found.data.shape == (len(found.target), len(found.feature_names)) and len(found.groups)
    X, y = bilevel.datasets.load("heart", return_X_y=True)
    assert X.shape == (270, 13) and set(y) == {0, 1}
    with pytest.raises(ValueError, match="heart"):
        bilevel.datasets.load("nothing")
    path = tmp_path / "table.csv"
    path.write_text("size,kind,price\n1,a,3\n2,b,4\n3,a,9.5\n4,b,2\n")
    table = bilevel.datasets.read(path, target="price", dtype=np.float32)
    assert table.feature_names == ["size", "kind=a", "kind=b"] and list(table.groups) == ["size", "kind", "kind"]
    assert table.data.dtype == np.float32 and list(table.target) == [3, 4, 9.5, 2]
    with pytest.raises(ValueError, match="dtype='int32'"):
        bilevel.datasets.read(path, target="price", dtype="int32")
    for arguments in ({"impute": "no"}, {"n_features": 2.5}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
            bilevel.datasets.read(path, target="price", **arguments)
    path.write_text("size,price\n1,2\nx,\n")
    with pytest.raises(ValueError, match=r"table.csv"):
        bilevel.datasets.read(path)


def test_doubts_of_the_reader_are_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [f"{i},{i % 7},{i % 3}" for i in range(1, 201)]
    path.write_text("\n".join(["id,size,price", *rows]))
    with pytest.warns(UserWarning) as told:
        table = bilevel.datasets.read(path)
    assert [str(each.message) for each in told] == [f"{path}: {note}" for note in table.notes]
    assert table.notes == [
        "no column is named target, label, class or y: the last column, 'price', is taken for the target (choose with target=)",
        "column 'id' only numbers the rows: leave it out of the features",
    ]
    with pytest.warns(UserWarning, match="'id' only numbers the rows"):
        assert (bilevel.datasets.read(path, target=2).target == table.data[:, 1]).all()
    assert bilevel.datasets.read(path, target="price", like=table).notes == []
    assert not any(bilevel.datasets.load(name).notes for name in ("heart", "adult", "adult-test"))


def test_the_number_of_features_is_kept_to(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("1 1:2 2:3\n0 1:1\n1 2:4\n")
    assert bilevel.datasets.read(path, n_features=4).data.shape == (3, 4)
    with pytest.raises(ValueError, match=r"rows\.txt: the file has 2 features, more than n_features=1; raise it"):
        bilevel.datasets.read(path, n_features=1)
    path = tmp_path / "table.csv"
    path.write_text("size,price\n1,2\n3,5\n")
    with pytest.raises(ValueError, match=r"table\.csv: n_features=1 is for svmlight files, and this is a CSV file"):
        bilevel.datasets.read(path, target="price", n_features=1)


def test_what_is_said_names_arguments_that_exist(tmp_path: Path, heart: Any) -> None:
    told = []
    path = tmp_path / "table.csv"
    for text, arguments in [
        ("1\n2\n", {}),
        ("a,a,y\n1,2,3\n", {}),
        ("1,2\n3,4\n", {"target": 5}),
        ("a,y\n1e300,2\n3,4\n", {"dtype": np.float32}),
        ("a,y\n,2\n3,4\n", {}),
        ("a,y\n1,x\n3,x\n", {}),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError) as raised:
            bilevel.datasets.read(path, **arguments)
        told.append(str(raised.value))
    array = tmp_path / "x.npy"
    np.save(array, np.zeros((3, 2)))
    for arguments in ({}, {"target": "y"}):
        with pytest.raises(ValueError) as raised:
            bilevel.datasets.read(array, **arguments)
        told.append(str(raised.value))
    X, y = heart.data, heart.target.copy()
    y[:1] = 7
    with pytest.raises(ValueError) as raised:
        bilevel.LogisticRegressionTuned().fit(X, y)
    told.append(str(raised.value))
    assert "judge by X_val and y_val" in told[-1]
    # Without noise the least penalty is the best.
    model = bilevel.RidgeTuned(penalties="shared").fit(X, X @ np.ones(13))
    assert any("penalty_range allows smaller ones" in note for note in model.notes_)
    assert not [text for text in (*told, *model.notes_) if "--" in text]
    assert bilevel.RidgeTuned(penalties="shared").fit(X, y, X_val=X, y_val=y).criterion_ == "validation rows"


def test_a_test_set_has_the_features_of_its_training_set(tmp_path: Path) -> None:
    for name in ("adult", "pendigits"):
        train, test = bilevel.datasets.load(name), bilevel.datasets.load(f"{name}-test")
        assert test.data.shape == (len(test.target), train.data.shape[1]) and test.feature_names == train.feature_names
        assert (test.groups == train.groups).all() and (test.target_names == train.target_names).all()
    some = np.arange(2000)
    model = bilevel.LogisticRegressionTuned(penalties="shared").fit(train.data[some], train.target[some])
    assert model.score(test.data, test.target) > 0.85
    path = tmp_path / "train.csv"
    path.write_text("size,kind,price\n1,a,cheap\n,b,dear\n3,a,cheap\n5,b,dear\n")
    table = bilevel.datasets.read(path, impute=True, dtype=np.float32, target="price")
    other = tmp_path / "test.csv"
    other.write_text("price,kind,size\ndear,c,\ndear,b,2\n")
    # Columns by name, the mean of the training file, a category that it does not have, and its codes of the target.
    for like in (table, pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        found = bilevel.datasets.read(other, like=like)
        assert found.feature_names == table.feature_names == ["size", "kind=a", "kind=b"]
        assert found.data.tolist() == [[3, 0, 0], [2, 0, 1]] and found.data.dtype == np.float32
        assert found.target.tolist() == [1, 1] and list(found.target_names) == ["cheap", "dear"]
    for arguments, message in [
        ({"like": table, "dtype": np.float64}, "dtype is that of the other file"),
        ({"like": table, "impute": False}, "impute is that"),
        ({"like": path}, "like is a PosixPath"),
    ]:
        with pytest.raises(ValueError, match=message):
            bilevel.datasets.read(other, **arguments)
    other.write_text("kind,price\na,dear\n")
    with pytest.raises(ValueError, match=r"test\.csv.*size"):
        bilevel.datasets.read(other, like=table)
    other.write_text("size,kind,price\n1,a,free\n")
    with pytest.raises(ValueError, match="free"):
        bilevel.datasets.read(other, like=table)


def test_parquet_is_refused_by_builds_without_it(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"table\.parquet: .*Parquet.*; convert the file to CSV"):
        bilevel.datasets.read(path)


def test_study(heart: Any) -> None:
    pytest.importorskip("pandas")
    curves = bilevel.study(heart.data, heart.target, at=0.1, replicates=8, max_epochs=40)
    assert set(curves["method"]) == {"sid-constant", "sid-decreasing", "sid-svrg", "sid-saga", "aid-fp", "aid-cg"}
    assert (curves["mse"] >= 0).all() and len(curves.attrs["hypergradient"]) == 1
    for _, curve in curves.groupby(["method", "eta"], dropna=False):
        assert curve["t"].is_monotonic_increasing
        assert curve["relative_mse"].iloc[-1] < curve["relative_mse"].iloc[0]
    again = bilevel.study(heart.data, heart.target, at=0.1, replicates=8, max_epochs=40, n_jobs=1)
    assert (again["mse"] == curves["mse"]).all()
    with pytest.raises(ValueError, match="penalties"):
        bilevel.study(heart.data, heart.target, at=[0.1, 0.2])
    with pytest.raises(ValueError, match="positive"):
        bilevel.study(heart.data, heart.target, at=0.0)
    with pytest.raises(ValueError, match="replicates=0"):
        bilevel.study(heart.data, heart.target, at=0.1, replicates=0)
    # A label between those that are known must not be taken for one of them.
    with pytest.raises(ValueError, match="the class 1 of a validation row"):
        bilevel.study(heart.data, 2 * heart.target, at=0.1, X_val=heart.data, y_val=heart.target)
    with pytest.raises(ValueError, match="X_val has 2 columns, but X has 13"):
        bilevel.study(heart.data, heart.target, at=0.1, X_val=heart.data[:, :2], y_val=heart.target)
    X, y = heart.data, heart.target
    for arguments in (
        {"at": [0.1, "x"]},
        {"methods": 3},
        {"eta": -0.1},
        {"eta": ["x"]},
        {"batch": 2.5},
        {"cross_batch": "some"},
        {"cross_batch": 0},
        {"max_epochs": "long"},
        {"checkpoints": [1, 2.5]},
        {"replicates": 10**12},
        {"fit_intercept": "no"},
        {"standardize": 2},
        {"penalties": 1},
        {"loss": None},
        {"validation_fraction": 1.5},
        {"random_state": -1},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
            bilevel.study(X, y, **{"at": 0.1, **arguments})
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        bilevel.study(X, y, at=0.1, y_val=y)
    with pytest.raises(ValueError, match="give one of them"):
        bilevel.study(X, y, at=0.1, X_val=X, y_val=y, validation_fraction=0.5)
    one: Any = {"at": np.array(0.1), "methods": "sid-constant", "replicates": 2, "max_epochs": 5, "n_jobs": 1}
    alone = bilevel.study(X, y, eta=0.1, cross_batch="all", **one)
    assert set(alone["eta"]) == {0.1} and (alone["mse"] == bilevel.study(X, y, eta=[0.1], cross_batch=203, **one)["mse"]).all()
    assert list(bilevel.study(X, y, eta=0.1, checkpoints=np.array([2, 7]), **one)["t"]) == [2, 7]
    with pytest.raises(ValueError, match="no method comes to 9000 steps"):
        bilevel.study(X, y, eta=0.1, checkpoints=[2, 9000], **one)
    short = {"at": 0.1, "methods": "aid-fp", "max_epochs": 5}
    dense = bilevel.study(X[:200], y[:200], X_val=X[200:], y_val=y[200:], **short)
    mixed = bilevel.study(X[:200], y[:200], X_val=sparse.csr_array(X[200:]), y_val=y[200:], **short)
    assert (mixed["mse"] == dense["mse"]).all()
    with pytest.warns(RuntimeWarning, match="2 replicates failed .sid-constant with eta 3"):
        some = bilevel.study(
            X, y, at=0.01, methods=["sid-constant", "aid-fp"], eta=[0.1, 3.0], batch=1, replicates=2, max_epochs=100
        )
    assert set(some["method"]) == {"sid-constant", "aid-fp"} and len(some.attrs["failed"]) == 2


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bilevel", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    done = run("tune", str(PACKAGE / "data" / "heart_scale.gz"), "--quiet", "--penalties", "shared")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "bilevel-out" / "summary.json").read_text())
    assert summary["rows"] == 270
    missing = run("tune", "nothing.csv")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1
    assert "Usage" in run("--help").stdout


def test_pictures(heart: Any) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    groups = ["one", "two"] * 6 + ["one"]
    model = bilevel.LogisticRegressionTuned(penalties="per-feature", groups=groups).fit(heart.data, heart.target)
    curves, penalties = model.plot()
    assert len(curves.get_lines()) >= 4
    assert [label.get_text() for label in penalties.get_yticklabels()] in (["one", "two"], ["two", "one"])
    assert model.plot_penalties(curves) is curves


def test_how_it_looks_in_a_notebook(heart: Any) -> None:
    model = bilevel.RidgeTuned()
    assert "judged by" not in model._repr_html_()
    html = model.fit(heart.data, heart.target)._repr_html_()
    assert "judged by 5 folds" in html and "untuned" in html


PUBLIC = [name for name in bilevel.__all__ if name != "__version__"]


def documented_objects() -> list[str]:
    found = []
    for name in PUBLIC:
        value = getattr(bilevel, name)
        found.append(f"bilevel.{name}")
        if inspect.ismodule(value):
            found += [f"bilevel.{name}.{n}" for n, f in inspect.getmembers(value, inspect.isfunction) if n[0] != "_"]
        elif inspect.isclass(value):
            methods = inspect.getmembers(value, inspect.isfunction)
            found += [f"bilevel.{name}.{n}" for n, f in methods if n[0] != "_" and f.__module__.startswith("bilevel")]
    return found


@pytest.mark.parametrize("name", documented_objects())
def test_docstrings(name: str) -> None:
    validate = pytest.importorskip("numpydoc.validate").validate
    # A summary may end a class of named fields; examples and references are for those that need them.
    optional = {"GL01", "EX01", "SA01", "ES01", "RT02", "SA04", "YD01", "PR02"}
    if inspect.ismodule(getattr(bilevel, name.split(".")[1])) and name.count(".") == 1:
        optional |= {"SS06"}
    faults = [f"{code}: {text}" for code, text in validate(name)["errors"] if code not in optional]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", [n for n in PUBLIC if inspect.isclass(getattr(bilevel, n)) and n.endswith("Tuned")])
def test_every_parameter_and_attribute_is_documented(name: str, heart: Any) -> None:
    cls = getattr(bilevel, name)
    text = inspect.getdoc(cls) or ""
    assert "{" not in text.replace('{"', "").replace("{array-like", "").replace("{0", ""), "a part was not filled in"
    for parameter in inspect.signature(cls).parameters:
        assert f"\n{parameter} : " in text, parameter
    model = cls().fit(heart.data, heart.target)
    for attribute in vars(model):
        if attribute.endswith("_") and not attribute.startswith("_"):
            assert f"\n{attribute} : " in text, attribute


def test_types() -> None:
    pytest.importorskip("mypy")
    sources = Path(__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--config-file", str(sources / "pyproject.toml"), "--no-incremental"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=sources, check=False)
    assert done.returncode == 0, done.stdout


def test_types_help_who_uses_the_package(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        """
from typing import Any, assert_type
import bilevel

def function(w: Any, lam: Any) -> Any: ...

lower = bilevel.from_jax(function, kind="loss", w=0.0, lam=0.0)
assert_type(lower, bilevel.StochasticLoss)
assert_type(bilevel.from_torch(function, kind="map", w=0.0, lam=0.0), bilevel.StochasticMap)
upper = bilevel.from_torch(function, kind="objective", w=0.0, lam=0.0)
assert_type(upper, bilevel.UpperObjective)
assert_type(bilevel.hypergradient(lower, upper, 0.0), bilevel.Hypergradient)

def choose(kind: str) -> None:
    print(bilevel.from_jax(function, kind=kind, w=0.0, lam=0.0).dim_w)

bilevel.hypergradient(upper, lower, 0.0)
"""
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    # Levels that are swapped are found, and nothing else is.
    assert done.stdout.count("error:") == 2, done.stdout
    assert done.stdout.count('to "hypergradient" has incompatible type') == 2, done.stdout

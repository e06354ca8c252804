"""Time and test loss of the estimators beside those of scikit-learn that tune one strength on a grid.

    python python/compare/scikit_learn.py [DATA] [--repeat N] [--only NAME ...] [--limit SECONDS]

DATA is a folder with `svmlight/a9a.gz`, `svmlight/ijcnn1.bz2`, `svmlight/cpusmall.gz`, `csv/cal_housing.csv.gz` and
`20news/20news-counts.train.svm.xz`, and the files of their test rows. Without it, or where a file is missing, the bundled
data are used. Each fit runs in a process of its own, so that a limit of time holds for all alike; reading is not timed.
Prints a table in Markdown.

What is the same for both: 5 folds, stratified for classes; the mean log loss or squared error as criterion; two threads;
features brought to standard deviation 1 where they are not indicators, scaled features or texts. Texts are tf-idf weighted
and normalised, and stay as they are, which the tuned estimators are told by `standardize=False`. What differs: the grid has ten
values, from 1e-4 to 1e4; the tuned penalty is a minimum.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bilevel

JOBS = 2
GRID = np.logspace(-4, 4, 10)
BUNDLED = Path(bilevel.datasets.__file__).parent / "data"


def read(folder: Path, train: str, test: str | None = None, **arguments: Any) -> tuple[Any, ...]:
    data = bilevel.datasets.read(folder / train, **arguments)
    if test is None:
        return tuple(train_test_split(data.data, data.target, test_size=0.3, random_state=0))
    other = bilevel.datasets.read(folder / test, like=data)
    return data.data, other.data, data.target, other.target


def news(folder: Path) -> tuple[Any, ...]:
    train = bilevel.datasets.read(folder / "20news/20news-counts.train.svm.xz", n_features=130107)
    test = bilevel.datasets.read(folder / "20news/20news-counts.test.svm.xz", n_features=130107)
    weights = TfidfTransformer().fit(train.data)
    return weights.transform(train.data), weights.transform(test.data), train.target, test.target


# Of each set what is predicted, what the features are, and how it is read.
SETS: dict[str, tuple[str, str, Any]] = {
    "a9a": ("classes", "scaled", lambda folder: read(folder, "svmlight/a9a.gz", "svmlight/a9a.t.gz")),
    "ijcnn1": ("classes", "scaled", lambda folder: read(folder, "svmlight/ijcnn1.bz2", "svmlight/ijcnn1.t.bz2")),
    "cpusmall": ("numbers", "raw", lambda folder: read(folder, "svmlight/cpusmall.gz")),
    "cal_housing": ("numbers", "raw", lambda folder: read(folder, "csv/cal_housing.csv.gz")),
    "20 Newsgroups": ("classes", "texts", news),
    "a9a (bundled)": ("classes", "scaled", lambda _: read(BUNDLED, "a9a.gz")),
    "abalone (bundled)": ("numbers", "scaled", lambda _: read(BUNDLED, "abalone_scale.bz2")),
}


def models(kind: str, features: str) -> dict[str, Any]:
    """The estimators to compare; the first is the reference of the ratios."""
    prepare = [StandardScaler()] if features == "raw" else []
    # One scale for all words would make rare ones count as much as frequent ones.
    tuned: dict[str, Any] = {"n_jobs": JOBS, "standardize": features != "texts"}
    folds = KFold(5, shuffle=True, random_state=0)
    if kind == "classes":
        grid = LogisticRegressionCV(
            Cs=10, cv=5, n_jobs=JOBS, scoring="neg_log_loss", max_iter=1000, l1_ratios=(0,), use_legacy_attributes=False
        )
        return {
            "LogisticRegressionCV": make_pipeline(*prepare, grid),
            "LogisticRegressionTuned, shared": bilevel.LogisticRegressionTuned(penalties="shared", cv=5, **tuned),
            "LogisticRegressionTuned, auto": bilevel.LogisticRegressionTuned(cv=5, **tuned),
        }
    return {
        "RidgeCV, 5 folds": make_pipeline(*prepare, RidgeCV(GRID, cv=folds, scoring="neg_mean_squared_error")),
        "RidgeCV, leave one out": make_pipeline(*prepare, RidgeCV(GRID)),
        "RidgeTuned, shared": bilevel.RidgeTuned(penalties="shared", cv=folds, **tuned),
        "RidgeTuned, auto": bilevel.RidgeTuned(cv=folds, **tuned),
    }


def measure(name: str, folder: Path, model: str, repeat: int, answer: Any) -> None:
    kind, features, load = SETS[name]
    X, X_test, y, y_test = load(folder)
    estimator = models(kind, features)[model]
    seconds = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(repeat):
            began = time.perf_counter()
            estimator.fit(X, y)
            seconds.append(time.perf_counter() - began)
            if sum(seconds) > 60:
                break
    if kind == "classes":
        loss = log_loss(y_test, estimator.predict_proba(X_test), labels=np.unique(y))
    else:
        loss = float(np.mean((estimator.predict(X_test) - y_test) ** 2)) / 2
    found = getattr(estimator, "penalties_", "")
    score = (accuracy_score if kind == "classes" else r2_score)(y_test, estimator.predict(X_test))
    answer.put((X.shape, statistics.median(seconds), loss, score, found))


def within(limit: float, *arguments: Any) -> Any:
    """The figures of a fit, or None where the limit came first."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=measure, args=(*arguments, answer))
    process.start()
    began = time.monotonic()
    while time.monotonic() - began < limit and answer.empty() and process.is_alive():
        time.sleep(0.1)
    figures = None if answer.empty() else answer.get()
    process.kill()
    process.join()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path("."))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--limit", type=float, default=900.0)
    arguments = parser.parse_args()
    print("| data | estimator | seconds | time ratio | test loss | accuracy or R² |", flush=True)
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.only:
        kind, features, load = SETS[name]
        try:
            load(arguments.data)
        except ValueError as error:
            print(f"| {name} | not read: {error} | | | | |", flush=True)
            continue
        first = None
        for model in models(kind, features):
            figures = within(arguments.limit, name, arguments.data, model, arguments.repeat)
            if figures is None:
                print(f"| {name} | {model} | > {arguments.limit:.0f} | | | |", flush=True)
                continue
            (rows, columns), seconds, loss, score, found = figures
            first = first or seconds
            label = f"{model} ({found})" if model.endswith("auto") else model
            size = f"{name}, {rows} x {columns}"
            print(f"| {size} | {label} | {seconds:.3g} | {seconds / first:.2g} | {loss:.5g} | {score:.4f} |", flush=True)


if __name__ == "__main__":
    main()

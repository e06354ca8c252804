"""One strength by five folds: `LogisticRegressionCV` with ten values, and `bilevel tune --penalties shared`."""

import json
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

REPETITIONS = 3


def repeated(run):
    """The median of the seconds, and the last result."""
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def read(train, test):
    """Sparse features and labels of two svmlight files, of the same width."""
    features, labels = load_svmlight_file(str(train))
    return (features, labels), load_svmlight_file(str(test), n_features=features.shape[1])


def by_sklearn(train, test, jobs):
    """The mean loss on the test rows."""
    train, test = read(train, test)
    model = LogisticRegressionCV(Cs=10, cv=5, scoring="neg_log_loss", max_iter=1000, n_jobs=jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.fit(*train)
    return log_loss(test[1], model.predict_proba(test[0]))


def by_bilevel(command, train, test, folder):
    """The mean loss on the test rows, as the summary of the run has it."""
    arguments = ["tune", train, "--penalties", "shared", "--folds", "5", "--test", test, "--out", folder / "out"]
    subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads((folder / "out" / "summary.json").read_text())["test_loss"]


def measure(command, train, test):
    """`name: (seconds from files to test loss, test loss)`; a quarter of the rows is the test where none is given."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if test is None:
            features, labels = load_svmlight_file(str(train))
            parts = train_test_split(features, labels, test_size=0.25, random_state=0, stratify=labels)
            train, test = folder / "train.svm", folder / "test.svm"
            dump_svmlight_file(parts[0], parts[2], str(train), zero_based=False)
            dump_svmlight_file(parts[1], parts[3], str(test), zero_based=False)
        return {
            "bilevel tune --penalties shared --folds 5": repeated(lambda: by_bilevel(command, train, test, folder)),
            "LogisticRegressionCV, 10 values, 5 folds": repeated(lambda: by_sklearn(train, test, None)),
            "LogisticRegressionCV, the same, n_jobs=-1": repeated(lambda: by_sklearn(train, test, -1)),
        }

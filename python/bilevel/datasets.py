"""Small real data sets that come with the package, and files of one's own as arrays."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch

from bilevel import _core

_FILES = {
    "a9a": "a9a.gz",
    "abalone": "abalone_scale.bz2",
    "adult": "adult.csv.gz",
    "adult-test": "adult-test.csv.gz",
    "breast-cancer": "breast-cancer.gz",
    "german": "german.numer.gz",
    "heart": "heart_scale.gz",
    "mushrooms": "mushrooms.gz",
    "pendigits": "pendigits.gz",
    "pendigits-test": "pendigits.t.gz",
}
_FOLDER = Path(__file__).parent / "data"


def names() -> list[str]:
    """List the bundled data sets.

    Returns
    -------
    list of str
        Names for `load`.

    Examples
    --------
    >>> from bilevel import datasets
    >>> "heart" in datasets.names()
    True
    """
    return list(_FILES)


def load(name: str, *, return_X_y: bool = False) -> Any:
    """Load a bundled data set; sources and licences are in ``data/README.md`` of the package.

    Parameters
    ----------
    name : str
        One of `names`.
    return_X_y : bool, default=False
        Whether to return only features and target.

    Returns
    -------
    Bunch or tuple
        As `read` gives it, or ``(data, target)``.

    Examples
    --------
    >>> from bilevel import datasets
    >>> datasets.load("heart").data.shape
    (270, 13)
    """
    if name not in _FILES:
        raise ValueError(f"there is no data set {name!r}; the names are {', '.join(_FILES)}")
    found = read(_FOLDER / _FILES[name], impute=name.startswith("adult"))
    return (found.data, found.target) if return_X_y else found


def read(
    path: str | PathLike[str],
    *,
    target: str | None = None,
    labels: str | PathLike[str] | None = None,
    n_features: int | None = None,
    dtype: Any = np.float64,
    impute: bool = False,
) -> Any:
    """Read a data file of any format that the command reads: svmlight, CSV, NumPy or IDX, compressed or not.

    Categories become indicator columns, named ``column=value``.

    Parameters
    ----------
    path : str or path
        The file.
    target : str, default=None
        Name or number of the target column, where it cannot be told.
    labels : str or path, default=None
        A file with the target, where it is not in the first.
    n_features : int, default=None
        Number of features of an svmlight file, where the last ones may be absent from it.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Type of the features.
    impute : bool, default=False
        Whether to fill in missing values (means, or a category of its own) instead of refusing them.

    Returns
    -------
    Bunch
        With ``data`` (array, or CSR matrix where most entries are zero), ``target`` (numbers, or codes of
        ``target_names``), ``target_names``, ``feature_names`` and ``groups`` (the source column of each feature).
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float64 or numpy.float32")
    single = np.dtype(dtype) == np.float32
    record = _core.read(path, target=target, labels=labels, features=n_features, double=not single, impute=impute)
    x = record["x"]
    data: Any = x
    if isinstance(x, tuple):
        values, indices, indptr, columns = x
        data = sparse.csr_array((values, indices, indptr), shape=(len(indptr) - 1, columns))
    group_names = np.array(record["group_names"], dtype=object)
    classes = record["classes"]
    return Bunch(
        data=data,
        target=record["y"],
        target_names=None if classes is None else np.array(classes, dtype=object),
        feature_names=record["feature_names"],
        groups=group_names[record["groups"]],
    )

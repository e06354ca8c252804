"""Small real data sets that come with the package, and files of one's own as arrays."""

import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch

from bilevel import _core, _settings

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
_TRAINING = {"adult-test": "adult", "pendigits-test": "pendigits"}
"""The set whose model a test set is for."""
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

    A test set has the features and classes of its training set.

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
    >>> train, test = datasets.load("adult"), datasets.load("adult-test")
    >>> test.feature_names == train.feature_names
    True
    """
    if name not in _FILES:
        raise ValueError(f"there is no data set {name!r}; the names are {', '.join(_FILES)}")
    path = _FOLDER / _FILES[name]
    if name in _TRAINING:
        found = read(path, like=load(_TRAINING[name]))
    elif name == "adult":
        found = read(path, target="income", impute=True)
    else:
        found = read(path)
    return (found.data, found.target) if return_X_y else found


def read(
    path: str | PathLike[str],
    *,
    target: str | int | None = None,
    labels: str | PathLike[str] | None = None,
    n_features: int | None = None,
    dtype: Any = None,
    impute: bool | None = None,
    like: Any = None,
) -> Any:
    """Read a data file of any format that the command reads: svmlight, CSV, NumPy or IDX, compressed or not.

    Categories become indicator columns, named ``column=value``.

    Parameters
    ----------
    path : str or path
        The file.
    target : str or int, default=None
        Name or number (from 1) of the target column, where it cannot be told.
    labels : str or path, default=None
        A file with the target, where it is not in the first.
    n_features : int, default=None
        Number of features of an svmlight file, where the last ones may be absent from it. A file that has more is refused.
    dtype : {numpy.float64, numpy.float32}, default=None
        Type of the features, numpy.float64 by default.
    impute : bool, default=None
        Whether to fill in missing values (means, or a category of its own) instead of refusing them, as by default.
    like : Bunch, default=None
        What `read` or `load` gave for the training file, for a file that a model of it is to predict: both then have the same
        features and classes. Categories that the training file does not have are zero in all columns; means are those of the
        training file. `n_features`, `dtype` and `impute` are as they were there.

    Returns
    -------
    Bunch
        With ``data`` (array, or CSR matrix where most entries are zero), ``target`` (numbers, or codes of
        ``target_names``), ``target_names``, ``feature_names``, ``groups`` (the source column of each feature), ``encoding``
        (what `like` takes from it) and ``notes`` (columns that may not be what they were taken for, a sentence each).

    Warns
    -----
    UserWarning
        For each of the notes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from bilevel import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train, test = pathlib.Path(folder, "train.csv"), pathlib.Path(folder, "test.csv")
    ...     _ = train.write_text("town,price\\nRome,3\\nOslo,4.5\\nBonn,5\\n")
    ...     _ = test.write_text("price,town\\n4,Rome\\n3.5,Riga\\n")
    ...     table = datasets.read(train, target="price")
    ...     datasets.read(test, like=table).data
    array([[0., 0., 1.],
           [0., 0., 0.]])
    """
    if like is not None:
        for name, value in (("n_features", n_features), ("dtype", dtype), ("impute", impute)):
            if value is not None:
                raise ValueError(f"{name} is that of the other file, which like gives; leave it out")
        if not isinstance(getattr(like, "encoding", None), _core.Encoding):
            raise ValueError(f"like is a {type(like).__name__}; give what read or load returned for the training file")
    if n_features is not None:
        n_features = _settings.whole(n_features, "n_features")
    kind = np.dtype(np.float64 if dtype is None else dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float64 or numpy.float32")
    record = _core.read(
        path,
        target=target if target is None or isinstance(target, str) else str(_settings.whole(target, "target")),
        labels=labels,
        features=n_features,
        double=bool(kind == np.float64),
        impute=False if impute is None else _settings.flag(impute, "impute"),
        like=None if like is None else like.encoding,
    )
    x = record["x"]
    data: Any = x
    if isinstance(x, tuple):
        values, indices, indptr, columns = x
        data = sparse.csr_array((values, indices, indptr), shape=(len(indptr) - 1, columns))
    for note in record["notes"]:
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    group_names = np.array(record["group_names"], dtype=object)
    classes = record["classes"]
    return Bunch(
        data=data,
        target=record["y"],
        target_names=None if classes is None else np.array(classes, dtype=object),
        feature_names=record["feature_names"],
        groups=group_names[record["groups"]],
        encoding=record["encoding"],
        notes=record["notes"],
    )

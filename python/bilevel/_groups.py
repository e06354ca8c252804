"""Groups of features that share a penalty, and where they come from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt


class SourceColumns:
    """Group features by the column that they were made from, recognised by name.

    A feature belongs to the longest of the given columns that its name is, or begins with before an underscore or an
    equals sign, with or without what `ColumnTransformer` puts in front (``"onehot__"``). So the names that scikit-learn's
    encoders give are understood; the transformer must hand them on, by ``set_output(transform="pandas")``.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns of the original table.

    Examples
    --------
    >>> groups = SourceColumns(["age", "work", "work_hours"])
    >>> groups(["num__age", "cat__work_state", "cat__work_private", "num__work_hours"])
    ['age', 'work', 'work', 'work_hours']
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)

    def __call__(self, feature_names: Sequence[str]) -> list[str]:
        """Name the group of each feature; a feature of no known column is its own.

        Parameters
        ----------
        feature_names : sequence of str
            Names of the features.

        Returns
        -------
        list of str
            One name for each feature.
        """
        return [self._column(name) for name in feature_names]

    def __repr__(self) -> str:
        return f"SourceColumns({self.columns!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceColumns) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(tuple(self.columns))

    def _column(self, feature: str) -> str:
        parts = feature.split("__")
        # The first "__" may stand behind a transformer, or be part of the column.
        fits = [
            (name[len(column) :].count("__"), -len(column), column)
            for name in ("__".join(parts[first:]) for first in range(len(parts)))
            for column in self.columns
            if name == column or name.startswith((f"{column}_", f"{column}="))
        ]
        # A transformer may be called like a column, and then "__" stands behind that as well.
        return min(fits)[-1] if fits else feature


def column_groups(transformer: Any) -> list[str]:
    """Name the source column of each output of a fitted transformer.

    Parameters
    ----------
    transformer : ColumnTransformer, Pipeline or other transformer
        Fitted, with ``get_feature_names_out`` and ``feature_names_in_``.

    Returns
    -------
    list of str
        One name for each output, to be given as ``groups``.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> table = pd.DataFrame({"age": [30, 40, 50], "work": ["state", "private", "state"]})
    >>> columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["work"])).fit(table)
    >>> column_groups(columns)
    ['age', 'work', 'work']
    """
    if not hasattr(transformer, "feature_names_in_"):
        raise ValueError("the transformer knows no column names; fit it on a data frame")
    return SourceColumns([str(name) for name in transformer.feature_names_in_])(
        [str(name) for name in transformer.get_feature_names_out()]
    )


GroupsArgument: TypeAlias = (
    None | Sequence[Any] | npt.NDArray[Any] | Mapping[str, Any] | Callable[[Sequence[str]], Sequence[Any]]
)


def numbered(groups: GroupsArgument, feature_names: list[str]) -> tuple[npt.NDArray[np.uint32], list[str]] | None:
    """Number the groups in the order in which they appear.

    Parameters
    ----------
    groups : None, sequence, mapping or callable
        One label for each feature, a label for each feature by name (those left out are groups of their own; a Series of
        pandas whose index holds names is such a mapping), or what makes labels from the names. None takes what stands before
        an equals sign in the names, if there is one.
    feature_names : list of str
        Names of the features.

    Returns
    -------
    tuple or None
        The number of each feature's group and the names of the groups; None where each feature is its own.

    Raises
    ------
    ValueError
        Where there is not one label for each feature, or a name is unknown.
    """
    if _is_by_name(groups):
        groups = groups.to_dict()  # type: ignore[union-attr]
    if groups is None:
        labels: list[Any] = [name.split("=", 1)[0] for name in feature_names]
    elif callable(groups):
        labels = list(groups(feature_names))
    elif isinstance(groups, Mapping):
        unknown = [str(name) for name in groups if name not in set(feature_names)]
        if unknown:
            raise ValueError(f"groups names the feature {unknown[0]!r}, which there is none of; use the names of X")
        labels = [groups.get(name, name) for name in feature_names]
    elif isinstance(groups, Iterable) and not isinstance(groups, str) and np.ndim(groups) < 2:
        labels = list(groups)
    else:
        raise ValueError(f"groups={groups!r} must be one label for each feature, a label by name, or a function of the names")
    if len(labels) != len(feature_names):
        raise ValueError(f"groups has {len(labels)} labels for {len(feature_names)} features; give one for each")
    order: dict[str, int] = {}
    numbers = np.array([order.setdefault(str(label), len(order)) for label in labels], dtype=np.uint32)
    return None if len(order) == len(labels) else (numbers, list(order))


def _is_by_name(groups: Any) -> bool:
    """Tell a Series of pandas with names in its index, which another Series or a sequence has none of."""
    index = getattr(groups, "index", None)
    if np.ndim(groups) != 1 or not hasattr(groups, "to_dict") or index is None or callable(index):
        return False
    return bool(len(index)) and all(isinstance(name, str) for name in index)

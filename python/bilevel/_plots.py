"""Pictures of a fitted estimator, with matplotlib if it is there."""

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from bilevel._groups import numbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 30
"""Groups that are shown at most: those with the strongest and the weakest penalties."""


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib; pip install matplotlib") from error
    return pyplot


def _axes(ax: "Axes | None") -> "Axes":
    return _pyplot().subplots(layout="constrained")[1] if ax is None else ax


def side_by_side() -> "npt.NDArray[np.object_]":
    """Make a figure for two pictures.

    Returns
    -------
    ndarray of matplotlib Axes
        Two of them.
    """
    axes: npt.NDArray[np.object_] = _pyplot().subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
    return axes


def curves(estimator: Any, ax: "Axes | None" = None) -> "Axes":
    """Plot validation and training loss of every iteration, candidate by candidate.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    ax : matplotlib Axes or None
        Where to draw.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    check_is_fitted(estimator)
    ax = _axes(ax)
    start = 0
    shown: dict[str, Any] = {}
    for kind, group in groupby(estimator.history_, key=lambda row: row.penalties):
        rows = list(group)
        steps = np.arange(start, start + len(rows))
        start += len(rows)
        label = None if kind in shown else kind
        (line,) = ax.plot(steps, [row.validation_loss for row in rows], label=label, color=shown.get(kind))
        shown[kind] = line.get_color()
        ax.plot(steps, [row.train_loss for row in rows], color=shown[kind], linestyle=":")
    ax.set(xlabel="iteration", ylabel="validation loss (dotted: training)", title="while tuning")
    ax.legend()
    return ax


def penalties(estimator: Any, ax: "Axes | None" = None) -> "Axes":
    """Plot the penalties: one bar for each, or for the range and the median of each group.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    ax : matplotlib Axes or None
        Where to draw.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    check_is_fitted(estimator)
    ax = _axes(ax)
    names = [str(name) for name in estimator.hyperparameter_names_]
    groups = numbered(estimator.groups, names) if estimator.penalties_ == "per-feature" else None
    numbers, labels = (np.arange(len(names)), names) if groups is None else groups
    strengths = [np.exp(estimator.hyperparameters_[numbers == group]) for group in range(len(labels))]
    order = sorted(range(len(labels)), key=lambda group: float(np.median(strengths[group])))
    if len(order) > MOST_ROWS:
        order = order[: MOST_ROWS // 2] + order[-MOST_ROWS // 2 :]
    for row, group in enumerate(order):
        ax.plot([strengths[group].min(), strengths[group].max()], [row, row], color="0.7", linewidth=4)
        ax.plot(np.median(strengths[group]), row, "o", color="C0")
    ax.set_yticks(range(len(order)), [labels[group] for group in order])
    ax.set(xscale="log", xlabel="penalty", title=f"penalties, {estimator.penalties_}")
    return ax

"""A fitted estimator as a table for notebooks."""

from html import escape
from typing import Any


def summary(estimator: Any) -> str:
    """Describe what was found.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    str
        An HTML table of the candidates; empty before the fit.
    """
    if not hasattr(estimator, "penalty_path_"):
        return ""
    rows = "".join(
        f"<tr{' style=font-weight:bold' if each.chosen else ''}><td>{escape(each.label)}</td>"
        f"<td>{each.n_hyperparameters}</td><td>{each.train_loss:.5g}</td>"
        f"<td>{each.validation_loss:.5g} ± {each.validation_std_error:.2g}</td>"
        f"<td>{'' if each.monitor_loss is None else f'{each.monitor_loss:.5g}'}</td></tr>"
        for each in estimator.penalty_path_
    )
    head = "".join(f"<th>{name}</th>" for name in ("penalties", "number", "training", "validation", "monitor"))
    caption = f"{estimator.status_} after {estimator.n_iter_} steps, judged by {estimator.criterion_}"
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{rows}</table>"

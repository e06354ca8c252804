"""What a tuning leaves behind, as tuples with names that pandas and polars take as rows."""

from __future__ import annotations

from typing import NamedTuple

from bilevel import _core


class Iteration(NamedTuple):
    """One iteration of the upper level.

    Parameters
    ----------
    penalties : str
        Kind of penalty being tuned.
    law : str
        How freely it is tuned: ``"free"``, ``"shrinkage s"`` or ``"by relevance"``.
    iteration : int
        Number of the iteration of this candidate, from 0.
    seconds : float
        Seconds since the tuning began.
    validation_loss : float
        Loss on the rows that steer.
    train_loss : float
        Loss on the training rows.
    projected_gradient : float
        Largest component of the projected hypergradient.
    passes : float
        Passes over the training rows so far.
    """

    penalties: str
    law: str
    iteration: int
    seconds: float
    validation_loss: float
    train_loss: float
    projected_gradient: float
    passes: float

    def progress(self) -> tuple[str, float]:
        """Give what a person wants to see of it.

        Returns
        -------
        tuple of str and float
            What is being tuned, and the loss that is followed.
        """
        kind = self.penalties if self.law == "free" else f"{self.penalties}, {self.law}"
        return f"{kind}, ", self.validation_loss


class CleaningStep(NamedTuple):
    """One step of the weights of training rows.

    Parameters
    ----------
    iteration : int
        Its number; 0 is the start.
    seconds : float
        Seconds since the cleaning began.
    trusted_loss : float
        Mean loss on the trusted rows that steer.
    monitor_loss : float or None
        The same on the monitor rows, where there are any.
    mean_weight : float
        Mean weight of the rows.
    gradient : float
        Largest component of the hypergradient.
    passes : float
        Passes over the training rows so far.
    """

    iteration: int
    seconds: float
    trusted_loss: float
    monitor_loss: float | None
    mean_weight: float
    gradient: float
    passes: float

    def progress(self) -> tuple[str, float]:
        """Give what a person wants to see of it.

        Returns
        -------
        tuple of str and float
            Nothing, and the loss that is followed.
        """
        return "", self.trusted_loss


class Candidate(NamedTuple):
    """One setting of the penalties that was tuned and compared.

    Parameters
    ----------
    label : str
        What distinguishes it, in a few words.
    penalties : str
        Kind of penalty.
    law : str
        How freely the penalties were tuned.
    n_hyperparameters : int
        Number of hyperparameters.
    n_rows : int
        Number of rows that its fit is on: all, or those on which the candidates were compared, where a
        candidate was ruled out there and tuning it once more would have taken long.
    train_loss : float
        Mean loss on the training rows.
    validation_loss : float
        Mean loss on the rows that steered the tuning.
    validation_std_error : float
        Standard error of the validation loss, as that of a mean over independent rows.
    monitor_loss : float or None
        Mean loss on rows that did not steer, where there were such rows.
    monitor_std_error : float or None
        Standard error of the difference between this and the shared penalty's monitor loss.
    chosen : bool
        True for the one that the model was fitted with.
    """

    label: str
    penalties: str
    law: str
    n_hyperparameters: int
    n_rows: int
    train_loss: float
    validation_loss: float
    validation_std_error: float
    monitor_loss: float | None
    monitor_std_error: float | None
    chosen: bool


def candidate(record: _core.CandidateRecord) -> Candidate:
    """Make a candidate from what the core says of it.

    Parameters
    ----------
    record : dict
        One of the candidates in the record of a tuning.

    Returns
    -------
    Candidate
        The same with names.
    """
    error = record["validation_std_error"]
    return Candidate(
        label=record["label"],
        penalties=record["penalties"],
        law=record["law"],
        n_hyperparameters=record["hyperparameters"],
        n_rows=record["rows"],
        train_loss=record["train_loss"],
        validation_loss=record["validation_loss"],
        validation_std_error=float("nan") if error is None else error,
        monitor_loss=record["monitor_loss"],
        monitor_std_error=record["monitor_std_error"],
        chosen=record["chosen"],
    )

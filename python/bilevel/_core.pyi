"""Types of the extension module; the estimators are in the modules around it."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

__version__: str
STUDY_METHODS: list[str]

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.uint32]
Matrix: TypeAlias = npt.NDArray[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], int]
TraceValues: TypeAlias = tuple[str, str, int, float, float, float, float, float]
CleaningStepValues: TypeAlias = tuple[int, float, float, float | None, float, float, float]

StepValues: TypeAlias = tuple[int, float, float, Floats, int, float]
Start: TypeAlias = tuple[Floats, Floats | None] | None

class Dataset:
    """Rows of features with their target, names, groups and weights."""

    def __init__(
        self,
        x: Matrix,
        y: Floats | Codes,
        *,
        classes: Sequence[str],
        feature_names: Sequence[str],
        groups: Codes | None,
        group_names: Sequence[str],
        weights: Floats | None,
        shuffled: bool = ...,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def address(self) -> int: ...

class Encoding:
    """What was learned from a file and holds for others."""

    def __init__(self, text: str) -> None: ...
    def __getnewargs__(self) -> tuple[str]: ...

class Options(TypedDict):
    """How to tune."""

    loss: str
    penalties: str
    method: str
    criterion: Codes | int | float | None
    intercept: bool
    standardize: bool
    lambda_min: float | None
    lambda_max: float | None
    start: list[float] | None
    seed: int
    max_time: float | None
    max_iter: int
    tolerance: float

class CandidateRecord(TypedDict):
    """One setting of the penalties that was tried."""

    label: str
    penalties: str
    law: str
    hyperparameters: int
    rows: int
    train_loss: float
    validation_loss: float
    validation_std_error: float | None
    monitor_loss: float | None
    monitor_std_error: float | None
    chosen: bool

# "lambda" is a keyword, so this one cannot be a class.
TunedRecord = TypedDict(
    "TunedRecord",
    {
        "coef": Floats,
        "intercept": Floats,
        "loss": str,
        "delta": float | None,
        "status": str,
        "method": str,
        "penalties": str,
        "lambda": Floats,
        "lambda_names": list[str],
        "candidates": list[CandidateRecord],
        "trace": list[TraceValues],
        "criterion": str,
        "notes": list[str],
        "seconds": float,
        "passes": float,
    },
)

class CleanOptions(TypedDict):
    """How to clean."""

    loss: str
    penalty: float | None
    method: str
    start: str
    intercept: bool
    standardize: bool
    monitor: float
    seed: int
    max_time: float | None
    max_iter: int | None
    tolerance: float

class CleanedRecord(TypedDict):
    """Weights of the rows and the model they lead to."""

    coef: Floats
    intercept: Floats
    loss: str
    weights: Floats
    suspicious: Codes
    trusted_losses: Floats
    predicted: Codes
    probability: Floats
    penalty: float
    status: str
    method: str
    kept: int
    trace: list[CleaningStepValues]
    notes: list[str]
    seconds: float
    passes: float

class StudySettings(TypedDict):
    """What a study measures."""

    at: list[float]
    methods: list[str]
    etas: list[float]
    replicates: int
    batch: int
    cross_batch: int | None
    max_epochs: float
    checkpoints: list[int] | None

class StudyRecord(TypedDict):
    """The points of all curves, column by column."""

    method: list[str]
    eta: list[float | None]
    t: list[int]
    samples: list[float]
    epochs: list[float]
    seconds: list[float]
    mse: list[float]
    relative_mse: list[float]
    low: list[float]
    high: list[float]
    hypergradient: list[float]
    objective: float
    contraction: float
    failed: list[tuple[str, float | None, str]]

class EstimatorSettings(TypedDict):
    """How a hypergradient is computed."""

    method: str
    precision: tuple[str, float] | None
    probability: float
    max_rows: int | None
    lower_steps: int
    linear_steps: int
    batch: int
    cross_batch: int | None
    upper_batch: int | None
    eta: float | tuple[float, float]
    average: float
    period: int | None
    tolerance: float
    map_step: float | None
    contraction: float | None
    replicates: int
    seed: int

class PreciseRecord(TypedDict):
    """What is known of an estimate to a precision beside its value."""

    error: float
    allowed: float
    bias: float
    lower_steps: int
    batch: int
    replicates: Floats

class HypergradientRecord(TypedDict):
    """A hypergradient."""

    value: Floats
    std_error: Floats | None
    objective: float
    status: str
    message: str
    work: tuple[int, int, int, int, int]
    place: tuple[Floats, Floats] | None
    map_step: float | None
    precise: PreciseRecord | None

class LoopOptions(TypedDict):
    """How to minimise."""

    method: str
    low: Floats
    high: Floats
    max_iter: int
    max_time: float | None
    tolerance: float
    patience: int
    step_rule: str
    outer_step: float
    steps: tuple[float, float, float] | None
    batch: int

class MinimizeRecord(TypedDict):
    """How a minimisation ended."""

    lam: Floats
    w: Floats
    objective: float
    gradient: Floats | None
    iterations: int
    status: str
    message: str
    work: tuple[int, int, int, int, int]
    history: list[StepValues]
    seconds: float

class Sharpness(TypedDict):
    """How sharply functions are checked."""

    batch: int
    samples: int
    rounding: float
    tolerance: float
    seed: int

class FileRecord(TypedDict):
    """The contents of a file."""

    x: Matrix
    y: Floats | Codes | None
    classes: list[str] | None
    target_name: str | None
    feature_names: list[str]
    groups: Codes
    group_names: list[str]
    encoding: Encoding
    notes: list[str]

class Listener(Protocol):
    """What is told of a tuning."""

    def phase(self, text: str, /) -> None: ...
    def iteration(self, values: TraceValues, /) -> bool: ...

class CleanListener(Protocol):
    """What is told of a cleaning."""

    def phase(self, text: str, /) -> None: ...
    def iteration(self, values: CleaningStepValues, /) -> bool: ...

def clean(
    train: Dataset, trusted: Dataset, options: CleanOptions, threads: int, listener: CleanListener | None
) -> tuple[CleanedRecord, BaseException | None]: ...
def tune(
    train: Dataset, validation: Dataset | None, options: Options, threads: int, listener: Listener | None
) -> tuple[TunedRecord, BaseException | None]: ...
def study(
    train: Dataset,
    validation: Dataset | None,
    options: Options,
    settings: StudySettings,
    threads: int,
    listener: Callable[[int, int], object] | None,
) -> StudyRecord: ...
def hypergradient(
    lower: object,
    upper: object,
    lam: Floats,
    settings: EstimatorSettings,
    start: Start,
    threads: int,
    listener: Callable[[int, int, float, float, int], bool] | None,
) -> HypergradientRecord: ...
def minimize(
    lower: object,
    upper: object,
    lam: Floats,
    settings: EstimatorSettings,
    options: LoopOptions,
    start: Start,
    threads: int,
    listener: Callable[[int, float, float, Floats, int, float], bool] | None,
) -> MinimizeRecord: ...
def check(
    lower: object, upper: object, lam: Floats, settings: EstimatorSettings, sharpness: Sharpness, start: Start
) -> list[tuple[str, str, bool, float | None, str]]: ...
def read(
    path: str | PathLike[str],
    *,
    target: str | None = None,
    labels: str | PathLike[str] | None = None,
    features: int | None = None,
    double: bool = True,
    impute: bool = False,
    like: Encoding | None = None,
) -> FileRecord: ...
def command(arguments: list[str]) -> int: ...

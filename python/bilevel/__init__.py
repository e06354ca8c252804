"""Linear models whose penalties, one or thousands, are tuned by bilevel optimisation.

The penalties of a linear model are found by following the gradient of a validation loss in their logarithms (Grazzi,
Pontil and Salzo, AISTATS 2021), one for all weights or one per group, class or feature. The estimators behave as those
of scikit-learn do; the work is done by a library in Rust, without the interpreter lock.

Examples
--------
>>> import bilevel
>>> heart = bilevel.datasets.load("heart")
>>> model = bilevel.LogisticRegressionTuned().fit(heart.data, heart.target)
>>> model.status_
'converged'
>>> model.coef_.shape
(1, 13)
"""

from bilevel import datasets
from bilevel._check import Check, CheckReport, check
from bilevel._classifiers import LinearSVCTuned, LogisticRegressionTuned
from bilevel._cleaning import SampleWeightTuner, SuspiciousRow
from bilevel._core import __version__
from bilevel._estimates import Hypergradient, Stage, Work
from bilevel._groups import SourceColumns, column_groups
from bilevel._hypergradient import hypergradient
from bilevel._jax import from_jax
from bilevel._levels import StochasticLoss, StochasticMap, Structure, UpperObjective
from bilevel._minimize import MinimizeResult, UpperStep, minimize
from bilevel._progress import ProgressBar
from bilevel._records import Candidate, CleaningStep, Iteration
from bilevel._regressors import HuberTuned, PoissonTuned, RidgeTuned
from bilevel._study import study
from bilevel._torch import from_torch

__all__ = [
    "Candidate",
    "Check",
    "CheckReport",
    "CleaningStep",
    "HuberTuned",
    "Hypergradient",
    "Iteration",
    "LinearSVCTuned",
    "LogisticRegressionTuned",
    "MinimizeResult",
    "PoissonTuned",
    "ProgressBar",
    "RidgeTuned",
    "SampleWeightTuner",
    "SourceColumns",
    "Stage",
    "StochasticLoss",
    "StochasticMap",
    "Structure",
    "SuspiciousRow",
    "UpperObjective",
    "UpperStep",
    "Work",
    "__version__",
    "check",
    "column_groups",
    "datasets",
    "from_jax",
    "from_torch",
    "hypergradient",
    "minimize",
    "study",
]

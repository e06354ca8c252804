"""Parts of docstrings that all estimators share, written once."""

from textwrap import indent
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)

_PARTS = {
    "penalties": """\
penalties : {"auto", "shared", "per-group", "per-class", "per-feature"}, default="auto"
    How many penalties there are. ``"auto"`` tunes coarse to fine and keeps the finer only where rows that did not
    steer the tuning confirm it.
groups : None, sequence, mapping or callable, default=None
    Groups of features for ``"per-group"`` and ``"auto"``: one label for each feature; a label for some of them by
    name; or what makes labels from the names, such as `SourceColumns`. By default features are grouped by what
    stands before an equals sign in their names.
cv : None, int, float, splitter or iterable of splits, default=None
    What judges the penalties. None is 5 folds, or a quarter of more than 20 000 rows held out; an int the folds of
    scikit-learn; a float the fraction of the rows to hold out. Splits must make folds (each row is judged once, by
    a fit on all others), or there must be one split only: then its first part is fitted, also in the end.
method : {"auto", "exact", "aid-cg", "aid-fp", "sid-constant", "sid-decreasing", "sid-svrg", "sid-saga"}, \
default="auto"
    How hypergradients are computed.
precision : float, default=1e-5
    The tuning ends when the projected hypergradient is below this fraction of the validation loss.
fit_intercept : bool, default=True
    Whether to fit an intercept, which is never penalised.
standardize : bool, default=True
    Whether to bring features to standard deviation 1 while fitting (of sparse data only those that are measurements).
    Coefficients are those of the features as given either way.
shuffle : bool, default=True
    Whether to bring the rows into a random order with even shares of the classes, for which they are copied once. False is for
    rows that are in random order already: they are used where they lie, with ``standardize=False``. The first of them are then
    fitted where some are held out, the last ones judge.
penalty_range : tuple of float, default=None
    Smallest and largest penalty; by default 8e-7 and 3000 times the mean variance of the features.""",
    "class_weight": """\
class_weight : dict, "balanced" or None, default=None
    What the rows of each class count, times ``sample_weight``. ``"balanced"`` lets all classes count the same.""",
    "run": """\
max_iter : int, default=200
    Most steps of the penalties, for each candidate. The scan of the whole range before them and the first steps from several
    starts, of which the best goes on, are not counted; `history_` has them, too.
max_time : float, default=None
    Seconds after which the tuning ends with the best so far.
warm_start : bool, default=False
    Whether to begin with the penalties of the last fit instead of a scan of the whole range.
random_state : int, RandomState or None, default=0
    What the order of the rows and all samples follow from. The same number gives the same result to the last bit, on
    any number of threads; None another one each time.
n_jobs : int, default=None
    Number of threads. None is one per core, or as many as ``OMP_NUM_THREADS`` allows; -1 is one per core.
callbacks : sequence of callable, default=None
    Called with an `Iteration` after each step of the penalties, for which the tuning waits; True ends it with the best so
    far.
verbose : bool, default=False
    Whether to show a `ProgressBar`.""",
    "attributes": """\
hyperparameters_ : ndarray of shape (n_hyperparameters,)
    Log-penalties ``lambda``, in the scale of the fit.
hyperparameter_names_ : ndarray of shape (n_hyperparameters,)
    The feature, group or class that each belongs to, or ``"shared"``.
penalties_ : str
    The kind of penalty that was chosen.
penalty_path_ : list of Candidate
    What was tried, coarse to fine, with losses; the first is untuned.
history_ : list of Iteration
    Every step of the penalties.
status_ : str
    Why the tuning ended: ``"converged"``, ``"stalled"``, ``"iteration-limit"``, ``"time-limit"``, ``"interrupted"``.
n_iter_ : int
    Number of steps of the penalties.
validation_loss_ : float
    Mean loss on the rows that judged.
std_error_ : float
    Standard error of it, as that of a mean over independent rows; a row of weight 2 is one row.
criterion_ : str
    What judged the penalties, in words.
method_ : str
    How hypergradients were computed.
notes_ : list of str
    Remarks to be read.
fit_seconds_ : float
    Seconds of tuning.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, where `X` had names of type str.""",
}


def documented(cls: _Class) -> _Class:
    """Fill in the shared parts of a docstring.

    Parameters
    ----------
    cls : type
        A class whose docstring names them in braces, each on a line of its own.

    Returns
    -------
    type
        The same.
    """
    text = cls.__doc__ or ""
    for name, part in _PARTS.items():
        text = text.replace(f"    {{{name}}}", indent(part, "    "))
    cls.__doc__ = text
    return cls

"""Levels written in JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, overload

import numpy as np

from bilevel import _settings
from bilevel._autodiff import CHUNK, Derivatives, level, mean, rows_of
from bilevel._levels import Floats, Level, StochasticLoss, StochasticMap, Structure, UpperObjective


def _jax() -> Any:
    try:
        import jax
        import jax.flatten_util
    except ImportError as error:
        raise ImportError("from_jax needs JAX; pip install jax") from error
    return jax


def _precision(jax: Any, double: bool) -> contextlib.AbstractContextManager[Any]:
    """Double precision within; what the user has chosen without it."""
    if not double:
        return contextlib.nullcontext()
    manager: contextlib.AbstractContextManager[Any]
    if hasattr(jax, "enable_x64"):
        manager = jax.enable_x64(True)
    else:
        from jax.experimental import enable_x64

        manager = enable_x64()
    return manager


@overload
def from_jax(
    function: Callable[..., Any],
    *,
    kind: Literal["loss"],
    w: Any,
    lam: Any,
    data: Any = ...,
    simulates: bool = ...,
    double: bool = ...,
    chunk: int = ...,
    sampling: str = ...,
    symmetric: bool = ...,
) -> StochasticLoss: ...
@overload
def from_jax(
    function: Callable[..., Any],
    *,
    kind: Literal["map"],
    w: Any,
    lam: Any,
    data: Any = ...,
    simulates: bool = ...,
    double: bool = ...,
    chunk: int = ...,
    sampling: str = ...,
    symmetric: bool = ...,
) -> StochasticMap: ...
@overload
def from_jax(
    function: Callable[..., Any],
    *,
    kind: Literal["objective"],
    w: Any,
    lam: Any,
    data: Any = ...,
    simulates: bool = ...,
    double: bool = ...,
    chunk: int = ...,
    sampling: str = ...,
    symmetric: bool = ...,
) -> UpperObjective: ...
@overload
def from_jax(
    function: Callable[..., Any],
    *,
    kind: str,
    w: Any,
    lam: Any,
    data: Any = ...,
    simulates: bool = ...,
    double: bool = ...,
    chunk: int = ...,
    sampling: str = ...,
    symmetric: bool = ...,
) -> Level: ...
def from_jax(
    function: Callable[..., Any],
    *,
    kind: str,
    w: Any,
    lam: Any,
    data: Any = None,
    simulates: bool = False,
    double: bool = True,
    chunk: int = CHUNK,
    sampling: str = "rows",
    symmetric: bool = False,
) -> Level:
    """Make a level of a JAX function; its products are differentiated and compiled.

    Parameters
    ----------
    function : callable
        ``function(w, lam, batch)``, or ``function(w, lam)`` without `data`. It must be the mean over the rows of the batch,
        plus what does not depend on rows: a number for a loss or an objective, parameters like ``w`` for a map.
    kind : {"loss", "map", "objective"}
        Lower level as a loss, lower level as a map, or upper level.
    w : pytree
        Lower variable; only its structure, shapes and types matter.
    lam : pytree
        Upper variable, likewise.
    data : pytree of arrays, default=None
        The rows, along the first axis of every array. A batch has the same structure.
    simulates : bool, default=False
        Whether `function` takes an array of integer seeds in the place of the batch, for each of which it is to draw one
        element.
    double : bool, default=True
        Whether to compute in double precision, whatever JAX is set to elsewhere.
    chunk : int, default=65536
        Rows of the mean over everything that are evaluated at once.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        Independent rows, consecutive ones from a random start, or such blocks one behind the other.
    symmetric : bool, default=False
        Whether the derivative of a map in ``w`` is symmetric.

    Returns
    -------
    StochasticLoss, StochasticMap or UpperObjective
        The level. Functions of this package take ``w`` and ``lam`` as pytrees with it, and return them as pytrees of NumPy
        arrays.

    See Also
    --------
    from_torch : The same for PyTorch.

    Examples
    --------
    >>> import bilevel, jax.numpy as jnp
    >>> X, y = bilevel.datasets.load("heart", return_X_y=True)
    >>> def loss(w, lam, batch):
    ...     X, y = batch
    ...     margins = X @ w["coef"] + w["intercept"]
    ...     penalty = jnp.exp(lam["log_penalty"]) @ w["coef"] ** 2 / 2
    ...     return jnp.mean(jnp.logaddexp(0, margins) - y * margins) + penalty
    >>> def objective(w, lam, batch):
    ...     X, y = batch
    ...     margins = X @ w["coef"] + w["intercept"]
    ...     return jnp.mean(jnp.logaddexp(0, margins) - y * margins)
    >>> at = {"w": {"coef": jnp.zeros(13), "intercept": 0.0}, "lam": {"log_penalty": jnp.full(13, -3.0)}}
    >>> lower = bilevel.from_jax(loss, kind="loss", data=(X[:200], y[:200]), **at)
    >>> upper = bilevel.from_jax(objective, kind="objective", data=(X[200:], y[200:]), **at)
    >>> found = bilevel.hypergradient(lower, upper, at["lam"])
    >>> found.status, found.value["log_penalty"].shape
    ('converged', (13,))
    """
    jax = _jax()
    precision = partial(_precision, jax, double)
    with precision():
        w_like, lam_like, rows = (jax.tree.map(partial(_array, jax, double), tree) for tree in (w, lam, data))
        packed, w_structure, unravel_w = _structure(jax, precision, w_like, double)
        packed_lam, lam_structure, unravel_lam = _structure(jax, precision, lam_like, double)
    shapes = None if data is None else [leaf.shape for leaf in jax.tree.leaves(rows)]
    length, chunk = rows_of(shapes, simulates), _settings.whole(chunk, "chunk")

    def flat(w: Any, lam: Any, *batch: Any) -> Any:
        """Call the function with vectors."""
        found = function(unravel_w(w), unravel_lam(lam), *batch)
        return jax.flatten_util.ravel_pytree(found)[0] if kind == "map" else jax.numpy.asarray(found)

    types = (packed.dtype, packed_lam.dtype)
    run = partial(_evaluate, jax, precision, flat, rows, length, simulates, chunk, types)
    shared: dict[str, Any] = {
        "dim_w": packed.size,
        "dim_lam": packed_lam.size,
        "n_samples": None if simulates else 1 if length is None else length,
        "sampling": sampling,
        "rounding": float(np.finfo(np.result_type(packed.dtype, packed_lam.dtype)).eps),
        "w_structure": w_structure,
        "lam_structure": lam_structure,
    }

    return level(kind, run, _derivatives(jax), symmetric, shared)


def _derivatives(jax: Any) -> Derivatives:
    def slope(f: Any, w: Any, lam: Any, v: Any) -> Any:
        """Differentiate along v."""
        return jax.jvp(lambda w: f(w, lam), (w,), (v,))[1]

    def directions(f: Any, w: Any, lam: Any, v: Any) -> Any:
        products = jax.grad(partial(slope, f), argnums=(0, 1))(w, lam, v)
        return *jax.value_and_grad(f)(w, lam), *products

    def gradients(f: Any, w: Any, lam: Any) -> Any:
        value, both = jax.value_and_grad(f, argnums=(0, 1))(w, lam)
        return value, *both

    return Derivatives(
        gradient=lambda f, w, lam: jax.grad(f)(w, lam),
        gradient_lam=lambda f, w, lam: jax.grad(f, argnums=1)(w, lam),
        gradients=gradients,
        value_and_gradient=lambda f, w, lam: jax.value_and_grad(f)(w, lam),
        hessian_product=lambda f, w, lam, v: jax.grad(partial(slope, f))(w, lam, v),
        cross_product=lambda f, w, lam, v: jax.grad(partial(slope, f), argnums=1)(w, lam, v),
        directions=directions,
        vjp_w=lambda f, w, lam, v: jax.vjp(lambda w: f(w, lam), w)[1](v)[0],
        vjp_lam=lambda f, w, lam, v: jax.vjp(lambda lam: f(w, lam), lam)[1](v)[0],
    )


def _array(jax: Any, double: bool, leaf: Any) -> Any:
    array = jax.numpy.asarray(leaf)
    wide = double and jax.numpy.issubdtype(array.dtype, np.floating)
    # Numbers of Python would make the types of results depend on what they are combined with.
    return array.astype(np.float64 if wide else array.dtype)


def _structure(jax: Any, precision: Any, like: Any, double: bool) -> tuple[Any, Structure, Any]:
    packed, unravel = jax.flatten_util.ravel_pytree(like)
    if not jax.numpy.issubdtype(packed.dtype, np.floating):
        raise ValueError("w and lam must be made of floating-point numbers")
    structure, shapes = jax.tree.structure(like), [leaf.shape for leaf in jax.tree.leaves(like)]

    def pack(tree: Any) -> Floats:
        with precision():
            if jax.tree_util.treedef_is_leaf(structure) and isinstance(tree, (list, tuple)):
                tree = np.asarray(tree)
            if jax.tree.structure(tree) != structure:
                raise ValueError(f"parameters of the structure {jax.tree.structure(tree)} where {structure} is needed")
            arrays = jax.tree.map(partial(_array, jax, double), tree)
            if (found := [leaf.shape for leaf in jax.tree.leaves(arrays)]) != shapes:
                raise ValueError(f"parameters of the shapes {found} where {shapes} are needed")
            return np.asarray(jax.flatten_util.ravel_pytree(arrays)[0], dtype=np.float64)

    def unpack(vector: Floats) -> Any:
        with precision():
            # Of NumPy: arrays of JAX in double precision are trouble where JAX is set to single.
            return jax.tree.map(np.asarray, unravel(jax.numpy.asarray(vector, dtype=packed.dtype)))

    return packed, Structure(pack, unpack), unravel


def _evaluate(
    jax: Any,
    precision: Any,
    flat: Any,
    data: Any,
    length: int | None,
    simulates: bool,
    chunk: int,
    types: tuple[Any, Any],
    operation: Callable[..., Any],
) -> Callable[..., Any]:
    """Compile an operation on ``f(w, lam)``, the function on one batch, for samples as the core gives them."""

    @jax.jit
    def on(batch: Any, w: Any, lam: Any, *v: Any) -> Any:
        return operation(lambda w, lam: flat(w, lam, *batch), w, lam, *v)

    @jax.jit
    def rows(index: Any, data: Any, w: Any, lam: Any, *v: Any) -> Any:
        batch = jax.tree.map(lambda array: array[index], data)
        return operation(lambda w, lam: flat(w, lam, batch), w, lam, *v)

    def everything(*arguments: Any) -> Any:
        if length is None or length <= chunk:
            return on(() if length is None else (data,), *arguments)
        return mean(lambda part: rows(np.arange(part.start, part.stop), data, *arguments), length, chunk)

    def call(w: Any, lam: Any, sample: Any, *along: Any) -> Any:
        # No copy where they are of these types already.
        w, lam, *v = (x.astype(to, copy=False) for x, to in zip((w, lam, *along), (*types, types[0]), strict=False))
        with precision():
            if simulates:
                found = on((np.asarray(sample, dtype=np.uint32),), w, lam, *v)
            elif isinstance(sample, slice):
                whole = length is None or sample == slice(None)
                index = None if whole else np.arange(sample.start, sample.stop)
                found = everything(w, lam, *v) if index is None else rows(index, data, w, lam, *v)
            else:
                found = rows(sample, data, w, lam, *v)
            return jax.tree.map(np.asarray, found)

    return call

"""Levels written in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, overload

import numpy as np

from bilevel import _settings
from bilevel._autodiff import CHUNK, Derivatives, level, mean, rows_of
from bilevel._levels import Floats, Level, StochasticLoss, StochasticMap, Structure, UpperObjective


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("from_torch needs PyTorch; pip install torch") from error
    return torch


class BoundModule:
    """A module with given parameters, which are functions of nothing but the vector they came from.

    Parameters
    ----------
    module : torch.nn.Module
        The module, which is not changed.
    tensors : dict of Tensor
        The parameters that vary, by name.
    constants : dict of Tensor
        Buffers and parameters that do not.
    """

    def __init__(self, module: Any, tensors: dict[str, Any], constants: dict[str, Any]) -> None:
        self.module = module
        self._tensors = tensors
        self._constants = constants

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the module."""
        call = _torch().func.functional_call
        return call(self.module, {**self._constants, **self._tensors}, arguments, named)

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Give the parameters that vary, with their names.

        Yields
        ------
        tuple
            A name and a tensor.
        """
        yield from self._tensors.items()

    def parameters(self) -> Iterator[Any]:
        """Give the parameters that vary.

        Yields
        ------
        Tensor
            One after the other.
        """
        yield from self._tensors.values()


@overload
def from_torch(
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
def from_torch(
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
def from_torch(
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
def from_torch(
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
def from_torch(
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
    """Make a level of a PyTorch function; its products come from autograd.

    Parameters
    ----------
    function : callable
        ``function(w, lam, batch)``, or ``function(w, lam)`` without `data`. It must be the mean over the rows of the batch,
        plus what does not depend on rows: a tensor of one number for a loss or an objective, parameters like ``w`` for a
        map. It must be twice differentiable for a loss, and no dropout may be at work.
    kind : {"loss", "map", "objective"}
        Lower level as a loss, lower level as a map, or upper level.
    w : Tensor, dict, list, tuple or torch.nn.Module
        Lower variable; only its structure, shapes and types matter. For a module `function` is given a copy bound to the
        parameters that require gradients: it can be called, and it has ``parameters`` and ``named_parameters``. Outside,
        its parameters are a dictionary that ``load_state_dict(.., strict=False)`` takes.
    lam : Tensor, dict, list, tuple or torch.nn.Module
        Upper variable, likewise.
    data : Tensor, dict, list or tuple, default=None
        The rows, along the first axis of every tensor. A batch has the same structure.
    simulates : bool, default=False
        Whether `function` takes a tensor of integer seeds in the place of the batch, for each of which it is to draw one
        element.
    double : bool, default=True
        Whether to compute in double precision; modules are evaluated with parameters and buffers in it.
    chunk : int, default=65536
        Rows of the mean over everything that are evaluated at once.
    sampling : {"rows", "blocks", "runs"}, default="rows"
        Independent rows, consecutive ones from a random start, or such blocks one behind the other.
    symmetric : bool, default=False
        Whether the derivative of a map in ``w`` is symmetric.

    Returns
    -------
    StochasticLoss, StochasticMap or UpperObjective
        The level. Functions of this package take and return ``w`` and ``lam`` in their structure with it.

    See Also
    --------
    from_jax : The same for JAX.
    """
    torch = _torch()
    lower, upper = _Parameters(torch, w, double), _Parameters(torch, lam, double)
    rows = _map(torch, partial(_tensor, torch, double), data)
    shapes = None if data is None else [tuple(leaf.shape) for leaf in _leaves(torch, rows)]
    length, chunk = rows_of(shapes, simulates), _settings.whole(chunk, "chunk")

    def flat(w: Any, lam: Any, *batch: Any) -> Any:
        """Call the function with vectors."""
        found = function(lower.bind(w), upper.bind(lam), *batch)
        return lower.join(found) if kind == "map" else found.reshape(())

    run = partial(_evaluate, torch, flat, rows, length, simulates, chunk, (lower, upper))
    shared: dict[str, Any] = {
        "dim_w": lower.size,
        "dim_lam": upper.size,
        "n_samples": None if simulates else 1 if length is None else length,
        "sampling": sampling,
        "rounding": max(lower.rounding, upper.rounding),
        "w_structure": Structure(lower.pack, lower.unpack),
        "lam_structure": Structure(upper.pack, upper.unpack),
    }
    return level(kind, run, _derivatives(torch), symmetric, shared)


def _derivatives(torch: Any) -> Derivatives:
    gradient = partial(_gradient, torch)

    def slope(f: Any, w: Any, lam: Any, v: Any) -> Any:
        """Differentiate along v."""
        return gradient(f(w, lam), w, create=True)[0] @ v

    def directions(f: Any, w: Any, lam: Any, v: Any) -> Any:
        value = f(w, lam)
        along = gradient(value, w, create=True)[0]
        return value, along, *gradient(along @ v, w, lam)

    def gradients(f: Any, w: Any, lam: Any) -> Any:
        value = f(w, lam)
        return value, *gradient(value, w, lam)

    def value_and_gradient(f: Any, w: Any, lam: Any) -> Any:
        value = f(w, lam)
        return value, *gradient(value, w)

    return Derivatives(
        gradient=lambda f, w, lam: gradient(f(w, lam), w)[0],
        gradient_lam=lambda f, w, lam: gradient(f(w, lam), lam)[0],
        gradients=gradients,
        value_and_gradient=value_and_gradient,
        hessian_product=lambda f, w, lam, v: gradient(slope(f, w, lam, v), w)[0],
        cross_product=lambda f, w, lam, v: gradient(slope(f, w, lam, v), lam)[0],
        directions=directions,
        vjp_w=lambda f, w, lam, v: gradient(f(w, lam) @ v, w)[0],
        vjp_lam=lambda f, w, lam, v: gradient(f(w, lam) @ v, lam)[0],
    )


def _gradient(torch: Any, value: Any, *of: Any, create: bool = False) -> Any:
    """Differentiate; zeros where the value does not depend on the variables."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(x) for x in of)
    return torch.autograd.grad(value, of, create_graph=create, allow_unused=True, materialize_grads=True)


class _Parameters:
    """How parameters lie in a vector."""

    def __init__(self, torch: Any, like: Any, double: bool) -> None:
        self.torch = torch
        self.module = like if isinstance(like, torch.nn.Module) else None
        self.constants: dict[str, Any] = {}
        if self.module is not None:
            named = list(self.module.named_parameters())
            kept = [(name, p) for name, p in named if not p.requires_grad] + list(self.module.named_buffers())
            self.constants = {name: _tensor(torch, double, p.detach()) for name, p in kept}
            like = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.like = _map(torch, lambda leaf: torch.as_tensor(leaf).detach(), like)
        leaves = list(_leaves(torch, self.like))
        if not leaves or not all(leaf.is_floating_point() for leaf in leaves):
            raise ValueError("w and lam must be made of tensors of floating-point numbers")
        self.shapes = [leaf.shape for leaf in leaves]
        self.size = sum(leaf.numel() for leaf in leaves)
        types = [torch.float64 if double else leaf.dtype for leaf in leaves]
        self.dtype = types[0] if len(set(types)) == 1 else torch.float64
        self.rounding = float(torch.finfo(self.dtype).eps)
        self.device = leaves[0].device

    def _split(self, vector: Any) -> list[Any]:
        pieces = self.torch.split(vector, [shape.numel() for shape in self.shapes])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def bind(self, vector: Any) -> Any:
        """Arrange a tensor as the user's function takes it."""
        pieces = iter(self._split(vector))
        tree = _map(self.torch, lambda _: next(pieces), self.like)
        return tree if self.module is None else BoundModule(self.module, tree, self.constants)

    def join(self, tree: Any) -> Any:
        """Put tensors into one."""
        leaves = _leaves(self.torch, dict(tree.named_parameters()) if isinstance(tree, BoundModule) else tree)
        return self.torch.cat([leaf.reshape(-1) for leaf in leaves])

    def pack(self, tree: Any) -> Floats:
        """Put parameters into a vector of NumPy."""
        if isinstance(tree, self.torch.nn.Module):
            tree = {name: parameter for name, parameter in tree.named_parameters() if parameter.requires_grad}
        leaves = [self.torch.as_tensor(leaf).detach() for leaf in _leaves(self.torch, tree)]
        if [leaf.shape for leaf in leaves] != self.shapes:
            raise ValueError(f"parameters of the shapes {[tuple(leaf.shape) for leaf in leaves]} where "
                             f"{[tuple(shape) for shape in self.shapes]} are needed")
        packed: Floats = self.torch.cat([leaf.double().reshape(-1) for leaf in leaves]).cpu().numpy()
        return packed.copy()

    def unpack(self, vector: Floats) -> Any:
        """Put a vector of NumPy into parameters, of the types they came in."""
        pieces = iter(self._split(self.torch.from_numpy(np.array(vector))))
        return _map(self.torch, lambda leaf: next(pieces).to(leaf.device, leaf.dtype, copy=True), self.like)


def _tensor(torch: Any, double: bool, leaf: Any) -> Any:
    tensor = torch.as_tensor(leaf)
    return tensor.double() if double and tensor.is_floating_point() else tensor


def _leaves(torch: Any, tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _leaves(torch, value)
    elif isinstance(tree, (list, tuple)) and not _is_vector(tree):
        for value in tree:
            yield from _leaves(torch, value)
    elif tree is not None:
        yield tree


def _map(torch: Any, function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _map(torch, function, value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)) and not _is_vector(tree):
        return type(tree)([_map(torch, function, value) for value in tree])
    return None if tree is None else function(tree)


def _is_vector(tree: Any) -> bool:
    """Whether a list is meant as one tensor."""
    return bool(tree) and all(isinstance(value, (int, float)) for value in tree)


def _evaluate(
    torch: Any,
    flat: Any,
    data: Any,
    length: int | None,
    simulates: bool,
    chunk: int,
    parameters: tuple[_Parameters, _Parameters],
    operation: Callable[..., Any],
) -> Callable[..., Any]:
    """Prepare an operation on ``f(w, lam)``, the function on one batch, for samples as the core gives them."""
    lower, upper = parameters

    def variable(vector: Floats, of: _Parameters) -> Any:
        return torch.as_tensor(vector, dtype=of.dtype, device=of.device).requires_grad_()

    def on(batch: tuple[Any, ...], w: Floats, lam: Floats, *v: Floats) -> Any:
        along = [torch.as_tensor(x, dtype=lower.dtype, device=lower.device) for x in v]
        with torch.enable_grad():
            found = operation(
                lambda w, lam: flat(w, lam, *batch), variable(w, lower), variable(lam, upper), *along
            )
        several = isinstance(found, tuple)
        numbers = [x.detach().double().cpu().numpy() for x in (found if several else (found,))]
        return tuple(numbers) if several else numbers[0]

    def rows(index: Any, *arguments: Floats) -> Any:
        return on((_map(torch, lambda leaf: leaf[index], data),), *arguments)

    def call(w: Floats, lam: Floats, sample: Any, *v: Floats) -> Any:
        if simulates:
            return on((torch.from_numpy(sample),), w, lam, *v)
        if length is None:
            return on((), w, lam, *v)
        if not isinstance(sample, slice):
            return rows(torch.from_numpy(sample), w, lam, *v)
        if sample != slice(None) or length <= chunk:
            return rows(sample, w, lam, *v)
        return mean(lambda part: rows(part, w, lam, *v), length, chunk)

    return call

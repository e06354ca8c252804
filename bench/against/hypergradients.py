"""Milliseconds of one whole hypergradient, and its error: SID with 300 + 300 steps, AID-CG doubled to the same error."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from . import clock, data, with_jax, with_numpy
from .steps import has_torch

# As in crates/bilevel/benches/hypergradients.rs.
STRENGTH, STEPS, ETA, LARGEST = 0.1, 300, 30.0 / 300, 1 << 14


def measure(features, target):
    """`(name, method): (error, steps, median, quiet)`, times in milliseconds."""
    train, validation = data.split(features, target)
    strengths = np.full(train[0].shape[1], STRENGTH)
    strengths[-1] = 0
    truth = with_numpy.exact(train, validation, strengths)
    map_step = with_numpy.map_step(train[0], strengths)
    strengths = strengths.astype(np.float32)
    error = lambda value: float(np.linalg.norm(np.asarray(value) - truth) / np.linalg.norm(truth))
    on_device = jax.tree.map(jnp.asarray, (train, validation, strengths))
    sids = {
        "JAX": lambda: with_jax.sid(*on_device, map_step, ETA, jax.random.key(1), STEPS, True, False),
        "JAX, derivatives by hand": lambda: with_jax.sid(*on_device, map_step, ETA, jax.random.key(1), STEPS, True, True),
    }
    candidates = {(name, "SID"): lambda run=run: run().block_until_ready() for name, run in sids.items()}
    errors = {(name, "SID"): error(run()) for name, run in sids.items()}
    if has_torch():
        import torch

        from . import with_torch

        torch.manual_seed(1)
        tensors = jax.tree.map(torch.from_numpy, (train, validation, strengths))
        run = lambda: with_torch.sid(*tensors, float(map_step), ETA, STEPS)
        candidates["PyTorch", "SID"], errors["PyTorch", "SID"] = run, error(run())
    steps = dict.fromkeys(errors, STEPS)
    for count in itertools.takewhile(lambda count: count <= LARGEST, (2**k for k in itertools.count())):
        aid = lambda count=count: with_jax.aid_conjugate_gradient(*on_device, map_step, count).block_until_ready()
        reached = error(aid())
        if reached <= errors["JAX", "SID"]:
            break
    candidates["JAX", "AID-CG"], errors["JAX", "AID-CG"], steps["JAX", "AID-CG"] = aid, reached, count
    seconds = clock.measure(candidates)
    return {name: (errors[name], steps[name], *(1e3 * s for s in seconds[name])) for name in candidates}

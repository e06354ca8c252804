"""Microseconds of one step of SID on 64 rows, of the lower level and of the linear system."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from . import clock, with_jax, with_numpy

# As in crates/bilevel/benches/steps.rs.
LOG_STRENGTH, MAP_STEP, ETA = -2.0, 1e-3, 0.5
# Steps of a call: many for JAX, so that the cost of the call itself is spread over them.
JAX_STEPS, LOOP_STEPS = 1000, 64
# Relative difference in single precision after LOOP_STEPS steps.
TOLERANCE = 1e-4


def has_torch():
    return importlib.util.find_spec("torch") is not None


def agree(what, found, wanted):
    """Fails unless two implementations make the same of the same draws."""
    difference = np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)
    if not difference < TOLERANCE:
        raise SystemExit(f"{what} differs from NumPy by {difference:.1e}: the comparison would be of different things")


def measure(features, target):
    """`(name, level): (median, quiet)` in microseconds, after a check that all make the same steps."""
    n, p = features.shape
    strengths = np.full(p, np.exp(LOG_STRENGTH), np.float32)
    w, grad_w = np.full(p, 0.01, np.float32), np.full(p, 0.1, np.float32)
    settings = (strengths, MAP_STEP, ETA)
    drawn = np.random.default_rng(0).integers(0, n - with_numpy.BATCH + 1, LOOP_STEPS)
    on_device = [jnp.asarray(x) for x in (features, target, strengths)]
    w_device, grad_device = jnp.asarray(w), jnp.asarray(grad_w)
    key = jax.random.key(0)
    wanted = (
        with_numpy.lower_on(features, target, *settings, drawn),
        with_numpy.linear_on(features, target, *settings, drawn, w, grad_w),
    )
    for by_hand in (False, True):
        arguments = (*on_device, MAP_STEP, ETA, jnp.asarray(drawn))
        agree("JAX, lower", with_jax.lower_on(*arguments, by_hand), wanted[0])
        agree("JAX, linear", with_jax.linear_on(*arguments, w_device, grad_device, by_hand), wanted[1])

    candidates, steps = {}, {}

    def add(name, level, count, run):
        candidates[name, level], steps[name, level] = run, count

    def add_jax(name, blocks, by_hand):
        common = (*on_device, MAP_STEP, ETA, key)
        flags = dict(steps=JAX_STEPS, blocks=blocks, by_hand=by_hand)
        add(name, "lower", JAX_STEPS, lambda: with_jax.lower(*common, **flags).block_until_ready())
        run = lambda: with_jax.linear(*common, w_device, grad_device, **flags).block_until_ready()
        add(name, "linear", JAX_STEPS, run)

    add_jax("JAX, blocks", True, False)
    add_jax("JAX, blocks, derivatives by hand", True, True)
    add_jax("JAX, random rows", False, False)
    run = lambda: with_numpy.lower_on(features, target, *settings, drawn)
    add("NumPy, blocks", "lower", LOOP_STEPS, run)
    run = lambda: with_numpy.linear_on(features, target, *settings, drawn, w, grad_w)
    add("NumPy, blocks", "linear", LOOP_STEPS, run)
    if has_torch():
        import torch

        from . import with_torch

        common = (*[torch.from_numpy(x) for x in (features, target, strengths)], MAP_STEP, ETA, drawn.tolist())
        vectors = torch.from_numpy(w), torch.from_numpy(grad_w)
        agree("PyTorch, lower", with_torch.lower_on(*common), wanted[0])
        agree("PyTorch, linear", with_torch.linear_on(*common, *vectors), wanted[1])
        add("PyTorch, blocks", "lower", LOOP_STEPS, lambda: with_torch.lower_on(*common))
        add("PyTorch, blocks", "linear", LOOP_STEPS, lambda: with_torch.linear_on(*common, *vectors))
    seconds = clock.measure(candidates)
    return {name: tuple(s / steps[name] * 1e6 for s in both) for name, both in seconds.items()}

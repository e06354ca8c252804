"""SID and AID-CG in JAX: everything of a solve in one compiled call.

`by_hand` writes the derivatives of the logistic loss as one would in NumPy; otherwise JAX differentiates the loss.
A draw is the first row of a block (`dynamic_slice`), or an array of rows (a gather).
"""

from functools import partial

import jax
import jax.numpy as jnp

BATCH = 64


def loss(w, rows, target, strengths):
    """Mean logistic loss plus half the weighted squares of the weights."""
    margins = rows @ w
    return jnp.mean(jnp.logaddexp(0.0, margins) - target * margins) + 0.5 * jnp.sum(strengths * w * w)


def gradient(w, rows, target, strengths, by_hand):
    if not by_hand:
        return jax.grad(loss)(w, rows, target, strengths)
    return (jax.nn.sigmoid(rows @ w) - target) @ rows / len(target) + strengths * w


def hessian_product(w, v, rows, target, strengths, by_hand):
    if not by_hand:
        return jax.jvp(lambda w: jax.grad(loss)(w, rows, target, strengths), (w,), (v,))[1]
    probability = jax.nn.sigmoid(rows @ w)
    return (probability * (1 - probability) * (rows @ v)) @ rows / len(target) + strengths * v


def taken(features, target, draw):
    """The rows of a draw."""
    if draw.ndim == 0:
        return jax.lax.dynamic_slice_in_dim(features, draw, BATCH), jax.lax.dynamic_slice_in_dim(target, draw, BATCH)
    return features[draw], target[draw]


def draws(key, rows, steps, blocks):
    """Blocks that start anywhere, or independent rows."""
    if blocks:
        return jax.random.randint(key, (steps,), 0, rows - BATCH + 1)
    return jax.random.randint(key, (steps, BATCH), 0, rows)


@partial(jax.jit, static_argnames="by_hand")
def lower_on(features, target, strengths, map_step, eta, drawn, by_hand):
    """`w_t` after one step for each draw, from zero."""

    def step(w, draw):
        return w - eta * map_step * gradient(w, *taken(features, target, draw), strengths, by_hand), None

    return jax.lax.scan(step, jnp.zeros(features.shape[1], features.dtype), drawn)[0]


@partial(jax.jit, static_argnames="by_hand")
def linear_on(features, target, strengths, map_step, eta, drawn, w, grad_w, by_hand):
    """`v_k` after one step for each draw, from zero."""

    def step(v, draw):
        product = hessian_product(w, v, *taken(features, target, draw), strengths, by_hand)
        return v + eta * (grad_w - map_step * product), None

    return jax.lax.scan(step, jnp.zeros(features.shape[1], features.dtype), drawn)[0]


@partial(jax.jit, static_argnames=("steps", "blocks", "by_hand"))
def lower(features, target, strengths, map_step, eta, key, steps, blocks, by_hand):
    drawn = draws(key, len(target), steps, blocks)
    return lower_on(features, target, strengths, map_step, eta, drawn, by_hand)


@partial(jax.jit, static_argnames=("steps", "blocks", "by_hand"))
def linear(features, target, strengths, map_step, eta, key, w, grad_w, steps, blocks, by_hand):
    drawn = draws(key, len(target), steps, blocks)
    return linear_on(features, target, strengths, map_step, eta, drawn, w, grad_w, by_hand)


def upper_gradient(w, validation):
    """Gradient of the mean loss on the rows that judge."""
    return gradient(w, *validation, 0.0, True)


@partial(jax.jit, static_argnames=("steps", "blocks", "by_hand"))
def sid(train, validation, strengths, map_step, eta, key, steps, blocks, by_hand):
    """The hypergradient in the logarithms of the strengths, from `steps` steps in both solves."""
    first, second = jax.random.split(key)
    w = lower(*train, strengths, map_step, eta, first, steps, blocks, by_hand)
    grad_w = upper_gradient(w, validation)
    v = linear(*train, strengths, map_step, eta, second, w, grad_w, steps, blocks, by_hand)
    return -map_step * strengths * w * v


@partial(jax.jit, static_argnames="steps")
def aid_conjugate_gradient(train, validation, strengths, map_step, steps):
    """`steps` gradient steps on all rows, then as many of conjugate gradients."""
    zeros = jnp.zeros(train[0].shape[1], train[0].dtype)
    w = jax.lax.fori_loop(0, steps, lambda _, w: w - map_step * gradient(w, *train, strengths, True), zeros)
    product = lambda v: hessian_product(w, v, *train, strengths, True)
    grad_w = upper_gradient(w, validation)
    u = jax.scipy.sparse.linalg.cg(product, grad_w, tol=0.0, atol=0.0, maxiter=steps)[0]
    return -strengths * w * u

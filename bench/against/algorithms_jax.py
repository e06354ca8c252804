"""Stochastic bilevel algorithms in JAX: one compiled `lax.scan` a call, single precision, contiguous blocks of 64 rows.

A problem is two functions `(w, lam, first, size) -> mean loss of the rows from first on`; all derivatives are JAX's own. An algorithm is
a function from the state to the next one. The formulas are those of docs/algorithms.md.
"""

import time
from functools import partial
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

BATCH = 64
TERMS = 10  # of a series, and steps of an inner loop
STEPS = (1e-3, 1e-3, 1e-3)  # of w, v and lambda: short, as it is the rate that is measured


class Problem(NamedTuple):
    lower: Callable
    upper: Callable
    rows: tuple  # of the lower and of the upper level
    w: jax.Array
    lam: jax.Array


def rows_of(arrays, first, size):
    return [jax.lax.dynamic_slice_in_dim(array, first, size) for array in arrays]


def linear_model(train, valid, penalties):
    """Logistic loss for one column of targets, else softmax; penalties `exp(lam)` for each feature or each class."""
    (x, y), outputs = train, train[1].shape[1]
    shape = (x.shape[1], outputs)

    def loss(w, arrays, first, size):
        x, y = rows_of(arrays, first, size)
        margins = x @ w.reshape(shape)
        both = jnp.logaddexp(0.0, margins)[:, 0] if outputs == 1 else jax.nn.logsumexp(margins, axis=1)
        return jnp.mean(both - jnp.sum(y * margins, axis=1))

    def lower(w, lam, first, size):
        strengths = jnp.exp(lam)[:, None] if penalties == "per-feature" else jnp.exp(lam)[None, :]
        return loss(w, train, first, size) + 0.5 * jnp.sum(strengths * w.reshape(shape) ** 2)

    lam = jnp.full(shape[0] if penalties == "per-feature" else outputs, jnp.log(0.1))
    return Problem(lower, lambda w, lam, *at: loss(w, valid, *at), (len(x), len(valid[0])), jnp.zeros(shape[0] * outputs), lam)


def cleaning(train, valid):
    """Softmax with a weight for each training row, the sigmoid of its hyperparameter, and the penalty `0.2 |w|^2`."""
    shape = (train[0].shape[1], train[1].shape[1])

    def losses(w, arrays, first, size):
        x, y = rows_of(arrays, first, size)
        margins = x @ w.reshape(shape)
        return jax.nn.logsumexp(margins, axis=1) - jnp.sum(y * margins, axis=1)

    def lower(w, lam, first, size):
        weights = jax.nn.sigmoid(jax.lax.dynamic_slice_in_dim(lam, first, size))
        return jnp.mean(weights * losses(w, train, first, size)) + 0.2 * jnp.sum(w**2)

    upper = lambda w, lam, *at: jnp.mean(losses(w, valid, *at))
    return Problem(lower, upper, (len(train[0]), len(valid[0])), jnp.zeros(shape[0] * shape[1]), jnp.zeros(len(train[0])))


def quadratic(rows, dim, hyperparameters, key=jax.random.key(0)):
    """`1/2 w'A_i w - b_i'w - w'B_i lam` below, `1/2 |w - c_j|^2 + 0.05 |lam|^2` above."""
    a, b, c = (jax.random.normal(k, s) / dim for k, s in zip(jax.random.split(key, 3), [(rows, dim, dim), (rows, dim), (rows, dim)]))
    a = 0.5 * (a + a.transpose(0, 2, 1)) + 0.5 * jnp.eye(dim)
    mixed = jax.random.normal(key, (rows, dim, hyperparameters)) / dim

    def lower(w, lam, first, size):
        a_i, b_i, mixed_i = rows_of((a, b, mixed), first, size)
        return jnp.mean(0.5 * (a_i @ w) @ w - b_i @ w - (mixed_i @ lam) @ w)

    def upper(w, lam, first, size):
        return jnp.mean(0.5 * jnp.sum((w - rows_of((c,), first, size)[0]) ** 2, axis=1)) + 0.05 * lam @ lam

    return Problem(lower, upper, (rows, rows), jnp.zeros(dim), jnp.zeros(hyperparameters))


def fields(problem):
    """The derivatives that the algorithms are made of, on `size` rows from `first` on."""

    def gradient(w, lam, first, size=BATCH):
        return jax.grad(problem.lower)(w, lam, first, size)

    def hessian(w, lam, v, first):
        return jax.jvp(lambda w: gradient(w, lam, first), (w,), (v,))[1]

    def cross(w, lam, v, first):
        return jax.vjp(lambda lam: gradient(w, lam, first), lam)[1](v)[0]

    def upper(w, lam, first, size=BATCH):
        return jax.grad(problem.upper, argnums=(0, 1))(w, lam, first, size)

    def directions(x, i, j, sizes=(BATCH, BATCH)):
        w, v, lam = x
        d_w, pull = jax.vjp(lambda w, lam: gradient(w, lam, i, sizes[0]), w, lam)
        product, mixed = pull(v)
        of_w, of_lam = upper(w, lam, j, sizes[1])
        return d_w, product - of_w, of_lam - mixed

    return gradient, hessian, cross, upper, directions


def add(x, d, factor=1.0):
    return jax.tree.map(lambda x, d: x + factor * d, x, d)


def moved(x, d, steps=STEPS):
    return tuple(x - step * d for x, d, step in zip(x, d, steps))


def algorithm(name, problem):
    """`(state, step)`: the memory at the start, and `step(x, memory, t, key)`, `x = (w, v, lam)`."""
    gradient, hessian, cross, upper, directions = fields(problem)
    n, m = problem.rows
    zeros = (jnp.zeros_like(problem.w), jnp.zeros_like(problem.w), jnp.zeros_like(problem.lam))

    def draws(key, count=2):
        keys = jax.random.split(key, count)
        return [jax.random.randint(k, (), 0, (m if at == 1 else n) - BATCH + 1) for at, k in enumerate(keys)]

    def soba(x, memory, t, key):
        a, b = (1.0 + t) ** -0.4, (1.0 + t) ** -0.6
        return moved(x, directions(x, *draws(key)), (a * STEPS[0], a * STEPS[1], b * STEPS[2])), memory

    blocks = (n // BATCH, m // BATCH)

    def saba(x, memory, t, key):
        """Directions of both levels, each remembered for its blocks."""
        w, v, lam = x
        k = jax.random.split(key)
        i, j = (jax.random.randint(key, (), 0, count) for key, count in zip(k, blocks))
        d_w, pull = jax.vjp(lambda w, lam: gradient(w, lam, i * BATCH), w, lam)
        fresh = (jnp.concatenate([d_w, *pull(v)]), jnp.concatenate(upper(w, lam, j * BATCH)))
        estimates, remembered = [], []
        for (table, mean), new, at in zip(memory, fresh, (i, j)):
            change = new - table[at]
            estimates.append(change + mean)
            remembered.append((table.at[at].set(new), mean + change / len(table)))
        d = len(w)
        of_lower, of_upper = estimates
        direction = (of_lower[:d], of_lower[d : 2 * d] - of_upper[:d], of_upper[d:] - of_lower[2 * d :])
        return moved(x, direction), tuple(remembered)

    period = max(1, -(-(n + m) // (2 * BATCH)))

    def srba(x, memory, t, key):
        before, d = memory
        i, j = draws(key)
        whole = lambda: directions(x, 0, 0, (n, m))
        change = lambda: add(d, add(directions(x, i, j), directions(before, i, j), -1.0))
        d = jax.lax.cond(t % period == 0, whole, change)
        return moved(x, d), (x, d)

    def lower_steps(w, lam, starts):
        return jax.lax.scan(lambda w, i: (w - STEPS[0] * gradient(w, lam, i), None), w, starts)[0]

    def many(key):
        return jax.random.randint(key, (TERMS,), 0, n - BATCH + 1)

    def series(w, lam, b, key):
        def term(carry, i):
            power, total = carry
            power = power - STEPS[1] * hessian(w, lam, power, i)
            return (power, total + power), None

        return STEPS[1] * jax.lax.scan(term, (b, b), many(key))[0][1]

    def random_term(w, lam, b, key):
        starts = many(key)
        step = lambda q, power: power - STEPS[1] * hessian(w, lam, power, starts[q])
        return TERMS * STEPS[1] * jax.lax.fori_loop(0, jax.random.randint(key, (), 0, TERMS), step, b)

    def stocbio(x, memory, t, key):
        w, _, lam = x
        keys = jax.random.split(key, 3)
        w = lower_steps(w, lam, many(keys[0]))
        i, j = draws(keys[1])
        of_w, of_lam = upper(w, lam, j)
        v = series(w, lam, of_w, keys[2])
        return (w, v, lam - STEPS[2] * (of_lam - cross(w, lam, v, i))), memory

    def amigo(x, memory, t, key):
        w, v, lam = x
        keys = jax.random.split(key, 3)
        w = lower_steps(w, lam, many(keys[0]))
        i, j = draws(keys[1])
        of_w, of_lam = upper(w, lam, j)
        v = jax.lax.scan(lambda v, i: (v - STEPS[1] * (hessian(w, lam, v, i) - of_w), None), v, many(keys[2]))[0]
        return (w, v, lam - STEPS[2] * (of_lam - cross(w, lam, v, i))), memory

    def storm(adjoint):
        def step(x, memory, t, key):
            before, d = memory
            keys = jax.random.split(key)
            i, j = draws(keys[0])

            def at(x):
                w, _, lam = x
                of_w, of_lam = upper(w, lam, j)
                v = adjoint(w, lam, of_w, keys[1])
                return gradient(w, lam, i), jnp.zeros_like(v), of_lam - cross(w, lam, v, i)

            fall = (1.0 + t) ** (-1.0 / 3.0)
            d = add(at(x), add(d, at(before), -1.0), 1.0 - fall**2)
            return moved(x, d, tuple(fall * step for step in STEPS)), (x, d)

        return step

    start = (problem.w, jnp.zeros_like(problem.w), problem.lam)
    widths = (2 * len(problem.w) + len(problem.lam), len(problem.w) + len(problem.lam))
    tables = tuple((jnp.zeros((count, width)), jnp.zeros(width)) for count, width in zip(blocks, widths)) if name == "saba" else ()
    recursive = (start, zeros)
    return {
        "soba": ((), soba),
        "saba": (tables, saba),
        "srba": (recursive, srba),
        "stocbio": ((), stocbio),
        "amigo": ((), amigo),
        "sustain": (recursive, storm(random_term)),
        "mrbo": (recursive, storm(series)),
    }[name]


def rate(name, problem, seconds):
    """Iterations a second: the best of repeated calls of one compiled scan, timed until the result is there."""
    memory, step = algorithm(name, problem)
    x = (problem.w, jnp.zeros_like(problem.w), problem.lam)

    @partial(jax.jit, static_argnames="count")
    def run(x, memory, first, key, count):
        def one(carry, t):
            return step(*carry, t, jax.random.fold_in(key, t)), None

        return jax.lax.scan(one, (x, memory), first + jnp.arange(count))[0]

    count, best, first, spent = 32, 0.0, 0, 0.0
    key = jax.random.key(1)
    while True:
        jax.block_until_ready(run(x, memory, first, key, count))  # compiled now
        clock = time.perf_counter()
        jax.block_until_ready(run(x, memory, first, key, count))
        taken = time.perf_counter() - clock
        if taken > seconds / 8 or count >= 1 << 20:
            break
        count *= 4
    while spent < seconds:
        clock = time.perf_counter()
        x, memory = jax.block_until_ready(run(x, memory, first, key, count))
        taken = time.perf_counter() - clock
        first, spent, best = first + count, spent + taken, max(best, count / taken)
    return best

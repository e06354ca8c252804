"""An implicit layer: its output z is the fixed point of z = tanh(W z + U x + b), differentiated where it stands.

As in deep equilibrium models (Bai, Kolter, Koltun, NeurIPS 2019): the lower level is the map, one fixed point for each row,
and the upper level the loss of a classifier that reads z. No iterate is kept.

python equilibrium_layer_jax.py
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import bilevel

UNITS = 4


def main() -> dict[str, float]:
    """Train layer and classifier on two rings."""
    generator = np.random.default_rng(0)
    n = 120
    angle, kind = generator.uniform(0, 2 * np.pi, n), np.arange(n) % 2
    radius = 1 + kind + 0.15 * generator.normal(size=n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def layer(z: Any, lam: Any) -> Any:
        # Of norm below 0.9, so that the map contracts whatever W is.
        W = 0.9 * lam["W"] / jnp.sqrt(1 + jnp.sum(lam["W"] ** 2))
        return jnp.tanh(z @ W + x @ lam["U"] + lam["b"])

    def objective(z: Any, lam: Any) -> Any:
        margins = z @ lam["read"] + lam["offset"]
        decay = 1e-3 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(lam))
        return jnp.mean(jnp.logaddexp(0, margins) - kind * margins) + decay

    lam = {
        "W": generator.normal(size=(UNITS, UNITS)),
        "U": generator.normal(size=(2, UNITS)),
        "b": generator.normal(size=UNITS),
        "read": generator.normal(size=UNITS),
        "offset": np.zeros(()),
    }
    z = np.zeros((n, UNITS))
    lower = bilevel.from_jax(layer, kind="map", w=z, lam=lam)
    upper = bilevel.from_jax(objective, kind="objective", w=z, lam=lam)
    bilevel.check(lower, upper, lam).raise_for_failures()
    found = bilevel.minimize(lower, upper, lam, max_iter=40)
    margins = np.asarray(found.w @ found.lam["read"] + found.lam["offset"])
    accuracy = float(((margins > 0) == kind).mean())
    print(f"{found.status} after {found.n_iter} steps: loss {found.history[0].objective:.3f} -> {found.objective:.3f}")
    print(f"accuracy {accuracy:.3f}")
    return {"accuracy": accuracy, "loss": found.objective, "first_loss": found.history[0].objective}


if __name__ == "__main__":
    main()

"""One penalty for each layer of a PyTorch network, tuned on rows that were held out.

python group_penalty_torch.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import bilevel


def main() -> dict[str, Any]:
    """Tune the penalties of the weights of two layers and of all biases."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    X = torch.as_tensor(generator.normal(size=(240, 6)))
    y = torch.as_tensor(np.sin(2 * X[:, 0].numpy()) + 0.3 * generator.normal(size=240))
    train, held_out = (X[:120], y[:120]), (X[120:], y[120:])
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    groups = {"0.weight": 0, "2.weight": 1, "0.bias": 2, "2.bias": 2}

    # The model that the functions are given is a copy that depends on w alone.
    def error(model: Any, lam: Any, batch: Any) -> Any:
        X, y = batch
        return ((model(X)[:, 0] - y) ** 2).mean() / 2

    def loss(model: Any, lam: Any, batch: Any) -> Any:
        penalty = sum(torch.exp(lam[groups[name]]) * (p**2).sum() for name, p in model.named_parameters()) / 2
        return error(model, lam, batch) + penalty

    lam = torch.full((3,), -2.0)
    lower = bilevel.from_torch(loss, kind="loss", w=model, lam=lam, data=train)
    upper = bilevel.from_torch(error, kind="objective", w=model, lam=lam, data=held_out)

    # Newton's method starts where the loss curves upwards: at a fit with large penalties.
    found = bilevel.hypergradient(lower, upper, torch.full((3,), 0.0), start=model)
    tuned = bilevel.minimize(lower, upper, lam, start=found.w, domain=(-7.0, 1.0), max_iter=15)
    print(f"{tuned.status} after {tuned.n_iter} steps: {tuned.history[0].objective:.4f} -> {tuned.objective:.4f}")
    for name, value in zip(("first layer", "second layer", "biases"), tuned.lam.tolist(), strict=True):
        print(f"{name}: log-penalty {value:.2f}")
    model.load_state_dict(tuned.w)
    return {"before": tuned.history[0].objective, "after": tuned.objective, "lam": tuned.lam}


if __name__ == "__main__":
    main()

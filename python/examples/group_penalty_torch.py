"""One penalty for each group of inputs of a PyTorch model, tuned on rows that were held out.

python group_penalty_torch.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import bilevel

GROUPS = {"strong": 4, "weak": 12, "noise": 24}
"""Inputs of three kinds."""


def main() -> dict[str, Any]:
    """Tune the penalties and compare with one penalty for all."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    inputs = sum(GROUPS.values())
    truth = generator.normal(size=(inputs, 3)) * np.repeat([1.5, 0.4, 0.0], list(GROUPS.values()))[:, None]
    X = generator.normal(size=(1500, inputs))
    y = (X @ truth + generator.gumbel(size=(1500, 3))).argmax(axis=1)
    parts = [(torch.as_tensor(X[part]), torch.as_tensor(y[part])) for part in np.split(np.arange(1500), [150, 400])]
    train, held_out, test = parts
    model = torch.nn.Linear(inputs, 3)

    # The model that the functions are given is a copy that depends on w alone.
    def cross_entropy(model: Any, lam: Any, batch: Any) -> Any:
        X, y = batch
        return torch.nn.functional.cross_entropy(model(X), y)

    def loss(model: Any, lam: Any, batch: Any) -> Any:
        weight = dict(model.named_parameters())["weight"]
        squares = [(group**2).sum() for group in weight.split(list(GROUPS.values()), dim=1)]
        return cross_entropy(model, lam, batch) + (torch.exp(lam) * torch.stack(squares)).sum() / 2

    losses = {}
    for name, lam in {"one penalty": torch.tensor([-3.0]), "one a group": torch.full((3,), -3.0)}.items():
        # The bias is not penalised, and a softmax does not see what is common to all classes of it.
        free = 1e-6 * torch.ones(())
        lower = bilevel.from_torch(
            lambda model, lam, batch, free=free: loss(model, lam, batch)
            + free * sum((p**2).sum() for p in model.parameters()),
            kind="loss",
            w=model,
            lam=lam,
            data=train,
        )
        upper = bilevel.from_torch(cross_entropy, kind="objective", w=model, lam=lam, data=held_out)
        tuned = bilevel.minimize(lower, upper, lam, domain=(-8.0, 3.0), gradient_tolerance=1e-4)
        model.load_state_dict(tuned.w)
        with torch.no_grad():
            losses[name] = float(torch.nn.functional.cross_entropy(model.double()(test[0]), test[1]))
        model.float()
        print(f"{name}: {tuned.status} after {tuned.n_iter} steps, test loss {losses[name]:.4f}, log-penalties", end=" ")
        print([round(value, 1) for value in tuned.lam.tolist()])
    return losses


if __name__ == "__main__":
    main()

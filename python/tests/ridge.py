"""A ridge regression with one log-penalty a feature, whose hypergradient has a closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bilevel


@dataclass
class Ridge:
    """Rows of both levels, functions of both levels, and what they should give."""

    n: int = 200
    p: int = 5
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(7)
        truth = np.arange(self.p) - 1.0
        self.X = generator.normal(size=(self.n, self.p))
        self.y = self.X @ truth + generator.normal(size=self.n)
        self.X_val = generator.normal(size=(self.n // 2, self.p))
        self.y_val = self.X_val @ truth + generator.normal(size=self.n // 2)
        self.lam = np.linspace(-2.0, 0.0, self.p)

    def solve(self, lam: Any) -> tuple[float, Any, Any]:
        """Give objective, hypergradient and solution."""
        hessian = self.X.T @ self.X / self.n + np.diag(np.exp(lam))
        w = np.linalg.solve(hessian, self.X.T @ self.y / self.n)
        residual = self.X_val @ w - self.y_val
        adjoint = np.linalg.solve(hessian, self.X_val.T @ residual / len(residual))
        return float(np.mean(residual**2) / 2), -np.exp(lam) * w * adjoint, w

    def functions(self) -> dict[str, Any]:
        """Give the functions of the loss by name."""
        X, y = self.X, self.y

        def value(w: Any, lam: Any, rows: Any) -> Any:
            return np.mean((X[rows] @ w - y[rows]) ** 2) / 2 + np.exp(lam) @ w**2 / 2

        def gradient(w: Any, lam: Any, rows: Any) -> Any:
            return X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows]) + np.exp(lam) * w

        def hessian_product(w: Any, lam: Any, rows: Any, v: Any) -> Any:
            return X[rows].T @ (X[rows] @ v) / len(y[rows]) + np.exp(lam) * v

        def cross_product(w: Any, lam: Any, rows: Any, v: Any) -> Any:
            return np.exp(lam) * w * v

        def gradient_lam(w: Any, lam: Any, rows: Any) -> Any:
            return np.exp(lam) * w**2 / 2

        return {
            "value": value,
            "gradient": gradient,
            "hessian_product": hessian_product,
            "cross_product": cross_product,
            "gradient_lam": gradient_lam,
        }

    def lower(self, **changes: Any) -> bilevel.StochasticLoss:
        """Make the loss, with other functions where they are given."""
        return bilevel.StochasticLoss(
            **{"dim_w": self.p, "dim_lam": self.p, "n_samples": self.n, **self.functions(), **changes}
        )

    def map(self, step: float = 0.3) -> bilevel.StochasticMap:
        """Make the map of its gradient steps."""
        parts = self.functions()
        return bilevel.StochasticMap(
            lambda w, lam, rows: w - step * parts["gradient"](w, lam, rows),
            lambda w, lam, rows, v: v - step * parts["hessian_product"](w, lam, rows, v),
            lambda w, lam, rows, v: -step * parts["cross_product"](w, lam, rows, v),
            dim_w=self.p,
            dim_lam=self.p,
            n_samples=self.n,
            symmetric=True,
        )

    def upper(self, **changes: Any) -> bilevel.UpperObjective:
        """Make the objective, with other functions where they are given."""
        X, y = self.X_val, self.y_val

        def value(w: Any, lam: Any, rows: Any) -> Any:
            return np.mean((X[rows] @ w - y[rows]) ** 2) / 2

        def gradients(w: Any, lam: Any, rows: Any) -> Any:
            residual = X[rows] @ w - y[rows]
            return np.mean(residual**2) / 2, X[rows].T @ residual / len(residual), np.zeros_like(lam)

        parts = {"value": value, "gradients": gradients, **changes}
        return bilevel.UpperObjective(**{"dim_w": self.p, "dim_lam": self.p, "n_samples": len(y), **parts})


def distance(found: Any, expected: Any) -> float:
    """Give the relative distance."""
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))

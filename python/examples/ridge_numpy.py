"""One penalty for each feature of a ridge regression, from functions of NumPy, beside the closed form.

python ridge_numpy.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import bilevel


def main() -> dict[str, float]:
    """Compute the hypergradient in several ways, and follow it."""
    generator = np.random.default_rng(0)
    n, p = 1000, 10
    truth = np.where(np.arange(p) < 5, 1.0, 0.0)
    X, X_val = generator.normal(size=(n, p)), generator.normal(size=(500, p))
    y, y_val = X @ truth + 2 * generator.normal(size=n), X_val @ truth + 2 * generator.normal(size=500)

    # Functions of (w, lam, sample): a sample indexes rows. Products come with a vector v.
    lower = bilevel.StochasticLoss(
        value=lambda w, lam, rows: np.mean((X[rows] @ w - y[rows]) ** 2) / 2 + np.exp(lam) @ w**2 / 2,
        gradient=lambda w, lam, rows: X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows]) + np.exp(lam) * w,
        hessian_product=lambda w, lam, rows, v: X[rows].T @ (X[rows] @ v) / len(y[rows]) + np.exp(lam) * v,
        cross_product=lambda w, lam, rows, v: np.exp(lam) * w * v,
        dim_w=p,
        dim_lam=p,
        n_samples=n,
    )

    def gradients(w: Any, lam: Any, rows: Any) -> Any:
        residual = X_val[rows] @ w - y_val[rows]
        return np.mean(residual**2) / 2, X_val[rows].T @ residual / len(residual), np.zeros(p)

    upper = bilevel.UpperObjective(
        value=lambda w, lam, rows: gradients(w, lam, rows)[0], gradients=gradients, dim_w=p, dim_lam=p, n_samples=500
    )
    lam = np.full(p, -2.0)
    bilevel.check(lower, upper, lam).raise_for_failures()

    # The closed form: H w = X'y/n, H u = grad_w E, and the hypergradient is -exp(lam) w u.
    hessian = X.T @ X / n + np.diag(np.exp(lam))
    w = np.linalg.solve(hessian, X.T @ y / n)
    expected = -np.exp(lam) * w * np.linalg.solve(hessian, gradients(w, lam, slice(None))[1])

    def error(found: bilevel.Hypergradient) -> float:
        return float(np.linalg.norm(found.value - expected) / np.linalg.norm(expected))

    errors = {
        method: error(bilevel.hypergradient(lower, upper, lam, method=method)) for method in ("exact", "aid-cg", "sid")
    }
    precise = bilevel.hypergradient(lower, upper, lam, precision=0.2)
    for method, size in errors.items():
        print(f"{method:>7}: relative error {size:.1e}")
    print(f"{'sid':>7}: relative error {error(precise):.1e} where 0.2 was asked for, {precise.work.rows} rows")

    tuned = bilevel.minimize(lower, upper, lam, domain=(-8.0, 4.0))
    print(f"tuned: {tuned.status} after {tuned.n_iter} steps, {tuned.history[0].objective:.4f} -> {tuned.objective:.4f}")
    print("log-penalties:", np.round(tuned.lam, 1))
    return {**errors, "precise": error(precise), "gain": tuned.history[0].objective - tuned.objective}


if __name__ == "__main__":
    main()

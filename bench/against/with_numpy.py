"""SID in NumPy, one call for each product; and the exact hypergradient that errors are relative to."""

import numpy as np

BATCH = 64


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lower_on(features, target, strengths, map_step, eta, drawn):
    w = np.zeros(features.shape[1], features.dtype)
    step = features.dtype.type(eta * map_step)
    for draw in drawn:
        rows, labels = features[draw : draw + BATCH], target[draw : draw + BATCH]
        w -= step * ((sigmoid(rows @ w) - labels) @ rows / BATCH + strengths * w)
    return w


def linear_on(features, target, strengths, map_step, eta, drawn, w, grad_w):
    v = np.zeros(features.shape[1], features.dtype)
    eta, map_step = features.dtype.type(eta), features.dtype.type(map_step)
    for draw in drawn:
        rows = features[draw : draw + BATCH]
        probability = sigmoid(rows @ w)
        product = (probability * (1 - probability) * (rows @ v)) @ rows / BATCH + strengths * v
        v += eta * (grad_w - map_step * product)
    return v


def hessian(features, w, strengths):
    probability = sigmoid(features @ w)
    return (features.T * (probability * (1 - probability))) @ features / len(features) + np.diag(strengths)


def map_step(features, strengths):
    """`2 / (L + mu)` at zero weights."""
    values = np.linalg.eigvalsh(hessian(features.astype(float), np.zeros(features.shape[1]), strengths))
    return 2 / (values[0] + values[-1])


def exact(train, validation, strengths):
    """The hypergradient by Newton's method in double precision."""
    (features, target), (judging, judged) = [(x.astype(float), y.astype(float)) for x, y in (train, validation)]
    w = np.zeros(features.shape[1])
    for _ in range(50):
        gradient = (sigmoid(features @ w) - target) @ features / len(target) + strengths * w
        if np.linalg.norm(gradient) < 1e-10:
            break
        w -= np.linalg.solve(hessian(features, w, strengths), gradient)
    else:
        raise SystemExit("Newton's method did not converge: there is no exact hypergradient to compare with")
    grad_w = (sigmoid(judging @ w) - judged) @ judging / len(judged)
    return -strengths * w * np.linalg.solve(hessian(features, w, strengths), grad_w)

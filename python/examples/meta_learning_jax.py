"""Meta-learning by implicit gradients: features, and a start and anchor, such that few examples teach a new task.

As in iMAML (Rajeswaran, Finn, Kakade, Levine, NeurIPS 2019), the parameters of a task minimise its loss plus the squared
distance from common ones, and everything common (``lam``) minimises the loss of all tasks on other examples. Tasks are to tell
a few characters apart, each known by a few pictures: generated ones, or those of Omniglot.

A task has the last layer of the network to itself; the layer of features is common (Raghu, Raghu, Bengio, Vinyals, "Rapid
learning or feature reuse?", ICLR 2020). So the lower level is strongly convex, as the theory wants it, small and solved exactly.
How strongly tasks are pulled towards the common parameters is learned, too.

python meta_learning_jax.py
python meta_learning_jax.py --omniglot IMAGES.gz LABELS.gz OTHER-IMAGES.gz OTHER-LABELS.gz

Of Omniglot the known tasks are made of the first two files (IDX), and new ones of the other two, whose alphabets are never
seen before. What decides there is the number of characters and of tasks: few are learned by heart. So each character is known
in four orientations, as is usual, which makes four of it, and strokes are blurred: one pixel aside they would have nothing in common.
With 1000 tasks, some minutes, the accuracy on new tasks rises from 0.585 to 0.687; the nearest mean picture comes to 0.624. Four layers
of convolutions that learn from 1200 characters come to 98 % (Finn, Abbeel, Levine, ICML 2017).
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter

import bilevel

STRENGTH = 0.02
"""Of the pull towards the common parameters, to begin with."""
SPREAD = 2.0
"""Of what the features see of a picture at first: their tangents hyperbolic should be neither straight nor saturated."""


def idx(path: str) -> Any:
    """Read an array of bytes from an IDX file."""
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        content = file.read()
    shape = np.frombuffer(content, dtype=">i4", count=content[3], offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def normalised(pictures: Any) -> Any:
    """Centre pictures and bring each to length one."""
    centred = pictures - pictures.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def omniglot(images: str, labels: str, turned: bool = False, side: int = 15) -> tuple[Any, Any]:
    """Blur and shrink the pictures and sort them by character; turned ones are others."""
    pictures, characters = idx(images).astype(float), idx(labels).astype(int)
    if turned:
        count = characters.max() + 1
        pictures = np.concatenate([np.rot90(pictures, turn, axes=(1, 2)) for turn in range(4)])
        characters = np.concatenate([characters + turn * count for turn in range(4)])
    block = pictures.shape[1] // side
    blurred = gaussian_filter(pictures, (0, 3, 3))[:, : side * block, : side * block]
    small = blurred.reshape(len(pictures), side, block, side, block).mean(axis=(2, 4)).reshape(len(pictures), -1)
    return normalised(small), [np.flatnonzero(characters == name) for name in np.unique(characters)]


def generated(generator: np.random.Generator, characters: int = 200, examples: int = 12) -> tuple[Any, Any]:
    """Draw characters that differ in a few directions, while their pictures differ more in others."""
    telling, misleading = generator.normal(size=(2, 4, 24))
    count = characters * examples
    centres = 1.5 * generator.normal(size=(characters, 4)) @ telling
    pictures = np.repeat(centres, examples, axis=0) + 2.5 * generator.normal(size=(count, 4)) @ misleading
    pictures += generator.normal(size=(count, 24))
    return normalised(pictures), list(np.arange(count).reshape(characters, examples))


def tasks(generator: np.random.Generator, data: Any, characters: Any, count: int, ways: int, shots: int) -> Any:
    """Draw tasks: pictures and classes to adapt to, and as many to judge by."""
    found: list[list[Any]] = [[], [], []]
    for _ in range(count):
        chosen = generator.choice(len(characters), ways, replace=False)
        rows = np.stack([generator.permutation(characters[c])[: 2 * shots] for c in chosen])
        found[0].append(data[rows[:, :shots].ravel()])
        found[1].append(data[rows[:, shots:].ravel()])
        found[2].append(np.repeat(np.arange(ways), shots))
    return tuple(np.stack(part) for part in found)


def scores(w: Any, lam: Any, x: Any) -> Any:
    """Evaluate the network of a task."""
    return jnp.tanh(x @ lam["features"]) @ w


def cross_entropy(w: Any, lam: Any, x: Any, y: Any) -> Any:
    """Judge the network of a task."""
    logs = jax.nn.log_softmax(scores(w, lam, x))
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))


def levels(lam: Any, drawn: Any) -> Any:
    """Make both levels of a set of tasks; w holds the last layers of all, lam what is common."""
    support, query, y = (jnp.asarray(part) for part in drawn)

    def loss(w: Any, lam: Any) -> Any:
        def one(w: Any, x: Any, y: Any) -> Any:
            away = jnp.sum((w - lam["last"]) ** 2)
            return cross_entropy(w, lam, x, y) + jnp.exp(lam["log_strength"]) * away / 2

        return jnp.mean(jax.vmap(one)(w, support, y))

    def objective(w: Any, lam: Any) -> Any:
        return jnp.mean(jax.vmap(lambda w, x, y: cross_entropy(w, lam, x, y))(w, query, y))

    w = np.zeros((len(y), *lam["last"].shape))
    lower = bilevel.from_jax(loss, kind="loss", w=w, lam=lam)
    return lower, bilevel.from_jax(objective, kind="objective", w=w, lam=lam)


def accuracy(lam: Any, drawn: Any) -> float:
    """Adapt to tasks and judge the result."""
    found = bilevel.hypergradient(*levels(lam, drawn), lam)
    guesses = jax.vmap(lambda w, x: scores(w, lam, x))(found.w, drawn[1]).argmax(axis=-1)
    return float((guesses == drawn[2]).mean())


def nearest(drawn: Any) -> float:
    """Judge the simple way: each picture belongs to the character whose mean picture is nearest."""
    right = []
    for x, others, y in zip(*drawn, strict=True):
        means = np.stack([x[y == character].mean(axis=0) for character in np.unique(y)])
        right.append(((others[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1) == y)
    return float(np.mean(right))


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Learn what is common on some tasks and judge it on others, with characters never seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omniglot", nargs=4, metavar=("IMAGES", "LABELS", "OTHER_IMAGES", "OTHER_LABELS"))
    parser.add_argument("--tasks", type=int, help="1000 of Omniglot, else 200")
    parser.add_argument("--ways", type=int, help="5 of Omniglot, else 3")
    parser.add_argument("--shots", type=int, default=2)
    parser.add_argument("--features", type=int, help="64 of Omniglot, else 8")
    parser.add_argument("--iterations", type=int, help="40 of Omniglot, else 15")
    options = parser.parse_args(arguments)
    generator = np.random.default_rng(0)
    if options.omniglot:
        usual = {"tasks": 1000, "ways": 5, "features": 64, "iterations": 40}
        known_set = omniglot(*options.omniglot[:2], turned=True)
        other_set = omniglot(*options.omniglot[2:])
    else:
        usual = {"tasks": 200, "ways": 3, "features": 8, "iterations": 15}
        data, characters = generated(generator)
        half = len(characters) // 2
        known_set, other_set = (data, characters[:half]), (data, characters[half:])
    count, ways, h, iterations = (getattr(options, name) or value for name, value in usual.items())
    known = tasks(generator, *known_set, count, ways, options.shots)
    unseen = tasks(generator, *other_set, 200, ways, options.shots)

    lam = {
        "features": SPREAD * generator.normal(size=(known_set[0].shape[1], h)),
        "last": np.zeros((h, ways)),
        "log_strength": np.log(STRENGTH),
    }
    before = accuracy(lam, unseen)
    found = bilevel.minimize(*levels(lam, known), lam, max_iter=iterations, method="lbfgs")
    after = accuracy(found.lam, unseen)
    print(f"loss of the known tasks: {found.history[0].objective:.3f} -> {found.objective:.3f} ({found.status})")
    print(f"accuracy on unseen tasks: {before:.3f} with random features, {after:.3f} with learned ones")
    print(f"and by the nearest mean picture: {nearest(unseen):.3f}")
    return {"before": before, "after": after, "nearest": nearest(unseen), "loss": found.objective}


if __name__ == "__main__":
    main()

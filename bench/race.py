"""Iterations a second of stochastic bilevel algorithms: bilevel beside JAX; called by bench/race, which makes the environment."""

import argparse
import datetime
import json
import subprocess
import tempfile
from pathlib import Path

import jax
import numpy as np

from against import algorithms_jax, data
from compare import machine, table

ROOT = Path(__file__).resolve().parent.parent
ALGORITHMS = ("soba", "saba", "srba", "stocbio", "amigo", "sustain", "mrbo")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/race", description=__doc__)
    parser.add_argument("--binary", type=Path, nargs=2, metavar="FILE", help="training and test rows of two classes, such as ijcnn1; simulated otherwise")
    parser.add_argument("--images", type=Path, nargs=2, metavar="FILE", help="images and labels, such as MNIST, of which 20 000 and 5 000 are taken; simulated otherwise")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each algorithm, on each side")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the results")
    return parser.parse_args()


def simulated(rows, features, classes, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    weights = np.random.default_rng(7).standard_normal((features, classes))
    return x, np.argmax(x @ weights + rng.gumbel(size=(rows, classes)), axis=1)


def binary(files):
    if not files:
        return simulated(49_990, 22, 2, 0), simulated(91_701, 22, 2, 1)
    train, valid = (data.dense(file) for file in files)
    width = max(train[0].shape[1], valid[0].shape[1])
    return tuple((np.pad(x, ((0, 0), (0, width - x.shape[1]))), y.astype(int)) for x, y in (train, valid))


def images(files):
    """20 000 rows, half of them with a random label, and 5 000 that are as they were."""
    if files:
        x, y = data.idx(data.content(files[0])).astype(np.float32) / 255, data.idx(data.content(files[1]))[:, 0].astype(int)
    else:
        x, y = simulated(25_000, 784, 10, 0)
    rng = np.random.default_rng(1)
    order = rng.permutation(len(y))[:25_000]
    x, y = x[order], y[order]
    wrong = rng.random(20_000) < 0.5
    y[:20_000][wrong] = rng.integers(0, 10, wrong.sum())
    return (x[:20_000], y[:20_000]), (x[20_000:], y[20_000:])


def columns(x, y, classes):
    """For JAX: features with a column of ones, targets as one column, or one for each class."""
    target = y[:, None] if classes == 2 else np.eye(classes)[y]
    ones = np.ones((len(x), 1), np.float32)
    return jax.numpy.asarray(np.hstack([x, ones])), jax.numpy.asarray(target, jax.numpy.float32)


def own(folder, parts, options, seconds):
    """Iterations a second and seconds for each algorithm, from the file that `bilevel race` writes."""
    where = ["quadratic"]
    if parts:
        for name, (x, y) in zip(("train", "valid"), parts):
            np.savez(folder / f"{name}.npz", X=x, y=y)
        where = [folder / "train.npz", "--validation", folder / "valid.npz", "--no-standardize"]
    steps = ",".join(str(step) for step in algorithms_jax.STEPS)
    command = [ROOT / "target/release/bilevel", "race", *where, *options, "--algorithms", ",".join(ALGORITHMS)]
    command += ["--batch", "64", "--seconds", str(seconds), "--steps", steps, "--out", folder / "race", "--overwrite", "--quiet"]
    subprocess.run([str(word) for word in command], check=True)
    runs = json.loads((folder / "race" / "race.json").read_text())["runs"]
    last = {run["algorithm"]: run["curve"][-1]["cost"] for run in runs}
    return {name: cost["iterations"] / cost["seconds"] for name, cost in last.items()}


def main():
    args = arguments()
    two, seven, ten = binary(args.binary), (simulated(20_000, 54, 7, 0), simulated(5_000, 54, 7, 1)), images(args.images)
    in_jax = lambda parts, classes: [columns(*part, classes) for part in parts]
    problems = {
        "logistic, a penalty per feature": (two, ["--penalties", "per-feature"], lambda: algorithms_jax.linear_model(*in_jax(two, 2), "per-feature")),
        "softmax, a penalty per class": (seven, ["--penalties", "per-class"], lambda: algorithms_jax.linear_model(*in_jax(seven, 7), "per-class")),
        "quadratic": (None, ["--rows", "1024", "--dim", "100", "--hyperparameters", "100"], lambda: algorithms_jax.quadratic(1024, 100, 100)),
        "data cleaning": (ten, ["--problem", "cleaning"], lambda: algorithms_jax.cleaning(*in_jax(ten, 10))),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{datetime.date.today()}-race.md"
    model, cores = machine()
    sections = [f"# {datetime.date.today()}, {model}, {cores} cores"]
    for title, (parts, options, build) in problems.items():
        with tempfile.TemporaryDirectory() as folder:
            ours = own(Path(folder), parts, options, args.seconds)
        problem = build()
        rows = []
        for name in ALGORITHMS:
            theirs = algorithms_jax.rate(name, problem, args.seconds)
            rows.append([name, f"{ours[name]:,.0f}", f"{theirs:,.0f}", f"{ours[name] / theirs:.1f}"])
        shape = "1024 and 1024 rows (bilevel: 256 above), 100 x 100" if parts is None else "{} and {} rows, {} features".format(len(parts[0][1]), len(parts[1][1]), parts[0][0].shape[1])
        sections.append(f"### {title}: {shape}\n\n" + table(["iterations a second, 64 rows a sample", "bilevel", f"JAX {jax.__version__}", "ratio"], rows))
        print(sections[-1] + "\n", flush=True)
        # After each problem: the last one takes the longest to judge.
        path.write_text("\n\n".join(sections) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()

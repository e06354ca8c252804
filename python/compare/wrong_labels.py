"""Wrong labels in MNIST: weights that are learned against the simple ways.

python python/compare/wrong_labels.py DIR [--seeds N] [-- OPTIONS OF bilevel clean]

DIR holds the four files of MNIST. Of 20 000 training rows half get a label drawn anew from all ten classes, so that a tenth
of these stay right; 5 000 further rows are trusted. Printed are the area under the ROC curve of each score as detector of
labels that are wrong now, and the test accuracy of each model.
"""

from __future__ import annotations

import argparse
import gzip
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

TRAINING, TRUSTED, CHANGED = 20_000, 5_000, 0.5


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes."""
    contents = gzip.decompress(path.read_bytes())
    rank = contents[3]
    shape = struct.unpack(f">{rank}I", contents[4 : 4 + 4 * rank])
    return np.frombuffer(contents, np.uint8, offset=4 + 4 * rank).reshape(shape)


def run(folder: Path, out: Path, seed: int, options: list[str]) -> dict[str, Any]:
    """Change labels, clean, and compare with what was changed."""
    images, labels = read(folder / "train-images-idx3-ubyte.gz"), read(folder / "train-labels-idx1-ubyte.gz")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    train, trusted = order[:TRAINING], order[TRAINING : TRAINING + TRUSTED]
    given = labels[train].copy()
    changed = generator.permutation(TRAINING)[: int(CHANGED * TRAINING)]
    given[changed] = generator.integers(0, 10, len(changed))
    wrong = given != labels[train]
    test, test_labels = read(folder / "t10k-images-idx3-ubyte.gz"), read(folder / "t10k-labels-idx1-ubyte.gz")
    parts = {"train": (images[train], given), "trusted": (images[trusted], labels[trusted]), "test": (test, test_labels)}
    for name, (pixels, y) in parts.items():
        # On one scale: of IDX files the command divides bytes by 255, of arrays it does not.
        np.save(out / f"{name}.npy", pixels.reshape(len(y), -1).astype(np.float32) / 255)
        np.save(out / f"{name}-labels.npy", y)
    command = [sys.executable, "-m", "bilevel", "clean", out / "train.npy", "--labels", out / "train-labels.npy"]
    command += ["--trusted", out / "trusted.npy", "--trusted-labels", out / "trusted-labels.npy"]
    command += ["--test", out / "test.npy", "--test-labels", out / "test-labels.npy"]
    command += ["--out", out / "cleaned", "--quiet", *options]
    subprocess.run([str(word) for word in command], check=True)
    rows = pd.read_csv(out / "cleaned" / "weights.csv")
    summary = json.loads((out / "cleaned" / "summary.json").read_text())
    return {
        "wrong labels": wrong.mean(),
        "area of the weights": roc_auc_score(~wrong, rows["weight"]),
        "area of the loss under the trusted model": roc_auc_score(wrong, rows["trusted_loss"]),
        "area of the loss under the weighted model": roc_auc_score(wrong, 1 - rows["label_probability"]),
        **{f"test accuracy, {fit['of']}": fit["test"]["accuracy"] for fit in summary["fits"]},
        "seconds": summary["seconds"],
        "steps": len(summary["steps"]) - 1,
        "kept step": summary["kept_step"],
        "passes": summary["passes"],
    }


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("options", nargs="*", help="options of bilevel clean, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        runs = [run(arguments.folder, Path(out), seed, arguments.options) for seed in range(arguments.seeds)]
    print(pd.DataFrame(runs).T.to_string(float_format=lambda x: f"{x:.4f}", header=[f"seed {k}" for k in range(len(runs))]))


if __name__ == "__main__":
    main()

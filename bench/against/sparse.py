"""Products of SciPy with the sparse matrices that bench/sparse wrote, and its own table of bilevel, faer and sprs."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse

from . import clock

REPETITIONS = 101
# What is said of the vectors in the table.
LIBRARIES = {
    "bilevel 1": "bilevel, vectors f64",
    "bilevel 2": "bilevel, vectors f64, 2 threads",
    "faer 1": "faer, vectors as the matrix",
    "sprs 1": "sprs, vectors as the matrix",
}
SCIPY = "SciPy, vectors as the matrix"


def own(root, folder, files):
    """`(matrix, rows, columns, stored, product, precision): {library: (median, quiet)}` in milliseconds, by bench/sparse."""
    manifest = root / "bench" / "sparse" / "Cargo.toml"
    # The same folder as that of the workspace, so that what both need is built once.
    environment = os.environ | {"CARGO_TARGET_DIR": str(root / "target")}
    command = ["cargo", "run", "--release", "--quiet", "--manifest-path", manifest, "--", folder]
    command += [path.resolve() for path in files]
    printed = subprocess.run(command, check=True, env=environment, text=True, stdout=subprocess.PIPE).stdout
    found = {}
    for line in printed.splitlines()[1:]:
        *key, library, median, quiet = line.split("|")
        found.setdefault(tuple(key), {})[LIBRARIES[library]] = float(median), float(quiet)
    return found


def by_scipy(folder, name, rows, columns, precision):
    """`product: (median, quiet)` in milliseconds."""
    part = lambda what, kind: np.fromfile(folder / f"{name}.{rows}x{columns}.{what}", kind)
    kind = np.dtype({"f32": np.float32, "f64": np.float64}[precision])
    parts = part("values", "<f4").astype(kind), part("indices", "<u4").astype(np.int32), part("offsets", "<u8").astype(np.int32)
    matrix = scipy.sparse.csr_array(parts, shape=(int(rows), int(columns)))
    transposed = matrix.T
    w, u = (np.sin(0.7 * np.arange(length)).astype(kind) for length in matrix.shape[::-1])
    products = {"X w": lambda: matrix @ w, "X^T u": lambda: transposed @ u}
    # One after the other, so that each finds in the caches what it has left there, as the others do.
    seconds = {product: clock.measure({product: run}, REPETITIONS)[product] for product, run in products.items()}
    return {product: tuple(1e3 * s for s in both) for product, both in seconds.items()}


def measure(root, files):
    """As [`own`], with SciPy."""
    with tempfile.TemporaryDirectory() as folder:
        found = own(root, Path(folder), files)
        scipys = {key[:3] + key[5:]: None for key in found}
        for name, rows, columns, precision in scipys:
            scipys[name, rows, columns, precision] = by_scipy(Path(folder), name, rows, columns, precision)
    for (name, rows, columns, _, product, precision), libraries in found.items():
        libraries[SCIPY] = scipys[name, rows, columns, precision][product]
    return found

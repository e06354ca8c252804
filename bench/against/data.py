"""The same files as the Rust benches read, as dense single-precision arrays with classes 0 and 1."""

import bz2
import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_svmlight_file

IDX_IMAGES, IDX_LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"


def content(path):
    """The bytes of a file, unpacked."""
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:3] == b"BZh":
        return bz2.decompress(data)
    return data


def idx(data):
    """An IDX file of bytes, one row for each item."""
    sizes = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes[0], -1)


def two_classes(labels):
    """Whether the number of a label among all labels is odd, as in the Rust benches."""
    return (np.unique(labels, return_inverse=True)[1] % 2).astype(np.float32)


def dense(path, labels=None):
    """Features and classes of a file; pixels between 0 and 1."""
    data = content(path)
    if data[:4] == IDX_IMAGES:
        if labels is None:
            raise SystemExit(f"{path}: images need their labels: name them by --narrow-labels or --wide-labels")
        return idx(data).astype(np.float32) / 255, two_classes(idx(content(labels))[:, 0])
    import io

    features, target = load_svmlight_file(io.BytesIO(data))
    return np.ascontiguousarray(features.toarray(), np.float32), two_classes(target)


def split(features, target, held_out=0.25, seed=0):
    """Training and validation rows in random order, standardised (columns of 0 and 1 as they are), with an intercept."""
    order = np.random.default_rng(seed).permutation(len(target))
    features, target = features[order], target[order]
    measured = ~np.all((features == 0) | (features == 1), axis=0)
    spread = features.std(axis=0)
    shift = np.where(measured, features.mean(axis=0), 0)
    scale = np.where(measured & (spread > 0), spread, 1)
    features = np.hstack([(features - shift) / scale, np.ones((len(target), 1))]).astype(np.float32)
    first = len(target) - round(held_out * len(target))
    return (features[:first], target[:first]), (features[first:], target[first:])

"""The rule of mutual information written out, channel by channel and pair by pair, in NumPy."""

from __future__ import annotations

from math import ceil, log2

import numpy as np

Array = np.ndarray


def entropy(counts: Array) -> float:
    parts = counts[counts > 0] / counts.sum()
    return float(-(parts * np.log2(parts)).sum()) if counts.sum() else 0.0


def binned(values: Array, bins: int) -> Array:
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), dtype=int)
    return np.minimum(((values - low) / (high - low) * values.dtype.type(bins)).astype(int), bins - 1)


def shared(x: Array, y: Array, ignore_zeros: bool) -> float | None:
    bins = 1 + ceil(log2(len(x)))
    if ignore_zeros:
        kept = (x != 0) & (y != 0)
        x, y = x[kept], y[kept]
        if not len(x):
            return None
    joint = np.zeros((bins, bins))
    for i, j in zip(binned(x, bins), binned(y, bins), strict=True):
        joint[i, j] += 1
    if ignore_zeros:
        np.fill_diagonal(joint, 0)
    both = entropy(joint)
    return None if both <= 0 else (entropy(joint.sum(1)) + entropy(joint.sum(0)) - both) / both


def scale(
    inputs: Array, kernel: tuple[int, int], padding: tuple[int, int] = (0, 0), dilation: tuple[int, int] = (1, 1),
    k: float = 5, ignore_zeros: bool = False,
) -> Array:  # fmt: skip
    """G of inputs (N, C, H, W)."""
    (top, left), (down, right) = padding, dilation
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, top), (left, left)))
    height, width = padded.shape[2:]
    taps = np.full(kernel, np.nan)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            dy, dx = (i - (kernel[0] - 1) // 2) * down, (j - (kernel[1] - 1) // 2) * right
            if (dy, dx) < (0, 0):
                dy, dx = -dy, -dx
            rows, columns = range(height - dy), range(max(0, -dx), width - max(0, dx))
            found = []
            for c in range(padded.shape[1]):
                x = np.array([padded[n, c, y, x] for n in range(len(padded)) for y in rows for x in columns])
                y = np.array([padded[n, c, y + dy, x + dx] for n in range(len(padded)) for y in rows for x in columns])
                value = shared(x, y, ignore_zeros)
                if value is not None:
                    found.append(k * max(0.0, value) / ((k - 1) * max(0.0, value) + 1))
            if found:
                taps[i, j] = np.mean(found)
    if np.isnan(np.delete(taps.ravel(), (kernel[0] - 1) // 2 * kernel[1] + (kernel[1] - 1) // 2)).all():
        return np.ones(kernel)
    taps = np.maximum(np.nan_to_num(taps), 1e-12)
    taps[(kernel[0] - 1) // 2, (kernel[1] - 1) // 2] = 1
    return taps / taps.mean()

"""Weights drawn from a seed for networks that bring none."""

from __future__ import annotations

from typing import Any

import numpy as np


def draw(shape: tuple[int, ...], generator: np.random.Generator, around_one: bool = False) -> Any:
    """float32 weights: He's scale for matrices and kernels, vectors near 0, or in 0.5 .. 1.5 ``around_one``.

    Activations stay finite with them, whatever the depth.
    """
    if around_one:
        values = generator.uniform(0.5, 1.5, shape)
    elif len(shape) >= 2:
        values = generator.standard_normal(shape) * np.sqrt(2.0 / max(1, int(np.prod(shape[1:]))))
    else:
        values = generator.standard_normal(shape) * 0.02
    return values.astype(np.float32)

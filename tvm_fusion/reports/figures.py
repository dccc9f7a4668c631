"""Figures without a display: matplotlib where it is installed, PNG files written atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from tvm_fusion.errors import FusionError
from tvm_fusion.files import write_bytes_atomic


def new_figure(width: float = 11, height: float = 4.5) -> Any:
    """An empty figure of so many inches. Raises FusionError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise FusionError("plots need matplotlib; install it with: pip install 'tvm-fusion[plot]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_png(figure: Any, path: str | Path) -> None:
    """Write a figure as PNG. Raises FusionError if ``path`` cannot be written."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes_atomic(path, picture.getvalue())

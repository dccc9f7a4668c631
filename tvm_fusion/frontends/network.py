"""What every front end returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvm.ir import IRModule


@dataclass(frozen=True)
class Network:
    """A Relax module whose weights are constants; ``source`` is timm, torchvision, onnx, pt2 or relax."""

    module: IRModule
    name: str
    source: str

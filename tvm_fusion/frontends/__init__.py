"""From a model name, a file or a Relax module to a network that the passes read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.frontends.network import Network

if TYPE_CHECKING:
    from tvm_fusion.graph.graph import OperatorGraph

__all__ = ["Network", "load_graph", "load_network"]


def load_network(spec: Any, batch: int = 1, seed: int = 0) -> Network:
    """A network from a timm or torchvision name, an .onnx or .pt2 path, or a Relax IRModule.

    ``batch`` sets a dynamic batch dimension; ``seed`` the weights where none are given. Raises
    FrontendError for an unknown name, an unreadable file or any other dynamic shape.
    """
    from tvm_fusion.frontends.load import load

    return load(spec, batch, seed)


def load_graph(spec: str | Path | Any, batch: int = 1, seed: int = 0) -> OperatorGraph:
    """The operator graph of a network given in any way that :func:`load_network` takes."""
    from tvm_fusion.passes.extract import extract

    network = load_network(spec, batch, seed)
    return extract(network.module, network.name).graph

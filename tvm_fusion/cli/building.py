"""From a network and a plan to a shared library: the work behind ``tvm-fusion compile``."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.errors import CompileError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.graph.plan import PartitionPlan


@dataclass(frozen=True)
class LoadedNetwork:
    """A network as it was imported (``module``: an IRModule), and as plans see it."""

    name: str
    module: Any
    graph: OperatorGraph


def load(net: str, batch: int, seed: int) -> LoadedNetwork:
    """Import and extract a network; ``seed`` makes its weights where it brings none."""
    from tvm_fusion.frontends import load_network
    from tvm_fusion.passes.extract import extract

    network = load_network(net, batch=batch, seed=seed)
    extraction = extract(network.module, network.name)
    return LoadedNetwork(network.name, network.module, extraction.graph)


def build(
    network: LoadedNetwork,
    plan: PartitionPlan,
    accelerator: Accelerator,
    target: str,
    library: Path,
    metadata_path: Path,
) -> dict[str, Any]:
    """Compile, then write library and metadata atomically. Returns the metadata."""
    from tvm_fusion import __version__
    from tvm_fusion.cost_models.evaluation import evaluate_plan
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.files import write_bytes_atomic, write_text_atomic
    from tvm_fusion.graph.graph_io import tensor_to_json
    from tvm_fusion.graph.plan_io import plan_to_json
    from tvm_fusion.passes import compile_plan

    graph = network.graph
    evaluation = evaluate_plan(graph, plan, Oracle(graph, accelerator))
    executable = compile_plan(network.module, plan, target=target)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / library.name
        try:
            executable.export_library(str(built))
        except (RuntimeError, OSError, ValueError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CompileError(
                f"TVM cannot link {library.name!r} (is a C++ compiler installed?): {first_line}"
            ) from None
        code = built.read_bytes()
    metadata = {
        **plan_to_json(plan, graph, accelerator=accelerator.to_json()),
        "target": target,
        "library": library.name,
        "bytes": len(code),
        "sha256": hashlib.sha256(code).hexdigest(),
        "valid": evaluation.valid,
        "totals": evaluation.totals(),
        "inputs": [tensor_to_json(tensor) for tensor in graph.inputs],
        "outputs": [tensor_to_json(graph.operators[i]) for i in graph.outputs],
        "tvm_fusion": __version__,
    }
    costs = evaluation.to_json()["groups"]
    metadata["groups"] = [group | cost for group, cost in zip(metadata["groups"], costs, strict=True)]
    write_bytes_atomic(library, code)
    write_text_atomic(metadata_path, json.dumps(metadata, indent=1) + "\n")
    return metadata

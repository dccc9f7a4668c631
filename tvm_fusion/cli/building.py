"""From a network and a plan to lowered groups or a library in memory: the work behind ``tvm-fusion compile``."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
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


@dataclass(frozen=True)
class Lowered:
    """A network whose groups are lowered (``module``: an IRModule) with what is known of it: ``facts`` (JSON) say what
    it takes and gives, ``report`` is its memory report, ``not_lowered`` has the reason by function of every group that
    the lowering should have taken."""

    module: Any
    facts: dict[str, Any]
    report: dict[str, Any]
    not_lowered: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """The library of a lowered network; ``facts`` say also what it runs on."""

    code: bytes
    facts: dict[str, Any]
    report: dict[str, Any]


def load(net: str, batch: int, seed: int) -> LoadedNetwork:
    """Import and extract a network; ``seed`` makes its weights where it brings none."""
    from tvm_fusion.frontends import load_network
    from tvm_fusion.passes.extract import extract

    network = load_network(net, batch=batch, seed=seed)
    extraction = extract(network.module, network.name)
    return LoadedNetwork(network.name, network.module, extraction.graph)


def lowered_schemes(graph: OperatorGraph, as_sources: bool) -> str:
    """The schemes, as --scheme has them, whose groups the lowering covers."""
    from tvm_fusion.passes.lowering.scheme_writers import SCHEME_WRITERS

    quantized = any(op.dtype in ("int8", "uint8") for op in graph.operators)
    covered = (
        name
        for name, writer in SCHEME_WRITERS.items()
        if (writer.as_sources or not as_sources) and (writer.quantized or not quantized)
    )
    return ",".join(covered)


def target_kind(target: str) -> str:
    """What a target is for: "llvm", "c", "cuda". Raises CompileError unless TVM knows the target."""
    from tvm_fusion.passes.compile_plan import known_target

    if target == "cuda":  # TVM looks for a GPU, and warns where there is none
        return target
    return str(known_target(target).kind.name)


def lower(
    network: LoadedNetwork,
    plan: PartitionPlan,
    accelerator: Accelerator,
    target: str = "llvm",
    lower: bool = True,
    scope: str | None = None,
    alignment: int = 1,
    threads: int = 1,
) -> Lowered:
    """Lower and verify. Raises CompileError, and MemoryMismatchError where addresses exceed the buffer.

    They are held against the buffer only if ``accelerator`` counts elements at the network's own widths: a plan in 8
    bits says nothing of how much a network of wider elements needs.
    """
    from tvm_fusion import __version__
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.passes.compile_plan import lower_plan
    from tvm_fusion.passes.group_memory import group_memory
    from tvm_fusion.passes.lowering.not_lowered import collected_lowering_warnings
    from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
    from tvm_fusion.passes.signature import signature
    from tvm_fusion.reports.memory_report import memory_report

    scope = scope or DEFAULT_SCOPE
    own_widths = accelerator.activation_bits is None and accelerator.weight_bits is None
    limit = accelerator.buffer_bytes if own_widths else None
    generator = "c" if target_kind(target) == "cuda" else target  # our CUDA source is one in C by blocks
    with collected_lowering_warnings() as warned:
        lowered = lower_plan(network.module, plan, accelerator, generator, lower, scope, alignment, limit, threads)
    reasons = {warning.function: warning.reason for warning in warned}
    memory = {name: found.to_json() for name, found in group_memory(lowered).items()}
    report = memory_report(network.graph, plan, Oracle(network.graph, accelerator), memory, reasons)
    inputs, outputs = signature(network.module)
    facts = {
        "network": network.name,
        "graph_fingerprint": network.graph.fingerprint,
        "target": target,
        "lowering": {"scope": scope, "alignment": alignment, "threads": threads} if lower else None,
        "valid": all(group["valid"] for group in report["groups"]),
        "inputs": [tensor.to_json() for tensor in inputs],
        "outputs": [tensor.to_json() for tensor in outputs],
        "tvm_fusion": __version__,
    }
    return Lowered(lowered, facts, report, reasons)


def build(lowered: Lowered) -> Built:
    """Compile a lowered network for its target. Raises CompileError."""
    from tvm_fusion.passes.compile_plan import build_lowered
    from tvm_fusion.passes.target_machine import instructions, target_machine

    target = lowered.facts["target"]
    code = _linked(build_lowered(lowered.module, target))
    facts = {
        **lowered.facts,
        "machine": target_machine(target) | {"instructions": instructions(target)},
        "bytes": len(code),
        "sha256": hashlib.sha256(code).hexdigest(),
    }
    return Built(code, facts, lowered.report)


def _linked(executable: Any) -> bytes:
    """The shared library. Raises CompileError where the system's compiler does not make it."""
    from tvm_fusion.frontends.messages import joined

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.so"
        try:
            executable.export_library(str(path))
        except (RuntimeError, OSError, ValueError) as error:
            raise CompileError(
                f"TVM cannot link the library (is a C++ compiler for the target installed?): {joined(error)}"
            ) from None
        return path.read_bytes()

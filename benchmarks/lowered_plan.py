"""A network grouped by a plan, lowered to line buffers and verified: what the benchmarks of compiled networks share."""

from __future__ import annotations

import re
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import tvm
from tvm import relax

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import MemoryMismatchError
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups
from tvm_fusion.passes.attributes import GROUP, IR_BUFFER_BYTES, OPERATORS, group_functions
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.verify_memory import VerifyMemory

_REFUSAL = re.compile(
    r"(?P<function>\S+) is left to TVM's own lowering: (?:operator '(?P<operator>[^']*)': )?(?P<reason>.*)", re.DOTALL
)


@dataclass(frozen=True)
class GroupFacts:
    """What the cost model says of a group; whether we lower it (else TVM does), and if not, for which operator."""

    group: int
    operators: tuple[int, ...]
    scheme: str
    lowered: bool
    buffer_bytes: int
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    macs: int
    refused_operator: str = ""
    reason: str = ""

    @property
    def dram_bytes(self) -> int:
        """Everything that moves."""
        return self.input_bytes + self.weight_bytes + self.output_bytes

    def to_json(self) -> dict[str, Any]:
        """All fields by name; the operators as one text, which keeps records short."""
        return asdict(self) | {"operators": " ".join(map(str, self.operators))}


@dataclass(frozen=True)
class LoweredPlan:
    """``module`` has a function a group; ``mismatch`` is VerifyMemory's complaint, "" if the bytes are the model's."""

    module: Any
    groups: tuple[GroupFacts, ...]
    mismatch: str
    seconds: float


def at_own_widths(buffer_bytes: int) -> Accelerator:
    """An accelerator whose elements are as wide as the network's own."""
    return Accelerator(buffer_bytes=buffer_bytes, activation_bits=None, weight_bits=None)


def one_operator_a_group(graph: OperatorGraph) -> PartitionPlan:
    """The plan that fuses nothing."""
    return PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])


def lower_plan(
    module: Any, graph: OperatorGraph, plan: PartitionPlan, accelerator: Accelerator, target: Any = None
) -> LoweredPlan:
    """Group, lower for ``target`` (this machine) and verify; groups stand in the order in which they execute."""
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, target or host_target():
        warnings.simplefilter("always", LoweringWarning)
        lowered = LowerLineBuffer()(FuseByPlan(plan, accelerator)(module))
    mismatch = ""
    try:
        lowered = VerifyMemory()(lowered)
    except MemoryMismatchError as error:
        mismatch = str(error)
    seconds = time.perf_counter() - begin
    said = [_REFUSAL.fullmatch(str(found.message)) for found in caught]
    refusals = {match["function"]: match for match in said if match is not None}
    oracle = Oracle(graph, accelerator)
    groups = []
    for name, attributes in group_functions(lowered).items():
        cost = oracle.cost(mask_of([int(i) for i in attributes[OPERATORS]]))
        refusal = refusals.get(name)
        groups.append(
            GroupFacts(
                group=int(attributes[GROUP]),
                operators=cost.operators,
                scheme=cost.scheme,
                lowered=IR_BUFFER_BYTES in attributes,
                buffer_bytes=cost.buffer_bytes,
                input_bytes=cost.input_bytes,
                weight_bytes=cost.weight_bytes,
                output_bytes=cost.output_bytes,
                macs=cost.macs,
                refused_operator=(refusal["operator"] or "") if refusal else "",
                reason=refusal["reason"] if refusal else "",
            )
        )
    return LoweredPlan(lowered, tuple(groups), mismatch, seconds)


def compile_lowered(module: Any, target: Any) -> Any:
    """A TVM executable of a module whose groups are lowered; what is left in Relax gets TVM's own lowering."""
    return tvm.compile(LowerGroups()(module), target, relax_pipeline=relax.get_pipeline("default_build"))


def host_target() -> Any:
    """LLVM for the processor of this machine."""
    return llvm_target(str(tvm.target.codegen.llvm_get_system_cpu()))


def llvm_target(cpu: str) -> Any:
    """LLVM for the processor that it calls ``cpu``; "" for one that every machine of the kind has."""
    return tvm.target.Target({"kind": "llvm", **({"mcpu": cpu} if cpu else {})})

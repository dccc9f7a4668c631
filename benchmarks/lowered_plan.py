"""A network grouped by a plan, lowered to line buffers and verified: what the benchmarks of compiled networks share."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from typing import Any

import tvm
from tvm import tirx

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import MemoryMismatchError
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan
from tvm_fusion.passes.attributes import GROUP, OPERATORS, SCHEME, group_functions
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import collected_lowering_warnings
from tvm_fusion.passes.verify_memory import VerifyMemory

_OF_OPERATOR = re.compile(r"operator '(?P<operator>[^']*)': (?P<reason>.*)", re.DOTALL)


@dataclass(frozen=True)
class GroupFacts:
    """What the cost model says of a group; whether we lower it (else TVM does), and if not, for which operator.

    Ours is line buffers where ``scheme`` is "lbdf", and blocks of one operator alone where it is "layer"; the latter
    are refused without a reason.
    """

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
    module: Any,
    graph: OperatorGraph,
    plan: PartitionPlan,
    accelerator: Accelerator,
    target: Any = None,
    threads: int = 1,
) -> LoweredPlan:
    """Group, lower for ``target`` (this machine) and verify; groups stand in the order in which they execute.

    A group whose function is TIR now is ours; what is Relax still TVM lowers later.
    """
    begin = time.perf_counter()
    with collected_lowering_warnings() as warned, target or host_target():
        lowered = LowerLineBuffer(threads=threads)(FuseByPlan(plan, accelerator)(module))
    mismatch = ""
    try:
        lowered = VerifyMemory()(lowered)
    except MemoryMismatchError as error:
        mismatch = str(error)
    seconds = time.perf_counter() - begin
    refusals = {warning.function: _operator_and_reason(warning.reason) for warning in warned}
    oracle = Oracle(graph, accelerator)
    groups = []
    for name, attributes in group_functions(lowered).items():
        cost = oracle.cost_in(mask_of([int(i) for i in attributes[OPERATORS]]), str(attributes[SCHEME]))
        refused_operator, reason = refusals.get(name, ("", ""))
        groups.append(
            GroupFacts(
                group=int(attributes[GROUP]),
                operators=cost.operators,
                scheme=cost.scheme,
                lowered=isinstance(lowered[name], tirx.PrimFunc),
                buffer_bytes=cost.buffer_bytes,
                input_bytes=cost.input_bytes,
                weight_bytes=cost.weight_bytes,
                output_bytes=cost.output_bytes,
                macs=cost.macs,
                refused_operator=refused_operator,
                reason=reason,
            )
        )
    return LoweredPlan(lowered, tuple(groups), mismatch, seconds)


def _operator_and_reason(reason: str) -> tuple[str, str]:
    """Apart, as reasons of several networks are counted together; "" where it is no operator's."""
    found = _OF_OPERATOR.fullmatch(reason)
    return (found["operator"], found["reason"]) if found else ("", reason)


def host_target() -> Any:
    """LLVM for the processor of this machine."""
    return llvm_target(str(tvm.target.codegen.llvm_get_system_cpu()))


def llvm_target(cpu: str) -> Any:
    """LLVM for the processor that it calls ``cpu``; "" for one that every machine of the kind has."""
    return tvm.target.Target({"kind": "llvm", **({"mcpu": cpu} if cpu else {})})

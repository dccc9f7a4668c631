"""LoweringOptions: for what the rows of a group are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import tvm

from tvm_fusion.errors import CompileError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE, REGISTER_SCOPE
from tvm_fusion.passes.lowering.vectors import PORTABLE_VECTOR_BYTES, Vectors

_SCOPE = re.compile(r"(global|shared|local)(\.\w+)*")

# MACs and elements; of less, waiting for other threads takes longer than their help saves.
LEAST_SHARED_WORK = 200_000


@dataclass(frozen=True)
class LoweringOptions:
    """``scope`` of line buffers and weights, the ``vectors`` of the target, and how many ``threads`` share a group."""

    scope: str = DEFAULT_SCOPE
    vectors: Vectors = field(default_factory=Vectors)
    threads: int = 1

    def shares(self, graph: OperatorGraph) -> bool:
        """Whether a group is large enough for several threads."""
        return self.threads > 1 and sum(op.macs + op.elements for op in graph.operators) >= LEAST_SHARED_WORK


def check_options(scope: str, threads: int = 1) -> None:
    """Raise CompileError for a scope that is none of TVM's or that the lowering itself takes, and threads below 1."""
    taken = (ACCUMULATOR_SCOPE, REGISTER_SCOPE)
    if not _SCOPE.fullmatch(scope) or scope in taken:
        raise CompileError(
            f"scope {scope!r} is not allowed; give global or shared, or global, shared or local with a tag such as "
            f"{DEFAULT_SCOPE!r}; {' and '.join(map(repr, taken))} are taken"
        )
    if threads < 1:
        raise CompileError(f"threads {threads} is not allowed; it must be a whole number from 1")


def options_for_target(scope: str, vector_bytes: int | None, threads: int = 1) -> LoweringOptions:
    """The options with the vector registers of the target in whose scope a pass runs, unless ``vector_bytes`` says."""
    return LoweringOptions(scope, Vectors(vector_bytes or _vector_bytes()), threads)


def _vector_bytes() -> int:
    target = tvm.target.Target.current(allow_none=True)
    if target is None or target.kind.name != "llvm":
        return PORTABLE_VECTOR_BYTES
    return max(PORTABLE_VECTOR_BYTES, int(tvm.target.codegen.llvm_get_vector_width(target)) // 8)

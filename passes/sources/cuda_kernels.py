"""cuda_steps: the parallel loops of a lowered PrimFunc as kernels that the host launches one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx

from tvm_fusion.passes.lowering.expressions import as_int
from tvm_fusion.passes.lowering.statements import sequence, statements


@dataclass(frozen=True, eq=False)
class Kernel:
    """``body`` for every value of ``block``, in a thread block each; once, in one block, where that is None.

    ``loops`` of the host are around it, the outermost first. ``blocks`` and ``loops`` are loops of TIR.
    """

    body: Any
    block: Any
    loops: tuple[Any, ...]

    @property
    def count(self) -> int:
        """Blocks of the grid."""
        return 1 if self.block is None else int(self.block.extent)


@dataclass(frozen=True, eq=False)
class HostLoop:
    """A loop of the host around kernels."""

    loop: Any
    steps: tuple[Step, ...]

    @property
    def kernels(self) -> list[Kernel]:
        """All kernels inside, in their order."""
        return kernels_of(self.steps)


Step: TypeAlias = Kernel | HostLoop


def cuda_steps(function: Any) -> tuple[tuple[Step, ...], list[Any]]:
    """What the host does, and the buffers that kernels share.

    A buffer that is allocated outside of every kernel is shared. A kernel ends before the next begins, as blocks of a
    parallel loop do before what follows it.
    """
    shared: list[Any] = []
    return tuple(_steps(function.body, (), shared)), shared


def kernels_of(steps: tuple[Step, ...]) -> list[Kernel]:
    """All kernels of some steps, in their order."""
    return [kernel for step in steps for kernel in ([step] if isinstance(step, Kernel) else step.kernels)]


def _steps(stmt: Any, loops: tuple[Any, ...], shared: list[Any]) -> list[Step]:
    if isinstance(stmt, tirx.SeqStmt) and _has_blocks(stmt):
        return _sequence(stmt, loops, shared)
    if isinstance(stmt, tirx.For) and _has_blocks(stmt) and _counts(stmt):
        if stmt.kind == tirx.ForKind.PARALLEL:
            return [Kernel(stmt.body, stmt, loops)]
        if stmt.kind == tirx.ForKind.SERIAL:
            return [HostLoop(stmt, tuple(_steps(stmt.body, (*loops, stmt), shared)))]
    return [Kernel(stmt, None, loops)]  # a parallel loop deeper than this is done in turn


def _sequence(stmt: Any, loops: tuple[Any, ...], shared: list[Any]) -> list[Step]:
    """Of a sequence with blocks in it; neighbours without become one kernel."""
    found: list[Step] = []
    alone: list[Any] = []

    def end_alone() -> None:
        if alone:
            found.append(Kernel(sequence(alone.copy()), None, loops))
            alone.clear()

    for child in stmt.seq:
        if isinstance(child, tirx.AllocBuffer):
            shared.append(child.buffer)
        elif _has_blocks(child):
            end_alone()
            found.extend(_steps(child, loops, shared))
        else:
            alone.append(child)
    end_alone()
    return found


def _has_blocks(stmt: Any) -> bool:
    return any(isinstance(inner, tirx.For) and inner.kind == tirx.ForKind.PARALLEL for inner in statements(stmt))


def _counts(loop: Any) -> bool:
    return as_int(loop.min) is not None and as_int(loop.extent) is not None and as_int(loop.step) in (None, 1)

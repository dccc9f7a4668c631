"""Blocks: the loops of an operator's PrimFunc, what is cheap written into its readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tvm import s_tir
from tvm.ir.expr import Call
from tvm.s_tir import SBlockRealize

from tvm_fusion.passes.lowering.expressions import as_int, index, loads, parts, rewritten, simplified

# What costs about as much as an addition, and may be computed again in every reader.
_CHEAP = ("if_then_else",)


@dataclass(frozen=True)
class Block:
    """``buffer[indices] = value`` over ``spatial`` loops; with ``reduce`` loops ``value`` reads the buffer itself,
    which starts from ``init``. Loops are (variable, extent); those of extent 1 are gone."""

    name: str
    spatial: tuple[tuple[Any, int], ...]
    reduce: tuple[tuple[Any, int], ...]
    buffer: Any
    indices: tuple[Any, ...]
    value: Any
    init: Any = None


def blocks_of(function: Any) -> list[Block]:
    """Blocks in the order of execution; the last one makes the result. Raises ValueError for another form."""
    schedule = s_tir.Schedule(function)
    for _ in range(64):
        found = [_block(realize) for realize in _realizes(schedule.mod["main"].body)]
        chosen = next((block for block in found[:-1] if _joins(block, found)), None)
        if chosen is None:
            return found
        schedule.compute_inline(schedule.get_sblock(chosen.name))
    raise ValueError("it has too many steps")


def _joins(block: Block, every: list[Block]) -> bool:
    """Whether a block goes into its readers: if it is cheap, or if one elementwise block alone reads it."""
    if block.init is not None or loads(block.value, block.buffer):
        return False
    readers = [other for other in every if loads(other.value, block.buffer)]
    cheap = not any(isinstance(p, Call) and str(p.op.name).rsplit(".", 1)[-1] not in _CHEAP for p in parts(block.value))
    return cheap or (len(readers) == 1 and readers[0].init is None)


def _realizes(stmt: Any) -> Iterator[Any]:
    """Innermost blocks in their order."""
    if isinstance(stmt, SBlockRealize):
        inner = list(_realizes(stmt.block.body))
        yield from inner or [stmt]
        return
    for child in [*getattr(stmt, "seq", ()), getattr(stmt, "body", None)]:
        if child is not None:
            yield from _realizes(child)


def _block(realize: Any) -> Block:
    block = realize.block
    if as_int(realize.predicate) not in (1, None) or (as_int(realize.predicate) is None):
        raise ValueError("a loop of it runs over its end")
    store = block.body
    if not hasattr(store, "indices"):
        raise ValueError(f"its step {block.name_hint!r} is no single assignment")
    single: dict[Any, Any] = {}
    loops: dict[bool, list[tuple[Any, int]]] = {False: [], True: []}
    for iterator in block.iter_vars:
        extent, low = as_int(iterator.dom.extent), as_int(iterator.dom.min)
        if extent is None or low != 0 or int(iterator.iter_type) not in (0, 2):
            raise ValueError(f"its step {block.name_hint!r} has a loop of unknown size")
        if extent == 1:
            single[iterator.var] = index(0)
        else:
            loops[int(iterator.iter_type) == 2].append((iterator.var, extent))

    def load(buffer: Any, indices: list[Any]) -> Any:
        return buffer[tuple(simplified(i) for i in indices)]

    return Block(
        name=str(block.name_hint),
        spatial=tuple(loops[False]),
        reduce=tuple(loops[True]),
        buffer=store.buffer,
        indices=tuple(simplified(rewritten(i, single, load)) for i in store.indices),
        value=rewritten(store.value, single, load),
        init=None if block.init is None else rewritten(block.init.value, single, load),
    )

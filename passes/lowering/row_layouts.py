"""row_layouts: which tensors between lowered groups may lie in DRAM as on chip, channels closest together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes.fuse_groups import operands_of
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.relax_tools import bindings, callee_name, shape_of

# (group function, operand of its own graph)
Place = tuple[str, int]


def row_layouts(main: Any, groups: Mapping[str, Group]) -> dict[str, set[int]]:
    """By group, which of its outside tensors and results may lie by rows: those that groups alone make and read.

    ``main`` calls the groups; a tensor that another function reads, or that main returns, keeps its shape.
    """
    made: dict[Any, list[Place]] = {}  # by variable of main the results of a group that it is, several for a tuple
    read: dict[Place, list[Place]] = {}

    def places_of(expr: Any) -> list[Place]:
        return [place for operand in operands_of(expr) for place in made.get(operand, ())]

    excluded: set[Place] = set()
    for binding in bindings(main):
        value, name = binding.value, callee_name(binding.value)
        if isinstance(value, relax.TupleGetItem) and len(made.get(value.tuple_value, ())) > 1:
            made[binding.var] = [made[value.tuple_value][int(value.index)]]
        elif name is not None and name in groups:
            for argument, operand in zip(value.args, groups[name].operands, strict=True):
                if operand is not None:
                    for place in places_of(argument):
                        read.setdefault(place, []).append((name, operand))
            made[binding.var] = [(name, i) for i in groups[name].results]
        else:  # another function, or another name for a variable, by which main may return it
            excluded.update(places_of(value))
    excluded.update(places_of(main.body.body))
    found: dict[str, set[int]] = {name: set() for name in groups}
    for place, readers in read.items():
        if place not in excluded and _agree(groups, place, readers):
            for name, operand in [place, *readers]:
                found[name].add(operand)
    return found


def _agree(groups: Mapping[str, Group], place: Place, readers: list[Place]) -> bool:
    """Whether all see the same rows, and the variable itself has the tensor's shape."""
    first = groups[place[0]].graph.tensor(place[1])
    if first.row_axis is None:
        return False  # as on chip already
    for name, operand in readers:
        group = groups[name]
        shown = group.parameters[group.operands.index(operand)]
        if not _alike(first, group.graph.tensor(operand)) or shape_of(shown) != first.shape:
            return False
    return True


def _alike(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.row_axis, a.batch, a.dtype) == (b.shape, b.row_axis, b.batch, b.dtype)

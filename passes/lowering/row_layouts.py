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
    made: dict[Any, Place] = {}  # by variable of main the result that it is
    tuples: dict[Any, str] = {}
    read: dict[Place, list[Place]] = {}
    excluded: set[Place] = set()
    for binding in bindings(main):
        value, name = binding.value, callee_name(binding.value)
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in tuples:
            group = groups[tuples[value.tuple_value]]
            made[binding.var] = group.name, group.results[int(value.index)]
        elif name is not None and name in groups:
            group = groups[name]
            for k, argument in enumerate(value.args):
                operand = group.operands[k]
                if argument in made and operand is not None:
                    read.setdefault(made[argument], []).append((name, operand))
            if len(group.results) > 1:
                tuples[binding.var] = name
            else:
                made[binding.var] = name, group.results[0]
        else:
            excluded |= {made[operand] for operand in operands_of(value) if operand in made}
            excluded |= {
                (tuples[operand], i)
                for operand in operands_of(value)
                if operand in tuples
                for i in groups[tuples[operand]].results
            }
    excluded |= {made[var] for var in _returned(main) if var in made}
    found: dict[str, set[int]] = {name: set() for name in groups}
    for place, readers in read.items():
        if place not in excluded and _agree(groups, place, readers):
            for name, operand in [place, *readers]:
                found[name].add(operand)
    return found


def _returned(main: Any) -> list[Any]:
    """Variables that main returns, also through others that stand for them."""
    values = {binding.var: binding.value for binding in bindings(main)}
    found, left = [], [main.body.body]
    while left:
        expr = left.pop()
        found.append(expr)
        if isinstance(expr, relax.Tuple):
            left += list(expr.fields)
        elif expr in values and isinstance(values[expr], (relax.Tuple, relax.Var)):
            left.append(values[expr])
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

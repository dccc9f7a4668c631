"""What extraction learns of one Relax call, and the registry of the rules that say it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tvm import relax

from tvm_fusion.graph.demand import ALL, ROW, SINGLE, RowDemand
from tvm_fusion.graph.operator import Window
from tvm_fusion.passes.relax_tools import is_constant, op_name, shape_of


@dataclass(frozen=True)
class RowFacts:
    """Row demands by operand variable, and what else an operator's entry in the graph says."""

    type: str
    row_axis: int | None
    demands: dict[Any, RowDemand]
    window: Window | None = None
    pointwise: bool = False
    macs: int = 0
    known: bool = True


@dataclass
class RowAxes:
    """Row axis of every variable met so far (None: one row)."""

    batch: int = 1
    axes: dict[Any, int | None] = field(default_factory=dict)

    def axis(self, var: Any) -> int | None:
        """Row axis of a variable."""
        return self.axes[var]

    def height(self, var: Any) -> int:
        """Rows of a variable."""
        axis = self.axes[var]
        return 1 if axis is None else shape_of(var)[axis]


Rule = Callable[[Any, RowAxes], RowFacts]
_RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule for operators by their names without "relax."."""

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[name] = function
        return function

    return register


def row_facts(call: Any, axes: RowAxes) -> RowFacts:
    """Facts of one call; conservative (all rows of everything) where no rule knows the operator."""
    found = _RULES.get(op_name(call))
    facts = found(call, axes) if found is not None else conservative(call, axes)
    axis = facts.row_axis
    if axis is not None and (axis >= len(shape_of(call)) or (axis == 0 and axes.batch > 1)):
        facts = replace(facts, row_axis=None, demands=dict.fromkeys(facts.demands, ALL), pointwise=False)
    return facts


def conservative(call: Any, axes: RowAxes) -> RowFacts:
    """All rows of every operand, held together; operands of one row each leave nothing to know better."""
    demands = {var: ALL if axes.height(var) > 1 else SINGLE for var in tensor_operands(call)}
    name = op_name(call).rsplit(".", 1)[-1] or "unknown"
    return RowFacts(name, default_row_axis(shape_of(call)), demands, known=ALL not in demands.values())


def tensor_operands(call: Any) -> list[Any]:
    """Variables among a call's arguments, tuples opened, each once."""
    found: dict[Any, None] = {}
    for arg in call.args if isinstance(call, relax.Call) else [call]:
        fields = arg.fields if isinstance(arg, relax.Tuple) else [arg]
        for value in fields:
            if isinstance(value, relax.TupleGetItem):
                value = value.tuple_value
            if isinstance(value, relax.Var) and hasattr(value, "ty"):
                found[value] = None
    return list(found)


def default_row_axis(shape: tuple[int, ...]) -> int | None:
    """Height of NCHW, tokens of (N, T, C); lower ranks are one row."""
    return {3: 1, 4: 2, 5: 2}.get(len(shape))


def whole(height: int) -> RowDemand:
    """Demand for every row of an operand."""
    return ALL if height > 1 else SINGLE


def table(pairs: list[tuple[int, int]], operand_height: int) -> RowDemand:
    """The simplest demand that says ``first .. last`` for every output row."""
    if pairs == [(r, r) for r in range(len(pairs))] and operand_height == len(pairs):
        return ROW if len(pairs) > 1 else SINGLE
    if all(pair == (0, operand_height - 1) for pair in pairs):
        return whole(operand_height)
    return RowDemand("table", first=tuple(p[0] for p in pairs), last=tuple(p[1] for p in pairs))


def constant_elements(call: Any) -> int:
    """Elements of a call's tensor constants, scalars left out (they are immediates)."""
    return sum(math.prod(shape_of(value)) for value in constants_of(call))


def constants_of(call: Any) -> list[Any]:
    """A call's tensor constants of more than one element."""
    values = [v for arg in call.args for v in (arg.fields if isinstance(arg, relax.Tuple) else [arg])]
    return [value for value in values if is_constant(value) and math.prod(shape_of(value)) > 1]

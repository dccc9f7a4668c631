"""AttachToBackend: groups marked for a code generator of the user's (TVM's BYOC)."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.row_program import row_program
from tvm_fusion.errors import CompileError
from tvm_fusion.graph.graph_io import graph_to_json
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    BINDING_OPERATORS,
    GROUP_GRAPH,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    LINE_BUFFERS,
    MEMORY_MAP,
    OPERANDS,
    RESULTS,
    ROW_AXES,
    ROW_PROGRAM,
    WEIGHTS,
    group_functions,
)
from tvm_fusion.passes.backend_group import operator_weights
from tvm_fusion.passes.lowering.group import Group, group_calls, read_group
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.on_chip_places import place_on_chip
from tvm_fusion.passes.relax_tools import constant_array
from tvm_fusion.passes.replace_groups import replace_groups

Refuses = Callable[[Any], str | None]


class BackendWarning(UserWarning):
    """A group that a backend does not take; it stays for the passes that follow."""


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.AttachToBackend")
class AttachToBackend:
    """Mark every LBDF group (after FuseByPlan or FusionSearch) for the code generator ``relax.ext.NAME``.

    ``relax.transform.RunCodegen`` then hands it the marked functions, each with its weights as constants inside and
    with attributes that say its operators, line buffers, row program and memory map (see docs/backends.md;
    ``backend_group`` reads them). ``refuses`` gets such a function and gives a reason why the backend does not take it,
    or None; by default that is the registered function ``relax.ext.NAME.refuses``, if there is one. Refused groups, and
    those that do not end within ``buffer_bytes`` if placed at multiples of ``alignment`` bytes, stay as they are for
    LowerLineBuffer or LowerGroups, each with a BackendWarning.

    Raises CompileError, when it runs, if no code generator of that name is registered.
    """

    def __init__(
        self, name: str, refuses: Refuses | None = None, buffer_bytes: int | None = None, alignment: int = 1
    ) -> None:
        if alignment < 1:
            raise CompileError(f"alignment {alignment} is not allowed; it must be a whole number of bytes from 1")
        self.name = name
        self.refuses = refuses
        self.buffer_bytes = buffer_bytes
        self.alignment = alignment

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with marked groups; ``mod`` stays as it is."""
        generator = f"relax.ext.{self.name}"
        if tvm_ffi.get_global_func(generator, allow_missing=True) is None:
            raise CompileError(
                f"backend {self.name!r} has no code generator: register one as {generator!r} "
                "(tvm_ffi.register_global_func) before it is used"
            )
        refuses = self.refuses or tvm_ffi.get_global_func(f"{generator}.refuses", allow_missing=True)
        groups = group_functions(mod)
        calls = group_calls(mod, groups)
        taken, orders = {}, {}
        for name, call in calls.items():
            try:
                group = read_group(mod, name, groups[name], list(call.args))
                function = self._marked(group, groups[name])
                reason = refuses(function) if refuses else None
                if reason:
                    raise NotLowered("", str(reason))
            except NotLowered as reason:
                warnings.warn(f"{name} is not for backend {self.name!r}: {reason}", BackendWarning, stacklevel=2)
                continue
            taken[name] = function
            orders[name] = _order(group)

        def new_call(name: str, target: Any, _old: Any, arguments: list[Any]) -> Any:
            return relax.Call(target, [arguments[k] for k in orders[name]])

        return replace_groups(mod, taken, new_call) if taken else mod

    def _marked(self, group: Group, attributes: dict[str, Any]) -> Any:
        """The function that the code generator gets."""
        if len(set(group.results)) != len(group.results):
            raise NotLowered("", "one tensor is returned twice")
        graph = group.graph
        cost = LineBufferModel(graph, OWN_WIDTHS).cost(group.everything)
        weight_bytes = [[constant_array(c).nbytes for c in operator_weights(bound)] for bound in group.bindings]
        places = place_on_chip(graph, cost, weight_bytes, self.alignment)
        if self.buffer_bytes is not None and places.end > self.buffer_bytes:
            raise NotLowered(
                "", f"its line buffers and weights end at byte {places.end}; the buffer has {self.buffer_bytes}"
            )
        order = _order(group)
        text = json.dumps(graph_to_json(graph))
        found = attributes | {
            OPERANDS: [int(attributes[OPERANDS][k]) for k in order],
            ROW_AXES: [int(attributes[ROW_AXES][k]) for k in order],
            BINDING_OPERATORS: [int(i) for i in attributes[BINDING_OPERATORS]],
            IR_BUFFER_BYTES: cost.buffer_bytes,
            IR_DRAM_BYTES: cost.dram_bytes,
            ACCUMULATOR_BYTES: places.accumulator_bytes,
            MEMORY_MAP: [list(entry) for entry in places.memory_map],
            GROUP_GRAPH: text,
            RESULTS: list(group.results),
            LINE_BUFFERS: [[p.operand, p.memory, p.address, p.lines, p.row_bytes] for p in places.rows],
            WEIGHTS: [[w.operator, w.number, w.address, w.size_bytes] for w in places.weights],
            ROW_PROGRAM: [list(event) for event in row_program(graph, group.everything)],
        }
        symbol = f"{self.name}_{group.name}_{_digest(group, text)}"
        return group.function.with_attrs(found | {"Codegen": self.name, "global_symbol": symbol})


def _order(group: Group) -> list[int]:
    """Positions of the outside tensors among the parameters of the group function, in the order of the graph."""
    outside = [k for k, operand in enumerate(group.operands) if operand is not None]
    return sorted(outside, key=lambda k: -(group.operands[k] or 0))


def _digest(group: Group, text: str) -> str:
    """Eight letters that differ for groups that compute something else: symbols are global to the process."""
    digest = hashlib.sha256(text.encode())
    for bound in group.bindings:
        for _, value in bound:
            digest.update(str(value).encode())
        for weight in operator_weights(bound):
            digest.update(np.ascontiguousarray(constant_array(weight)).tobytes())
    return digest.hexdigest()[:8]

"""Attributes of group functions: what they are called, how they are read, and how they survive FuseTIR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tvm.ir import IRModule

from tvm_fusion.cost_models.scheme import GroupCost

PREFIX = "tvm_fusion."
GROUP = f"{PREFIX}group"
SCHEME = f"{PREFIX}scheme"
BUFFER_BYTES = f"{PREFIX}buffer_bytes"
DRAM_BYTES = f"{PREFIX}dram_bytes"
OPERATORS = f"{PREFIX}operators"
PARAMETERS = f"{PREFIX}parameters"  # the scheme's own choice, as JSON
# How a group function reads, for whatever lowers it: how many images, of each parameter the operand of the network's
# graph (WEIGHT for a weight) and its row axis (NO_ROWS: one row), of each binding the operator that it belongs to.
BATCH = f"{PREFIX}batch"
OPERANDS = f"{PREFIX}operands"
ROW_AXES = f"{PREFIX}row_axes"
BINDING_OPERATORS = f"{PREFIX}binding_operators"
WEIGHT = -(1 << 31)
NO_ROWS = -1
# Of a lowered group, at the element widths of the IR: what the cost model says, how many threads make its rows, what
# the TIR holds beside line buffers and weights for sums, and (name, address, bytes) of everything on chip.
IR_BUFFER_BYTES = f"{PREFIX}ir_buffer_bytes"
IR_DRAM_BYTES = f"{PREFIX}ir_dram_bytes"
IR_THREADS = f"{PREFIX}ir_threads"
ACCUMULATOR_BYTES = f"{PREFIX}accumulator_bytes"
MEMORY_MAP = f"{PREFIX}memory_map"
# Of a group that is attached to a backend (docs/backends.md has their form).
GROUP_GRAPH = f"{PREFIX}group_graph"
RESULTS = f"{PREFIX}results"
LINE_BUFFERS = f"{PREFIX}line_buffers"
WEIGHTS = f"{PREFIX}weights"
ROW_PROGRAM = f"{PREFIX}row_program"


def group_attributes(number: int, cost: GroupCost) -> dict[str, Any]:
    """The attributes of group ``number``; bytes as on the accelerator that ``cost`` is for."""
    parameters = cost.parameters
    return {
        GROUP: number,
        SCHEME: cost.scheme,
        BUFFER_BYTES: cost.buffer_bytes,
        DRAM_BYTES: cost.dram_bytes,
        OPERATORS: list(cost.operators),
        **({PARAMETERS: json.dumps(parameters, sort_keys=True)} if parameters else {}),
    }


def scheme_parameters(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a group's scheme, by its attributes; none where it has none."""
    found: dict[str, Any] = json.loads(str(attributes.get(PARAMETERS, "{}")))
    return found


def group_functions(mod: IRModule) -> dict[str, dict[str, Any]]:
    """Our attributes by function name, in the order of the groups, for every group function of ``mod``."""
    found = {}
    for var, function in mod.functions.items():
        attributes = {str(key): value for key, value in dict(function.attrs or {}).items()}
        if GROUP in attributes:
            found[str(var.name_hint)] = {key: value for key, value in attributes.items() if key.startswith(PREFIX)}
    return dict(sorted(found.items(), key=lambda item: (int(item[1][GROUP]), item[0])))


def keep_attributes(before: IRModule, after: IRModule) -> IRModule:
    """``after`` with our attributes of ``before`` on the functions of the same names."""
    result = IRModule(dict(after.functions.items()), attrs=after.attrs, global_infos=after.global_infos)
    for name, attributes in group_functions(before).items():
        if name in {var.name_hint for var in after.get_global_vars()}:
            result[name] = after[name].with_attrs(attributes)
    return result

"""Modules lowered by the public passes, for the tests of what these consist of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import tvm
from hypothesis import HealthCheck
from hypothesis import strategies as st
from tvm import relax

from tests.passes.modules import run
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, is_constant, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

ROOMY = Accelerator(buffer_bytes=10**9)
WIDTHS = st.sampled_from((16, 32, 64))  # bytes of a vector register
PLAIN = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@contextmanager
def shared_always() -> Iterator[None]:
    """Groups are shared by threads however small they are."""
    with (
        patch("tvm_fusion.passes.lowering.options.LEAST_SHARED_WORK", 0),
        patch("tvm_fusion.passes.lowering.line_buffer_writer.LEAST_SPEEDUP", 0),
    ):
        yield


def apart(graph: OperatorGraph, scheme: str) -> PartitionPlan:
    """Every operator as a group of its own."""
    plan = PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])
    return PartitionPlan(tuple(Group(group.operators, scheme) for group in plan.groups))


def lowered(mod: tvm.IRModule, plan: PartitionPlan, vector_bytes: int = 16) -> tvm.IRModule:
    """Grouped, lowered and verified; a group of LBDF that is not lowered is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        rows = LowerLineBuffer(vector_bytes=vector_bytes)(FuseByPlan(plan, ROOMY)(mod))
    found = VerifyMemory()(rows)
    relax.analysis.well_formed(found)
    return found


def outputs(mod: tvm.IRModule, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What a lowered module computes."""
    return run(LowerGroups()(mod), inputs)


def calls(mod: tvm.IRModule) -> dict[str, Any]:
    """By name of the lowered function the call of main to it."""
    values = [binding.value for binding in bindings(mod["main"])]
    return {str(v.args[0].name_hint): v for v in values if isinstance(v, relax.Call) and op_name(v) == "call_tir"}


def constants(call: Any) -> list[np.ndarray]:
    """Constants that a call passes, a row program left out."""
    arrays = [constant_array(argument) for argument in call.args[1].fields if is_constant(argument)]
    return [array for array in arrays if array.dtype != np.int32 or array.ndim != 2]

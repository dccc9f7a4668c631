"""shared_by_threads: one loop of every nest is parallel, and never one that adds up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import tirx
from tvm.relax import op
from tvm.tirx import ForKind

from tests.passes.lowering.lowered import apart, shared_always
from tests.passes.modules import conv, run, stepwise
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.shared_loops import shared_by_threads
from tvm_fusion.passes.lowering.statements import statements

PLACE = tirx.decl_buffer([index(100)], "float32", name="place")
OTHER = tirx.decl_buffer([index(1)], "float32", name="other")


def nest(*extents: int) -> Any:
    """Loops around a store that nothing else reads."""
    return loop_nest(
        [(loop_var("i"), extent) for extent in extents],
        tirx.BufferStore(PLACE, tirx.FloatImm("float32", 0), [index(0)]),
    )


def parallel(stmt: Any) -> list[int]:
    """Extents of the parallel loops."""
    return [
        int(inner.extent)
        for inner in statements(stmt)
        if isinstance(inner, tirx.For) and inner.kind == ForKind.PARALLEL
    ]


@pytest.mark.parametrize(
    ("extents", "threads", "chosen"),
    [
        ((8, 3), 2, [8]),
        ((3, 8), 2, [8]),  # 2 of 3 passes would be one thread's
        ((3, 5), 2, [5]),
        ((7, 3), 4, [7]),
        ((300, 2), 2, [300]),
        ((301, 4), 2, [301]),
        ((5, 1001), 4, [1001]),
    ],
)
def test_the_outermost_loop_that_divides_evenly(extents: tuple[int, ...], threads: int, chosen: list[int]) -> None:
    assert parallel(shared_by_threads(nest(*extents), threads)) == chosen


def test_every_nest_of_a_sequence() -> None:
    assert parallel(shared_by_threads(tirx.SeqStmt([nest(8), nest(4, 4)]), 2)) == [8, 4]


def test_sums_in_registers_stay_in_one_thread() -> None:
    add = loop_nest([(loop_var("k"), 8)], tirx.BufferStore(OTHER, OTHER[index(0)] + PLACE[index(0)], [index(0)]))
    stmt = tirx.SeqStmt([nest(6), tirx.AllocBuffer(OTHER), add, nest(4)])
    assert parallel(shared_by_threads(stmt, 2)) == [6, 4]


@given(
    channels=st.integers(1, 40), inputs=st.integers(1, 20), size=st.integers(1, 7), kernel=st.sampled_from((1, 3)),
    vector_bytes=st.sampled_from((16, 32, 64)), threads=st.integers(2, 4), kept=st.sampled_from((100, 2000, 10**6)),
)  # fmt: skip
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_random_layers(
    channels: int, inputs: int, size: int, kernel: int, vector_bytes: int, threads: int, kept: int
) -> None:
    """Convolutions alone, with all orders of their loops."""
    mod = stepwise(lambda _, x: conv(x, channels, kernel=kernel), (1, inputs, size, size))
    plan = apart(extract(mod).graph, "layer")
    with shared_always():
        rows = LowerLineBuffer(vector_bytes=vector_bytes, threads=threads)(
            FuseByPlan(plan, Accelerator(buffer_bytes=kept))(mod)
        )
    given_inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(rows), given_inputs), run(mod, given_inputs)) < 1e-5


def test_layers_of_networks_are_shared() -> None:
    mod = stepwise(lambda emit, x: op.nn.relu(emit(conv(x, 32))), (1, 16, 12, 12))
    with shared_always():
        rows = LowerLineBuffer(threads=2)(FuseByPlan(apart(extract(mod).graph, "layer"))(mod))
    functions = [f for f in rows.functions.values() if isinstance(f, tirx.PrimFunc)]
    assert len(functions) == 2
    assert all(parallel(function.body) for function in functions)

"""Groups whose rows several threads make: the results of one thread, the halo counted, and what is verified of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op
from tvm.tirx import ForKind

from tests.passes.lowering.lowered import ROOMY, outputs, shared_always
from tests.passes.modules import Shape, conv, run, stepwise, weight
from tests.passes.networks import whole
from tests.passes.tampering import with_program
from tvm_fusion.errors import CompileError, MemoryMismatchError
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    IR_THREADS,
    group_functions,
)
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.statements import statements
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

NAME = "fused_group_0"
Build = Callable[..., Any]


def chain(emit: Any, x: Any) -> Any:
    return op.nn.relu(emit(conv(emit(op.nn.relu(emit(conv(x, 3)))), 4, seed=1)))


def two_results(emit: Any, x: Any) -> Any:
    """The first one has a halo, and a branch of half its rows."""
    first = emit(conv(x, 3))
    return relax.Tuple([first, emit(conv(first, 2, seed=1)), emit(op.nn.max_pool2d(first, 2, 2))])


def squeeze_and_excite(emit: Any, x: Any) -> Any:
    """Twice in one group, with a residual: everything that the second one scales waits for the first."""
    for seed in (0, 3):
        wide = emit(op.nn.silu(emit(conv(x, 6, seed=seed))))
        scale = emit(op.sigmoid(emit(conv(emit(op.mean(wide, [2, 3], True)), 6, kernel=1, seed=seed + 1))))
        x = emit(op.add(emit(conv(emit(op.multiply(wide, scale)), 4, kernel=1, seed=seed + 2)), x))
    return x


def pooled(emit: Any, x: Any) -> Any:
    """Sums and a maximum of rows that nobody holds."""
    wide = emit(conv(x, 5))
    return op.add(emit(op.mean(wide, [2, 3])), emit(op.max(wide, [2, 3])))


def attention(emit: Any, x: Any) -> Any:
    """All rows of keys and values for every row of queries."""
    query, key = emit(op.matmul(x, weight(6, 6))), emit(op.matmul(x, weight(6, 6, seed=1)))
    scores = emit(op.nn.softmax(emit(op.matmul(query, emit(op.permute_dims(key, [0, 2, 1]))))))
    return op.matmul(scores, emit(op.matmul(x, weight(6, 6, seed=2))))


CASES: dict[str, tuple[Build, Shape]] = {
    "chain": (chain, (1, 4, 9, 5)),
    "images": (chain, (3, 4, 9, 5)),
    "fewer rows than threads": (chain, (1, 4, 2, 5)),
    "two results": (two_results, (1, 4, 10, 5)),
    "squeeze and excite": (squeeze_and_excite, (1, 4, 9, 5)),
    "squeeze and excite of images": (squeeze_and_excite, (2, 4, 7, 5)),
    "sums of rows": (pooled, (1, 4, 9, 5)),
    "attention": (attention, (1, 8, 6)),
    "rows by stride": (lambda emit, x: op.nn.max_pool2d(emit(conv(x, 3, strides=2)), 1, 3), (1, 2, 29, 7)),
}


def lowered(build: Build, shape: Shape, threads: int, dtype: str = "float32") -> tuple[tvm.IRModule, tvm.IRModule]:
    """The network, and it as one group of so many threads at most."""
    mod = stepwise(build, shape, dtype=dtype)
    with shared_always():
        rows = LowerLineBuffer(threads=threads)(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))
    return mod, rows


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("name", CASES)
def test_results_and_memory(name: str, threads: int) -> None:
    build, shape = CASES[name]
    mod, rows = lowered(build, shape, threads)
    verified = group_functions(VerifyMemory()(rows))[NAME]
    alone = group_functions(VerifyMemory()(lowered(build, shape, 1)[1]))[NAME]
    assert 1 < int(verified[IR_THREADS]) <= threads
    assert IR_THREADS not in alone
    assert verified[IR_BUFFER_BYTES] == alone[IR_BUFFER_BYTES]
    assert verified[IR_DRAM_BYTES] >= alone[IR_DRAM_BYTES]
    inputs = random_inputs(mod)
    assert largest_relative_error(outputs(rows, inputs), run(mod, inputs)) < 1e-5


def test_halo_is_counted() -> None:
    """Two 3-row convolutions of 9 rows, in blocks of 4 and 5 rows: four input rows twice."""
    build, shape = CASES["chain"]
    shared = group_functions(lowered(build, shape, 2)[1])[NAME]
    alone = group_functions(lowered(build, shape, 1)[1])[NAME]
    assert int(shared[IR_DRAM_BYTES]) - int(alone[IR_DRAM_BYTES]) == 4 * (4 * 5 * 4)


def test_sums_of_every_thread_are_counted() -> None:
    build, shape = CASES["sums of rows"]
    one, two = (group_functions(VerifyMemory()(lowered(build, shape, n)[1]))[NAME][ACCUMULATOR_BYTES] for n in (1, 2))
    assert int(two) - int(one) == 2 * (2 * 5 * 4)  # of each block, for both operators


def test_integer_sums_are_those_of_one_thread() -> None:
    mod, rows = lowered(lambda emit, x: op.sum(emit(op.add(x, x)), [2, 3]), (1, 4, 9, 5), 3, "int32")
    inputs = random_inputs(mod)
    np.testing.assert_array_equal(outputs(VerifyMemory()(rows), inputs)[0], run(mod, inputs)[0])


def test_a_stage_is_one_parallel_loop() -> None:
    function = lowered(*CASES["squeeze and excite"], 2)[1][NAME]
    loops = [
        inner for inner in statements(function.body) if isinstance(inner, tirx.For) and inner.kind == ForKind.PARALLEL
    ]
    assert [int(loop.extent) for loop in loops] == [2] * 5  # the input and what is added are shared, and have a halo


def test_small_groups_stay_with_one_thread() -> None:
    mod = stepwise(chain, (1, 4, 9, 5))
    rows = LowerLineBuffer(threads=2)(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))
    assert IR_THREADS not in group_functions(rows)[NAME]


def test_large_groups_are_shared() -> None:
    mod = stepwise(chain, (1, 16, 32, 32))
    rows = LowerLineBuffer(threads=2)(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))
    assert int(group_functions(rows)[NAME][IR_THREADS]) == 2


def test_threads_that_are_none() -> None:
    with pytest.raises(CompileError, match="threads 0 is not allowed; it must be a whole number from 1"):
        LowerLineBuffer(threads=0)


CHANGED = {
    "all blocks are the first": (r"block \* T\.int64\(\d+\) \+ event", "event", "not executed once"),
    "blocks overlap": (r"block \* T\.int64\(\d+\)", "block * T.int64(7)", "block after block"),
    "the program goes on elsewhere": (r"\+ event, ", "+ event + T.int64(1), ", "not executed once"),
    "events in steps of two": (r"\+ event, ", "+ event * T.int64(2), ", "event after event"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_tampering_is_found(name: str) -> None:
    old, new, message = CHANGED[name]
    _, rows = lowered(*CASES["chain"], 2)
    text, count = re.subn(old, new, rows[NAME].script())
    assert count
    changed = tvm.IRModule(dict(rows.functions.items()), attrs=rows.attrs, global_infos=rows.global_infos)
    changed[NAME] = tvm.script.from_source(text)
    with pytest.raises(MemoryMismatchError, match=message):
        VerifyMemory()(changed)


def program_of(mod: tvm.IRModule) -> np.ndarray:
    (call,) = [b.value for b in bindings(mod["main"]) if op_name(b.value) == "call_tir"]
    return constant_array(call.args[1].fields[-1]).copy()


def test_a_row_that_a_thread_loads_twice_is_found() -> None:
    """The halo may be loaded by both, but by each once."""
    _, rows = lowered(*CASES["chain"], 2)
    program = program_of(rows)
    second = np.flatnonzero(program[:, 0] == 0)[-1]  # of the second thread
    program[second, 1] -= 1
    with pytest.raises(MemoryMismatchError, match="at one place several times"):
        VerifyMemory()(with_program(rows, program))


def test_a_row_that_two_threads_store_is_found() -> None:
    _, rows = lowered(*CASES["two results"], 2)
    program = program_of(rows)
    stored = next(k for k in np.unique(program[:, 0]) if program[program[:, 0] == k, 1].tolist() == list(range(10)))
    program[np.flatnonzero(program[:, 0] == stored)[-1], 1] = 0
    with pytest.raises(MemoryMismatchError, match="at one place several times"):
        VerifyMemory()(with_program(rows, program))

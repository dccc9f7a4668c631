"""AttachToBackend: a code generator gets each group with everything it needs, and TVM calls what it made."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import conv, copied, stepwise
from tests.passes.modules import run as run_by_tvm
from tests.passes.networks import NETWORKS, X, named, plan_of, whole
from tests.passes.reference_backend import CALLED, GROUPS, NAME
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.simulator import simulate_line_buffer
from tvm_fusion.errors import CompileError
from tvm_fusion.passes import (
    AttachToBackend,
    BackendWarning,
    FuseByPlan,
    LowerGroups,
    VerifyPlan,
    backend_group,
    extract,
)
from tvm_fusion.passes.attributes import BUFFER_BYTES, DRAM_BYTES, MEMORY_MAP, SCHEME, group_functions
from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.verify_memory import VerifyMemory

OWN_WIDTHS = Accelerator(buffer_bytes=10**9, activation_bits=None, weight_bits=None)
SIMPLE = [name for name in NETWORKS if name != "tuple of an operator"]


@pytest.fixture(autouse=True)
def _empty() -> None:
    GROUPS.clear()
    CALLED.clear()


def grouped(mod: tvm.IRModule, *groups: tuple[int, ...]) -> tvm.IRModule:
    """``mod`` with these groups, or as one group for each connected part."""
    graph = extract(mod).graph
    return FuseByPlan(plan_of(graph, *groups) if groups else whole(graph), OWN_WIDTHS)(mod)


def attached(mod: tvm.IRModule, **options: Any) -> tvm.IRModule:
    """Marked without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", BackendWarning)
        return AttachToBackend(NAME, **options)(mod)


def built(mod: tvm.IRModule) -> Any:
    rest = LowerGroups()(LowerLineBuffer()(relax.transform.RunCodegen()(mod)))
    return tvm.compile(rest, "llvm")


def error_of(mod: tvm.IRModule, marked: tvm.IRModule) -> float:
    inputs = random_inputs(mod)
    return largest_relative_error(run_executable(built(marked), inputs), run_by_tvm(mod, inputs))


@pytest.mark.parametrize("name", SIMPLE)
def test_compiled_network_calls_the_backend_and_gives_its_results(name: str) -> None:
    mod = named(name)
    assert error_of(mod, attached(grouped(mod))) < 1e-5
    assert [group.symbol for group in GROUPS] == CALLED
    assert len(CALLED) == len(group_functions(grouped(mod)))


@pytest.mark.parametrize("name", SIMPLE)
def test_a_group_knows_what_the_cost_model_says(name: str) -> None:
    marked = attached(grouped(named(name)))
    for function, attributes in group_functions(marked).items():
        group = backend_group(marked[function])
        model = simulate_line_buffer(group.graph, (1 << len(group.graph)) - 1, OWN_WIDTHS)
        assert (group.buffer_bytes, group.dram_bytes) == (model.buffer_bytes, model.dram_bytes)
        assert (group.buffer_bytes, group.dram_bytes) == (int(attributes[BUFFER_BYTES]), int(attributes[DRAM_BYTES]))
        assert sum(size for _, _, size in group.memory_map) == group.buffer_bytes
        assert sum(place.size_bytes for place in group.weights) == model.weight_bytes
        assert [group.weight_array(place).nbytes for place in group.weights] == [w.size_bytes for w in group.weights]
        held = {buffer.tensor: buffer.lines for buffer in model.buffers if buffer.lines}
        assert {i: group.rows[i].lines for i in held} == held
        made = [event for event in group.program if event[0] >= 0]
        assert {i for i, _ in made} == set(range(len(group.graph)))
        assert len(set(group.program)) == len(group.program)


@pytest.mark.parametrize("name", SIMPLE)
def test_memory_is_that_of_the_lowering(name: str) -> None:
    """Two ways to the same memory: from the cost model here, from the TIR in VerifyMemory."""
    mod = grouped(named(name))
    lowered = group_functions(VerifyMemory()(LowerLineBuffer()(mod)))
    marked = attached(mod)
    for function in group_functions(marked):
        by_tir = [int(size) for _, _, size in lowered[function][MEMORY_MAP]]
        assert sorted(by_tir) == sorted(size for _, _, size in backend_group(marked[function]).memory_map)


def test_places_of_a_residual_block() -> None:
    """conv relu conv add relu: what is computed in place lies in the row of its reader."""
    group = backend_group(attached(grouped(named("residual")))["fused_group_0"])
    rows = group.rows
    assert [op.type for op in group.graph.operators] == ["conv2d", "relu", "conv2d", "add", "relu"]
    assert replace(rows[0], operand=1) == rows[1]
    assert {rows[i].address for i in (2, 3, 4)} == {rows[4].address}
    assert (rows[-1].lines, rows[1].lines, rows[4].lines, group.accumulator_bytes) == (3, 3, 1, 0)
    assert rows[-1].at(7) == rows[-1].address + 1 * rows[-1].row_bytes


def test_what_the_backend_refuses_goes_on_as_ever() -> None:
    mod = named("residual")

    def no_add(function: Any) -> str | None:
        return "it adds" if any(o.type == "add" for o in backend_group(function).graph.operators) else None

    with pytest.warns(BackendWarning, match=f"^fused_group_1 is not for backend '{NAME}': it adds$"):
        marked = AttachToBackend(NAME, no_add)(grouped(mod, (0, 1), (2, 3)))
    assert "Codegen" not in marked["fused_group_1"].attrs
    assert error_of(mod, marked) < 1e-5
    assert [group.symbol.rsplit("_", 1)[0] for group in GROUPS] == [f"{NAME}_fused_group_0", f"{NAME}_fused_group_2"]


def test_registered_refusal_counts_without_an_argument() -> None:
    import tvm_ffi

    tvm_ffi.register_global_func("relax.ext.tvm_fusion_none", lambda *_: [])
    tvm_ffi.register_global_func("relax.ext.tvm_fusion_none.refuses", lambda function: "it takes nothing")
    mod = grouped(named("residual"))
    with pytest.warns(BackendWarning, match="it takes nothing"):
        assert AttachToBackend("tvm_fusion_none")(mod).same_as(mod)


def test_a_group_that_does_not_fit_stays() -> None:
    mod = grouped(named("residual"))
    size = backend_group(attached(mod)["fused_group_0"]).buffer_bytes
    attached(mod, buffer_bytes=size)
    with pytest.warns(BackendWarning, match=f"end at byte {size}; the buffer has {size - 1}"):
        AttachToBackend(NAME, buffer_bytes=size - 1)(mod)


@pytest.mark.parametrize("alignment", [1, 64, 100])
def test_alignment(alignment: int) -> None:
    group = backend_group(attached(grouped(named("squeeze and excite")), alignment=alignment)["fused_group_0"])
    addresses = [address for _, address, _ in group.memory_map]
    assert all(address % alignment == 0 for address in addresses)
    assert {place.address for place in group.weights} <= set(addresses)


def test_operators_too_large_for_line_buffers_are_not_marked() -> None:
    mod = named("residual")
    tiny = FuseByPlan(plan_of(extract(mod).graph), replace(OWN_WIDTHS, buffer_bytes=600))(mod)
    marked = attached(tiny)
    schemes = {name: str(found[SCHEME]) for name, found in group_functions(tiny).items()}
    assert set(schemes.values()) == {"layer", "lbdf"}
    for name, scheme in schemes.items():
        assert ("Codegen" in marked[name].attrs) == (scheme == "lbdf")


def build(seed: int) -> Callable[..., Any]:
    return lambda emit, x: op.nn.relu(emit(conv(x, 3, seed=seed)))


def test_networks_in_one_process_do_not_take_each_others_functions() -> None:
    mods = [stepwise(build(seed), X) for seed in (0, 1)]
    executables = [built(attached(grouped(mod))) for mod in mods]
    inputs = random_inputs(mods[0])
    for mod, executable in zip(mods, executables, strict=True):
        assert largest_relative_error(run_executable(executable, inputs), run_by_tvm(mod, inputs)) < 1e-5
    assert len({group.symbol for group in GROUPS}) == 2


def test_plan_is_verified_before_and_memory_after() -> None:
    mod = named("residual")
    plan = plan_of(extract(mod).graph, (0, 1))
    marked = attached(FuseByPlan(plan, OWN_WIDTHS)(mod))
    tvm.ir.assert_structural_equal(VerifyMemory()(marked), marked)
    VerifyPlan(plan)(FuseByPlan(plan, OWN_WIDTHS)(mod))


def test_leaves_its_input_as_it_is() -> None:
    mod = grouped(named("branches"))
    before = copied(mod)
    attached(mod)
    tvm.ir.assert_structural_equal(mod, before)


def test_wrong_input() -> None:
    mod = grouped(named("residual"))
    with pytest.raises(
        CompileError, match=r"backend 'nobody' has no code generator: register one as 'relax.ext.nobody'"
    ):
        AttachToBackend("nobody")(mod)
    with pytest.raises(CompileError, match="alignment 0 is not allowed"):
        AttachToBackend(NAME, alignment=0)
    with pytest.raises(CompileError, match="AttachToBackend did not make it"):
        backend_group(mod["fused_group_0"])


def test_weights_are_those_of_the_network() -> None:
    mod = stepwise(build(3), X)
    group = backend_group(attached(grouped(mod))["fused_group_0"])
    (place,) = group.weights
    expected = np.random.default_rng(3).standard_normal((3, 4, 3, 3)).astype(np.float32)
    assert np.array_equal(group.weight_array(place), expected)

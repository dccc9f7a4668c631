"""A network without its last softmax, and the plan for it: what saturated probabilities would hide is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from onnx import helper

from tests.cli.onnx_models import save
from tests.passes.networks import named
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.frontends import load_network
from tvm_fusion.graph.plan import PartitionPlan, check_plan
from tvm_fusion.passes.before_softmax import before_softmax
from tvm_fusion.passes.execute import compare_with_unfused, random_inputs, run_executable
from tvm_fusion.passes.extract import extract
from tvm_fusion.search import search


def classifier(path: Path, scale: float, last: str = "Softmax") -> tvm.IRModule:
    """conv3x3 -> relu -> global pooling -> flatten -> dense -> softmax."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 4, 3, 3)).astype(np.float32),
        "d": (scale * rng.standard_normal((4, 10))).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["e"]),
        helper.make_node("MatMul", ["e", "d"], ["f"]),
        helper.make_node(last, ["f"], ["y"]),
    ]
    save(path, nodes, weights, [1, 4, 8, 8], [1, 10])
    return load_network(path).module


def plan_of(mod: tvm.IRModule, buffer_bytes: int = 4096) -> PartitionPlan:
    graph = extract(mod).graph
    return search(graph, Oracle(graph, Accelerator(buffer_bytes=buffer_bytes))).plan


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
def test_logits_come_out(tmp_path: Path, last: str) -> None:
    mod = classifier(tmp_path / "net.onnx", 1.0, last)
    plan = plan_of(mod)
    found = before_softmax(mod, plan)
    assert found is not None
    shorter, shorter_plan = found
    before, after = extract(mod).graph, extract(shorter).graph
    assert len(after) == len(before) - 1
    check_plan(after, shorter_plan)
    inputs = random_inputs(mod)
    (whole,), (logits,) = (run_executable(tvm.compile(m, "llvm"), inputs) for m in (mod, shorter))
    expected = np.exp(logits) / np.exp(logits).sum() if last == "Softmax" else 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(whole, expected, rtol=1e-5)


def test_groups_stay_what_they_were(tmp_path: Path) -> None:
    mod = classifier(tmp_path / "net.onnx", 1.0)
    graph = extract(mod).graph
    names = [{graph.operators[i].name for i in group.operators} for group in plan_of(mod).groups]
    found = before_softmax(mod, plan_of(mod))
    assert found is not None
    shorter = extract(found[0]).graph
    for group in found[1].groups:
        assert any({shorter.operators[i].name for i in group.operators} <= wanted for wanted in names)


def test_a_wrong_result_behind_a_saturated_softmax_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mod = classifier(tmp_path / "net.onnx", 1e6)
    plan = plan_of(mod)
    (probabilities,) = run_executable(tvm.compile(mod, "llvm"), random_inputs(mod))
    assert set(np.unique(probabilities)) == {0.0, 1.0}
    assert compare_with_unfused(mod, plan) < 1e-4

    from tvm_fusion import passes

    original = passes.compile_plan
    wrong = classifier(tmp_path / "wrong.onnx", 1.001e6)

    def compile_wrong(module: tvm.IRModule, plan: PartitionPlan, accelerator: object, target: str) -> object:
        short = before_softmax(wrong, plan_of(wrong))
        assert short is not None
        ends_in_softmax = before_softmax(module, plan_of(module)) is not None
        return original(wrong if ends_in_softmax else short[0], plan, target=target)

    monkeypatch.setattr(passes, "compile_plan", compile_wrong)
    assert compare_with_unfused(mod, plan) > 1e-4


def test_networks_that_end_otherwise_are_left_alone() -> None:
    mod = named("residual")
    assert before_softmax(mod, plan_of(mod)) is None

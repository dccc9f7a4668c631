"""memory_report: the bytes of every group, in the order in which the groups execute."""

from __future__ import annotations

import json

import pytest

from tests.graphs import residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import PlanError
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.reports.memory_report import memory_report


def test_groups_are_numbered_as_they_execute_and_add_up() -> None:
    graph = residual_block()
    oracle = Oracle(graph, Accelerator())
    plan = PartitionPlan((Group((2, 3, 4)), Group((0, 1))))
    report = memory_report(graph, plan, oracle)
    assert [group["operators"] for group in report["groups"]] == [[0, 1], [2, 3, 4]]
    assert [group["function"] for group in report["groups"]] == ["fused_group_0", "fused_group_1"]
    for group in report["groups"]:
        parts = [part["bytes"] for part in (*group["tensors"], *group["weights"])]
        assert sum(parts) == group["requirement_bytes"]
    assert report["totals"] == evaluate_plan(graph, plan, oracle).totals()
    moved = sum(group["dram_bytes"]["total"] for group in report["groups"])
    assert moved == report["totals"]["network_dram_bytes"]
    assert json.loads(json.dumps(report)) == report


def test_an_operator_that_does_not_fit_has_no_line_buffers() -> None:
    graph = residual_block()
    oracle = Oracle(graph, Accelerator(buffer_bytes=64))
    report = memory_report(graph, PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))]), oracle)
    heavy = report["groups"][0]
    assert heavy["scheme"] == "layer"
    assert heavy["tensors"] == []
    assert heavy["weights"]


def test_a_plan_of_another_graph_is_refused() -> None:
    graph = residual_block()
    with pytest.raises(PlanError):
        memory_report(graph, PartitionPlan((Group((0,)),)), Oracle(graph, Accelerator()))

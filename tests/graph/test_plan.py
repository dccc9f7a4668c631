"""Plans that are refused, each with the operator and the reason; and their JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.graphs import Builder, chain, residual_block
from tvm_fusion.errors import PlanError
from tvm_fusion.graph.graph import mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.graph.plan_io import load_plan, plan_from_json, plan_to_json, save_plan


def groups(*operators: list[int]) -> dict[str, list[dict[str, list[int]]]]:
    return {"groups": [{"operators": ids} for ids in operators]}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (groups([0, 1]), r"operator 2 \('conv2d_2'\) is in no group"),
        (groups([0, 1], [1, 2]), r"operator 1 \('conv2d_1'\) stands in groups 0 and 1"),
        (groups([0, 1, 1], [2]), "group 0 repeats operator 1"),
        (groups([0, 1, 2, 7]), "names operator 7; the graph has 0 .. 2"),
        (groups([0, 1, 2], []), "group 1 is empty"),
        (groups([0, 2], [1]), "group 0 is not connected: operator 2"),
        ({"groups": [{"operators": ["a"]}]}, "names operator 'a', which the graph does not have"),
        ({"groups": [{"operators": [True, 1, 2]}]}, "ids or names"),
        ({"groups": 3}, 'no list "groups"'),
        ([], 'no list "groups"'),
        ({**groups([0, 1, 2]), "schema_version": 99}, "schema_version 99"),
        ({**groups([0, 1, 2]), "graph_fingerprint": "sha256:0"}, "for another network"),
    ],
)
def test_refused(plan: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_from_json(plan, chain(3))


def test_cyclic_group_is_named() -> None:
    # x -> conv0 -> relu1 -> conv2 -> add3(conv0): {0, 3} needs {1, 2}, which needs 0
    b = Builder()
    start = b.conv(-1)
    b.pointwise(start, b.conv(b.pointwise(start)), type_="add")
    with pytest.raises(PlanError, match="lies on a cycle"):
        plan_from_json(groups([0, 3], [1, 2]), b.graph())


def test_groups_come_in_an_order_that_executes() -> None:
    graph = residual_block()
    plan = plan_from_json(groups([3, 4], [1, 2], [0]), graph)
    assert [group.operators for group in plan.groups] == [(0,), (1, 2), (3, 4)]
    assert PartitionPlan.from_masks(graph, [mask_of([3, 4]), 0b1, 0b110]).groups == plan.groups


def test_saved_plan_comes_back(tmp_path: Path) -> None:
    graph = residual_block()
    plan = PartitionPlan((Group((0, 1), "lbdf"), Group((2, 3, 4), "lbdf")))
    path = tmp_path / "p.json"
    save_plan(path, plan, graph, algorithm="exact", seed=3, totals={"network_dram_bytes": 7})
    loaded = load_plan(path, graph)
    assert loaded == plan
    assert loaded.metadata["seed"] == 3
    assert plan_to_json(loaded, graph)["graph_fingerprint"] == graph.fingerprint
    with pytest.raises(PlanError, match="another network"):
        load_plan(path, residual_block(3))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read plan"):
        load_plan(tmp_path / "absent.json", chain(1))
    (tmp_path / "broken.json").write_text(json.dumps(groups([0]))[:-3])
    with pytest.raises(PlanError, match="is not JSON"):
        load_plan(tmp_path / "broken.json", chain(1))

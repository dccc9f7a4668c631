"""The cheapest plan of known groups is the optimum if all groups are known, and never one with a cycle."""

from __future__ import annotations

from hypothesis import given, settings

from tests.graphs import Builder
from tests.search.brute_force import optimum
from tests.search.test_lower_bound import groups_of_several, small_problems
from tests.strategies import accelerators
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.search.group_cover import cheapest_cover
from tvm_fusion.search.problem import FusionProblem


@settings(max_examples=60, deadline=None)
@given(small_problems(accelerators()))
def test_all_groups_give_the_optimum(problem: FusionProblem) -> None:
    groups = [*problem.unfused, *groups_of_several(problem)]
    moved = [problem.group_value(mask) for mask in groups]
    best = optimum(problem)
    found = cheapest_cover(problem, groups, moved, best + 1)
    assert found is not None
    assert problem.plan_value(found) == best
    assert sum(found) == problem.everything
    assert problem.ordered(found) == found
    assert cheapest_cover(problem, groups, moved, best) is None


def test_groups_that_need_each_other_are_no_plan() -> None:
    b = Builder(height=8)
    top = [b.conv(-1), b.conv(-1)]
    left = b.conv(b.pointwise(*top, type_="add"))
    right = b.conv(b.pointwise(*top, type_="multiply"))
    graph = b.graph(left, right)
    problem = FusionProblem(graph, Oracle(graph, Accelerator()))
    # Operators 0 (with the addition) and 1 (with the product) wait for each other's convolution.
    crossed = [1 << 0 | 1 << 2, 1 << 1 | 1 << 4]
    assert problem.ordered([*crossed, 1 << 3, 1 << 5]) is None
    groups = [*crossed, *problem.unfused]
    moved = [problem.group_value(mask) for mask in groups]
    both, one = sum(moved[:2]), min(moved[:2])
    assert both < sum(moved[2:])
    found = cheapest_cover(problem, groups, moved, 10**9)
    assert found is not None
    assert len(set(crossed) & set(found)) == 1
    assert one in [problem.group_value(mask) for mask in found]

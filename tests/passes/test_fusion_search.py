"""FusionSearch groups by the plan that the search outside finds."""

from __future__ import annotations

import pytest
import tvm

from tests.passes.modules import copied
from tests.passes.networks import named
from tvm_fusion.cost_models.accelerator import Accelerator, load_accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError, SearchError
from tvm_fusion.explainers.repair import make_splitter
from tvm_fusion.passes import FuseByPlan, FusionSearch, VerifyPlan, extract
from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.search import search

TIGHT = Accelerator(buffer_bytes=512)


@pytest.mark.parametrize("algorithm", ["best", "local-search", "random-search", "exact", "unfused"])
def test_same_plan_as_the_search_outside(algorithm: str) -> None:
    mod = named("residual")
    graph = extract(mod).graph
    found = search(graph, Oracle(graph, TIGHT), algorithm, budget_plans=50, seed=3)
    inside = FusionSearch(TIGHT, algorithm, budget=50, seed=3)(mod)
    tvm.ir.assert_structural_equal(inside, FuseByPlan(found.plan, TIGHT)(mod))
    VerifyPlan(found.plan)(inside)


def test_buffer_decides_how_much_is_fused() -> None:
    mod = named("residual")
    sizes = (64, 512, 1 << 20)
    counts = [len(group_functions(FusionSearch(Accelerator(buffer_bytes=size), budget=50)(mod))) for size in sizes]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 5
    assert counts[-1] == 1


def test_default_accelerator_is_edge() -> None:
    mod = named("squeeze and excite")
    tvm.ir.assert_structural_equal(FusionSearch(budget=20)(mod), FusionSearch(load_accelerator("edge"), budget=20)(mod))


def test_leaves_its_input_as_it_is() -> None:
    mod = named("residual")
    before = copied(mod)
    FusionSearch(TIGHT, budget=20)(mod)
    tvm.ir.assert_structural_equal(mod, before)


def test_unknown_algorithm_is_refused_at_construction() -> None:
    with pytest.raises(SearchError, match="'magic' is unknown; allowed: best, exact"):
        FusionSearch(algorithm="magic")


@pytest.mark.parametrize(("options", "message"), [
    ({"budget": 0}, "budget"), ({"seed": -1}, "seed -1"), ({"time_limit_seconds": -1.0}, "time limit|seconds"),
])  # fmt: skip
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        FusionSearch(TIGHT, **options)(named("residual"))  # type: ignore[arg-type]


def test_explained_repair_inside_the_pass_finds_the_plan_of_the_search_outside() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    oracle = Oracle(graph, TIGHT)
    splitter = make_splitter("explained", "occlusion", oracle, seed=2)
    found = search(graph, oracle, "local-search", budget_plans=30, seed=2, splitter=splitter)
    assert found.repair.invalid_groups > 0
    inside = FusionSearch(TIGHT, "local-search", budget=30, seed=2, repair="explained", explainer="occlusion")(mod)
    tvm.ir.assert_structural_equal(inside, FuseByPlan(found.plan, TIGHT)(mod))


def test_unknown_repair_and_explainer_are_refused_at_construction() -> None:
    with pytest.raises(SearchError, match="'magic' is unknown; allowed: random, explained"):
        FusionSearch(repair="magic")
    with pytest.raises(ExplainerError, match="'magic' is unknown; allowed: gnnexplainer"):
        FusionSearch(repair="explained", explainer="magic")

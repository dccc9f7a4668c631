"""What every registered scheme promises, ours and those of installed packages."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.schemes.registry import scheme_class, scheme_names
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.bottlenecks import behind, bottlenecks
from tvm_fusion.graph.graph import OperatorGraph, members

HEALTH = list(HealthCheck)
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=HEALTH)
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=HEALTH)


def check_group(scheme: Scheme, mask: int) -> GroupCost | None:
    """Fast form equal to simulator; nothing impossible said; the brief answer is the long one."""
    sizes, buffer_bytes = Sizes(scheme.graph, scheme.accelerator), scheme.accelerator.buffer_bytes
    fit, cost = scheme.fit(mask), scheme.cost(mask)
    assert (fit is None) == (cost is None) == (scheme.requirement_bytes(mask) is None)
    if fit is None or cost is None:
        return None
    assert cost.operators == tuple(members(mask))
    assert cost.scheme == scheme.name
    assert fit.valid == cost.valid == (cost.buffer_bytes <= buffer_bytes)
    if cost.valid:
        assert fit == (True, cost.dram_bytes, cost.buffer_bytes, cost.recomputed_macs)
    else:
        assert buffer_bytes < fit.buffer_bytes
    needed = scheme.requirement_bytes(mask)
    assert needed is not None
    assert (needed <= buffer_bytes) == cost.valid
    assert needed <= cost.buffer_bytes
    simulated = scheme.simulate(cost)
    assert simulated.buffer_bytes == cost.buffer_bytes
    assert (simulated.input_bytes, simulated.output_bytes, simulated.weight_bytes) == (
        cost.input_bytes,
        cost.output_bytes,
        cost.weight_bytes,
    )
    assert min(cost.buffer_bytes, cost.input_bytes, cost.output_bytes, cost.weight_bytes, cost.recomputed_macs) >= 0
    assert cost.dram_bytes >= sum(sizes.boundary_bytes(mask)) + sizes.weights(mask)
    operators = [scheme.graph.operators[i] for i in members(mask)]
    assert cost.macs == sum(op.macs * op.batch for op in operators) + cost.recomputed_macs
    # What a plan carries as JSON is the same group again.
    assert scheme.cost(mask, json.loads(json.dumps(cost.parameters)) or None) == cost
    return cost


def check_growth(scheme: Scheme, order: list[int]) -> None:
    """A bound of a group holds for everything it grows into that fits; so does what is said of its parts."""
    mask = bound = extra = 0
    parts_fit = True
    buffer_bytes, sizes = scheme.accelerator.buffer_bytes, scheme.sizes
    for i in order:
        mask |= 1 << i
        bound = max(bound, scheme.growth_bound_bytes(mask))
        if bound <= buffer_bytes:
            extra = max(extra, scheme.growth_extra_bytes(mask))
        cost = scheme.cost(mask)
        if cost is not None and cost.valid:
            more = cost.dram_bytes - sum(sizes.boundary_bytes(mask)) - sizes.weights(mask)
            assert bound <= buffer_bytes
            assert more >= extra
            if scheme.fits_by_parts:
                assert parts_fit
                extra = max(extra, more)
        else:
            parts_fit = False


@pytest.mark.parametrize("name", scheme_names())
def test_random_groups(name: str) -> None:
    check_random_groups(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", scheme_names())
def test_many_random_groups(name: str) -> None:
    check_random_groups(name, MANY)


def check_random_groups(name: str, options: settings) -> None:
    executed = 0

    @given(data=st.data(), graph=operator_graphs())
    @options
    def check(data: st.DataObject, graph: OperatorGraph) -> None:
        nonlocal executed
        scheme = scheme_class(name)(graph, data.draw(accelerators()))
        cost = check_group(scheme, data.draw(group_masks(graph)))
        event("refused" if cost is None else f"valid: {cost.valid}")
        executed += cost is not None

    check()
    assert executed > 0, "a scheme that refuses everything is none"


@pytest.mark.parametrize("name", scheme_names())
def test_growth(name: str) -> None:
    @given(data=st.data(), graph=operator_graphs())
    @FEW
    def check(data: st.DataObject, graph: OperatorGraph) -> None:
        scheme = scheme_class(name)(graph, data.draw(accelerators()))
        first = data.draw(st.integers(0, len(graph) - 1))
        check_growth(scheme, list(range(first, len(graph))))

    check()


@pytest.mark.parametrize("name", scheme_names())
def test_part_behind_a_cut(name: str) -> None:
    check_behind_cuts(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", scheme_names())
def test_many_parts_behind_cuts(name: str) -> None:
    check_behind_cuts(name, MANY)


def check_behind_cuts(name: str, options: settings) -> None:
    """Whatever fits still fits if all before a cut is replaced by a source of its tensor; bounds hold there too."""

    @given(data=st.data(), graph=operator_graphs(chains=True))
    @options
    def check(data: st.DataObject, graph: OperatorGraph) -> None:
        cuts = bottlenecks(graph)
        assume(cuts)
        p, mask = data.draw(st.sampled_from(cuts)), data.draw(group_masks(graph))
        assume(mask >> p & 1 and mask >> p + 1)
        accelerator = data.draw(accelerators())
        fit = scheme_class(name)(graph, accelerator).fit(mask)
        if fit is not None and fit.valid:
            scheme = scheme_class(name)(behind(graph, p), accelerator)
            assert scheme.growth_bound_bytes(mask >> p) <= accelerator.buffer_bytes
            if scheme.fits_behind_cuts:
                part = scheme.fit(mask >> p)
                assert part is not None
                assert part.valid

    check()


@pytest.mark.parametrize("name", scheme_names())
def test_without_recomputation_nothing_is_chosen_that_computes_again(name: str) -> None:
    @given(data=st.data(), graph=operator_graphs())
    @FEW
    def check(data: st.DataObject, graph: OperatorGraph) -> None:
        mask = data.draw(group_masks(graph))
        cost = scheme_class(name)(graph, data.draw(accelerators()), recompute=False).cost(mask)
        # Halo rows of bands are no choice of BRR's.
        assert cost is None or name == "brr" or not cost.recomputed_macs

    check()

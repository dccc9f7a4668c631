"""The bound of what passes need, for groups that grow."""

from __future__ import annotations

from itertools import chain as chained
from itertools import combinations
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, everything, residual_block, squeeze_and_excite
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.graph import OperatorGraph, RowDemand
from tvm_fusion.graph.graph import members

ACCELERATOR = Accelerator()
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def least_requirement(model: MultiPassModel, mask: int) -> int:
    """Of LBDF and every division into passes."""
    heads = [1 << i for i in members(mask & model.chains.heads)]
    sets = chained.from_iterable(combinations(heads, count) for count in range(len(heads) + 1))
    return min(model.group(mask, sum(chosen)).requirement_bytes(0) for chosen in sets)


def grow(graph: OperatorGraph, accelerator: Accelerator, random: Random) -> None:
    """Along a random order, from a random place in it, in which any operator may come that is ready."""
    model = MultiPassModel(graph, accelerator)
    ready = [i for i in range(len(graph)) if not graph.predecessor_masks[i]]
    before = random.randrange(len(graph))
    ideal = group = bound = 0
    while ready:
        i = ready.pop(random.randrange(len(ready)))
        if ideal.bit_count() >= before:
            group |= 1 << i
            bound = max(bound, model.growth_bound_bytes(group))
            assert bound <= least_requirement(model, group)
        ideal |= 1 << i
        ready += [c for c in members(graph.successor_masks[i]) if not graph.predecessor_masks[c] & ~ideal]


@given(operator_graphs(max_operators=10, chains=True), accelerators(), st.randoms(use_true_random=False))
@FEW
def test_what_a_group_needs_every_group_that_it_grows_into_needs(
    graph: OperatorGraph, accelerator: Accelerator, random: Random
) -> None:
    grow(graph, accelerator, random)


@pytest.mark.slow
@given(operator_graphs(max_operators=12, chains=True), accelerators(), st.randoms(use_true_random=False))
@MANY
def test_many_groups_that_grow(graph: OperatorGraph, accelerator: Accelerator, random: Random) -> None:
    grow(graph, accelerator, random)


def bound(graph: OperatorGraph, mask: int | None = None) -> int:
    return MultiPassModel(graph, ACCELERATOR).growth_bound_bytes(everything(graph) if mask is None else mask)


def test_windows_weights_and_rows() -> None:
    """Two 3 x 3 convolutions with a relu in place: 3 rows, 3 rows and 1 row of 4 x 56 bytes; 144 of weights each."""
    b = Builder()
    b.conv(b.pointwise(b.conv(-1)))
    assert bound(b.graph()) == (3 + 3 + 1) * 224 + 288


def test_a_skip_within_a_pass_counts() -> None:
    """Three 3 x 3 convolutions beside a skip hold 4 rows of the input, not 3."""
    graph = residual_block(3)
    assert bound(graph) == MultiPassModel(graph, ACCELERATOR).lines.requirement_bytes(everything(graph))


def test_a_scale_is_no_reason_to_hold_a_map() -> None:
    """The second pass: a row of the input, of the map and of the result, the scale, and the weights of one of two."""
    graph = squeeze_and_excite()
    assert bound(graph) == 3 * 224 + 4 + 16
    assert bound(graph) < MultiPassModel(graph, ACCELERATOR).lines.requirement_bytes(everything(graph))


def test_operators_in_different_passes_do_not_add_up() -> None:
    """Of two convolutions with a scale between them only the one with more weights counts."""
    b = Builder()
    t = b.conv(-1, 1)
    made = b.pointwise(t, b.conv(b.pool(b.conv(t, 5)), 1), type_="multiply")
    b.conv(made, 3)
    graph = b.graph()
    weights = [16, 400, 0, 16, 0, 144]
    assert [op.weight_elements for op in graph.operators] == weights
    rows = (1 + 5 + 1) * 224 + 4 + 4  # the input, 5 rows of t, one of the convolution, the pooling and the scale
    assert bound(graph) == rows + 16 + 400 + 16


def test_rows_that_some_pass_does_not_make_do_not_count() -> None:
    """A reader crops 2 rows: a pass made for it alone needs less than the pass that makes the others."""
    b = Builder(height=16)
    made = b.conv(-1)
    b.pointwise(made)
    b.add("slice", (1, 4, 1, 16), {made: RowDemand("row")})
    graph = b.graph(1, 2)
    assert bound(graph, 0b001) == (2 + 1) * 64 + 144

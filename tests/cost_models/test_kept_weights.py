"""kept_weights against every subset."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_fusion.cost_models.kept_weights import Streamed, kept_weights


def required(operators: list[Streamed], alive: int, kept: tuple[int, ...]) -> int:
    running = [op.alive_bytes + (0 if k in kept else op.part_bytes) for k, op in enumerate(operators)]
    return max([alive, *running]) + kept_bytes(operators, kept)


def kept_bytes(operators: list[Streamed], kept: tuple[int, ...]) -> int:
    return sum(operators[k].weight_bytes for k in kept)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Streamed], int, int]:
    """Operators, bands alive, and a buffer in which all fit streamed; weights with and without a common divisor."""
    unit = draw(st.sampled_from((1, 1, 4, 16)))
    operators = []
    for _ in range(draw(st.integers(0, 8))):
        weight = unit * draw(st.integers(1, 30))
        operators.append(Streamed(weight, draw(st.integers(1, weight)), draw(st.integers(0, 100))))
    alive = max([draw(st.integers(0, 100)), *(op.alive_bytes for op in operators)])
    return operators, alive, required(operators, alive, ()) + draw(st.integers(0, 300))


@settings(max_examples=500, deadline=None)
@given(cases())
def test_no_set_keeps_more(case: tuple[list[Streamed], int, int]) -> None:
    operators, alive, buffer_bytes = case
    kept = kept_weights(operators, alive, buffer_bytes)
    assert required(operators, alive, kept) <= buffer_bytes
    best = max(
        kept_bytes(operators, other)
        for size in range(len(operators) + 1)
        for other in combinations(range(len(operators)), size)
        if required(operators, alive, other) <= buffer_bytes
    )
    assert kept_bytes(operators, kept) == best


def test_what_must_be_kept_makes_room() -> None:
    """Keeping the first, whose sub-group is large, is the only way to keep anything."""
    operators = [Streamed(40, 40, 60), Streamed(30, 1, 10)]
    assert kept_weights(operators, 60, 100) == (0,)
    assert kept_weights(operators, 60, 130) == (0, 1)
    assert kept_weights(operators, 60, 129) == (0,)


def test_two_that_fill_the_room_better_than_the_largest() -> None:
    operators = [Streamed(70, 1, 0), Streamed(50, 1, 0), Streamed(49, 1, 0)]
    assert kept_weights(operators, 0, 100) == (1, 2)

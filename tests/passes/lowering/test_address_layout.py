"""address_layout: nothing that is there at one time overlaps, and little more is needed than is there at one time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_fusion.passes.lowering.address_layout import Stay, address_layout, layout_end

STAYS = st.lists(
    st.builds(
        lambda size, first, steps: Stay(size, first, first + steps),
        st.integers(1, 40),
        st.integers(0, 8),
        st.integers(0, 5),
    ),
    max_size=9,
)


def most_at_once(stays: Sequence[Stay]) -> int:
    """Bytes at the fullest step."""
    return max((sum(s.size_bytes for s in stays if s.first <= step <= s.last) for step in range(14)), default=0)


def least_end(stays: Sequence[Stay]) -> int:
    """The least end of all layouts, slowly: each arises from some order by putting things as low as possible."""
    best = sum(stay.size_bytes for stay in stays)
    for order in itertools.permutations(stays):
        placed: list[tuple[Stay, int]] = []
        for stay in order:
            taken = sorted((a, a + other.size_bytes) for other, a in placed if other.meets(stay))
            address = 0
            for first, end in taken:
                if address + stay.size_bytes <= first:
                    break
                address = max(address, end)
            placed.append((stay, address))
        best = min(best, max((address + stay.size_bytes for stay, address in placed), default=0))
    return best


@settings(deadline=None)
@given(STAYS, st.sampled_from((1, 4, 64)))
def test_nothing_overlaps(stays: list[Stay], alignment: int) -> None:
    addresses = address_layout(stays, alignment)
    assert all(address % alignment == 0 for address in addresses)
    for (a, at), (b, other) in itertools.combinations(zip(stays, addresses, strict=True), 2):
        assert not a.meets(b) or at + a.size_bytes <= other or other + b.size_bytes <= at
    assert address_layout(stays, alignment) == addresses
    assert alignment > 1 or layout_end(stays, addresses) >= most_at_once(stays)


@settings(deadline=None, max_examples=40)
@given(STAYS.filter(lambda stays: len(stays) <= 6))
def test_little_is_left_empty(stays: list[Stay]) -> None:
    """Never above the least of all layouts by more than a fifth, and mostly just that."""
    assert layout_end(stays, address_layout(stays)) <= least_end(stays) * 1.2


@pytest.mark.parametrize(("stays", "end"), [
    ([], 0),
    ([Stay(5, 0, 0)], 5),
    ([Stay(5, 0, 0), Stay(7, 1, 2)], 7),
    ([Stay(5, 0, 1), Stay(7, 1, 2)], 12),
    # A chain: each is read by the next; what is alive at one time always fits without a gap.
    ([Stay(6, 0, 1), Stay(4, 1, 2), Stay(6, 2, 3), Stay(4, 3, 4)], 10),
    # The first is held over all the others, as by a residual connection.
    ([Stay(8, 0, 4), Stay(4, 1, 2), Stay(6, 2, 3), Stay(4, 3, 4)], 18),
])  # fmt: skip
def test_by_hand(stays: list[Stay], end: int) -> None:
    assert layout_end(stays, address_layout(stays)) == end


def test_what_lies_in_the_way_is_put_elsewhere() -> None:
    """By size the third has the lowest address, where it leaves no room for the last one; as in EfficientNet-B0."""
    stays = [Stay(2, 1, 6), Stay(250, 0, 1), Stay(250, 1, 2), Stay(3, 1, 7), Stay(245, 3, 6), Stay(247, 2, 3)]
    assert layout_end(stays, address_layout(stays)) == most_at_once(stays) == 505


def test_what_is_always_there_lies_in_its_order() -> None:
    assert address_layout([Stay(5, 0, 0), Stay(9, 0, 0), Stay(1, 0, 0)], 4) == [0, 8, 20]

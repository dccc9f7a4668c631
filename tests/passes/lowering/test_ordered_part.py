"""OrderedPart: what is copied for a channel is what is then read of the weight."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from tvm import tirx

from tvm_fusion.passes.lowering.expressions import as_int, index, simplified, substituted
from tvm_fusion.passes.lowering.ordered_part import OrderedPart, ordered

SHAPE = (3, 2, 4)


@pytest.mark.parametrize("order", permutations(range(3)))
@pytest.mark.parametrize("offset", [0, 5])
def test_elements_are_those_of_the_weight(order: tuple[int, ...], offset: int) -> None:
    weight = np.arange(24).reshape(SHAPE)
    dram = ordered(weight, order)
    assert dram.shape == (24,)
    size = 24 // SHAPE[order[0]]
    buffer = tirx.decl_buffer((24,), "int32", name="dram")
    copy = tirx.decl_buffer((offset + size,), "int32", name="copy")
    part = OrderedPart(buffer, copy, 1, order[0], offset=offset, shape=SHAPE, order=order)
    for channel in range(SHAPE[order[0]]):
        ((var, extent),), statement = part.copied(index(channel), 1)
        place = np.full(offset + size, -1)
        for at in range(extent):
            store = statement({var: index(at)})
            source = as_int(simplified(substituted(store.value.indices[0], {})))
            place[as_int(simplified(store.indices[0]))] = dram[source]
        assert (place[offset:] >= 0).all()
        for places in product(*map(range, SHAPE)):
            if places[order[0]] == channel:
                found = part.at([index(k) for k in places], index(channel))
                assert place[as_int(simplified(found.indices[0]))] == weight[places]

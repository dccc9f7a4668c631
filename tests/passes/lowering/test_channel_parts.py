"""channel_parts: the channels of each weight are found; weights that all channels share are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.relax import op

from tests.passes.lowering.banded import grouped
from tests.passes.modules import Shape, run, stepwise, weight
from tvm_fusion.passes import LowerGroups
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_bands import LowerBands
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.lowering.statements import statements
from tvm_fusion.passes.verify_memory import VerifyMemory

X: Shape = (1, 4, 6, 5)
REFUSED: dict[str, tuple[Callable[..., Any], Shape]] = {
    "one for all channels": (lambda _, x: op.multiply(x, weight(1, 1, 6, 5)), X),
    "by columns": (lambda _, x: op.add(x, weight(5)), X),
    "by rows of a sequence": (lambda _, x: op.add(x, weight(1, 6, 1)), (1, 6, 8)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_are_not_of_a_channel(name: str) -> None:
    """Refused where they pass, in a group that leaves no room for all of them; lowered where they stay."""
    build, shape = REFUSED[name]
    mod = stepwise(build, shape)
    inputs = random_inputs(mod)
    expected = run(mod, inputs)
    said = r"^fused_group_0 is left .*: operator 'gv': its weights do not go channel by channel \((multiply|add)\)$"
    with pytest.warns(LoweringWarning, match=said):
        passing = VerifyMemory()(LowerBands()(grouped(mod, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        kept = VerifyMemory()(LowerBands()(grouped(mod, 2, lambda _: True)))
    assert isinstance(kept["fused_group_0"], tvm.tirx.PrimFunc)
    for found in (passing, kept):
        assert largest_relative_error(run(LowerGroups()(found), inputs), expected) < 1e-5


def test_rows_of_a_table() -> None:
    """Its columns are the channels."""
    mod = stepwise(lambda _, x: op.take(weight(9, 4), x, 0), (1, 6), dtype="int32")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        found = VerifyMemory()(LowerBands()(grouped(mod, 2)))
    allocated = (s.buffer for s in statements(found["fused_group_0"].body) if isinstance(s, tvm.tirx.AllocBuffer))
    assert [[int(n) for n in buffer.shape] for buffer in allocated if buffer.name.startswith("weight_")] == [[9]]
    inputs = [np.array([[3, 0, 8, 8, 1, 5]], np.int32)]
    assert largest_relative_error(run(LowerGroups()(found), inputs), run(mod, inputs)) == 0

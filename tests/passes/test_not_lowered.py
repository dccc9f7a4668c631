"""collected_lowering_warnings: ours are collected, others shown, and all is as it was afterwards."""

from __future__ import annotations

import warnings

import pytest

from tvm_fusion.passes.lowering.not_lowered import LoweringWarning, collected_lowering_warnings


def test_ours_are_collected_each_time_and_others_shown() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with collected_lowering_warnings() as found:
            for _ in range(2):
                warnings.warn(LoweringWarning("fused_group_3", "operator 'x': why"), stacklevel=1)
            warnings.warn("another", UserWarning, stacklevel=1)
    assert [(warning.function, warning.reason) for warning in found] == [("fused_group_3", "operator 'x': why")] * 2
    assert [str(warning.message) for warning in shown] == ["another"]


def test_the_way_of_showing_is_restored() -> None:
    before = warnings.showwarning
    with pytest.raises(ZeroDivisionError), collected_lowering_warnings():
        raise ZeroDivisionError
    assert warnings.showwarning is before


def test_text_names_function_and_reason() -> None:
    assert str(LoweringWarning("fused_group_3", "why")) == "fused_group_3 is left to TVM's own lowering: why"

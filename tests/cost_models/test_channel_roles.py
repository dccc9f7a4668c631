"""How operators treat channels."""

from __future__ import annotations

import pytest

from tests.graphs import Builder
from tvm_fusion.cost_models.channel_roles import kind_of
from tvm_fusion.graph import Operator, Tensor

MAP = Tensor("x", (1, 8, 4, 4), row_axis=2)
TOKENS = Tensor("t", (1, 5, 8), row_axis=1)
ROW = Tensor("r", (1, 8))


def operator(type_: str, shape: tuple[int, ...], **facts: object) -> Operator:
    row_axis = {3: 1, 4: 2}.get(len(shape))
    return Operator(type_, shape, row_axis=row_axis, type=type_, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "operand", "kind"),
    [
        (operator("conv2d", (1, 6, 4, 4), weight_elements=48), MAP, "mix"),
        (operator("conv2d", (1, 6, 4, 4)), MAP, "whole"),  # weights that are computed
        (operator("conv2d_transpose", (1, 6, 8, 8), weight_elements=192), MAP, "mix"),
        (operator("depthwise_conv2d", (1, 8, 4, 4), weight_elements=72), MAP, "channel"),
        (operator("depthwise_conv2d", (1, 16, 4, 4), weight_elements=144), MAP, "mix"),  # a multiplier
        (operator("max_pool2d", (1, 8, 2, 2)), MAP, "channel"),
        (operator("resize2d", (1, 8, 8, 8)), MAP, "channel"),
        (operator("global_avg_pool2d", (1, 8, 1, 1)), MAP, "channel"),
        (operator("global_avg_pool2d", (1, 8)), MAP, "channel"),
        (operator("reduce_max", (1, 8)), MAP, "channel"),
        (operator("reduce_max", (1, 8)), Tensor("x", (1, 8, 4, 8), row_axis=2), "whole"),  # 8 of which axis?
        (operator("reduce_mean", (1, 1, 4, 4)), MAP, "whole"),  # over the channels
        (operator("reduce_mean", (1, 8)), TOKENS, "channel"),
        (operator("relu", (1, 8, 4, 4), pointwise=True), MAP, "channel"),
        (operator("softmax", (1, 8, 4, 4)), MAP, "whole"),
        (operator("layer_norm", (1, 5, 8), weight_elements=16), TOKENS, "whole"),
        (operator("unknown", (1, 8, 4, 4)), MAP, "whole"),
        (operator("slice", (1, 4, 4, 4)), MAP, "move"),
        (operator("slice", (1, 8, 4, 4)), MAP, "move"),  # may be backwards
        (operator("concat", (1, 8, 4, 4)), MAP, "move"),
        (operator("pad", (1, 8, 6, 6)), MAP, "channel"),
        (operator("pad", (1, 9, 4, 4)), MAP, "move"),
        (operator("reshape", (1, 2, 4, 4, 4)), MAP, "move"),
        (operator("reshape", (1, 8, 16)), Tensor("x", (1, 16, 8), row_axis=1), "move"),
        (operator("reshape", (5, 8)), TOKENS, "channel"),
        (operator("reshape", (1, 128)), MAP, "move"),
        (operator("permute", (1, 4, 4, 8)), MAP, "move"),  # its rows are axis 2 here: channels are axis 1
        (operator("permute", (1, 8, 5)), TOKENS, "move"),
        (operator("dense", (1, 5, 6), weight_elements=48, macs=240), TOKENS, "mix"),
        (operator("dense", (1, 5, 6), weight_elements=54, macs=240), TOKENS, "mix"),  # with a bias
        (operator("dense", (1, 7, 8), weight_elements=35, macs=280), TOKENS, "whole"),  # weights on the left
        (operator("dense", (1, 8, 8), weight_elements=64, macs=512), Tensor("t", (1, 8, 8), row_axis=1), "whole"),
        (operator("dense", (1, 6), weight_elements=48, macs=48), ROW, "mix"),
        (operator("dense", (1, 5, 8), macs=200), TOKENS, "whole"),  # a tensor times itself
    ],
)
def test_kinds(op: Operator, operand: Tensor, kind: str) -> None:
    assert kind_of(op, [operand]) == kind


def test_rows_of_tokens_keep_their_channels_through_a_permutation() -> None:
    tokens = Operator("permute", (1, 4, 4, 8), row_axis=1, type="permute")
    assert kind_of(tokens, [MAP]) == "channel"
    assert kind_of(tokens, [Tensor("x", (1, 8, 8, 4), row_axis=2)]) == "move"  # two axes of 8


def test_two_operands_of_what_has_one_are_taken_whole() -> None:
    assert kind_of(operator("conv2d", (1, 8, 4, 4), weight_elements=8), [MAP, MAP]) == "whole"
    assert kind_of(operator("matmul", (1, 8, 4, 4)), [MAP, MAP]) == "whole"
    assert kind_of(operator("concat", (1, 16, 4, 4)), [MAP, MAP]) == "move"


def test_an_operand_that_broadcasts_along_the_channels_is_not_read_by_channel() -> None:
    from tvm_fusion.cost_models.channel_roles import ChannelRoles

    b = Builder(height=4)
    gate = b.conv(-1, 1, channels=1)
    scale = b.pool(-1)
    product = b.pointwise(-1, gate, scale, type_="multiply")
    assert ChannelRoles(b.graph()).by_channel[product] == (True, False, True)

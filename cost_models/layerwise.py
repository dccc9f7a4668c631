"""Layer by layer: one operator alone, tiled, when it fits no other way."""

from __future__ import annotations

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph


def layerwise_cost(
    graph: OperatorGraph, operator_id: int, accelerator: Accelerator, sizes: Sizes | None = None
) -> GroupCost:
    """Cost of operator ``operator_id`` alone: half of the buffer holds the part that stays.

    Either weights stay part by part and the inputs pass once for each, or inputs stay and the
    weights pass; the cheaper of the two. Each image of a batch passes by itself.
    """
    sizes = sizes or Sizes(graph, accelerator)
    operator = graph.operators[operator_id]
    half = max(1, accelerator.buffer_bytes // 2)
    operand_bytes = sorted(sizes.image_bytes[i] for i in operator.inputs)
    weight = sizes.weight_bytes[operator_id]
    output = sizes.tensor_bytes[operator_id]
    moved_input, moved_weight = operator.batch * sum(operand_bytes), weight
    if weight:
        moved_input, moved_weight = _cheaper(sum(operand_bytes), weight, half, operator.batch)
    elif operator.macs and len(operand_bytes) == 1:
        # A tensor times itself: it passes once for every part of it that stays.
        moved_input = operator.batch * operand_bytes[0] * max(1, -(-operand_bytes[0] // half))
    elif operator.macs and len(operand_bytes) > 1:
        # The smaller operand of a product of two activations takes the part of the weights.
        rest, small = sum(operand_bytes[1:]), operand_bytes[0]
        moved_input = operator.batch * sum(_cheaper(rest, small, half, 1))
    total = moved_input + moved_weight + output
    buffer = min(accelerator.buffer_bytes, sum(operand_bytes) + weight + sizes.image_bytes[operator_id])
    macs = operator.macs * operator.batch
    mask = 1 << operator_id
    return GroupCost(
        operators=(operator_id,),
        scheme="layer",
        valid=True,
        buffer_bytes=buffer,
        buffers=(),
        weight_buffer_bytes=0,
        input_bytes=moved_input,
        output_bytes=output,
        weight_bytes=moved_weight,
        macs=macs,
        estimated_cycles=estimated_cycles(accelerator, total, macs),
        estimated_energy_pj=estimated_energy_pj(accelerator, sizes, mask, total, macs),
    )


def _cheaper(inputs: int, weights: int, half: int, batch: int) -> tuple[int, int]:
    """Bytes moved of inputs and weights in the better of the two loop orders."""
    weights_stay = (batch * inputs * -(-weights // half), weights)
    inputs_stay = (batch * inputs, batch * weights * -(-inputs // half))
    return min(weights_stay, inputs_stay, key=sum)

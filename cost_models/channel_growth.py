"""What channel streaming needs of single operators, in whatever group: a bound for searches that grow groups."""

from __future__ import annotations

from tvm_fusion.cost_models.channel_facts import ChannelFacts


def operator_bound_bytes(facts: ChannelFacts, i: int) -> int:
    """Bytes on chip that operator ``i`` needs at least in every group under every assignment.

    What mixes channels has its operand whole or its result as sums; what takes its operands whole has them and its
    result. Only pointwise results share memory with others, so all of that adds up.
    """
    op, shift = facts.operators[i], facts.shift
    result = facts.image_bytes[i]
    whole = sum(facts.image_bytes[read.operand] for read in op.reads)
    one_row = facts.one_row >> i + shift & 1
    if op.kind == "whole":
        return whole + result + op.part_bytes
    if op.kind == "move":
        # Joined results are held; of others either the operands are, or the result.
        if op.joins:
            return result + op.part_bytes
        return (whole + one_row * result if one_row else min(whole, result)) + op.part_bytes
    if op.kind == "mix":
        operand = op.reads[0].operand
        read_whole = whole + one_row * result + op.part_bytes
        one_row_operand = facts.one_row >> operand + shift & 1
        stream = whole if one_row_operand else min(whole, facts.channel_bytes[operand])
        return min(read_whole, facts.sum_bytes[i] + stream + op.sum_part_bytes)
    return op.part_bytes + (result if one_row else 0)

"""SCHEME_WRITERS: by scheme, what writes the PrimFunc of a group that executes so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvm_fusion.passes.attributes import BUFFER_BYTES, OPERATORS, scheme_parameters
from tvm_fusion.passes.lowering.band_function import BandFunction
from tvm_fusion.passes.lowering.channel_function import ChannelFunction
from tvm_fusion.passes.lowering.channel_phases import own_assignment
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import GroupWriter
from tvm_fusion.passes.lowering.layer_function import LayerFunction
from tvm_fusion.passes.lowering.line_buffer_writer import line_buffer_writer
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.pass_function import PassFunction
from tvm_fusion.passes.lowering.unread_operands import check_windows

LBDF, BRR, LAYER, TWO_PASS, STREAMING = "lbdf", "brr", "layer", "two-pass", "channel-streaming"


@dataclass(frozen=True)
class WriterInputs:
    """A group, its operators' functions, the shapes of its results, the options, and the group's attributes."""

    group: Group
    functions: Mapping[int, OperatorFunction]
    result_shapes: list[tuple[int, ...]]
    options: LoweringOptions
    attributes: Mapping[str, Any]

    @property
    def first(self) -> tuple[Group, Mapping[int, OperatorFunction], list[tuple[int, ...]], LoweringOptions]:
        """What every writer takes."""
        return self.group, self.functions, self.result_shapes, self.options

    @property
    def parameters(self) -> dict[str, Any]:
        """What the plan says beside the scheme."""
        return scheme_parameters(self.attributes)

    def own_ids(self, operators: list[int]) -> list[int]:
        """Numbers in the group's own graph of operators of the network."""
        every = sorted(int(i) for i in self.attributes[OPERATORS])
        return [every.index(i) for i in operators]


def _layer(inputs: WriterInputs) -> GroupWriter:
    return LayerFunction(*inputs.first, int(inputs.attributes[BUFFER_BYTES]) // 2)


def _bands(inputs: WriterInputs) -> GroupWriter:
    return BandFunction(*inputs.first, int(inputs.parameters["bands"]), inputs.own_ids(inputs.parameters["kept"]))


def _passes(inputs: WriterInputs) -> GroupWriter:
    chosen = inputs.parameters
    split, kept = inputs.own_ids(chosen["split"]), inputs.own_ids(chosen["kept"])
    return PassFunction(*inputs.first, split, kept, str(chosen["weights"]))


def _channels(inputs: WriterInputs) -> GroupWriter:
    return ChannelFunction(*inputs.first, own_assignment(inputs.group, inputs.attributes))


@dataclass(frozen=True)
class SchemeWriter:
    """``write`` makes the writer, or raises NotLowered. ``on_chip``: groups hold something on chip, so that a user is
    to hear of one that is not lowered. ``in_turn``: what they hold is there from its first to its last use only.
    ``as_sources``: they can be printed in C and CUDA. ``quantized``: networks of 8-bit elements are covered."""

    write: Callable[[WriterInputs], GroupWriter]
    on_chip: bool = True
    in_turn: bool = True
    as_sources: bool = False
    quantized: bool = True

    def writer(self, inputs: WriterInputs) -> GroupWriter:
        """The writer of a group. Raises NotLowered."""
        if self.in_turn:
            check_windows(inputs.group.graph)
        return self.write(inputs)


SCHEME_WRITERS: dict[str, SchemeWriter] = {
    LBDF: SchemeWriter(lambda inputs: line_buffer_writer(*inputs.first), in_turn=False, as_sources=True),
    BRR: SchemeWriter(_bands),
    TWO_PASS: SchemeWriter(_passes),
    STREAMING: SchemeWriter(_channels, quantized=False),  # sums are of another width than the results there
    LAYER: SchemeWriter(_layer, on_chip=False, in_turn=False),
}

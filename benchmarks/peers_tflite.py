"""An operator graph as an int8 .tflite file, written with the schema classes that vela brings (no TensorFlow)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.peers_flatbuffer import FlatModel
from tvm_fusion.errors import FusionError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator, Window

# Quantisation steps are arbitrary but legal: sums are scaled down, sigmoids have the step that TFLite demands.
ACTIVATION_STEP, WEIGHT_STEP, SIGMOID_STEP = 0.05, 0.005, 1 / 256
_FUSED = {"relu": "RELU", "relu6": "RELU6"}
_TAKES_ACTIVATION = ("conv2d", "depthwise_conv2d", "add", "dense")
_PAIRWISE = {"add": "ADD", "multiply": "MUL"}
_WINDOWS = ("conv2d", "depthwise_conv2d", "max_pool2d")
KNOWN = (*_WINDOWS, "add", "dense", "global_avg_pool2d", "multiply", "relu", "relu6", "sigmoid", "silu")


class TfliteFile:
    """The file of ``graph``: the same operators on the same shapes (NHWC), with random weights.

    As TensorFlow's converter does it, ReLU and ReLU6 belong to the operator before them, and SiLU is LOGISTIC and MUL;
    with ``silu_as_table`` it is HARD_SWISH, one table look-up for int8, as it is one operator in ours. A symmetric
    padding becomes SAME: the same shapes, a window may begin a pixel later. Weights are normal, each output channel
    scaled to +-127, so that vela can compress them as it would trained ones.

    ``operators`` are the file's operators in order, as (TFLite's name, name of the tensor it makes); ``ours`` are the
    operators of ours that make a tensor of the file, by its name; ``macs`` are counted from the weights' shapes.
    Raises FusionError for an operator that has no form here.
    """

    def __init__(self, graph: OperatorGraph, silu_as_table: bool = False, seed: int = 0) -> None:
        if graph.batch != 1:
            raise FusionError(f"network {graph.name!r} has batch {graph.batch}; a .tflite file is written for batch 1")
        self.graph = graph
        self.silu_as_table = silu_as_table
        self.macs = 0
        self.operators: list[tuple[str, str]] = []
        self.ours: dict[str, tuple[int, ...]] = {}
        self._random = np.random.default_rng(seed)
        self._file = FlatModel(graph.name)
        self._tensors: dict[int, int] = {}  # by our operand
        self._names: dict[int, str] = {}
        inputs = []
        for k, tensor in enumerate(graph.inputs):
            self._tensors[-k - 1] = self._file.tensor(tensor.name, nhwc(tensor.shape), ACTIVATION_STEP)
            inputs.append(self._tensors[-k - 1])
        for operator in graph.operators:
            if operator.id not in self._tensors:
                self._add(operator)
        self.content = self._file.finish(inputs, [self._tensors[i] for i in graph.outputs])

    def _add(self, operator: Operator) -> None:
        if operator.type not in KNOWN:
            raise FusionError(
                f"operator {operator.name!r} is {operator.type}, which has no form in .tflite here; "
                f"known: {', '.join(KNOWN)}"
            )
        activation = self._activation_of(operator)
        made = operator if activation is None else activation
        step = SIGMOID_STEP if operator.type == "sigmoid" else ACTIVATION_STEP
        result = self._file.tensor(made.name, nhwc(operator.shape), step, -128 if operator.type == "sigmoid" else 0)
        self._names[result] = made.name
        self.ours[made.name] = tuple(sorted({operator.id, made.id}))
        fused = {"FusedActivationFunction": _FUSED[made.type]} if activation is not None else {}
        read = [self._tensors[i] for i in operator.inputs]
        if operator.type in _WINDOWS:
            self._window(operator, read, result, fused)
        elif operator.type == "dense":
            weights = self._weights(operator, (operator.shape[-1], self.graph.tensor(operator.inputs[0]).elements))
            self._call("FULLY_CONNECTED", [*read, *weights], result, "FullyConnectedOptions", fused)
        elif operator.type in _PAIRWISE:
            name = _PAIRWISE[operator.type]
            self._call(name, read * (2 if len(read) == 1 else 1), result, f"{name.title()}Options", fused)
        elif operator.type == "global_avg_pool2d":
            axes = self._file.constant(f"{operator.name}.axes", np.array([1, 2], np.int32))
            self._call("MEAN", [*read, axes], result, "ReducerOptions", {"KeepDims": True})
        elif operator.type == "sigmoid":
            self._call("LOGISTIC", read, result)
        elif operator.type == "silu":
            self._silu(operator, read, result)
        else:
            self._call(_FUSED[operator.type], read, result)
        self._tensors[operator.id] = self._tensors[made.id] = result

    def _activation_of(self, operator: Operator) -> Operator | None:
        """The ReLU that alone reads ``operator``, where its own TFLite operator executes it."""
        consumers = self.graph.consumers[operator.id]
        if operator.type not in _TAKES_ACTIVATION or len(consumers) != 1 or operator.id in self.graph.outputs:
            return None
        reader = self.graph.operators[consumers[0]]
        return reader if reader.type in _FUSED else None

    def _window(self, operator: Operator, read: list[int], result: int, fused: dict[str, str]) -> None:
        window = operator.window
        assert window is not None
        operand = self.graph.tensor(operator.inputs[0]).shape
        options: dict[str, Any] = {"Padding": padding(operator.name, window, operand[2:], operator.shape[2:]), **fused}
        options |= {"StrideH": window.stride[0], "StrideW": window.stride[1]}
        channels, kernel = operator.shape[1], window.kernel
        if operator.type == "max_pool2d":
            options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
            self._call("MAX_POOL_2D", read, result, "Pool2DOptions", options)
            return
        options |= {"DilationHFactor": window.dilation[0], "DilationWFactor": window.dilation[1]}
        if operator.type == "conv2d":
            weights = self._weights(operator, (channels, *kernel, operand[1]))
            self._call("CONV_2D", [*read, *weights], result, "Conv2DOptions", options)
        else:
            options["DepthMultiplier"] = channels // operand[1]
            weights = self._weights(operator, (1, *kernel, channels))
            self._call("DEPTHWISE_CONV_2D", [*read, *weights], result, "DepthwiseConv2DOptions", options)

    def _silu(self, operator: Operator, read: list[int], result: int) -> None:
        if self.silu_as_table:
            self._call("HARD_SWISH", read, result)
            return
        gate = self._file.tensor(f"{operator.name}.sigmoid", nhwc(operator.shape), SIGMOID_STEP, -128)
        self._names[gate] = f"{operator.name}.sigmoid"
        self.ours[self._names[gate]] = (operator.id,)
        self._call("LOGISTIC", read, gate)
        self._call("MUL", [*read, gate], result, "MulOptions")

    def _weights(self, operator: Operator, shape: tuple[int, ...]) -> list[int]:
        """The tensors of weights (output channels first, or last of a depthwise convolution) and of the bias."""
        axis = 3 if operator.type == "depthwise_conv2d" else 0
        channels = shape[axis]
        values = self._random.standard_normal(shape)
        largest = np.abs(values).max(axis=tuple(k for k in range(len(shape)) if k != axis), keepdims=True)
        elements = operator.elements // channels
        self.macs += values.size * elements
        steps = np.full(channels, WEIGHT_STEP)
        int8 = np.round(values / largest * 127).astype(np.int8)
        weights = self._file.constant(f"{operator.name}.weight", int8, steps, axis)
        bias_elements = operator.weight_elements - values.size
        if bias_elements not in (0, channels):
            raise FusionError(
                f"operator {operator.name!r} has {operator.weight_elements} weights; {values.size} are its kernel's, "
                f"a bias has 0 or {channels}"
            )
        if not bias_elements:
            return [weights, -1]
        bias = np.zeros(channels, np.int32)
        return [weights, self._file.constant(f"{operator.name}.bias", bias, steps * ACTIVATION_STEP, 0)]

    def _call(self, name: str, read: list[int], result: int, table: str = "", options: Any = None) -> None:
        self.operators.append((name, self._names[result]))
        self._file.operator(name, read, result, table, options or {})


def nhwc(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape with the channels last."""
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else tuple(shape)


def padding(name: str, window: Window, read: Sequence[int], made: Sequence[int]) -> str:
    """SAME or VALID, as the window pads, where that makes maps of size ``made`` of maps of size ``read``.

    Raises FusionError for any other padding.
    """
    spans = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True)]
    valid = [(size - span) // step + 1 for size, span, step in zip(read, spans, window.stride, strict=True)]
    same = [-(-size // step) for size, step in zip(read, window.stride, strict=True)]
    if not any(window.padding) and valid == list(made):
        return "VALID"
    if any(window.padding) and same == list(made):
        return "SAME"
    raise FusionError(f"operator {name!r} pads by {window.padding}, which is neither SAME nor VALID in .tflite")

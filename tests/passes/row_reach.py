"""Which output rows each input row reaches: as the row demands claim it, and as execution shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes import extract
from tvm_fusion.passes.execute import random_inputs

Array = np.ndarray


def claimed_reach(graph: OperatorGraph, output: int, source: int) -> Array:
    """``[r, i]``: whether row r of operand ``output`` needs, by some path, row i of network input ``source``."""
    own = graph.tensor(-source - 1).height
    known: dict[int, Array] = {-k - 1: np.zeros((t.height, own), bool) for k, t in enumerate(graph.inputs)}
    known[-source - 1] = np.eye(own, dtype=bool)
    for operator in graph.operators:
        reach = np.zeros((operator.height, own), bool)
        for operand, demand in zip(operator.inputs, operator.demands, strict=True):
            for row in range(operator.height):
                first, last = demand.rows(row, graph.tensor(operand).height)
                reach[row] |= known[operand][first : last + 1].any(axis=0)
        known[operator.id] = reach
    return known[output]


def assert_sound(mod: tvm.IRModule) -> OperatorGraph:
    """Every output row that changes with an input row demands it. Returns the graph."""
    return _sound(Execution(mod, extract(mod).graph))


def _sound(execution: Execution) -> OperatorGraph:
    graph = execution.graph
    for source in range(len(graph.inputs)):
        for output, found in zip(graph.outputs, execution.reach(source), strict=True):
            missing = np.argwhere(found & ~claimed_reach(graph, output, source))
            assert not len(missing), f"rows (output, input {source}) that change undemanded: {missing.tolist()}"
    return graph


def assert_exact(mod: tvm.IRModule) -> OperatorGraph:
    """Sound, and the first and last row demanded for each output row is really read. Returns the graph."""
    execution = Execution(mod, extract(mod).graph)
    graph = _sound(execution)
    for source in range(len(graph.inputs)):
        for output, found in zip(graph.outputs, execution.reach(source, undefined=True), strict=True):
            for row, claimed in enumerate(claimed_reach(graph, output, source)):
                wanted = np.flatnonzero(claimed)
                if found[row].any() or len(wanted) > 1:  # a window wholly in the padding demands row 0
                    assert found[row, wanted[[0, -1]]].all(), f"row {row} demands {wanted} of input {source}"
    return graph


def assert_images_apart(mod: tvm.IRModule) -> None:
    """No image of a batch changes another one's results."""
    execution = Execution(mod, extract(mod).graph)
    graph = execution.graph
    assert graph.batch > 1
    for source in range(len(graph.inputs)):
        for changed in execution.changed(source, (0,)):
            assert changed.shape[0] == graph.batch
            assert not changed[1:].any()


class Execution:
    """A compiled module that can be run on inputs of which one row is changed."""

    def __init__(self, mod: tvm.IRModule, graph: OperatorGraph) -> None:
        self.graph = graph
        self.inputs = random_inputs(mod, seed=3)
        self._machine = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())
        self.before = self._run(self.inputs)

    def _run(self, inputs: list[Array]) -> list[Array]:
        result = self._machine["main"](*(tvm.runtime.tensor(array, tvm.cpu()) for array in inputs))
        return [part.numpy() for part in _flat(result)]

    def changed(self, source: int, place: tuple[Any, ...], undefined: bool = False) -> list[Array]:
        """For every output, which of its elements change when those at ``place`` of an input do.

        ``undefined`` makes the change NaN as well, which shows what is read and multiplied by zero.
        """
        found = [np.zeros(array.shape, bool) for array in self.before]
        old = self.inputs[source][place]
        for new in _other_values(old, undefined):
            inputs = [array.copy() for array in self.inputs]
            inputs[source][place] = new
            for total, array, before in zip(found, self._run(inputs), self.before, strict=True):
                total |= ~((array == before) | (np.isnan(array.astype(float)) & np.isnan(before.astype(float))))
        return found

    def reach(self, source: int, undefined: bool = False) -> list[Array]:
        """``[r, i]`` for every output: whether its row r changes when row i of the input does."""
        tensor = self.graph.inputs[source]
        columns = [self.changed(source, place_of_row(tensor, row), undefined) for row in range(tensor.height)]
        tensors = [self.graph.operators[i] for i in self.graph.outputs]
        return [np.stack([rows_of(changed[k], tensors[k]) for changed in columns], axis=1) for k in range(len(tensors))]


def _flat(result: Any) -> list[Any]:
    return [result] if hasattr(result, "numpy") else [tensor for part in result for tensor in _flat(part)]


def _other_values(old: Array, undefined: bool) -> list[Array]:
    """Small, large, positive and negative changes, so that no clip, maximum or comparison hides them all."""
    if old.dtype.kind in "iub":
        return [(1 - old).astype(old.dtype)]
    noise = np.random.default_rng(7).standard_normal(old.shape)
    return [(old + change).astype(old.dtype) for change in (noise, 40 + noise, -40 + noise, *[np.nan] * undefined)]


def place_of_row(tensor: Tensor, row: int) -> tuple[Any, ...]:
    """Index of all elements of one row, in all images."""
    return (Ellipsis,) if tensor.row_axis is None else (slice(None),) * tensor.row_axis + (row,)


def rows_of(changed: Array, tensor: Tensor) -> Array:
    """Which rows have a changed element."""
    if tensor.row_axis is None:
        return np.asarray([changed.any()])
    return changed.any(axis=tuple(k for k in range(changed.ndim) if k != tensor.row_axis))

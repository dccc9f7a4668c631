"""Bottlenecks: operators whose tensor alone leads from everything before them to everything behind."""

from __future__ import annotations

from dataclasses import replace

from tvm_fusion.graph.graph import OperatorGraph


def bottlenecks(graph: OperatorGraph) -> list[int]:
    """Operators p of which the tensor, and no other, is made by operators 0 .. p and read by later ones.

    No input of the network may be read on both sides either.
    """
    last = [max(graph.consumers[i], default=i) for i in range(len(graph))]
    inputs = max((max(graph.consumers[-k - 1], default=-1) for k in range(len(graph.inputs))), default=-1)
    found: list[int] = []
    reach = -1  # the last reader of tensors before p
    for p in range(len(graph) - 1):
        if max(reach, inputs) <= p < last[p]:
            found.append(p)
        reach = max(reach, last[p])
    return found


def behind(graph: OperatorGraph, p: int) -> OperatorGraph:
    """The network in which operator ``p``, now number 0, makes its tensor from nothing, and those after it."""
    source = replace(graph.operators[p], id=0, inputs=(), demands=(), pointwise=True, type="source", window=None,
                     weight_elements=0, weight_bytes=None, macs=0)  # fmt: skip
    rest = (
        replace(op, id=op.id - p, inputs=tuple(t - p if t >= 0 else t for t in op.inputs))
        for op in graph.operators[p + 1 :]
    )
    outputs = tuple(i - p for i in graph.outputs if i >= p)
    return OperatorGraph(graph.name, graph.inputs, (source, *rest), outputs)

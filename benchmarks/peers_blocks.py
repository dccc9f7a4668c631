"""One group a block: the grouping that the architecture itself suggests, read off the graph."""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph

_MIXING = ("conv2d", "dense")


def blocks(graph: OperatorGraph) -> list[int]:
    """Masks of the stem, of the network's blocks, and of the head, in order.

    A block ends where exactly one tensor is alive, and that tensor is read by branches that meet in a sum (a residual
    block begins), is a sum itself (with the activation that follows), or is a convolution's that no activation follows
    (a linear bottleneck, where an inverted residual block without a sum ends). The stem is the first operator with its
    activation.
    Operators are in topological order, so a block is a run of ids; parts of one that share no edge are groups apart.
    """
    alone = [i for i in range(len(graph)) if alive_after(graph, i) <= {i}]
    groups, first = [], 0
    for i, following in zip(alone, [*alone[1:], None], strict=True):
        if following is None or _is_end(graph, i, graph.operators[following].type):
            groups += graph.components((1 << i + 1) - (1 << first))
            first = i + 1
    return groups


def alive_after(graph: OperatorGraph, last: int) -> set[int]:
    """Tensors that operators up to ``last`` (and the network's inputs) make and later ones read."""
    made = [*range(-len(graph.inputs), 0), *range(last + 1)]
    return {i for i in made if graph.consumers[i] and graph.consumers[i][-1] > last}


def _is_end(graph: OperatorGraph, i: int, meeting: str) -> bool:
    """Whether a block ends with ``i``; ``meeting`` is the type of the operator where branches from it meet."""
    readers = graph.consumers[i]
    if len(readers) > 1:
        return meeting == "add"
    if _is_activation(graph, readers[0]):
        return False
    source = i
    while _is_activation(graph, source):
        source = graph.operators[source].inputs[0]
    if source < 0:
        return False
    operator = graph.operators[source]
    return operator.type == "add" or operator.inputs == (-1,) or (source == i and operator.type in _MIXING)


def _is_activation(graph: OperatorGraph, i: int) -> bool:
    """Whether an operator is pointwise and reads nothing but one tensor of its own shape."""
    if i < 0:
        return False
    operator = graph.operators[i]
    return operator.pointwise and len(operator.inputs) == 1 and not operator.weight_elements

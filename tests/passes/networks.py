"""Networks for the tests of the passes that group operators."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import Shape, batch_norm, bias, conv, stepwise, weight
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan

X: Shape = (1, 4, 8, 8)


def residual(emit: Any, x: Any) -> Any:
    """conv-bn-relu-conv-bn, added to x, relu: five operators."""
    at = emit(op.nn.relu(emit(batch_norm(emit(conv(x, 4))))))
    at = emit(batch_norm(emit(conv(at, 4, seed=3)), seed=4))
    return op.nn.relu(emit(op.add(x, at)))


def squeeze_and_excite(emit: Any, x: Any) -> Any:
    """A 1x1 convolution times a function of its own mean, then a dense layer on the flattened map."""
    at = emit(conv(x, 6, kernel=1))
    gate = emit(op.sigmoid(emit(conv(emit(op.mean(at, [2, 3], True)), 6, kernel=1, seed=5))))
    at = emit(op.multiply(at, gate))
    flat = emit(op.reshape(at, (1, 6 * 8 * 8)))
    return op.add(emit(op.matmul(flat, weight(6 * 8 * 8, 3))), weight(1, 3))


def branches(emit: Any, x: Any) -> Any:
    """An inception-like block with two outputs: concat of three branches, and the middle branch."""
    left = emit(op.nn.relu(emit(conv(x, 2, kernel=1))))
    middle = emit(op.nn.silu(emit(op.add(emit(conv(x, 3, seed=1)), bias(3)))))
    right = emit(op.nn.max_pool2d(x, 3, 1, 1))
    return op.concat([left, middle, right], 1), middle


def transformer(emit: Any, x: Any) -> Any:
    """Layer norm, one head of self-attention and a residual, on tokens."""
    normed = emit(op.nn.layer_norm(x, weight(8), weight(8, seed=1), axes=-1))
    q, k, v = (emit(op.matmul(normed, weight(8, 8, seed=s))) for s in range(3))
    scores = emit(op.multiply(emit(op.matmul(q, emit(op.permute_dims(k, [0, 2, 1])))), relax.const(0.3)))
    mixed = emit(op.matmul(emit(op.nn.softmax(scores, -1)), v))
    return op.add(x, mixed)


def split_shuffle(emit: Any, x: Any) -> Any:
    """Half of the channels through a depthwise convolution, then a channel shuffle."""
    halves = emit(op.split(x, 2, 1))
    other = emit(op.nn.relu6(emit(conv(emit(halves[1]), 2, groups=2))))
    joined = emit(op.concat([emit(halves[0]), other], 1))
    shuffled = emit(op.permute_dims(emit(op.reshape(joined, (1, 2, 2, 8, 8))), [0, 2, 1, 3, 4]))
    return op.reshape(shuffled, (1, 4, 8, 8))


def two_parts(emit: Any, x: Any) -> Any:
    """An operator with a tuple as its result, both parts of which are read."""
    best = emit(op.topk(x, 3, 3, ret_type="both"))
    return op.nn.relu(emit(best[0])), op.astype(emit(best[1]), "float32")


NETWORKS = {
    "residual": (residual, X),
    "squeeze and excite": (squeeze_and_excite, X),
    "branches": (branches, X),
    "transformer": (transformer, (1, 5, 8)),
    "split and shuffle": (split_shuffle, X),
    "tuple of an operator": (two_parts, X),
}


def named(name: str) -> tvm.IRModule:
    """A network of NETWORKS as a module."""
    build, shape = NETWORKS[name]
    return stepwise(build, shape)


def plan_of(graph: OperatorGraph, *groups: tuple[int, ...]) -> PartitionPlan:
    """A plan with these groups and every other operator alone."""
    rest = set(range(len(graph))) - {i for group in groups for i in group}
    return PartitionPlan.from_masks(graph, [mask_of(group) for group in [*groups, *((i,) for i in sorted(rest))]])


def whole(graph: OperatorGraph) -> PartitionPlan:
    """Every connected part of the network as one group."""
    return PartitionPlan.from_masks(graph, graph.components((1 << len(graph)) - 1))

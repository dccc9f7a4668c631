"""The network as cost models and searches see it: operators, graphs and partition plans."""

from tvm_fusion.graph.demand import RowDemand
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members
from tvm_fusion.graph.graph_io import graph_from_json, graph_to_json
from tvm_fusion.graph.operator import Operator, Tensor, Window

__all__ = [
    "Operator",
    "OperatorGraph",
    "RowDemand",
    "Tensor",
    "Window",
    "graph_from_json",
    "graph_to_json",
    "mask_of",
    "members",
]

"""What certainly moves, as a price for every operator."""

from __future__ import annotations

from tvm_fusion.search.problem import FusionProblem


def certain_prices(problem: FusionProblem, alone: int) -> list[int]:
    """Bytes for every operator such that no group moves less than those of its operators together.

    Operators of the mask ``alone`` are in no group of several and cost what they cost. Of the others the weights, and
    each tensor that must be written or read because such an operator or the outside world is at its other end.
    """
    graph, sizes = problem.graph, problem.oracle.sizes
    prices = [problem.group_value(1 << i) if alone >> i & 1 else sizes.weight_bytes[i] for i in range(problem.size)]
    for t, readers in graph.consumers.items():
        if t < 0 or alone >> t & 1:
            # The group of any reader reads it; let the first one pay.
            payers = [c for c in readers if not alone >> c & 1][:1]
        else:
            payers = [t] if graph.output_mask >> t & 1 or any(alone >> c & 1 for c in readers) else []
        for i in payers:
            prices[i] += sizes.tensor_bytes[t]
    return prices

"""Which requirement bounds the groups of a problem."""

from __future__ import annotations

from collections.abc import Callable

from tvm_fusion.search.any_requirement import AnyRequirement
from tvm_fusion.search.bands_requirement import BandsRequirement
from tvm_fusion.search.line_buffer_requirement import LineBufferRequirement
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.requirement import Requirement

# Scheme -> its requirement; "layer" executes no group of several operators.
_BY_SCHEME: dict[str, Callable[[FusionProblem], Requirement]] = {
    "lbdf": LineBufferRequirement,
    "brr": BandsRequirement,
}


def requirement_of(problem: FusionProblem) -> Requirement | None:
    """What a group of several operators needs whichever of the oracle's schemes executes it; None if it is unknown."""
    schemes = [name for name in problem.oracle.schemes if name != "layer"]
    if not schemes or not all(name in _BY_SCHEME for name in schemes):
        return None
    found = [_BY_SCHEME[name](problem) for name in schemes]
    return found[0] if len(found) == 1 else AnyRequirement(found)

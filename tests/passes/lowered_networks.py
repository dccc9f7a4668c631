"""Random networks lowered, verified, compiled, run and compared: what the tests of LowerBands and its like share."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.passes.lowering.lowered import ROOMY
from tests.passes.modules import run
from tests.passes.networks import whole
from tests.passes.random_modules import Network
from tests.strategies import partitions
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.attributes import (
    IR_BUFFER_BYTES,
    MEMORY_MAP,
    OPERATORS,
    SCHEME,
    group_functions,
    scheme_parameters,
)
from tvm_fusion.passes.group_memory import GroupMemory, group_memory
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.verify_memory import VerifyMemory

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "300"))
# Why an operator may stay with TVM: its arithmetic goes over all rows before any is done, or TVM has no loops for it.
KNOWN_REASONS = (
    "is no single assignment",
    "is read in more than one way",
    "does not make image by image",
    "is read at other rows than it makes",
    "it does not add up rows one after another",
    "one tensor is returned twice",
    "it reads one tensor as two shapes",
    "TVM makes no single TIR function",
    "alone it falls into other operators",
    "several operands are one weight",
)
# Refused on purpose, whatever the operator: such groups say nothing of how many operators are lowered.
LIMITS = ("images of a batch", "does not begin with the batch", "beside narrower ones", "see padding alone")


class Lowered(ABC):
    """How many groups of ``scheme`` were lowered, and why the others were not. ``every``: whether groups of all schemes
    are to be lowered, not these alone."""

    scheme: str
    every = True
    reasons_known = KNOWN_REASONS
    limits = LIMITS

    def __init__(self) -> None:
        self.groups: Counter[bool] = Counter()
        self.reasons: Counter[str] = Counter()
        self.gaps: Counter[bool] = Counter()  # whether addresses need more than the most that is there at one time

    @property
    def share(self) -> float:
        """Of the groups that no limit of the lowering leaves out beforehand."""
        limited = sum(n for reason, n in self.reasons.items() if any(limit in reason for limit in self.limits))
        return self.groups[True] / max(1, self.groups.total() - limited)

    def show(self) -> None:
        """Print the numbers."""
        print(f"lowered {self.groups[True]} of {self.groups.total()} groups; not: {self.reasons.most_common()}")
        print(f"{self.gaps[True]} of {self.gaps.total()} need more addresses than bytes at one time")

    def check(self, network: Network, plan: PartitionPlan, lowering: Any, accelerator: Accelerator = ROOMY) -> None:
        """Lower (by the pass ``lowering``), verify, compile, run and compare one plan."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LoweringWarning)
            lowered = VerifyMemory()(lowering(FuseByPlan(plan, accelerator)(network.module())))
        relax.analysis.well_formed(lowered)
        said = [str(warning.message) for warning in caught if issubclass(warning.category, LoweringWarning)]
        self._check_groups(lowered, extract(network.module()).graph, said)
        found = run(LowerGroups()(lowered), network.arrays())
        for array, expected in zip(found, network.results(), strict=True):  # sums of what cancels out are small
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6 + 1e-4 * largest)

    @abstractmethod
    def check_cost(self, graph: OperatorGraph, mask: int, parameters: dict[str, Any], memory: GroupMemory) -> None:
        """Assert that a lowered group has the bytes of the cost model on the network's graph, and of the simulator."""

    def _check_groups(self, lowered: tvm.IRModule, graph: OperatorGraph, said: list[str]) -> None:
        """Groups are PrimFuncs with the costs of the network's graph, or named in a warning."""
        memory = group_memory(lowered)
        for name, attributes in group_functions(lowered).items():
            counts = str(attributes[SCHEME]) == self.scheme
            asked = counts or self.every
            is_lowered = isinstance(lowered[name], tvm.tirx.PrimFunc)
            reasons = [text for text in said if text.startswith(f"{name} is left to TVM's own lowering: ")]
            assert (asked and is_lowered) == (IR_BUFFER_BYTES in attributes) == (MEMORY_MAP in attributes)
            assert len(reasons) == int(asked and not is_lowered)
            for reason in reasons:
                assert any(known in reason for known in (*self.reasons_known, *self.limits)), reason
            if not counts:
                continue
            self.groups[is_lowered] += 1
            self.reasons.update(reason.split(": ", 1)[1] for reason in reasons)
            if is_lowered:
                mask = mask_of([int(i) for i in attributes[OPERATORS]])
                self.check_cost(graph, mask, scheme_parameters(attributes), memory[name])
                self.gaps[memory[name].end_bytes > memory[name].buffer_bytes] += 1


def check_random_networks(
    check: Callable[[st.DataObject, Network, PartitionPlan], None],
    options: settings,
    networks: st.SearchStrategy[Network],
    plans: int,
) -> None:
    """``check`` random networks: as one group of all that hangs together, and in so many random plans each."""

    @given(data=st.data(), network=networks)
    @options
    def checked(data: st.DataObject, network: Network) -> None:
        graph = extract(network.module()).graph
        check(data, network, whole(graph))
        for _ in range(plans if len(graph) > 1 else 0):
            check(data, network, data.draw(partitions(graph)))

    checked()

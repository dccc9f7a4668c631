"""run_on_stream: a network planned, compiled and executed with its groups on the accelerator."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import tvm
from tvm import relax

from examples.stream_accelerator import backend
from examples.stream_accelerator.machine import Machine
from examples.stream_accelerator.program import StreamProgram
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS, Accelerator
from tvm_fusion.cost_models.simulator import SimulationResult, simulate_line_buffer
from tvm_fusion.passes import AttachToBackend, BackendGroup, BackendWarning, FusionSearch, LowerGroups
from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer


@dataclass(frozen=True)
class GroupRun:
    """A group that was executed, its program, and the machine after the last instruction."""

    group: BackendGroup
    program: StreamProgram
    machine: Machine

    def simulated(self) -> SimulationResult:
        """What the simulator of the cost model says of the group at the element widths of the network."""
        return simulate_line_buffer(self.group.graph, (1 << len(self.group.graph)) - 1, OWN_WIDTHS)


@dataclass(frozen=True)
class StreamRun:
    """``refused`` says why groups stayed with TVM, ``too_large`` counts those that do not fit the buffer.

    ``error`` is the largest relative one of the network.
    """

    groups: tuple[GroupRun, ...]
    refused: tuple[str, ...]
    too_large: int
    error: float


def run_on_stream(module: tvm.IRModule, accelerator: Accelerator, seed: int = 0) -> StreamRun:
    """Search a plan for ``accelerator``, compile, run on random input, and compare with the unfused network.

    Its element widths should be the network's own (None), so that "fits" means the same as on the machine.
    """
    backend.register()
    grouped = FusionSearch(accelerator)(module)
    steps = [
        AttachToBackend(backend.NAME, buffer_bytes=accelerator.buffer_bytes),
        relax.transform.RunCodegen(),  # calls relax.ext.stream with every group that it takes
        LowerLineBuffer(),  # what it refuses, as ever
        LowerGroups(),
        relax.get_pipeline("default_build"),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BackendWarning)
        executable = tvm.compile(grouped, "llvm", relax_pipeline=tvm.transform.Sequential(steps))
    inputs = random_inputs(module, seed)
    backend.EXECUTED.clear()
    found = run_executable(executable, inputs)
    groups = [GroupRun(backend.GROUPS[s], backend.PROGRAMS[s], machine) for s, machine in backend.EXECUTED.items()]
    expected = run_executable(tvm.compile(module, "llvm"), inputs)
    refused = [str(warning.message) for warning in caught if issubclass(warning.category, BackendWarning)]
    too_large = len(group_functions(grouped)) - len(groups) - len(refused)
    return StreamRun(tuple(groups), tuple(refused), too_large, largest_relative_error(found, expected))

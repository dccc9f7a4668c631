"""The backend "stream": its code generator, what it refuses, and the record of what it executed."""

from __future__ import annotations

from typing import Any

import tvm_ffi

from examples.stream_accelerator.generate import Refused, generate
from examples.stream_accelerator.machine import Machine
from examples.stream_accelerator.program import StreamProgram
from tvm_fusion.passes import BackendGroup, backend_group

NAME = "stream"
# By symbol: what was generated in this process, and the machine that executed it last.
GROUPS: dict[str, BackendGroup] = {}
PROGRAMS: dict[str, StreamProgram] = {}
EXECUTED: dict[str, Machine] = {}


def register() -> None:
    """Make the backend known to TVM; a second call changes nothing."""
    tvm_ffi.register_global_func(f"relax.ext.{NAME}", _generate, override=True)
    tvm_ffi.register_global_func(f"relax.ext.{NAME}.refuses", _refuses, override=True)


def _refuses(function: Any) -> str | None:
    try:
        generate(backend_group(function))
    except Refused as reason:
        return str(reason)
    return None


def _generate(functions: Any, _options: Any, _constants: Any) -> list[Any]:
    """A packed function for every group under its symbol, which the virtual machine calls; no runtime modules."""
    for function in functions:
        group = backend_group(function)
        program = generate(group)
        GROUPS[program.symbol], PROGRAMS[program.symbol] = group, program
        tvm_ffi.register_global_func(program.symbol, _packed(program), override=True)
    return []


def _packed(program: StreamProgram) -> Any:
    """What TVM calls at run time with the inputs and then the results, all of them in DRAM."""

    def execute(*tensors: Any) -> None:
        arrays = [tensor.numpy() for tensor in tensors]
        count = len(program.inputs)
        machine = Machine(program)
        machine.run(arrays[:count], arrays[count:])
        for tensor, array in zip(tensors[count:], arrays[count:], strict=True):
            tensor.copyfrom(array)
        EXECUTED[program.symbol] = machine

    return execute

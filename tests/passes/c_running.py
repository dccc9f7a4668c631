"""Compile C sources of groups and run a lowered network on them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.passes.modules import Array
from tvm_fusion.passes.c_source import CSource, c_source
from tvm_fusion.passes.lowering.lower_schemes import result_types
from tvm_fusion.passes.relax_tools import bindings, callee_name, constant_array, is_constant, main_function

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"]


def compiled(source: str, folder: Path, *flags: str) -> Path:
    """A shared library of C text; the test is skipped where there is no C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    number = len(list(folder.glob("*.c")))
    path = folder / f"source_{number}.c"
    path.write_text(source)
    library = path.with_suffix(".so")
    command = ["cc", *STRICT, *flags, "-shared", "-fPIC", str(path), "-o", str(library), "-lm"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + source
    return library


def call(library: Path, source: CSource, arguments: Sequence[Array]) -> None:
    """Call the function of ``source`` with pointers to contiguous arrays."""
    assert all(array.flags.c_contiguous for array in arguments)
    function = getattr(ctypes.CDLL(str(library)), source.name)
    function.restype = None
    function(*(array.ctypes.data_as(ctypes.c_void_p) for array in arguments))


def run_in_c(lowered: tvm.IRModule, inputs: Sequence[Array], folder: Path, weights: str = "arguments") -> list[Array]:
    """Outputs of main, whose every group is executed in C."""

    def execute(name: str, arrays: list[Array]) -> None:
        source = c_source(lowered, name, weights)
        call(compiled(source.text, folder), source, arrays)

    return run_groups(lowered, inputs, execute, weights)


def run_groups(
    lowered: tvm.IRModule,
    inputs: Sequence[Array],
    execute: Callable[[str, list[Array]], None],
    weights: str = "arguments",
) -> list[Array]:
    """Outputs of main; ``execute`` runs the group of a name on its arguments and results."""
    function = main_function(lowered)
    values: dict[Any, Any] = dict(zip(function.params, inputs, strict=True))

    def value_of(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return [value_of(part) for part in expr.fields]
        if isinstance(expr, relax.TupleGetItem):
            return value_of(expr.tuple_value)[expr.index]
        return constant_array(expr) if is_constant(expr) else values[expr]

    for binding in bindings(function):
        name = callee_name(binding.value)
        if name is None:
            values[binding.var] = value_of(binding.value)
            continue
        given = [a for a in binding.value.args[1].fields[:-1] if weights == "arguments" or not is_constant(a)]
        types = result_types(binding.value)
        results = [np.full([int(n) for n in ty.shape], 77, str(ty.dtype)) for ty in types]
        execute(name, [*(np.ascontiguousarray(value_of(argument)) for argument in given), *results])
        values[binding.var] = results if len(results) > 1 else results[0]
    found = value_of(function.body.body)
    return found if isinstance(found, list) else [found]

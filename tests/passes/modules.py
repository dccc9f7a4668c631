"""Small Relax modules made by hand, shared by the tests of the passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvm_fusion.passes.execute import run_executable

Array = np.ndarray
Shape = tuple[int, ...]


def network(build: Callable[..., Any], *shapes: Shape, dtype: str = "float32") -> tvm.IRModule:
    """main(x0, x1, ...) = build(x0, x1, ...); a tuple of expressions makes a tuple of results."""
    return stepwise(lambda _, *inputs: build(*inputs), *shapes, dtype=dtype)


def stepwise(build: Callable[..., Any], *shapes: Shape, dtype: str = "float32") -> tvm.IRModule:
    """The same, where ``build`` gets a function that binds an expression to a variable first."""
    builder = relax.BlockBuilder()
    inputs = [relax.Var(f"x{k}", relax.TensorType(list(shape), dtype)) for k, shape in enumerate(shapes)]
    with builder.function("main", inputs):
        with builder.dataflow():
            result = build(builder.emit, *inputs)
            result = relax.Tuple([builder.emit(part) for part in result]) if isinstance(result, tuple) else result
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.finalize()


def weight(*shape: int, seed: int = 0) -> Any:
    """A constant of normal numbers."""
    return relax.const(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), "float32")


def bias(channels: int, seed: int = 1) -> Any:
    """A constant of one number a channel, for NCHW."""
    return weight(1, channels, 1, 1, seed=seed)


def conv(x: Any, channels: int, kernel: int = 3, seed: int = 0, **options: Any) -> Any:
    """A convolution of NCHW with a constant weight; padding that keeps the size unless given."""
    inside = int(x.ty.shape[1]) // options.get("groups", 1)
    options.setdefault("padding", kernel // 2)
    return relax.op.nn.conv2d(x, weight(channels, inside, kernel, kernel, seed=seed), **options)


def batch_norm(x: Any, axis: int = 1, seed: int = 2, **options: Any) -> Any:
    """The first result of an inference batch norm with constant statistics."""
    size = int(x.ty.shape[axis])
    rng = np.random.default_rng(seed)
    gamma, beta, mean = (relax.const(rng.standard_normal(size).astype(np.float32)) for _ in range(3))
    variance = relax.const(rng.uniform(0.5, 2, size).astype(np.float32))
    return relax.op.nn.batch_norm(x, gamma, beta, mean, variance, axis=axis, training=False, **options)[0]


def run(mod: tvm.IRModule, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of ``main`` on TVM's own pipeline."""
    return run_executable(tvm.compile(mod, "llvm"), list(inputs))


def copied(mod: tvm.IRModule) -> tvm.IRModule:
    """A module whose functions and variables are its own, with the same content."""
    functions = {
        var: relax.utils.copy_with_new_vars(function) if isinstance(function, relax.Function) else function
        for var, function in mod.functions.items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)


def operators_of(mod: tvm.IRModule, function: str = "main") -> list[str]:
    """Names of the operators that a function calls, in order."""
    from tvm_fusion.passes.relax_tools import bindings, op_name

    return [op_name(binding.value) for binding in bindings(mod[function]) if op_name(binding.value)]


def private_functions(mod: tvm.IRModule) -> list[str]:
    """Names of all functions but main, sorted."""
    return sorted(var.name_hint for var in mod.get_global_vars() if var.name_hint != "main")

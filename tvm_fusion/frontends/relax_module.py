"""A Relax IRModule from Python, and the batch of any imported one."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.network import Network
from tvm_fusion.frontends.random_weights import draw


def load_module(module: Any, batch: int, seed: int = 0, name: str = "network") -> Network:
    """``module`` with its dynamic batch set. Raises FrontendError if it is no IRModule with a main.

    Parameters of main beyond its attribute ``num_input`` are weights, as TVM's own front ends have it: they
    become constants, those of its attribute ``params`` if it is there, else drawn from ``seed``.
    """
    if not isinstance(module, IRModule):
        raise FrontendError(
            f"a network is a model name, an .onnx or .pt2 path or a tvm.IRModule; got {type(module).__name__}"
        )
    return Network(_bind_weights(bind_batch(module, batch), seed), name, "relax")


def bind_batch(module: IRModule, batch: int) -> IRModule:
    """Set the symbolic first dimension of every input.

    Raises FrontendError for other symbolic ones, and for a batch above 1 where the module has a fixed one.
    """
    function = _main(module)
    symbols: dict[Any, int] = {}
    fixed: dict[str, int] = {}
    for param in function.params[: _inputs(function)]:
        shape = getattr(param.ty, "shape", None)
        if shape is None or not hasattr(shape, "values"):
            raise FrontendError(f"input {param.name!r} has no known shape; only the batch may be dynamic")
        for axis, size in enumerate(shape.values):
            if isinstance(size, int) or hasattr(size, "value"):
                continue
            if axis or not hasattr(size, "name"):
                raise dynamic_size(param.name, str(size), axis)
            symbols[size] = batch
        if len(shape.values) >= 2 and shape.values[0] not in symbols:
            fixed[param.name] = int(shape.values[0])
    check_fixed_batch(fixed if not symbols else {}, batch)
    return relax.transform.BindSymbolicVars(symbols, "main")(module) if symbols else module


def dynamic_size(tensor: str, size: str, axis: int) -> FrontendError:
    """The error for a dynamic dimension that is not the batch."""
    return FrontendError(
        f"input {tensor!r} has the dynamic size {size} in dimension {axis}; only the batch may be dynamic"
    )


def check_fixed_batch(fixed: dict[str, int], batch: int) -> None:
    """Raise FrontendError if a batch above 1 is asked of inputs (first sizes by name) that all have another one."""
    if batch > 1 and fixed and batch not in fixed.values():
        name, size = next(iter(fixed.items()))
        raise FrontendError(
            f"batch {batch} cannot be set: input {name!r} has the fixed batch {size}; export with a dynamic batch"
        )


def _main(module: IRModule) -> Any:
    names = sorted(var.name_hint for var in module.get_global_vars())
    if "main" not in names:
        raise FrontendError(f"the module has no function 'main'; it has: {', '.join(names) or 'none'}")
    if not isinstance(module["main"], relax.Function):
        raise FrontendError("function 'main' is not a Relax function")
    return module["main"]


def _inputs(function: Any) -> int:
    """How many of a function's parameters are inputs, not weights."""
    count = dict(function.attrs or {}).get("num_input")
    return len(function.params) if count is None else int(count)


def _bind_weights(module: IRModule, seed: int) -> IRModule:
    """Weights that are parameters as constants."""
    function = module["main"]
    weights = list(function.params[_inputs(function) :])
    if not weights:
        return module
    given = dict(function.attrs).get("params")
    if given is not None and len(given) == len(weights):
        values = list(given)
    else:
        generator = np.random.default_rng(seed)
        values = [_drawn(param, generator) for param in weights]
    bound = relax.transform.BindParams("main", dict(zip(weights, values, strict=True)))(module)
    bound["main"] = bound["main"].without_attr("params")
    return bound


def _drawn(param: Any, generator: np.random.Generator) -> Any:
    values = getattr(getattr(param.ty, "shape", None), "values", None)
    if values is None or not all(isinstance(size, int) or hasattr(size, "value") for size in values):
        raise FrontendError(f"weight {param.name!r} has no static shape, and the module brings no value for it")
    return draw(tuple(int(size) for size in values), generator).astype(str(param.ty.dtype))

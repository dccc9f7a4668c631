"""A Relax IRModule from Python, and the batch of any imported one."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.network import Network


def load_module(module: Any, batch: int, name: str = "network") -> Network:
    """``module`` with its dynamic batch set. Raises FrontendError if it is no IRModule with a main."""
    if not isinstance(module, IRModule):
        raise FrontendError(
            f"a network is a model name, an .onnx or .pt2 path or a tvm.IRModule; got {type(module).__name__}"
        )
    return Network(bind_batch(module, batch), name, "relax")


def bind_batch(module: IRModule, batch: int) -> IRModule:
    """Set the symbolic first dimension of every input. Raises FrontendError for other symbolic ones."""
    if "main" not in [var.name_hint for var in module.get_global_vars()]:
        names = sorted(var.name_hint for var in module.get_global_vars())
        raise FrontendError(f"the module has no function 'main'; it has: {', '.join(names) or 'none'}")
    symbols: dict[Any, int] = {}
    for param in module["main"].params:
        shape = getattr(param.ty, "shape", None)
        if shape is None:
            raise FrontendError(f"input {param.name!r} has no known shape; only the batch may be dynamic")
        for axis, size in enumerate(shape.values):
            if isinstance(size, int) or hasattr(size, "value"):
                continue
            if axis or not hasattr(size, "name"):
                raise FrontendError(
                    f"input {param.name!r} has the dynamic size {size} in dimension {axis}; only the batch may be dynamic"
                )
            symbols[size] = batch
    return relax.transform.BindSymbolicVars(symbols, "main")(module) if symbols else module

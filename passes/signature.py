"""signature: the tensors that a network's main takes and returns, as its caller sees them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.extract import leaves
from tvm_fusion.passes.relax_tools import bindings, main_function, shape_of


@dataclass(frozen=True)
class TensorType:
    """Name, shape and dtype of one tensor; a result has the name of its variable."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self) | {"shape": list(self.shape)}


def signature(mod: IRModule) -> tuple[list[TensorType], list[TensorType]]:
    """Inputs and outputs of ``main``, tuples opened. Raises FrontendError for a shape that is not static."""
    function = main_function(mod)
    results = leaves(function.body.body, {binding.var: binding.value for binding in bindings(function)})
    return [_tensor(param) for param in function.params], [part for var in results for part in _opened(var)]


def _tensor(var: Any) -> TensorType:
    return TensorType(str(var.name), shape_of(var), str(var.ty.dtype))


def _opened(var: Any) -> list[TensorType]:
    """The tensors of a variable; those of a tuple are numbered."""
    if not isinstance(var.ty, relax.TupleType):
        return [_tensor(var)]
    return [
        part for number, field in enumerate(var.ty.fields) for part in _opened(relax.Var(f"{var.name}_{number}", field))
    ]

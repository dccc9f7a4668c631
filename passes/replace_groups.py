"""replace_groups: other functions in the place of group functions, and a main that calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, callee_name, main_function

# From the name, the new function's GlobalVar, the old call and its arguments in the new main to the new call.
NewCall = Callable[[str, Any, Any, list[Any]], Any]


def replace_groups(mod: IRModule, functions: Mapping[str, Any], call: NewCall) -> IRModule:
    """``mod`` with ``functions`` instead of those of the same names; main calls them as ``call`` says."""
    function = main_function(mod)
    # A GlobalVar carries the type of its function: replaced ones get a new one.
    others = {var: func for var, func in mod.functions.items() if var.name_hint not in {"main", *functions}}
    builder = relax.BlockBuilder(IRModule(others, attrs=mod.attrs, global_infos=mod.global_infos))
    targets = {name: builder.add_func(new, name) for name, new in functions.items()}
    params = [relax.Var(param.name, param.ty) for param in function.params]
    values: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params, attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for binding in bindings(function):
                value = substitute(binding.value, values)
                name = callee_name(value)
                if name is not None and name in functions:
                    value = call(name, targets[name], binding.value, list(value.args))
                values[binding.var] = builder.emit(value, name_hint=binding.var.name)
            output = builder.emit_output(substitute(function.body.body, values))
        builder.emit_func_output(output)
    return builder.get()

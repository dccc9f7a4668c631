"""Primitive: which group functions FuseTIR can turn into one PrimFunc each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.passes.relax_tools import bindings, is_constant

PRIMITIVE = "Primitive"


def mark_primitive(mod: IRModule) -> IRModule:
    """``mod`` with Primitive=1 on every group function that FuseTIR makes one PrimFunc of, tried out on a copy."""
    return marked(mod, fusable(relax.transform.LegalizeOps()(mod), list(group_functions(mod))))


def fusable(legal: IRModule, names: Sequence[str]) -> list[str]:
    """The functions of a legalised module, of ``names``, that FuseTIR makes one PrimFunc of, tried out on a copy."""
    candidates = [name for name in names if _only_tir(legal[name])]
    return candidates if _fuses(legal, candidates) else [name for name in candidates if _fuses(legal, [name])]


def _only_tir(function: Any) -> bool:
    """Whether every binding is a PrimFunc's call or moves a variable, with no tensor constant left."""
    if not isinstance(function, relax.Function):
        return False
    calls = 0
    for binding in bindings(function):
        value = binding.value
        if isinstance(value, relax.Call):
            if getattr(value.op, "name", "") != "relax.call_tir":
                return False
            if any(is_constant(arg) for arg in getattr(value.args[1], "fields", [value.args[1]])):
                return False
            calls += 1
        elif not isinstance(value, relax.Var | relax.Tuple | relax.TupleGetItem):
            return False
    return calls > 0


def _fuses(legal: IRModule, names: Sequence[str]) -> bool:
    try:
        fused = relax.transform.FuseTIR()(relax.transform.AnnotateTIROpPattern()(marked(legal, names)))
    except Exception:  # TVM raises many kinds; a group that it cannot fuse stays a function of several
        return False
    left = {var.name_hint: fused[var] for var in fused.get_global_vars()}
    return all(name in left and not isinstance(left[name], relax.Function) for name in names)


def marked(mod: IRModule, names: Sequence[str]) -> IRModule:
    """``mod`` with Primitive=1 on these functions."""
    result = IRModule(dict(mod.functions.items()), attrs=mod.attrs, global_infos=mod.global_infos)
    for name in names:
        result[name] = mod[name].with_attr(PRIMITIVE, 1)
    return result

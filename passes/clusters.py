"""Bindings that together are one operator: activations, biases, per-channel scale and shift, views."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from tvm import relax

from tvm_fusion.passes.affine import CONVOLUTIONS, TRANSPOSED, channel_affine, channel_axis
from tvm_fusion.passes.elementwise import KNOWN, QUANTIZING, evaluate, is_elementwise
from tvm_fusion.passes.quantized_values import NARROW
from tvm_fusion.passes.relax_tools import (
    constant_array,
    dtype_of,
    is_constant,
    op_name,
    shape_of,
    variables,
)

_LARGEST_ACTIVATION = 16
PRODUCTS = (*CONVOLUTIONS, *TRANSPOSED, "matmul")
_SCALING = ("add", "subtract", "multiply", "divide")
_SCALAR_AFFINE = (*_SCALING, "clip")
VIEWS = ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")


class Clusters:
    """Groups the bindings of a dataflow block into operators.

    ``groups()`` gives (result, bindings) of every operator in topological order; ``kind`` names the
    clusters that are more than their own last binding.
    """

    def __init__(self, program: list[Any], outputs: list[Any]) -> None:
        self.position = {binding.var: k for k, binding in enumerate(program)}
        self.value = {binding.var: binding.value for binding in program}
        self.readers: dict[Any, list[Any]] = defaultdict(list)
        for binding in program:
            for var in dict.fromkeys(variables(binding.value)):
                self.readers[var].append(binding.var)
        self.leaves = set(outputs)
        self.members = {var: [var] for var in self.position}
        self.root = {var: var for var in self.position}
        self.kind: dict[Any, str] = {}
        # Scalars twice: what joins an activation may itself follow another scalar.
        for join in (self._join_reconvergent, self._join_scalars, self._join_scalars, self._join_constants):
            for binding in program:
                join(binding.var)
        for binding in reversed(program):
            self._join_quantized(binding.var)
        for root, members in self.members.items():
            if len(members) > 1 and root not in self.kind and self._is_activation(root):
                self.kind[root] = self._name(root)

    def groups(self) -> list[tuple[Any, list[Any]]]:
        """(root, members in program order) of every cluster, in topological order."""
        roots = sorted(self.members, key=self.position.__getitem__)
        return [(root, sorted(self.members[root], key=self.position.__getitem__)) for root in roots]

    def _join(self, root: Any, into: Any) -> None:
        moved = self.members.pop(root)
        self.members[into].extend(moved)
        self.root.update(dict.fromkeys(moved, into))
        if root in self.kind:
            self.kind[into] = self.kind.pop(root)

    def _is_root(self, var: Any) -> bool:
        return var in self.members

    def _only_inside(self, var: Any, cluster: set[Any]) -> bool:
        return var not in self.leaves and all(reader in cluster for reader in self.readers[var])

    def _tensors(self, var: Any) -> list[Any]:
        return list(dict.fromkeys(variables(self.value[var])))

    def _scalar_constants(self, var: Any) -> bool:
        value = self.value[var]
        return all(constant_array(arg).size == 1 for arg in value.args if is_constant(arg))

    def _may_join(self, var: Any, shape: tuple[int, ...]) -> bool:
        value = self.value.get(var)
        return (
            value is not None
            and is_elementwise(value)
            and op_name(value) != "nn.prelu"
            and shape_of(var) == shape
            and self._scalar_constants(var)
        )

    def _join_reconvergent(self, var: Any) -> None:
        """An elementwise region that is a function of one tensor read on several paths."""
        shape = shape_of(var)
        if not self._may_join(var, shape) or len(self._tensors(var)) < 2:
            return
        cluster, sources = {var}, set(self._tensors(var))
        while len(sources) > 1 and len(cluster) < _LARGEST_ACTIVATION:
            latest = max(sources, key=lambda v: self.position.get(v, -1))
            if not (self._may_join(latest, shape) and self._only_inside(latest, cluster)):
                return
            cluster.add(latest)
            sources.remove(latest)
            sources.update(self._tensors(latest))
        if len(sources) == 1 and len(cluster) > 1 and shape_of(next(iter(sources))) == shape:
            for inner in sorted(cluster - {var}, key=self.position.__getitem__):
                if not self.root[inner].same_as(var):  # it may have come with a region inside this one
                    self._join(self.root[inner], var)

    def _is_activation(self, root: Any) -> bool:
        """Whether a cluster is an elementwise function of one tensor, with scalars only."""
        members = self.members[root]
        outside = {t for v in members for t in self._tensors(v)} - set(members)
        return len(outside) == 1 and all(self._may_join(v, shape_of(root)) for v in members)

    def _join_scalars(self, var: Any) -> None:
        """Arithmetic with scalars joins the activation beside it (x + 3, clip, / 6)."""
        if var in self.leaves or len(self.readers[var]) != 1 or not self._is_root(var):
            return
        reader = self.root[self.readers[var][0]]
        if not (self._is_activation(var) and self._is_activation(reader)) or shape_of(var) != shape_of(reader):
            return
        single = [op_name(self.value[v]) for v in (var, reader) if len(self.members[v]) == 1]
        if any(name in _SCALAR_AFFINE for name in single) and not all(name in _SCALING for name in [*single, ""][:2]):
            self._join(var, reader)

    def _join_constants(self, var: Any) -> None:
        """Bias after a convolution or dense; shift after a per-channel scale."""
        value = self.value[var]
        if op_name(value) not in ("add", "subtract") or not self._is_root(var):
            return
        tensors = self._tensors(var)
        source = tensors[0] if len(tensors) == 1 else None
        if source not in self.value or not self._only_inside(source, {var}) or not self._is_root(source):
            return
        made = self.value[source]
        if op_name(made) in PRODUCTS:
            axis = len(shape_of(source)) - 1 if op_name(made) == "matmul" else channel_axis(made)
            if channel_affine(value, axis) is not None:
                self._join(source, var)
        elif op_name(made) == "multiply":
            for axis in range(len(shape_of(source))):
                pair = channel_affine(value, axis), channel_affine(made, axis)
                if all(part is not None for part in pair) and not self._scalar_constants(source):
                    self._join(source, var)
                    self.kind[var] = "batch_norm"
                    return

    def _join_quantized(self, var: Any) -> None:
        """What is quantised joins its quantize; what was, and int32 sums, the only operator that reads them."""
        roots = {self.root[reader] for reader in self.readers[var]}
        if not self._is_root(var) or var in self.leaves or len(roots) != 1 or not isinstance(var.ty, relax.TensorType):
            return
        reader, into = self.readers[var][0], roots.pop()
        made, read, last = (op_name(self.value[v]) for v in (var, reader, into))
        sums = dtype_of(var) == "int32" and (
            read in (*PRODUCTS, "dequantize") or (made in PRODUCTS and read == "add" and last in QUANTIZING)
        )
        ranged = last == "quantize" and read in ("quantize", "nn.relu", "nn.relu6", "clip")
        narrow = made == "dequantize" and dtype_of(self.value[var].args[0]) in NARROW
        called = isinstance(self.value[var], relax.Call) and isinstance(self.value[reader], relax.Call)
        if called and (sums or narrow or (ranged and made != "quantize")):
            self._join(var, into)

    def _name(self, root: Any) -> str:
        """The activation that a cluster computes, found by trying it on numbers; rounding to 8 bits left out."""
        members = sorted(self.members[root], key=self.position.__getitem__)
        source = next(t for v in members for t in self._tensors(v) if t not in members)
        working = [op_name(self.value[var]) for var in members if op_name(self.value[var]) not in QUANTIZING]
        if not working:
            return "requantize"
        unknown = working[0].removeprefix("nn.") if len(working) == 1 else "activation"
        samples = np.linspace(-8, 8, 257)
        known: dict[Any, Any] = {source: samples}
        for var in members:
            call = self.value[var]
            if op_name(call) in QUANTIZING:
                known[var] = known[call.args[0]]
                continue
            operands = [
                constant_array(a).reshape(()) if is_constant(a) else known[a] for a in call.args if _is_tensor(a)
            ]
            result = evaluate(call, operands)
            if result is None or not any(kind in dtype_of(call) for kind in ("float", "bool")):
                return unknown
            known[var] = result
        for name, function in KNOWN.items():
            if np.allclose(known[root], function(samples), rtol=1e-3, atol=1e-4):
                return name
        return unknown


def _is_tensor(arg: Any) -> bool:
    return is_constant(arg) or isinstance(arg, relax.Var)

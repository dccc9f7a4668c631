"""fuse_groups: bindings into functions, constants into parameters, results into tuples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import copied, network, operators_of, private_functions, run, stepwise, weight
from tests.passes.networks import X
from tvm_fusion.passes import normalize
from tvm_fusion.passes.fuse_groups import GroupFunction, fuse_groups, substitute
from tvm_fusion.passes.relax_tools import bindings, op_name


def names_of(mod: tvm.IRModule, *operators: str) -> frozenset[str]:
    """Names of the bindings that call these operators, and of the aliases of main's result."""
    return frozenset(b.var.name for b in bindings(mod["main"]) if op_name(b.value) in operators)


def grouped(build: Any, *groups: tuple[str, ...]) -> tuple[tvm.IRModule, tvm.IRModule]:
    """A normalised module and the same by groups of operators; the last group has the result's other name."""
    mod = normalize(stepwise(build, X))
    aliases = frozenset(b.var.name for b in bindings(mod["main"]) if isinstance(b.value, relax.Var))
    functions = [GroupFunction(f"g{k}", names_of(mod, *names)) for k, names in enumerate(groups)]
    last = functions[-1]
    functions[-1] = GroupFunction(last.name, last.bindings | aliases)
    return mod, fuse_groups(mod, functions)


def test_values_are_the_same() -> None:
    def build(emit: Any, x: Any) -> Any:
        return op.tanh(emit(op.multiply(emit(op.exp(x)), weight(1, 4, 1, 1))))

    before, after = grouped(build, ("exp", "multiply"), ("tanh",))
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    np.testing.assert_array_equal(run(after, [x])[0], run(before, [x])[0])
    assert operators_of(after, "g0") == ["exp", "multiply"]
    assert operators_of(after, "g1") == ["tanh"]


def test_scalars_of_elementwise_operators_stay_inside() -> None:
    _, after = grouped(lambda emit, x: op.add(emit(op.exp(x)), relax.const(2.0)), ("exp", "add"))
    assert len(after["g0"].params) == 1


def test_constant_that_is_no_scalar_is_a_parameter() -> None:
    _, after = grouped(lambda emit, x: op.add(emit(op.exp(x)), weight(1, 4, 1, 1)), ("exp", "add"))
    assert [tuple(int(s) for s in p.ty.shape) for p in after["g0"].params] == [X, (1, 4, 1, 1)]


def test_result_that_only_the_group_reads_is_not_handed_on() -> None:
    _, after = grouped(lambda emit, x: op.tanh(emit(op.exp(emit(op.sqrt(x))))), ("sqrt", "exp"), ("tanh",))
    assert not isinstance(after["g0"].ret_ty, relax.TupleType)


def test_result_that_main_returns_too_is_handed_on() -> None:
    def build(emit: Any, x: Any) -> Any:
        inner = emit(op.exp(x))
        return inner, op.tanh(inner)

    _, after = grouped(build, ("exp", "tanh"))
    assert len(after["g0"].ret_ty.fields) == 2


def test_functions_are_private_with_their_attributes() -> None:
    mod = normalize(network(op.exp, X))
    names = frozenset(b.var.name for b in bindings(mod["main"]))
    after = fuse_groups(mod, [GroupFunction("g", names, {"answer": 42})])
    assert private_functions(after) == ["g"]
    assert {str(key): int(value) for key, value in after["g"].attrs.items()} == {"answer": 42}
    assert str(after["main"].attrs["global_symbol"]) == "main"


def test_leaves_its_input_as_it_is() -> None:
    mod = normalize(network(op.exp, X))
    before = copied(mod)
    fuse_groups(mod, [GroupFunction("g", frozenset(b.var.name for b in bindings(mod["main"])))])
    tvm.ir.assert_structural_equal(mod, before)


@pytest.mark.parametrize("wrap", [
    op.exp, lambda v: relax.Tuple([v, op.exp(v)]), lambda v: relax.TupleGetItem(relax.Tuple([v, v]), 1),
], ids=["call", "tuple", "item"])  # fmt: skip
def test_substitute_reaches_every_expression(wrap: Any) -> None:
    old, new = (relax.Var(name, relax.TensorType(list(X), "float32")) for name in ("old", "new"))
    found = substitute(wrap(old), {old: new})
    tvm.ir.assert_structural_equal(found, wrap(new), map_free_vars=False)

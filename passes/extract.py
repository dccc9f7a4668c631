"""Extract: from a Relax module to an OperatorGraph, and which bindings each operator stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import FrontendError
from tvm_fusion.graph.demand import ALL, ROW, RowDemand
from tvm_fusion.graph.graph import OperatorGraph, demand_order
from tvm_fusion.graph.operator import Operator, Tensor
from tvm_fusion.passes import rows_elementwise, rows_shape, rows_window
from tvm_fusion.passes.cluster_facts import accumulators, changes_width, cluster_facts, weight_bytes
from tvm_fusion.passes.clusters import VIEWS, Clusters
from tvm_fusion.passes.normalize import normalize
from tvm_fusion.passes.relax_tools import bindings, dtype_of, main_function, op_name, shape_of, variables
from tvm_fusion.passes.row_facts import (
    RowAxes,
    RowFacts,
    constant_elements,
    default_row_axis,
    row_facts,
)

RULES = (rows_elementwise, rows_shape, rows_window)  # imported for their rules


@dataclass(frozen=True)
class Extraction:
    """``bindings[i]`` are the names of the Relax variables that operator i binds in ``module``'s main.

    ``row_axes`` has the row axis of every variable of main by name (None: one row).
    """

    graph: OperatorGraph
    module: IRModule
    bindings: tuple[tuple[str, ...], ...]
    row_axes: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """The operators of a straight function: ``members[i]`` are the variables that operator i computes, ``views`` of
    its result left out; ``operand`` and ``row_axes`` are by variable, views included."""

    graph: OperatorGraph
    members: list[list[Any]]
    views: list[list[Any]]
    operand: dict[Any, int]
    row_axes: dict[Any, int | None]


def extract(mod: IRModule, name: str = "network") -> Extraction:
    """The operator graph of ``mod`` (normalised first). Raises FrontendError for what has no static graph."""
    module = normalize(mod)
    function = main_function(module)
    program = list(bindings(function))
    outputs = list(dict.fromkeys(leaves(function.body.body, {b.var: b.value for b in program})))
    reading = read_operators(name, function.params, program, outputs)
    if not len(reading.graph):
        raise FrontendError(f"network {name!r} computes nothing; at least one operator is needed")
    names = tuple(
        tuple(var.name for var in [*members, *views])
        for members, views in zip(reading.members, reading.views, strict=True)
    )
    return Extraction(reading.graph, module, names, {var.name: axis for var, axis in reading.row_axes.items()})


def read_operators(
    name: str,
    inputs: Sequence[Any],
    program: Sequence[Any],
    outputs: Sequence[Any],
    batch: int | None = None,
    input_axes: Mapping[Any, int | None] | None = None,
) -> Reading:
    """The operators of normalised ``program``. Batch and row axes of the inputs are found out unless given."""
    reader = _Reader(inputs, list(program), list(outputs), batch, input_axes)
    for root, members in reader.clusters.groups():
        reader.take(root, members)
    made = [reader.owner[var] for var in outputs if var in reader.owner]
    warnings = list(reader.warnings)
    warnings += [
        f"output {v.name!r} is an input of the network: nothing computes it" for v in outputs if v not in reader.owner
    ]
    graph = OperatorGraph(
        name=name,
        inputs=tuple(reader.inputs),
        operators=tuple(reader.operators),
        outputs=tuple(dict.fromkeys(made)),
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return Reading(graph, reader.members, reader.views, reader.operand, reader.axes.axes)


def leaves(expr: Any, values: dict[Any, Any]) -> list[Any]:
    """Variables that a function returns; tuples of tuples opened, tuple bindings included."""
    if isinstance(expr, relax.Var) and isinstance(values.get(expr), relax.Tuple):
        return leaves(values[expr], values)
    if isinstance(expr, relax.Tuple):
        return [leaf for field in expr.fields for leaf in leaves(field, values)]
    return variables(expr)


class _Reader:
    """Walks the clusters of a main function in order and writes operators."""

    def __init__(
        self,
        inputs: Sequence[Any],
        program: list[Any],
        outputs: list[Any],
        batch: int | None,
        input_axes: Mapping[Any, int | None] | None,
    ) -> None:
        result_tuples = {b.var for b in program if isinstance(b.value, relax.Tuple)}
        self.clusters = Clusters([b for b in program if b.var not in result_tuples], outputs)
        self.axes = RowAxes(_batch(inputs) if batch is None else batch)
        self.inputs: list[Tensor] = []
        self.operators: list[Operator] = []
        self.members: list[list[Any]] = []
        self.views: list[list[Any]] = []
        self.owner: dict[Any, int] = {}
        self.warnings: list[str] = []
        self.operand: dict[Any, int] = {}
        for k, param in enumerate(inputs):
            axis = self._input_axis(param) if input_axes is None else input_axes[param]
            self.axes.axes[param] = axis
            self.operand[param] = -(k + 1)
            self.inputs.append(Tensor(param.name, shape_of(param), dtype_of(param), axis, batch=self.axes.batch))

    def _input_axis(self, param: Any) -> int | None:
        """Rows of an input: what the window that reads it slides along, else by rank."""
        shape = shape_of(param)
        for reader in self.clusters.readers[param]:
            value = self.clusters.value[reader]
            if rows_window.slides(value):
                return rows_window.spatial_row_axis(value)
        if len(shape) == 2 and not dtype_of(param).startswith("float"):
            return 1  # indices of tokens
        return default_row_axis(shape)

    def take(self, root: Any, members: list[Any]) -> None:
        """Write the operator of one cluster, or hang a view on the operator that it looks at."""
        value = self.clusters.value[root]
        if isinstance(value, relax.TupleGetItem | relax.Var) or (
            op_name(value) in VIEWS and self._is_free_view(root, value)
        ):
            source = variables(value)[0]
            if source in self.owner:
                number = self.owner[source]
                self.views[number].append(root)
                self.owner[root] = self.operand[root] = number
                self.axes.axes[root] = self._viewed_axis(value)
                return
            if isinstance(value, relax.Var):  # an input by another name
                self.operand[root], self.axes.axes[root] = self.operand[source], self.axes.axis(source)
                return
        facts = self._facts(root, members)
        number = len(self.operators)
        self.axes.axes[root] = facts.row_axis
        self.owner.update(dict.fromkeys(members, number))
        self.operand[root] = number
        demands = self._operands(facts.demands)
        tensor = Tensor(root.name, shape_of(root), dtype_of(root), facts.row_axis, self.axes.batch)
        values = self.clusters.value
        if not facts.known:
            self.warnings.append(
                f"operator {root.name!r} ({facts.type}) has no row rule: it is taken to need all rows of its operands"
            )
        self.members.append(list(members))
        self.views.append([])
        self.operators.append(
            Operator(
                name=tensor.name,
                shape=tensor.shape,
                dtype=tensor.dtype,
                row_axis=tensor.row_axis,
                batch=tensor.batch,
                id=number,
                type=facts.type,
                inputs=tuple(demands),
                demands=tuple(demands.values()),
                weight_elements=sum(constant_elements(v) for v in map(values.get, members) if hasattr(v, "args")),
                weight_dtype=dtype_of(root),
                weight_bytes=weight_bytes(members, values, dtype_of(root)),
                macs=facts.macs,
                window=facts.window,
                pointwise=facts.pointwise and not changes_width(root, members, values),
                attributes=accumulators(members, values, tensor.row_elements),
            )
        )

    def _is_free_view(self, root: Any, value: Any) -> bool:
        """A reshape of one row to one row moves nothing."""
        source = value.args[0]
        if self.axes.height(source) > 1:
            return False
        axis = row_facts(value, self.axes).row_axis
        return axis is None or shape_of(root)[axis] == 1

    def _viewed_axis(self, value: Any) -> int | None:
        if isinstance(value, relax.Var):
            return self.axes.axis(value)
        return None if isinstance(value, relax.TupleGetItem) else row_facts(value, self.axes).row_axis

    def _facts(self, root: Any, members: list[Any]) -> RowFacts:
        """Facts of a cluster: those of its first binding with rows, under its own name."""
        kind = self.clusters.kind.get(root)
        if kind is None:  # one binding, or a convolution or dense with its bias, with quantisation around it
            return cluster_facts(members, self.clusters.value, self.axes)
        source = next(t for var in members for t in variables(self.clusters.value[var]) if t not in members)
        return RowFacts(kind, self.axes.axis(source), {source: ROW}, pointwise=True)

    def _operands(self, demands: dict[Any, RowDemand]) -> dict[int, RowDemand]:
        """Demands by operand id, inputs first, then ascending; two on one operand become the wider."""
        found: dict[int, RowDemand] = {}
        for var, demand in demands.items():
            operand = self.operand[var]
            found[operand] = demand if found.get(operand, demand) == demand else ALL
        return {operand: found[operand] for operand in sorted(found, key=demand_order)}


def _batch(params: Any) -> int:
    """Images in one run: the first axis that all inputs of rank two and more share."""
    sizes = {shape_of(param)[0] for param in params if len(shape_of(param)) >= 2}
    return sizes.pop() if len(sizes) == 1 else 1

"""Rich tables of graphs, plans, explanations and comparisons. MB are 10^6 bytes, KiB 1024."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import PlanEvaluation
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.comparison import ComparisonRow
from tvm_fusion.reports.explanation import Explanation
from tvm_fusion.reports.scheme_shares import SchemeShare


def megabytes(count: float, digits: int = 3) -> str:
    """Bytes as MB (10^6)."""
    return f"{count / 1e6:.{digits}f}"


def numbers_table(title: str, *columns: str, text: Sequence[str] = ()) -> Table:
    """A table whose columns are right-aligned numbers, but for those named in ``text``."""
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in text else "right", no_wrap=column not in text)
    return table


def graph_table(graph: OperatorGraph) -> Table:
    """One row an operator; inputs of the network are written ``in0``, ``in1``."""
    columns = ("id", "type", "operands", "shape", "weights", "MACs", "window", "name")
    sums = max((int(op.attributes.get("accumulator_row_bytes", 0)) for op in graph.operators), default=0)
    table = numbers_table(
        f"{graph.name}: {len(graph)} operators, {sum(op.weight_elements for op in graph.operators):,} weights, "
        f"{sum(op.macs * op.batch for op in graph.operators):,} MACs"
        + (f", {sums:,} bytes for the widest row of sums" if sums else ""),
        *columns,
        text=("type", "operands", "shape", "window", "name"),
    )
    for op in graph.operators:
        window = ""
        if op.window is not None:
            w = op.window
            window = f"{w.kernel[0]}x{w.kernel[1]}" + (f"/{w.stride[0]}" if w.stride != (1, 1) else "")
        operands = " ".join(str(i) if i >= 0 else f"in{-i - 1}" for i in op.inputs)
        shape = "x".join(map(str, op.shape))
        table.add_row(
            str(op.id), op.type, operands, shape, f"{op.weight_elements:,}", f"{op.macs:,}", window, escape(op.name)
        )
    return table


def plan_table(graph: OperatorGraph, evaluation: PlanEvaluation) -> Table:
    """One row a group."""
    columns = (
        "group",
        "operators",
        "scheme",
        "valid",
        "buffer KiB",
        "inputs MB",
        "outputs MB",
        "weights MB",
        "DRAM MB",
    )
    table = numbers_table(
        f"{graph.name}: {len(evaluation.costs)} groups", *columns, text=("operators", "scheme", "valid")
    )
    for number, cost in enumerate(evaluation.costs):
        table.add_row(
            str(number),
            ranges(cost.operators),
            cost.scheme,
            "yes" if cost.valid else "[red]NO[/red]",
            f"{cost.buffer_bytes / 1024:.1f}",
            *(megabytes(b) for b in (cost.input_bytes, cost.output_bytes, cost.weight_bytes, cost.dram_bytes)),
        )
    return table


def scheme_table(shares: Sequence[SchemeShare], title: str) -> Table:
    """One row a scheme: its part of the groups, of the operators and of the traffic."""
    table = numbers_table(
        title, "scheme", "groups", "operators", "DRAM MB", "% of DRAM", "MACs again", text=("scheme",)
    )
    total = sum(share.dram_bytes for share in shares)
    for share in shares:
        part = f"{100 * share.dram_bytes / max(1, total):.1f}"
        counts = (str(share.groups), str(share.operators), megabytes(share.dram_bytes), part)
        table.add_row(share.scheme, *counts, f"{share.recomputed_macs:,}")
    return table


def ranges(operators: Sequence[int]) -> str:
    """Ascending ids, shortened: (0, 1, 2, 5) is "0-2,5"."""
    parts: list[list[int]] = []
    for i in operators:
        if parts and parts[-1][1] == i - 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def totals_table(evaluation: PlanEvaluation, accelerator: Accelerator) -> Table:
    """Totals of a plan beside what is needed unfused and at least."""
    bits = "/".join("dtype" if b is None else str(b) for b in (accelerator.activation_bits, accelerator.weight_bits))
    title = f"{accelerator.name}: buffer {accelerator.buffer_bytes / 1024:g} KiB, {bits} bits (activations/weights)"
    table = numbers_table(title, "total", "value", text=("total",))
    unfused = evaluation.unfused_dram_bytes
    saving = 1 - evaluation.network_dram_bytes / unfused
    table.add_row("DRAM, whole network", f"{megabytes(evaluation.network_dram_bytes)} MB")
    table.add_row("DRAM, fusable operators only", f"{megabytes(evaluation.fusable_dram_bytes)} MB")
    table.add_row("DRAM, unfused", f"{megabytes(unfused)} MB")
    table.add_row("DRAM, compulsory (no plan moves less)", f"{megabytes(evaluation.compulsory_dram_bytes)} MB")
    table.add_row("saving against unfused", f"{saving:.1%}")
    table.add_row("cycles (roofline estimate)", f"{evaluation.estimated_cycles:,.0f}")
    table.add_row("energy (estimate)", f"{evaluation.estimated_energy_pj / 1e9:,.3f} mJ")
    table.add_row("every group valid", "yes" if evaluation.valid else "[red]NO[/red]")
    return table


def too_heavy_note(graph: OperatorGraph, evaluation: PlanEvaluation, accelerator: Accelerator) -> str:
    """The operators whose weights alone exceed the buffer, by number and name; empty if there is none."""
    weight_bytes = Sizes(graph, accelerator).weight_bytes
    alone = [graph.operators[cost.operators[0]] for cost in evaluation.costs if cost.scheme == "layer"]
    heavy = [operator for operator in alone if weight_bytes[operator.id] > accelerator.buffer_bytes]
    if not heavy:
        return ""
    names = ", ".join(f"{operator.id} ({operator.name})" for operator in heavy)
    return f"executed layer by layer, because their weights alone are larger than the buffer: {names}"


def explanation_table(explanation: Explanation) -> Table:
    """What a group keeps on chip, the largest part first."""
    shown, buffer = explanation.shown, explanation.accelerator.buffer_bytes
    needed, title = shown.buffer_bytes, f"group of operators {ranges(shown.operators)}"
    if shown.scheme != "lbdf":
        title += f" in {shown.scheme}: the most that there is of each part, not all at one time"
    columns = ("part", explanation.unit, "of", "bytes", "% of buffer", "name")
    table = numbers_table(title, *columns, text=("part", "name"))
    for part in sorted(explanation.parts, key=lambda part: -part.bytes):
        held = "" if part.held is None else str(part.held) if part.held else "in place"
        whole = "" if part.whole is None else str(part.whole)
        share = f"{100 * part.bytes / buffer:.1f}"
        table.add_row(part.label, held, whole, f"{part.bytes:,}", share, escape(part.name))
    table.add_section()
    table.add_row("required", "", "", f"{needed:,}", f"{100 * needed / buffer:.1f}", "")
    table.add_row("buffer", "", "", f"{buffer:,}", "100.0", "")
    return table


def comparison_table(rows: Sequence[ComparisonRow], title: str) -> Table:
    """One row an algorithm: mean and spread over its seeds, groups of its best plan, seconds, bound."""
    columns = ("algorithm", "network MB", "spread MB", "fusable MB", "groups", "saving", "seconds", "bound MB", "")
    table = numbers_table(title, *columns, text=("algorithm", ""))
    for row in rows:
        best = row.best
        table.add_row(
            escape(row.algorithm),
            megabytes(row.mean_bytes),
            megabytes(row.spread_bytes) if len(row.runs) > 1 else "",
            megabytes(best.fusable_dram_bytes),
            str(best.groups),
            f"{row.saving:.1%}",
            f"{row.mean_seconds:.1f}",
            megabytes(best.compulsory_dram_bytes),
            "optimal" if best.optimal else "" if best.valid else "[red]not valid[/red]",
        )
    return table

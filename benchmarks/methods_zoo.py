"""The table of the zoo: on which kind of graph one topological order is enough, and where a search is needed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.explain import RANDOM
from benchmarks.explain_tables import markdown_table
from benchmarks.methods_known import Known
from benchmarks.methods_lines import ONE_ORDER, Line, Place, cell, ideals_text, percent, proof_text, rows_of
from benchmarks.methods_runs import FUSE_OPS, Case, Row

KINDS = ("chain", "skips", "branches", "many paths")
EXPLAINED = Line("local-search, pgexplainer", "local-search", "pgexplainer")
ZOO_LINES = (
    Line("FuseOps", FUSE_OPS, budget=0), ONE_ORDER, Line("local-search, random", "local-search", RANDOM), EXPLAINED,
    Line("best", "best", RANDOM),
)  # fmt: skip
_EXACT = Line("exact", "exact", RANDOM)

_TEXT = """\
Every network of [networks.md](networks.md) at its small input size, LBDF, 256 KiB, 8 bits; searches with 2,000 plans
and seed 0; the explained one asks the classifier that ships with the package. Kinds of graph: a *chain* and a chain
with *skips* (some tensor has several readers) have exactly one topological order, one ideal more than operators;
*branches* have more, *many paths* more than 100,000 ideals, too many for `exact`. Sorted by kind, then by ideals for
each operator."""


def zoo_section(found: Known, places: list[Place], graphs: Mapping[str, Row]) -> list[str]:
    """The table, and before it what each kind of graph needs."""
    rows = []
    for case, budget in sorted(places, key=lambda place: _order(graphs[place[0].network])):
        facts = graphs[case.network]
        exact = next((row for row in rows_of(found, case, _EXACT, budget) if row.get("optimal")), None)
        rows.append((
            case.network, facts["kind"], str(facts["operators"]), ideals_text(facts),
            *(cell(found, case, line, budget) for line in ZOO_LINES), proof_text(found, case),
            "" if exact is None else f"{exact['seconds']:.2f}",
        ))  # fmt: skip
    header = (
        "network", "kind", "operators", "ideals", *(line.label for line in ZOO_LINES), "best known", "exact s",
    )  # fmt: skip
    lines = ["## On which graphs a search is needed", "", _TEXT, "", *kinds_table(found, places, graphs)]
    return [*lines, *markdown_table(header, rows)]


def kinds_table(found: Known, places: list[Place], graphs: Mapping[str, Row]) -> list[str]:
    """For each kind of graph: on how many networks a method finds the best known plan; its median and worst excess."""
    rows = []
    for kind in (*KINDS, "all"):
        chosen = [place for place in places if kind in ("all", graphs[place[0].network]["kind"])]
        if chosen:
            rows.append((kind, str(len(chosen)), *(_spread(found, chosen, line) for line in ZOO_LINES)))
    text = "Networks on which a method finds the best known plan; median and worst per cent above it:"
    header = ("kind", "networks", *(line.label for line in ZOO_LINES))
    return [text, "", *markdown_table(header, rows)]


def _spread(found: Known, places: list[Place], line: Line) -> str:
    over = [above for _, above in measured(found, places, line)]
    if not over:
        return ""
    return f"{sum(value == 0 for value in over)}; {percent(statistics.median(over))}; {percent(max(over))}"


def measured(found: Known, places: list[Place], line: Line) -> list[tuple[Case, float]]:
    """The networks on which a method has a figure, and per cent above the best known."""
    figures = [(case, found.above(case, rows_of(found, case, line, budget))) for case, budget in places]
    return [(case, above) for case, above in figures if above is not None]


def _order(facts: Row) -> tuple[int, float]:
    return KINDS.index(facts["kind"]), (facts["ideals"] or 0) / facts["operators"]

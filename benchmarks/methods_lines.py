"""The rows of the tables of methods, and the figures of a row on one or several networks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.explain import RANDOM, REPAIRS, SEARCHES
from benchmarks.methods_known import Known
from benchmarks.methods_runs import BLOCKS, FUSE_OPS, UNFUSED, Case, Row
from tvm_fusion.search.proof import most_above_percent


@dataclass(frozen=True)
class Line:
    """A row of a table of methods; ``budget``: of plans, where it is not that of the column."""

    label: str
    method: str
    repair: str = ""
    budget: int | None = None


SEARCHED = tuple(
    Line(f"{search}, {repair}", search, repair) for search in SEARCHES.split(",") for repair in REPAIRS.split(",")
)
ONE_ORDER = Line("interval-dp, 1 order", "interval-dp", RANDOM, 1)
LINES = (
    *(Line(name, name, budget=0) for name in (UNFUSED, FUSE_OPS, BLOCKS)), ONE_ORDER,
    Line("interval-dp", "interval-dp", RANDOM), *SEARCHED, Line("best", "best", RANDOM), Line("exact", "exact", RANDOM),
)  # fmt: skip
Place = tuple[Case, int]  # a column and its budget in plans


def ideals_text(facts: Row) -> str:
    """Ideals of a graph."""
    return "> 100,000" if facts["ideals"] is None else f"{facts['ideals']:,}"


def proof_text(found: Known, case: Case) -> str:
    """Whether the best plan known is the optimum, or how far above it at most."""
    if found.proven(case):
        return "optimal"
    if not found.bound(case):
        return "no bound"
    return f"at most {most_above_percent(found.least(case), found.bound(case)):.2f} % above"


def percent(value: float) -> str:
    """Two digits; what is more than nothing does not look like nothing."""
    return "< 0.01" if 0 < value < 0.005 else f"{value:.2f}"


def rows_of(found: Known, case: Case, line: Line, budget: int) -> list[Row]:
    """The runs of a cell, one a seed."""
    return found.found(case, line.method, line.repair, budget if line.budget is None else line.budget)


def cell(found: Known, case: Case, line: Line, budget: int) -> str:
    """Per cent above the best known, mean over the seeds."""
    rows = rows_of(found, case, line, budget)
    above = found.above(case, rows)
    if above is None:
        return "-" if rows else ""
    return f"{percent(above)}{' (time limit)' if any(row.get('ended_by') == 'time limit' for row in rows) else ''}"


def complete_places(found: Known, places: list[Place]) -> list[Place]:
    """The columns in which every search and repair that any column has has a figure."""
    lines = [line for line in SEARCHED if any(rows_of(found, *_at(place, line)) for place in places)]
    return [place for place in places if all(rows_of(found, *_at(place, line)) for line in lines)]


def _at(place: Place, line: Line) -> tuple[Case, Line, int]:
    return place[0], line, place[1]


def excesses(found: Known, line: Line, places: Iterable[Place]) -> list[float]:
    """Per cent above the best known on every network; empty unless all of them have a figure."""
    over = [found.above(case, rows_of(found, case, line, budget)) for case, budget in places]
    return [] if None in over else [value for value in over if value is not None]


def seconds_text(found: Known, line: Line, places: Iterable[Place]) -> str:
    """Median over the networks of the mean seconds of a run."""
    if not line.repair:
        return ""
    runs = [rows_of(found, case, line, budget) for case, budget in places]
    means = [statistics.fmean(row["seconds"] for row in rows) for rows in runs if rows and "seconds" in rows[0]]
    return f"{statistics.median(means):.2f}" if means else ""


def timed_figures(found: Known) -> dict[Case, dict[tuple[str, str], tuple[float, int]]]:
    """Of runs of equal seconds: per cent above the best known, mean over the seeds, and their number, by method."""
    groups: dict[Case, dict[tuple[str, str], list[Row]]] = {}
    for row in found.timed:
        case = Case(row["network"], row["buffer"], row["schemes"], row["accelerator"])
        groups.setdefault(case, {}).setdefault((row["algorithm"], row["repair"]), []).append(row)
    return {
        case: {
            method: (above, len(rows))
            for method, rows in methods.items()
            if (above := found.above(case, rows)) is not None
        }
        for case, methods in groups.items()
    }

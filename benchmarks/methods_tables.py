"""The page of benchmarks/methods.py: every method beside the best plan known, and where a search is needed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.explain import RANDOM
from benchmarks.explain_tables import markdown_table
from benchmarks.methods_known import FILE, Elsewhere, Known, known
from benchmarks.methods_lines import (
    LINES,
    ONE_ORDER,
    SEARCHED,
    Line,
    Place,
    cell,
    complete_places,
    excesses,
    ideals_text,
    percent,
    proof_text,
    rows_of,
    seconds_text,
    timed_figures,
)
from benchmarks.methods_runs import Case, Row
from benchmarks.methods_summary import conclusion
from benchmarks.methods_zoo import zoo_section
from benchmarks.readme import machine_note
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record

_INTRODUCTION = """\
How good was the published method (random search, local search, NSGA-II; invalid groups repaired by GNNExplainer,
PGExplainer or RG-Explainer with a recursive greedy tree split; LBDF or BRR alone; arXiv 2501.00636), and on which
graphs is a search needed at all? Figures are per cent above the best plan known, in DRAM bytes of the whole network,
one image; where that plan is not proven optimal, the table says how far above the optimum it is at most. A "plan" is
one complete partition that a search proposes. Where a run of explained search is recorded
([explained_search.md](explained_search.md), [explained_search_brr.md](explained_search_brr.md)) it is taken from
there, with the seconds of its own machine and day."""

_METHODS = """\
*FuseOps* is the grouping of TVM's own pass (groups too large go operator by operator), *a group a block* one group a
block of the architecture (cut where too large, as in [peers.md](peers.md)). *interval-dp, 1 order* cuts one
topological order, that in which the network is written, into the cheapest intervals: no search at all; *interval-dp*
does so for orders until 24 bring nothing better. *best* and *exact* as on the command line (`best` with its default
bound, where it proves nothing). The other rows are a search with a repair: *random* cuts at random, *random-edges*
with the published tree split at edges in random order, the others at edges of an explanation. All rows of a column
have the same budget of plans. An empty cell: no record, or the network brings nothing to group; "-": too many ideals
for `exact`. Medians are over the columns in which every search has a figure. Seconds: median of those columns."""


def page(folder: Path, elsewhere: Elsewhere | None = None) -> list[str]:
    """All lines of docs/methods.md. Raises NoAnswerError if nothing was recorded in ``folder``."""
    record = read_record(folder / FILE)
    if record is None or not record.get("rows"):
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.methods first")
    found, graphs = known(folder, elsewhere), record["graphs"]
    places = {
        name: [(Case(*(p[k] for k in ("network", "buffer", "schemes", "accelerator"))), p["budget_plans"]) for p in ps]
        for name, ps in record["tables"].items()
    }
    made = f"{machine_note(record['environment'])} One thread. Made by `python -m benchmarks.methods`."
    lines = ["# Every method beside the optimum", "", _INTRODUCTION, "", made, ""]
    lines += conclusion(found, places, graphs)
    networks = places.get("networks", [])
    if networks:
        lines += ["## In line buffers (LBDF)", "", _METHODS, "", *columns_table(found, networks, graphs)]
        lines += methods_table(found, networks)
    for name in dict.fromkeys(case.accelerator for case, _ in places.get("brr", [])):
        chosen = [place for place in places["brr"] if place[0].accelerator == name]
        lines += [f"## In bands (BRR), accelerator {name}", "", *columns_table(found, chosen, graphs)]
        lines += methods_table(found, chosen)
    if found.timed:
        lines += timed_section(found)
    if "zoo" in places:
        lines += zoo_section(found, places["zoo"], graphs)
    if "auto" in places:
        lines += auto_section(found, places["auto"])
    return lines


def columns_table(found: Known, places: list[Place], graphs: Mapping[str, Row]) -> list[str]:
    """What the columns of a table of methods are."""
    rows = []
    for case, budget in places:
        facts = graphs[case.network]
        seeds = {len(runs) for line in SEARCHED if (runs := found.found(case, line.method, line.repair, budget))}
        rows.append((
            case.network, case.buffer, f"{budget:,}", " or ".join(map(str, sorted(seeds))), str(facts["operators"]),
            ideals_text(facts), f"{found.least(case) / 1e6:.3f}", proof_text(found, case),
        ))  # fmt: skip
    header = ("network", "buffer", "plans a run", "seeds", "operators", "ideals", "best known MB", "proven")
    return markdown_table(header, rows)


def methods_table(found: Known, places: list[Place]) -> list[str]:
    """Per cent above the best known of every method (row) on every network (column)."""
    complete = complete_places(found, places)
    rows = []
    for line in LINES:
        cells = [cell(found, case, line, budget) for case, budget in places]
        if not any(cells):
            continue
        over = excesses(found, line, complete)
        middle = (percent(statistics.median(over)), percent(max(over))) if over else ("", "")
        rows.append((line.label, *cells, *middle, seconds_text(found, line, complete)))
    names = [case.network.partition("@")[0] for case, _ in places]
    count = len(complete)
    return markdown_table(("method", *names, f"median of {count}", f"worst of {count}", "seconds"), rows)


def timed_section(found: Known) -> list[str]:
    """Networks with too many ideals at equal seconds (benchmarks/many_ideals.py)."""
    figures = timed_figures(found)
    rows = [("best known MB", *(f"{found.least(case) / 1e6:.3f}" for case in figures))]
    rows.append(("proven", *(proof_text(found, case) for case in figures)))
    for method in dict.fromkeys(method for of_case in figures.values() for method in of_case):
        cells = [of_case.get(method) for of_case in figures.values()]
        rows.append((", ".join(method), *("" if c is None else f"{percent(c[0])} ({c[1]})" for c in cells)))
    text = (
        f"LBDF, {next(iter(figures)).buffer}; every run has {found.timed_seconds:g} seconds instead of plans. "
        "Per cent above the best plan known, in brackets the seeds. By `benchmarks/many_ideals.py`."
    )
    header = ("method", *(case.network for case in figures))
    return ["## Too many ideals for a proof, at equal seconds", "", text, "", *markdown_table(header, rows)]


def auto_section(found: Known, places: list[Place]) -> list[str]:
    """All schemes, each group in its cheapest."""
    lines = (ONE_ORDER, Line("local-search, random", "local-search", RANDOM), Line("nsga2, random", "nsga2", RANDOM),
             Line("best", "best", RANDOM))  # fmt: skip
    rows = []
    for case, budget in places:
        for line in lines:
            runs = rows_of(found, case, line, budget)
            if runs:
                moved, seconds = (
                    statistics.fmean(run[key] for run in runs) for key in ("network_dram_bytes", "seconds")
                )
                rows.append((
                    case.network, case.buffer, line.label, f"{moved / 1e6:.3f}", cell(found, case, line, budget),
                    f"{seconds:.1f}", proof_text(found, case) if line.method == "best" else "",
                ))  # fmt: skip
    text = (
        'Every group in its cheapest scheme (`--scheme auto`), searches with 2,000 plans and seed 0. "Optimal" is over '
        "groups, with the choices that `two-pass` and `channel-streaming` find for each."
    )
    header = ("network", "buffer", "method", "MB", "% above", "seconds", "best known")
    return ["## All schemes", "", text, "", *markdown_table(header, rows)]

"""What the figures of the methods say, in sentences that are made from them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.explain import RANDOM, RANDOM_EDGES
from benchmarks.methods_known import Known
from benchmarks.methods_lines import (
    LINES,
    ONE_ORDER,
    SEARCHED,
    Line,
    Place,
    complete_places,
    excesses,
    percent,
    rows_of,
    timed_figures,
)
from benchmarks.methods_runs import Row
from benchmarks.methods_zoo import EXPLAINED, KINDS, ZOO_LINES, measured

PUBLISHED = ("gnnexplainer", "pgexplainer", "rgexplainer")
_EXACT = next(line for line in LINES if line.method == "exact")


def conclusion(found: Known, places: Mapping[str, list[Place]], graphs: Mapping[str, Row]) -> list[str]:
    """Section of sentences; empty without figures."""
    points: list[str] = []
    if "networks" in places:
        points += _published(found, complete_places(found, places["networks"]), "LBDF")
    for name in dict.fromkeys(case.accelerator for case, _ in places.get("brr", [])):
        chosen = [place for place in places["brr"] if place[0].accelerator == name]
        points += _published(found, complete_places(found, chosen), f"BRR, accelerator {name}")
    if "zoo" in places:
        points += _zoo(found, places["zoo"], graphs)
    points += _timed(found)
    return ["## What the figures say", "", *points, ""] if points else []


def _published(found: Known, places: list[Place], what: str) -> list[str]:
    groups = {
        "with random repair": [line for line in SEARCHED if line.repair == RANDOM],
        "with the tree split at random edges": [line for line in SEARCHED if line.repair == RANDOM_EDGES],
        "with the published explainers": [line for line in SEARCHED if line.repair in PUBLISHED],
    }
    if not places:
        return []
    points = [
        f"- {what}, {len(places)} networks, {_budgets(places)} plans a run; "
        "median (worst) per cent above the best known plan:"
    ]
    for label, lines in groups.items():
        parts = []
        for search in dict.fromkeys(line.method for line in lines):
            of_search = [
                (line, over) for line in lines if line.method == search and (over := excesses(found, line, places))
            ]
            if of_search:
                line, over = min(of_search, key=lambda pair: (statistics.median(pair[1]), max(pair[1])))
                which = f" ({line.repair}, the best of them)" if len(of_search) > 1 else ""
                parts.append(f"{search}{which} {_both(over)}")
        if parts:
            points.append(f"  - {label}: {', '.join(parts)};")
    one = excesses(found, ONE_ORDER, places)
    if one:
        points.append(f"  - interval-dp on one order, no search: {_both(one)}; {_beside(found, places)}")
    runs = [run for case, budget in places for run in rows_of(found, case, _EXACT, budget) if run.get("optimal")]
    if runs:
        seconds = max(run["seconds"] for run in runs)
        points.append(f"  - exact proves the optimum on {len(runs)} of {len(places)}, in {seconds:.1f} s at most.")
    return points


def _both(over: list[float]) -> str:
    return f"{percent(statistics.median(over))} ({percent(max(over))})"


def _budgets(places: list[Place]) -> str:
    return " or ".join(f"{budget:,}" for budget in sorted({budget for _, budget in places}))


def _beside(found: Known, places: list[Place]) -> str:
    """On how many networks one order is at least as good as every search with a published explainer."""
    lines = [line for line in SEARCHED if line.repair in PUBLISHED]
    better = behind = 0
    for place in places:
        one = excesses(found, ONE_ORDER, [place])[0]
        searches = [over[0] for line in lines if (over := excesses(found, line, [place]))]
        better += all(one <= value for value in searches)
        behind += all(one > value for value in searches)
    return (
        f"on {better} of {len(places)} no search with a published explainer is better than it (mean of seeds), "
        f"on {behind} all of them are;"
    )


def _zoo(found: Known, places: list[Place], graphs: Mapping[str, Row]) -> list[str]:
    points = []
    one = measured(found, places, ONE_ORDER)
    kinds = {kind: [case for case, _ in one if graphs[case.network]["kind"] == kind] for kind in KINDS}
    single = len(kinds["chain"]) + len(kinds["skips"])
    enough = [case for case, above in one if above == 0]
    proven = sum(found.proven(case) for case in enough)
    points.append(
        f"- Zoo: {single} of {len(one)} networks have one topological order alone, so that the DP over it is exact. "
        f"One order gives the best known plan on {len(enough)} of {len(one)}, the proven optimum on {proven}."
    )
    needed = sorted(((above, case.network) for case, above in one if above > 0), reverse=True)
    if needed:
        names = ", ".join(f"{name} {percent(above)}" for above, name in needed)
        points.append(f"- More than one order is needed on {len(needed)} (per cent that one order leaves): {names}.")
    for line in (_line("local-search", RANDOM), EXPLAINED):
        figures = measured(found, places, line)
        ahead = [case for case, above in figures if above < dict(one).get(case, above)]
        behind = [case for case, above in figures if above > dict(one).get(case, above)]
        points.append(
            f"- {line.label} is better than one order on {len(ahead)} of {len(figures)} networks, "
            f"worse on {len(behind)}."
        )
    return points


def _timed(found: Known) -> list[str]:
    """The best method at equal seconds on each network with too many ideals, and ours beside it."""
    points = []
    for case, figures in timed_figures(found).items():
        ordered = sorted((above, ", ".join(method)) for method, (above, _) in figures.items())
        ours = [f"{name} {percent(above)}" for above, name in ordered if name.startswith(("best", "interval-dp"))]
        points.append(
            f"- {case.network} at {found.timed_seconds:g} seconds: {ordered[0][1]} is ahead with "
            f"{percent(ordered[0][0])} per cent above the best known; {', '.join(ours)}."
        )
    return points


def _line(method: str, repair: str) -> Line:
    return next(line for line in ZOO_LINES if (line.method, line.repair) == (method, repair))

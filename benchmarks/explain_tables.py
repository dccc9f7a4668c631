"""Tables and plots of explained search, from the results that benchmarks/explain.py wrote.

Example: python -m benchmarks.explain_tables --pictures docs > docs/explained_search.md
Example: python -m benchmarks.explain_tables --scheme brr > docs/explained_search_brr.md
"""

from __future__ import annotations

import io
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.explain import LBDF, REPAIRS, RESULTS, read_runs
from benchmarks.markdown import markdown_table
from benchmarks.published import DRAM_MB, RECTIFY
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.files import write_bytes_atomic
from tvm_fusion.reports.record import read_record
from tvm_fusion.search.explained_split import BRANCHES, EXPLAINED_EDGES

Run = dict[str, Any]
WITHIN = (10, 5, 1)  # per cent above the optimum
EARLY = (50, 100, 250, 500, 1000, 2000, 5000)


class Results:
    """The runs by network, and the optimum of each.

    ``fusable``: whether tables show the traffic of the operators that fit alone in line buffers (the published figures
    of LBDF are of these). ``published``: {network: {search: {repair: MB}}}.
    """

    def __init__(
        self, folder: Path, published: Mapping[str, dict[str, dict[str, float]]] = DRAM_MB, fusable: bool = True
    ) -> None:
        self.published, self.fusable = published, fusable
        runs = read_runs(folder / "runs.jsonl")
        if not runs:
            raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks/explain.py first")
        self.optima: dict[str, Run] = read_record(folder / "networks.json") or {}
        self.groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
        self.networks: dict[str, tuple[str, int]] = {}
        for run in runs:
            self.groups[run["network"], run["search"], run["repair"]].append(run)
            self.networks[run["network"]] = (run["buffer"], run["budget_plans"])
        self.searches = list(dict.fromkeys(key[1] for key in self.groups))
        self.repairs = list(dict.fromkeys(key[2] for key in self.groups))
        known = REPAIRS.split(",")
        self.repairs.sort(key=lambda name: known.index(name) if name in known else len(known))
        self.environment = runs[-1]["environment"]

    def optimum(self, network: str) -> Run:
        """Figures of the best plan known by exact search."""
        return self.optima[f"{network} {self.networks[network][0]}"]

    def above(self, network: str, dram_bytes: float) -> float:
        """Per cent above the optimum."""
        return 100 * (dram_bytes / self.optimum(network)["network_dram_bytes"] - 1)


def best_at(run: Run, plans: int) -> int:
    """DRAM bytes of the best of the first ``plans`` plans of a run."""
    found = [moved for proposed, _, moved in run["history"] if proposed <= plans]
    return int(found[-1] if found else run["history"][0][2])


def effort(results: Results, run: Run, per_cent: float, column: int) -> float | None:
    """Plans (column 0) or seconds (1) until a run was within ``per_cent`` of the optimum; None if it never was."""
    entries = (entry for entry in run["history"] if results.above(run["network"], entry[2]) <= per_cent)
    return next((float(entry[column]) for entry in entries), None)


def dram_tables(results: Results) -> list[str]:
    """DRAM access by search and repair: mean, spread, distance from the optimum, published."""
    lines = []
    for network, (buffer, budget) in results.networks.items():
        best = results.optimum(network)
        with_fusable = f" (fusable {best['fusable_dram_bytes'] / 1e6:.3f} MB)" if results.fusable else ""
        proven = "proven optimum" if best["optimal"] else "best by interval-dp (too many ideals for a proof)"
        lines += [
            f"### {network}, {buffer}, {budget:,} plans",
            "",
            f"{best['operators']} operators; unfused {best['unfused_dram_bytes'] / 1e6:.3f} MB, {proven} "
            f"{best['network_dram_bytes'] / 1e6:.3f} MB{with_fusable}.",
            "",
        ]
        rows = []
        for search in results.searches:
            for repair in results.repairs:
                runs = results.groups.get((network, search, repair))
                if not runs:
                    continue
                moved = [run["network_dram_bytes"] / 1e6 for run in runs]
                fusable = statistics.fmean(run["fusable_dram_bytes"] for run in runs) / 1e6
                above = statistics.fmean(results.above(network, run["network_dram_bytes"]) for run in runs)
                published = results.published.get(network, {}).get(search, {}).get(repair)
                rate = [run["rectify_rate"] for run in runs if run["rectify_rate"] is not None]
                rows.append(
                    (
                        search,
                        repair,
                        f"{statistics.fmean(moved):.3f}",
                        f"{max(moved) - min(moved):.3f}" if len(moved) > 1 else "one seed",
                        f"{above:.2f} %",
                        *([f"{fusable:.3f}"] if results.fusable else []),
                        "" if published is None else f"{published:.3f}",
                        f"{100 * statistics.fmean(rate):.1f} %" if rate else "",
                        f"{statistics.fmean(run['seconds'] for run in runs):.1f}",
                    )
                )
        traffic = ("fusable MB", "published fusable MB") if results.fusable else ("published MB",)
        lines += markdown_table(
            ("search", "repair", "network MB", "spread MB", "above optimum", *traffic, "rectify rate", "seconds"), rows
        )
    return lines


def rectify_table(results: Results, network: str = "mobilenetv2_100@224") -> list[str]:
    """Rectify rate and seconds beside the published ones."""
    rows = []
    for search, by_repair in RECTIFY.items():
        for repair in results.repairs:
            runs = results.groups.get((network, search, repair))
            if not runs or repair == "random":
                continue
            rate, seconds = by_repair.get(repair, (None, None))
            rows.append(
                (
                    search,
                    repair,
                    f"{100 * statistics.fmean(run['rectify_rate'] for run in runs):.1f} %",
                    "" if rate is None else f"{100 * rate:.1f} %",
                    f"{statistics.fmean(run['seconds'] for run in runs):.1f}",
                    "" if seconds is None else f"{seconds:.0f}",
                    *(f"{statistics.fmean(run[key] for run in runs):.1f}" for key in _PARTS),
                )
            )
    if not rows:
        return []
    header = ("search", "explainer", "rectify rate", "published", "seconds", "published", *(_PARTS.values()))
    return [f"### Rectify rate and seconds: {network}", "", *markdown_table(header, rows)]


_PARTS = {"explainer_seconds": "explainer s", "classifier_seconds": "classifier s", "oracle_seconds": "oracle s"}


def early_tables(results: Results) -> list[str]:
    """How early: distance from the optimum by plans proposed, and the effort until within 10, 5, 1 %."""
    lines = []
    for network, (_, budget) in results.networks.items():
        rows = []
        marks = [plans for plans in EARLY if plans <= budget]
        for search in results.searches:
            for repair in results.repairs:
                runs = results.groups.get((network, search, repair))
                if not runs:
                    continue
                cells = [f"{_mean_above(results, network, runs, plans):.2f}" for plans in marks]
                for per_cent in WITHIN:
                    pairs = [[effort(results, run, per_cent, column) for run in runs] for column in (0, 1)]
                    cells.append(" / ".join(_median(values) for values in pairs))
                rows.append((search, repair, *cells))
        header = ("search", "repair", *(f"{plans:,}" for plans in marks), *(f"to {p} %" for p in WITHIN))
        lines += [f"### {network}", "", *markdown_table(header, rows)]
    return lines


def _mean_above(results: Results, network: str, runs: list[Run], plans: int) -> float:
    return statistics.fmean(results.above(network, best_at(run, plans)) for run in runs)


def _median(values: list[float | None]) -> str:
    """Median over the seeds; runs that never got there count as the longest."""
    ordered = sorted(float("inf") if value is None else value for value in values)
    middle = ordered[len(ordered) // 2]
    return "-" if middle == float("inf") else f"{middle:.0f}" if middle >= 10 else f"{middle:.1f}"


def closed_table(results: Results, plans: int = 250) -> list[str]:
    """Part of the distance that random repair leaves at ``plans`` plans and that explained repair closes."""
    explainers = [repair for repair in results.repairs if repair != "random"]
    rows = []
    for network in results.networks:
        for search in results.searches:
            base = results.groups.get((network, search, "random"))
            if not base:
                continue
            left = _mean_above(results, network, base, plans)
            cells = []
            for repair in explainers:
                runs = results.groups.get((network, search, repair))
                if not runs or left <= 0:
                    cells.append("")
                    continue
                cells.append(f"{100 * (1 - _mean_above(results, network, runs, plans) / left):.0f} %")
            rows.append((network, search, f"{left:.2f} %", *cells))
    return markdown_table(("network", "search", "left by random", *explainers), rows)


def ideals_table(record: dict[str, Any]) -> list[str]:
    """Networks with too many ideals for a proof: every method at equal seconds (benchmarks/many_ideals.py)."""
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for row in record["rows"]:
        groups[row["network"], row["algorithm"], row["repair"]].append(row)
    rows = [
        (
            *key,
            f"{statistics.fmean(run['network_dram_bytes'] for run in runs) / 1e6:.3f}",
            f"{statistics.fmean(run['plans_proposed'] for run in runs):,.0f}",
            f"{statistics.fmean(run['seconds'] for run in runs):.0f}",
            str(len(runs)),
        )
        for key, runs in groups.items()
    ]
    return markdown_table(("network", "algorithm", "repair", "network MB", "plans", "seconds", "seeds"), rows)


def plot(results: Results, path: Path, column: int, label: str) -> None:
    """Best value so far against plans (column 0) or seconds (1): one picture a network and search."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = list(results.networks)
    size = (4.2 * len(results.searches), 2.7 * len(networks))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(networks), len(results.searches), squeeze=False)
    for row, network in enumerate(networks):
        for place, search in enumerate(results.searches):
            if not any(results.groups.get((network, search, repair)) for repair in results.repairs):
                axes[row][place].set_axis_off()
                continue
            _curves(results, axes[row][place], network, search, column)
            axes[row][place].set_title(f"{network}, {search}", fontsize="small")
            axes[row][place].set_xlabel(label, fontsize="small")
    axes[0][0].legend(fontsize="x-small")
    figure.supylabel("% above the optimum (mean over seeds)")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    write_bytes_atomic(path, picture.getvalue())


_COLOURS = {
    "random": "black", "gnnexplainer": "#4477aa", "pgexplainer": "#228833", "rgexplainer": "#aa3377",
    "occlusion": "#ccbb44", "saliency": "#66ccee", "random-edges": "#999999",
}  # fmt: skip


def _curves(results: Results, axes: Any, network: str, search: str, column: int) -> None:
    for repair in results.repairs:
        runs = results.groups.get((network, search, repair))
        if not runs:
            continue
        places = sorted({entry[column] for run in runs for entry in run["history"]})
        start = max(run["history"][0][column] for run in runs)
        places = [x for x in places if x >= start]
        heights = [statistics.fmean(_at(results, run, x, column) for run in runs) for x in places]
        axes.step(places, heights, where="post", label=repair, color=_COLOURS.get(repair), linewidth=1.2)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize="x-small")


def _at(results: Results, run: Run, place: float, column: int) -> float:
    found = next(entry[2] for entry in reversed(run["history"]) if entry[column] <= place)
    return results.above(run["network"], found)


def machine_text(results: Results) -> str:
    """Where the results were measured."""
    machine = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {versions}"


def main(
    results: Annotated[Path, typer.Option("--results", help="Folder that benchmarks/explain.py wrote.")] = RESULTS,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Folder for the plots.")] = None,
    scheme: Annotated[str, typer.Option("--scheme", help="lbdf, or what else --results has a folder of.")] = LBDF,
) -> int:
    """Print the tables as Markdown; draw the plots if a folder for them is given."""
    if scheme != LBDF:
        from benchmarks.explain_scheme_page import print_page  # that module needs this one

        print_page(results / scheme, scheme)
        return 0
    found = Results(results)
    sections: tuple[tuple[str, Callable[[Results], list[str]]], ...] = (
        ("## DRAM access", dram_tables),
        ("## Rectify rate", rectify_table),
        (
            "## How early: % above the optimum after so many plans, and plans / seconds until within 10, 5, 1 %",
            early_tables,
        ),
        ("## Part of the distance left by random repair at 250 plans that explained repair closes", closed_table),
    )
    print("# Explained search\n")
    print(
        f"Measured on {machine_text(found)}. Made by `benchmarks/explain.py` and `benchmarks/explain_tables.py`. "
        "Published: arXiv 2501.00636, in a cost model of its own.\n"
    )
    print(
        f"Explained repair is the recursive greedy tree split at the {EXPLAINED_EDGES} most important edges of an "
        f"explanation (both parts of the {BRANCHES} first candidates are split again where none has a valid part); "
        "what it leaves invalid is explained anew. The rectify rate is the share of invalid groups for which the first "
        "explanation was enough. Seconds are those of one run alone, explanations included, beside other work on the "
        "machine.\n"
    )
    for title, make in sections:
        print(title, "", *make(found), sep="\n")
    ideals = read_record(results / "many_ideals.json")
    if ideals is not None:
        print(f"## Too many ideals for a proof, {ideals['seconds']} seconds a run", "", *ideals_table(ideals), sep="\n")
    if pictures is not None:
        plot(found, pictures / "explained_by_plans.png", 0, "plans proposed")
        plot(found, pictures / "explained_by_seconds.png", 1, "seconds")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

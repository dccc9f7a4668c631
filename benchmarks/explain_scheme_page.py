"""The page of explained search in another scheme than LBDF, from the results that benchmarks/explain.py wrote.

Example: python -m benchmarks.explain_tables --scheme brr > docs/explained_search_brr.md
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.explain_tables import Results, closed_table, dram_tables, early_tables, machine_text
from benchmarks.explanations import legend, tables
from benchmarks.markdown import markdown_table
from benchmarks.published import BRR_DRAM_MB
from tvm_fusion.cost_models.accelerator import load_accelerator
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record


def print_page(folder: Path, scheme: str) -> None:
    """The page of another scheme than LBDF: every accelerator that has a folder of results, one after another."""
    accelerators = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not accelerators:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks/explain.py --scheme {scheme} first")
    # The published figures are of 16 bits.
    figures: dict[str, Mapping[str, dict[str, dict[str, float]]]] = {"paper": BRR_DRAM_MB} if scheme == "brr" else {}
    found = {name: Results(folder / name, figures.get(name, {}), fusable=False) for name in accelerators}
    print(f"# Explained search in {scheme.upper()}\n")
    print(
        f"Every group executes in {scheme.upper()} or, a single operator, layer by layer. Measured on "
        f"{machine_text(next(iter(found.values())))}. Made by `benchmarks/explain.py --scheme {scheme} "
        f"--accelerator NAME` and `benchmarks/explain_tables.py --scheme {scheme}`. Explained repair and the "
        "columns are those of [explained_search.md](explained_search.md), the classifier that is asked is that of "
        "[classifier.md](classifier.md). Published: arXiv 2501.00636, in a cost model of its own, 2,000 plans; the "
        "paper does not say what its figures of BRR count (VGG16's are below the weights of its convolutions at 16 "
        "bits), "
        "so only methods inside one column compare.\n"
    )
    for name, results in found.items():
        runs = sum(map(len, results.groups.values()))
        seeds = {run["seed"] for group in results.groups.values() for run in group}
        print(f"# Accelerator {name}\n\n{accelerator_text(name)}; {runs} runs, {len(seeds)} seeds at most.\n")
        for title, make in (
            ("## % above the optimum, mean over the networks", mean_table),
            ("## DRAM access", dram_tables),
            ("## % above the optimum after so many plans, and plans / seconds until within 10, 5, 1 %", early_tables),
            ("## Part of the distance left by random repair at 250 plans that explained repair closes", closed_table),
        ):
            print(title, "", *make(results), sep="\n")
        explanations = read_record(folder / name / "explanations.json")
        if explanations is not None:
            print("## What explanations are worth", "", legend(explanations), "", sep="\n")
            print(*(f"#{line}" if line.startswith("##") else line for line in tables(explanations)), sep="\n")


def accelerator_text(name: str) -> str:
    """What of a preset counts here."""
    accelerator = load_accelerator(name)
    return f"{accelerator.activation_bits}-bit activations, {accelerator.weight_bits}-bit weights"


def mean_table(results: Results) -> list[str]:
    """% above the optimum after all plans, over the networks, and of each the seeds, that every repair was run on."""
    rows = []
    for search in results.searches:
        above: dict[str, list[float]] = {repair: [] for repair in results.repairs}
        for network in results.networks:
            runs = {
                repair: {run["seed"]: run for run in results.groups.get((network, search, repair), [])}
                for repair in results.repairs
            }
            shared = set.intersection(*(set(of_seed) for of_seed in runs.values()))
            for repair, of_seed in runs.items() if shared else ():
                moved = statistics.fmean(of_seed[seed]["network_dram_bytes"] for seed in shared)
                above[repair].append(results.above(network, moved))
        count = len(above[results.repairs[0]])
        if count:
            rows.append((search, str(count), *(f"{statistics.fmean(values):.2f}" for values in above.values())))
    return markdown_table(("search", "networks", *results.repairs), rows)

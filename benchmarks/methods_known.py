"""All that is known of every method: records of benchmarks/methods.py, explain.py, many_ideals.py, optimality.py."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.explain import LBDF, read_runs
from benchmarks.explain import RESULTS as EXPLAINED
from benchmarks.many_ideals import RESULTS as MANY_IDEALS
from benchmarks.methods_runs import Case, Row, Run
from benchmarks.optimality import FILE as OPTIMALITY_FILE
from benchmarks.optimality import RESULTS as OPTIMALITY
from tvm_fusion.reports.record import read_record

FILE = "methods.json"


@dataclass(frozen=True)
class Elsewhere:
    """Folders of records that are read beside those of benchmarks/methods.py."""

    explained: Path = EXPLAINED
    many_ideals: Path = MANY_IDEALS
    optimality: Path = OPTIMALITY


@dataclass
class Known:
    """Rows by case. ``least`` is what the best plan of a case moves, ``bound`` what no plan goes below, in bytes."""

    rows: list[Row]  # of runs that every table may show
    timed: list[Row] = field(default_factory=list)  # of runs of equal seconds
    proofs: list[Row] = field(default_factory=list)  # plans and bounds alone
    timed_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._by_run: dict[tuple[Case, str, str], list[Row]] = {}
        self._by_case: dict[Case, list[Row]] = {}
        for row in self.rows:
            run = Run.of(row)
            self._by_run.setdefault((run.case, run.method, run.repair), []).append(row)
        for row in [*self.rows, *self.timed, *self.proofs]:
            if row["network_dram_bytes"] is not None:
                self._by_case.setdefault(_case(row), []).append(row)

    def least(self, case: Case) -> int:
        """Bytes of the best plan known."""
        return min(row["network_dram_bytes"] for row in self._by_case[case])

    def bound(self, case: Case) -> int:
        """Bytes that no plan of the schemes goes below; of the best plan if it is proven optimal."""
        return max(row.get("lower_bound_bytes", 0) for row in self._by_case[case])

    def proven(self, case: Case) -> bool:
        """Whether the best plan known is the optimum."""
        return self.least(case) == self.bound(case)

    def found(self, case: Case, method: str, repair: str, budget_plans: int) -> list[Row]:
        """The rows of a method at a budget, one a seed."""
        rows = self._by_run.get((case, method, repair), [])
        return [row for row in rows if row["budget_plans"] == budget_plans]

    def above(self, case: Case, rows: Iterable[Row]) -> float | None:
        """Per cent above the best plan known, mean over the rows; None if there is no plan."""
        moved = [row["network_dram_bytes"] for row in rows if row["network_dram_bytes"] is not None]
        return 100 * (statistics.fmean(moved) / self.least(case) - 1) if moved else None


def known(folder: Path, elsewhere: Elsewhere | None = None) -> Known:
    """What ``folder`` and the other benchmarks' folders hold."""
    elsewhere = elsewhere or Elsewhere()
    rows = list((read_record(folder / FILE) or {}).get("rows", []))
    for path in (elsewhere.explained, elsewhere.explained / "brr" / "edge", elsewhere.explained / "brr" / "paper"):
        rows += [_of_explained(run) for run in read_runs(path / "runs.jsonl")]
    limited = read_record(elsewhere.many_ideals / "many_ideals.json") or {}
    accelerator = {"buffer": f"{limited.get('buffer_bytes', 0) // 1024}KiB", "schemes": LBDF, "accelerator": "edge"}
    timed = [row | accelerator for row in limited.get("rows", [])]
    optima = (read_record(elsewhere.optimality / OPTIMALITY_FILE) or {}).get("rows", [])
    proofs = [row | {"accelerator": "edge"} for row in optima]
    return Known(rows, timed, proofs, limited.get("seconds", 0.0))


def _of_explained(run: Row) -> Row:
    row = {key: run[key] for key in ("network", "buffer", "repair", "budget_plans", "seed", "network_dram_bytes")}
    fixed = {"schemes": run.get("scheme", LBDF), "accelerator": run.get("accelerator", "edge"), "method": run["search"]}
    return row | fixed | {"seconds": run["seconds"], "lower_bound_bytes": 0, "ended_by": "budget"}


def _case(row: Row) -> Case:
    return Case(row["network"], row["buffer"], row["schemes"], row["accelerator"])

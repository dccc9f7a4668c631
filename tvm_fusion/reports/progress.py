"""A progress bar of a search with the best value so far, on stderr, only where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from tvm_fusion.search.run import Progress as SearchProgress

# By objective what its values (bytes, pJ, cycles) are divided by to be read, and the unit that this gives.
_SHOWN = {"dram": (1e6, "MB"), "energy": (1e9, "mJ"), "cycles": (1e6, "million cycles")}


@contextlib.contextmanager
def search_progress(algorithm: str, budget_plans: int, objective: str = "dram") -> Iterator[SearchProgress | None]:
    """Yield what a search reports its progress to, or None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    best = TextColumn("best {task.fields[best]}")
    with Progress(*columns, best, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(algorithm, total=budget_plans, best="-")
        yield _reporter(bar, task, objective)


def _reporter(bar: RichProgress, task: TaskID, objective: str) -> SearchProgress:
    def report(plans: int, best_value: int) -> None:
        bar.update(task, completed=plans, best=shown_value(best_value, objective))

    return report


def shown_value(value: int, objective: str) -> str:
    """A value of ``objective`` ("dram", "energy", "cycles") for a person: bytes in MB, pJ in mJ, cycles in millions."""
    divisor, unit = _SHOWN[objective]
    return f"{value / divisor:.3f} {unit}"

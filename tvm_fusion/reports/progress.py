"""A progress bar of a search with the best value so far, on stderr, only where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Called with (plans proposed, best network DRAM bytes so far).
ProgressCallback = Callable[[int, int], None]


@contextlib.contextmanager
def search_progress(algorithm: str, budget_plans: int) -> Iterator[ProgressCallback | None]:
    """Yield the callback that a search reports to, or None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    best = TextColumn("best {task.fields[best]}")
    with Progress(*columns, best, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(algorithm, total=budget_plans, best="-")
        yield _reporter(bar, task)


def _reporter(bar: RichProgress, task: TaskID) -> ProgressCallback:
    def report(plans: int, best_bytes: int) -> None:
        bar.update(task, completed=plans, best=f"{best_bytes / 1e6:.3f} MB")

    return report

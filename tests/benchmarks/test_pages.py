"""Pages of docs/ come from measured results by a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import (
    explain,
    explain_scheme_page,
    ladder,
    lowered,
    lowered_tables,
    methods,
    methods_tables,
    optimality,
    peers,
    peers_tables,
    scaling,
    speed,
    speed_tables,
    traffic,
    traffic_tables,
)

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize(("name", "page", "results"), [
    ("ladder", ladder.page, ladder.RESULTS),
    ("lowered", lowered_tables.page, lowered.RESULTS),
    ("methods", methods_tables.page, methods.RESULTS),
    ("optimality", optimality.page, optimality.RESULTS),
    ("peers", peers_tables.page, peers.RESULTS),
    ("scaling", scaling.page, scaling.RESULTS),
    ("speed", speed_tables.page, speed.RESULTS),
    ("traffic", traffic_tables.page, traffic.RESULTS),
])  # fmt: skip
def test_page_is_what_the_command_prints(name: str, page: Callable[[Path], list[str]], results: Path) -> None:
    """Where something was measured there is a page of it, and no page without."""
    written = DOCS / f"{name}.md"
    assert written.is_file() == any(results.glob("*.json"))
    if written.is_file():
        assert written.read_text("utf-8") == "\n".join(page(results)) + "\n"


def test_page_of_brr_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    explain_scheme_page.print_page(explain.RESULTS / "brr", "brr")
    assert (DOCS / "explained_search_brr.md").read_text("utf-8") == capsys.readouterr().out

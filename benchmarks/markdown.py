"""What the pages of results have in common: tables in Markdown, and the line that says what they were measured on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table."""
    header = list(header)
    return [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows), ""]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def machine_note(environment: dict[str, Any]) -> str:
    """Where a figure was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return (
        f"Measured on {environment['processor']}, {environment['cores']} cores, Python {environment['python']}; "
        f"{versions}."
    )

"""One line out of what other libraries raise."""

from __future__ import annotations

_LONGEST = 300


def first_line(error: BaseException) -> str:
    """The first line of an error's text: torch appends its frames."""
    return _lines(error)[0][:_LONGEST]


def last_line(error: BaseException) -> str:
    """The last line of an error's text: TVM puts its frames before it."""
    return _lines(error)[-1][:_LONGEST]


def joined(error: BaseException) -> str:
    """All of an error's text on one line: ONNX breaks its sentences."""
    return " ".join(_lines(error))[:_LONGEST]


def _lines(error: BaseException) -> list[str]:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines or [type(error).__name__]

"""What C++ libraries print by themselves, held back."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class CapturedText:
    """``text`` is complete when the context is left, whether by an exception or not."""

    text: str = ""


def captured_stderr() -> contextlib.AbstractContextManager[CapturedText]:
    """:func:`captured_output` of stderr."""
    return captured_output(2)


def captured_stdout() -> contextlib.AbstractContextManager[CapturedText]:
    """:func:`captured_output` of stdout."""
    return captured_output(1)


@contextlib.contextmanager
def captured_output(descriptor: int) -> Iterator[CapturedText]:
    """Redirect a file descriptor (so also what C++ writes there) to a file, and give back its text.

    Not for several threads at once: the descriptor belongs to the whole process.
    """
    captured = CapturedText()
    _flush()
    saved = os.dup(descriptor)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), descriptor)
            try:
                yield captured
            finally:
                _flush()
                os.dup2(saved, descriptor)
                file.seek(0)
                captured.text = file.read().decode("utf-8", "replace")
    finally:
        os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()

"""What C++ libraries print on stderr by themselves, held back."""

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


@contextlib.contextmanager
def captured_stderr() -> Iterator[CapturedText]:
    """Redirect file descriptor 2 (so also what C++ writes there) to a file, and give back its text.

    Not for several threads at once: the descriptor belongs to the whole process.
    """
    captured = CapturedText()
    _flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield captured
            finally:
                _flush()
                os.dup2(saved, 2)
                file.seek(0)
                captured.text = file.read().decode("utf-8", "replace")
    finally:
        os.close(saved)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()

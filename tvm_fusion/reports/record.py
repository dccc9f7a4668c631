"""Results of a long run, kept on disk as each one comes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tvm_fusion.errors import FusionError
from tvm_fusion.files import check_writable, write_text_atomic
from tvm_fusion.reports.environment import environment


class Record:
    """A JSON file that is rewritten whole (atomically) whenever a figure comes; it says where it was measured."""

    def __init__(self, path: Path, **facts: Any) -> None:
        self.path = path
        check_writable(path)
        self.data: dict[str, Any] = {**facts, "environment": environment()}

    def add(self, **facts: Any) -> None:
        """Set values and write."""
        self.data.update(facts)
        write_text_atomic(self.path, json.dumps(self.data, indent=1) + "\n")

    def append(self, key: str, entry: Any) -> None:
        """Append to the list ``key`` and write."""
        self.add(**{key: [*self.data.get(key, []), entry]})


def read_record(path: Path) -> dict[str, Any] | None:
    """What an earlier run wrote, None if there is nothing. Raises FusionError for a file that is not a record."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FusionError(f"cannot read earlier results {str(path)!r}: {error.strerror or error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FusionError(f"earlier results {str(path)!r} are corrupted ({error}); delete the file") from None
    if not isinstance(data, dict):
        raise FusionError(f"earlier results {str(path)!r} are corrupted (no JSON object); delete the file")
    return data


def file_name(network: str) -> str:
    """A name or path as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.@-]+", "_", Path(network).name)


def output_folder(wanted: Path | None, base: Path, name: str) -> Path:
    """``wanted``, or a folder of that name under ``base``; made if need be. Raises FusionError if it cannot be."""
    folder = wanted or base / file_name(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"cannot make output folder {str(folder)!r}: {error.strerror or error}") from None
    return folder

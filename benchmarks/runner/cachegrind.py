"""Last-level misses of a program under valgrind's cachegrind, in total and by group function."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tvm_fusion.errors import FusionError

LINE_BYTES = 64
WAYS = 16
FIRST_LEVEL = f"32768,8,{LINE_BYTES}"  # of this size on every machine; by default it would be that of the processor
EVENTS = ("Ir", "ILmr", "DLmr", "DLmw")  # instructions; last-level misses of instructions, data reads, data writes
_GROUP = re.compile(r"fn=.*fused_group_(\d+)")


@dataclass(frozen=True)
class Misses:
    """Misses of the last level (cache lines), and how many instructions were executed."""

    reads: int = 0
    writes: int = 0
    instruction_misses: int = 0
    instructions: int = 0

    def __add__(self, other: Misses) -> Misses:
        return self._joined(other, 1)

    def __sub__(self, other: Misses) -> Misses:
        return self._joined(other, -1)

    def _joined(self, other: Misses, sign: int) -> Misses:
        return Misses(
            self.reads + sign * other.reads,
            self.writes + sign * other.writes,
            self.instruction_misses + sign * other.instruction_misses,
            self.instructions + sign * other.instructions,
        )


@dataclass(frozen=True)
class Counts:
    """Misses of a whole execution, and of each group function by its number."""

    total: Misses = Misses()
    groups: dict[int, Misses] = field(default_factory=dict)

    def __sub__(self, other: Counts) -> Counts:
        groups = {k: found - other.groups.get(k, Misses()) for k, found in self.groups.items()}
        return Counts(self.total - other.total, groups)


def parse(lines: Iterable[str]) -> Counts:
    """The counts of a cachegrind output file. Raises FusionError for a file that is none."""
    columns: list[int] | None = None
    total: Misses | None = None
    groups: dict[int, Misses] = {}
    group: int | None = None
    for line in lines:
        if line.startswith("fn="):
            match = _GROUP.match(line)
            group = int(match[1]) if match else None
        elif group is not None and line[:1].isdigit() and columns is not None:
            groups[group] = groups.get(group, Misses()) + _misses(line.split()[1:], columns)
        elif line.startswith("events:"):
            names = line.split()[1:]
            if not set(EVENTS) <= set(names):
                raise FusionError("cachegrind counted no cache misses; it must run with --cache-sim=yes")
            columns = [names.index(name) for name in EVENTS]
        elif line.startswith("summary:") and columns is not None:
            total = _misses(line.split()[1:], columns)
    if total is None:
        raise FusionError("cachegrind's output has no summary; did it end early?")
    return Counts(total, groups)


def _misses(values: Sequence[str], columns: Sequence[int]) -> Misses:
    # Cachegrind leaves zeros at the end of a line away.
    found = [int(values[k]) if k < len(values) else 0 for k in columns]
    return Misses(reads=found[2], writes=found[3], instruction_misses=found[1], instructions=found[0])


def check_valgrind() -> str:
    """The path of valgrind. Raises FusionError if there is none."""
    found = shutil.which("valgrind")
    if found is None:
        raise FusionError("valgrind is not installed (Debian: apt-get install valgrind); it simulates the cache")
    return found


def check_cache(cache_bytes: int) -> None:
    """Raise FusionError for a last level that cachegrind cannot simulate, or one smaller than the first."""
    sets, rest = divmod(cache_bytes, LINE_BYTES * WAYS)
    if rest or sets < 32 or sets & (sets - 1):
        raise FusionError(
            f"a cache of {cache_bytes} bytes cannot be simulated; it must be 1 KiB times a power of two, from 32 KiB"
        )


def one_run(runner: Path, library: Path, inputs: Sequence[str], cache_bytes: int, folder: Path) -> Counts:
    """What one execution of ``library`` on ``inputs`` misses in a last level of ``cache_bytes``: the second execution.

    The first also allocates, and looks up what it calls. A write that misses counts one line, as the bytes of a result
    count once in the model; that a real cache also fetches the line before it is written is left out. ``inputs``:
    "float32:1x3x224x224" each. Raises FusionError if the program fails.
    """
    check_cache(cache_bytes)
    once, twice = (_counted(runner, library, runs, inputs, cache_bytes, folder) for runs in (1, 2))
    return twice - once


def _counted(runner: Path, library: Path, runs: int, inputs: Sequence[str], cache_bytes: int, folder: Path) -> Counts:
    output = folder / f"cachegrind.{library.stem}.{cache_bytes}.{runs}"
    command = [
        check_valgrind(), "--tool=cachegrind", "--cache-sim=yes", f"--cachegrind-out-file={output}",
        f"--I1={FIRST_LEVEL}", f"--D1={FIRST_LEVEL}", f"--LL={cache_bytes},{WAYS},{LINE_BYTES}",
        str(runner), str(library.absolute()), str(runs), *inputs,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("==")] or [""]
        raise FusionError(f"{runner.name} under cachegrind ended with {done.returncode}: {lines[0]}")
    with output.open(encoding="utf-8", errors="replace") as file:
        return parse(file)

"""Arm's vela on an operator graph: what its own summary says of DRAM, and the cascades that it chose."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.peers_tflite import TfliteFile
from tvm_fusion.errors import FusionError
from tvm_fusion.graph.graph import OperatorGraph, mask_of

PACKAGE = "ethos-u-vela"
# Arm's own description of an Ethos-U85 whose SRAM is the NPU's own and whose weights and feature maps lie in DRAM.
OPTIONS = (
    "--accelerator-config", "ethos-u85-512", "--config", "Arm/vela.ini",
    "--system-config", "Ethos_U85_SYS_DRAM_Mid", "--memory-mode", "Dedicated_Sram",
)  # fmt: skip
TIME_LIMIT_SECONDS = 600
_SOURCE = "Original Operator"
_WEIGHTED = ("Conv2D", "DepthwiseConv2D", "FullyConnected")
_OPERATION = re.compile(r"^\t(\d+): Operation ")
_CASCADE = re.compile(r"^\t\tAssigned Cascade = (\d+)")
_CHAINED = re.compile(r"^\t\tsub-operations: (.*)")


def vela_version() -> str | None:
    """The version in this environment, None without it."""
    try:
        return version(PACKAGE) if find_spec("ethosu.vela") else None
    except (PackageNotFoundError, ModuleNotFoundError):
        return None


@dataclass(frozen=True)
class VelaSetting:
    """How the file is written (see TfliteFile), and vela's ``--optimise``: "Performance", its default, or "Size"."""

    silu_as_table: bool = False
    optimise: str = "Performance"


@dataclass(frozen=True)
class VelaRun:
    """What vela printed and wrote: ``summary`` by column, ``layers`` in the order in which they execute."""

    file: TfliteFile
    summary: dict[str, str]
    layers: list[dict[str, str]]
    log: str

    def facts(self) -> dict[str, Any]:
        """Bytes moved by vela's own account, and what shows that the file is the same network."""
        parts = ("feature_map_read", "feature_map_write", "weight_read", "weight_write", "total")
        on_cpu = re.search(r"CPU operators = (\d+)", self.log)
        return {
            **{f"dram_{part}_bytes": self._bytes(f"dram_{part}_bytes") for part in parts},
            "dram_bytes": self._bytes("dram_total_bytes"),
            "encoded_weight_bytes": self._bytes("total_npu_encoded_weights"),
            "sram_used_bytes": round(1024 * float(self.summary["sram_memory_used"])),
            "vela_macs": self._bytes("nn_macs"),
            "vela_weighted_macs": sum(int(row["MAC Count"]) for row in self.layers if row[_SOURCE] in _WEIGHTED),
            "file_macs": self.file.macs,
            "file_operators": len(self.file.operators),
            "operators_on_cpu": int(on_cpu[1]) if on_cpu else None,
            "groups": len(self.fused()),
        }

    def _bytes(self, column: str) -> int:
        return round(float(self.summary[column]))

    def fused(self) -> list[list[str]]:
        """Names of the tensors that each cascade, or each operation with what is chained to it, makes."""
        groups: dict[tuple[str, int], list[str]] = {}
        rows = iter(self.layers)
        for number, cascade, chained in schedule(self.log):
            names = [next(rows)["Name"] for _ in range(1 + chained)]
            groups.setdefault(("cascade", cascade) if cascade else ("operation", number), []).extend(names)
        if next(rows, None) is not None:
            raise FusionError("vela's schedule and its list of layers differ in length; its output has changed")
        return [*groups.values()]

    def masks(self, graph: OperatorGraph) -> list[int]:
        """The same as groups of ``graph``: an operator belongs where the last part of it is executed.

        An operation with a look-up table after it is named by the table's tensor: an operator without a name of its own
        belongs where the one that reads it does. Parts that share no edge in our graph are groups apart.
        """
        home: dict[int, int] = {}
        for number, names in enumerate(self.fused()):
            for name in names:
                known = self.file.ours.get(re.split(r"_intermediate|/", name)[0], ())
                home |= dict.fromkeys(known, number)
        for operator in reversed(graph.operators):
            reader = next(iter(graph.consumers[operator.id]), None)
            if operator.id not in home and reader is None:
                raise FusionError(f"vela's schedule does not name operator {operator.name!r}; its output has changed")
            if reader is not None:
                home.setdefault(operator.id, home[reader])
        groups: dict[int, list[int]] = {}
        for i, number in home.items():
            groups.setdefault(number, []).append(i)
        return [part for group in groups.values() for part in graph.components(mask_of(group))]


def schedule(log: str) -> list[tuple[int, int, int]]:
    """(operation, its cascade or 0, operations chained to it) in the order of the schedule that vela printed."""
    found: list[list[int]] = []
    for line in log.splitlines():
        if match := _OPERATION.match(line):
            found.append([int(match[1]), 0, 0])
        elif found and (match := _CASCADE.match(line)):
            found[-1][1] = int(match[1])
        elif found and (match := _CHAINED.match(line)):
            found[-1][2] = len(re.findall(r"\w+", match[1]))
    return [(number, cascade, chained) for number, cascade, chained in found]


def run_vela(graph: OperatorGraph, buffer_bytes: int, setting: VelaSetting) -> VelaRun:
    """Compile ``graph`` with an SRAM of ``buffer_bytes``. Raises FusionError if vela does not do it."""
    file = TfliteFile(graph, setting.silu_as_table)
    macs = sum(operator.macs for operator in graph.operators)
    if file.macs != macs:
        raise FusionError(f"the .tflite file of {graph.name!r} has {file.macs} MACs, the graph {macs}")
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "network.tflite"
        source.write_bytes(file.content)
        command = [sys.executable, "-m", "ethosu.vela", str(source), *OPTIONS]
        command += ["--arena-cache-size", str(buffer_bytes), "--output-dir", place]
        command += ["--optimise", setting.optimise, "--verbose-schedule", "--verbose-performance"]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise FusionError(f"vela took more than {TIME_LIMIT_SECONDS} s on {graph.name!r}") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise FusionError(f"vela ended with exit code {done.returncode} on {graph.name!r}: {last}")
        return VelaRun(file, _table(place, "*_summary_*.csv")[0], _table(place, "*_per-layer.csv"), done.stdout)


def _table(folder: str, pattern: str) -> list[dict[str, str]]:
    found = [*Path(folder).glob(pattern)]
    if len(found) != 1:
        raise FusionError(f"vela wrote {len(found)} files {pattern}; 1 was expected")
    with found[0].open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]

"""benchmarks/traffic.py: reading cachegrind's files, the arithmetic of savings, and a small network measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import traffic_tables
from benchmarks.runner import build, cachegrind
from benchmarks.runner.cachegrind import Misses, parse
from benchmarks.traffic_tables import group_text, groups_of
from tests.cli.onnx_models import convnet
from tvm_fusion.errors import FusionError

ROOT = Path(__file__).parent.parent.parent
OUTPUT = """\
desc: LL cache:         262144 B, 64 B, 16-way associative
cmd: runner net.so 1
events: Ir I1mr ILmr Dr D1mr DLmr Dw D1mw DLmw
fl=???
fn=__tvm_ffi_fused_group_3
0 100 9 1 50 8 7 40 6 5
7 10 0 0 5 1 1
fn=fused_group_3_compute_
0 1000 0 2 500 0 30 400 0 20
fn=memcpy
0 5 0 0 5 5 5 5 5 5
summary: 1115 9 3 560 14 43 445 11 30
"""


def traffic(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.traffic", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def group(reads: int, writes: int, model_bytes: int, scheme: str = "lbdf", lowered: bool = True) -> str:
    moved = {"input_bytes": model_bytes // 2, "weight_bytes": 0, "output_bytes": model_bytes // 2}
    facts = {"group": 0, "scheme": scheme, "lowered": lowered, "buffer_bytes": 500}
    return group_text(facts | moved | {"reads": reads, "writes": writes})


def row(plan: str, model_dram_bytes: int, reads: int, writes: int, **facts: Any) -> dict[str, Any]:
    """A measurement of one group of line buffers, whose misses are all the misses."""
    return {
        "plan": plan, "cache_bytes": 1024, "model_dram_bytes": model_dram_bytes, "compulsory_dram_bytes": 640,
        "misses": {"reads": reads, "writes": writes, "instruction_reads": 0},
        "groups": [group(reads, writes, model_dram_bytes)],
    } | facts  # fmt: skip


def test_counts_of_a_cachegrind_file() -> None:
    counts = parse(OUTPUT.splitlines())
    assert counts.total == Misses(reads=43, writes=30, instruction_misses=3, instructions=1115)
    assert counts.groups == {3: Misses(reads=38, writes=25, instruction_misses=3, instructions=1110)}
    start = cachegrind.Counts(Misses(reads=3, writes=10, instruction_misses=1, instructions=15))
    assert (counts - start).total == Misses(reads=40, writes=20, instruction_misses=2, instructions=1100)
    assert (counts - start).groups == counts.groups


@pytest.mark.parametrize("text", ["", "events: Ir\nsummary: 3", OUTPUT.rpartition("summary")[0]])
def test_a_file_without_counts_is_refused(text: str) -> None:
    with pytest.raises(FusionError, match="cachegrind"):
        parse(text.splitlines())


@pytest.mark.parametrize("size", [0, 1000, 16 * 1024, 96 * 1024])
def test_caches_that_cannot_be_simulated(size: int) -> None:
    with pytest.raises(FusionError, match="power of two"):
        cachegrind.check_cache(size)
    cachegrind.check_cache(32 * 1024)
    cachegrind.check_cache(256 * 1024)


def test_saving_measured_over_predicted() -> None:
    fused, unfused = row("fused", 1280, 10, 12), row("unfused", 6400, 40, 45)
    other = row("unfused", 1, 1, 1, cache_bytes=2048)  # its fused run is still missing
    assert traffic_tables.pairs([fused, other, unfused]) == [(unfused, fused)]
    found = traffic_tables.saving(unfused, fused)
    assert found["predicted_bytes"] == 5120
    assert found["measured_bytes"] == (85 - 22) * 64
    assert found["ratio"] == found["line_buffer_ratio"] == pytest.approx(63 * 64 / 5120)
    assert found["unfused_below_model_bytes"] == 6400 - 85 * 64
    assert found["fused_beyond_model_bytes"] == 22 * 64 - 1280
    assert "| 1 KiB | 0.00 | 0.01 |" in traffic_tables.tables([fused, unfused])[2]
    assert "| 79 % | 79 % |" in traffic_tables.tables([fused, unfused])[2]


@pytest.mark.parametrize(("lowered", "part"), [(True, "layer by layer"), (False, "layer by layer, left to TVM")])
def test_operators_layer_by_layer_are_apart(lowered: bool, part: str) -> None:
    fused, unfused = row("fused", 1280 + 128, 10, 12), row("unfused", 6400 + 128, 40, 45)
    for entry, reads in ((fused, 1000), (unfused, 1040)):
        entry["groups"].append(group(reads, 0, 128, "layer", lowered))
        entry["misses"] = {"reads": entry["misses"]["reads"] + reads, "writes": entry["misses"]["writes"]}
    found = traffic_tables.saving(unfused, fused)
    assert found["measured_bytes"] == (85 - 22 + 40) * 64
    assert found["line_buffer_ratio"] == pytest.approx(63 * 64 / 5120)
    heavy = [entry for entry in groups_of(fused) if traffic_tables.PARTS[part](entry)]
    assert traffic_tables.part_bytes(heavy)["reads"] == 64_000
    text = "\n".join(traffic_tables.tables([fused, unfused]))
    assert f"| 1 KiB | fused | {part} | 1 | 0.00 | 0.06 |" in text


@pytest.mark.parametrize("scheme", ["lbdf", "layer"])
@pytest.mark.parametrize("lowered", [True, False])
def test_every_group_is_of_one_part(scheme: str, lowered: bool) -> None:
    (found,) = groups_of({"groups": [group(1, 1, 64, scheme, lowered)]})
    (part,) = [name for name, belongs in traffic_tables.PARTS.items() if belongs(found)]
    assert ("TVM" in part, "layer" in part) == (not lowered, scheme == "layer")


def test_no_compiler_and_no_valgrind_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(FusionError, match="no C\\+\\+ compiler 'no-such-compiler'"):
        build.build_runner(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FusionError, match="valgrind is not installed"):
        cachegrind.check_valgrind()


needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("c++") is None,
    reason="valgrind or a C++ compiler is not installed (Debian: apt-get install valgrind g++)",
)


@needs_valgrind
@pytest.mark.parametrize("arguments", [("--buffer", "3KiB"), ("--buffer", "x"), ("--algorithm", "magic")])
def test_bad_options(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = traffic(*arguments, "-o", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_valgrind
def test_a_small_network_is_measured_once(tmp_path: Path) -> None:
    net = convnet(tmp_path / "block.onnx", [1, 4, 128, 128])
    arguments = ("--net", net, "--buffer", "32KiB", "-o", tmp_path / "out")
    done = traffic(*arguments)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "block.onnx.json").read_text())
    settings = [(entry["cache_bytes"], entry["plan"]) for entry in record["rows"]]
    assert settings == [(size * 1024, plan) for size in (32, 64) for plan in ("unfused", "fused")]
    # A map of 256 KiB passes once in and once out of the cache; unfused the five operators move eleven.
    unfused, fused = record["rows"][2:]
    assert fused["model_dram_bytes"] == pytest.approx(2 * 4 * 128 * 128 * 4, rel=0.01)
    assert traffic_tables.measured_bytes(fused) == pytest.approx(fused["model_dram_bytes"], rel=0.1)
    assert traffic_tables.saving(unfused, fused)["ratio"] == pytest.approx(1.0, abs=0.1)
    assert all(found["lowered"] for entry in record["rows"] for found in groups_of(entry))
    assert "| 64 KiB | fused | line buffers | 1 |" in done.stdout
    again = traffic(*arguments)
    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert "compiled" not in again.stderr
    page = traffic("--markdown", "-o", tmp_path / "out")
    assert f"## {net}, plan for 32 KiB" in page.stdout

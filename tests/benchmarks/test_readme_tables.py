"""The README's tables come from measured results by a command, and nothing else of it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import readme
from tvm_fusion.errors import FusionError

ROOT = Path(__file__).parent.parent.parent


def run(moved: int, optimal: bool) -> dict[str, object]:
    return {
        "network_dram_bytes": moved, "unfused_dram_bytes": 4_000_000, "compulsory_dram_bytes": 500_000,
        "fusable_dram_bytes": moved - 100_000, "groups": 3, "optimal": optimal,
    }  # fmt: skip


def record(network: str) -> dict[str, object]:
    algorithms = [
        {"algorithm": "local-search", "runs": [run(1_500_000, False), run(1_700_000, False)], "saving": 0.6,
         "seconds": 2.0, "network_dram_bytes": {"mean": 1_600_000, "min": 1_500_000, "max": 1_700_000}},
        {"algorithm": "exact", "runs": [run(1_500_000, True)], "saving": 0.625, "seconds": 0.2,
         "network_dram_bytes": {"mean": 1_500_000, "min": 1_500_000, "max": 1_500_000}},
    ]  # fmt: skip
    environment = {"processor": "P", "cores": 2, "python": "3.11.7", "versions": {"apache-tvm": "0.27"}}
    accelerator = {"buffer_bytes": 262144}
    return {"network": network, "accelerator": accelerator, "algorithms": algorithms, "environment": environment,
            "largest_relative_error": 2e-7}  # fmt: skip


def test_savings_say_optimum_only_where_it_is_proven() -> None:
    proven = record("b")
    unproven = record("a")
    unproven["algorithms"] = unproven["algorithms"][:1]  # type: ignore[index]
    lines = readme.savings_table([proven, unproven])
    assert lines[2] == "| a | 256 KiB | 4.00 | 1.50 (not proven) | 62 % | 0.50 | 3 | 2e-07 |"
    assert lines[3] == "| b | 256 KiB | 4.00 | 1.50 | 62 % | 0.50 | 3 | 2e-07 |"


def test_algorithms_with_mean_and_spread() -> None:
    lines = readme.algorithms_table(record("b"))
    assert lines[2] == "| local-search | 1.600 | 0.200 | 1.400 | 3 | 60.0 % | 2.0 |  |"
    assert lines[3].endswith("| proven optimal |")
    assert "apache-tvm 0.27" in lines[-1]


def test_only_what_stands_between_the_marks_changes() -> None:
    text = "before\n<!-- a-table -->\nold\n<!-- end -->\nafter\n<!-- b-table -->\nkept\n<!-- end -->\n"
    changed = readme.with_table(text, "a-table", ["| new \\1 |", ""])
    assert changed == text.replace("old\n", "\n| new \\1 |\n\n")
    assert readme.with_table(changed, "a-table", ["| new \\1 |", ""]) == changed
    with pytest.raises(FusionError, match="c-table"):
        readme.with_table(text, "c-table", [])


def test_the_readme_is_what_the_command_writes(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
    assert readme.main(readme=copy, measured=readme.MEASURED, explained=readme.EXPLAINED) == 0
    assert copy.read_text("utf-8") == (ROOT / "README.md").read_text("utf-8")


def test_without_results_of_the_main_network(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(record("b")))
    with pytest.raises(FusionError, match="efficientnet_b3@300"):
        readme.main(readme=tmp_path / "README.md", measured=tmp_path, explained=tmp_path)

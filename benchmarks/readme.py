"""Write the README's tables from measured results.

Example: python -m benchmarks.readme

The results are files that benchmarks/run.py wrote (copied to benchmarks/measured), and what benchmarks/explain.py and
benchmarks/speed.py recorded.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.explain import RESULTS as EXPLAINED
from benchmarks.explain_tables import Results, closed_table
from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError
from tvm_fusion.files import write_text_atomic
from tvm_fusion.reports.record import read_record

ROOT = Path(__file__).parent.parent
MEASURED = Path(__file__).parent / "measured"
SPEED = Path(__file__).parent / "speed"
LADDER = Path(__file__).parent / "ladder"
MAIN = "efficientnet_b3@300"


def savings_table(records: list[dict[str, Any]]) -> list[str]:
    """One row a network: unfused, best plan, saving, compulsory, numerical check."""
    rows = []
    for record in sorted(records, key=lambda r: r["network"]):
        best = min((run for row in record["algorithms"] for run in row["runs"]), key=_rank)
        rows.append(
            (
                record["network"],
                f"{record['accelerator']['buffer_bytes'] / 1024:g} KiB",
                f"{best['unfused_dram_bytes'] / 1e6:.2f}",
                f"{best['network_dram_bytes'] / 1e6:.2f}{'' if best['optimal'] else ' (not proven)'}",
                f"{100 * (1 - best['network_dram_bytes'] / best['unfused_dram_bytes']):.0f} %",
                f"{best['compulsory_dram_bytes'] / 1e6:.2f}",
                str(best["groups"]),
                f"{record['largest_relative_error']:.0e}",
            )
        )
    header = ("network", "buffer", "unfused MB", "optimum MB", "saving", "compulsory MB", "groups", "compiled: error")
    return markdown_table(header, rows)


def _rank(run: dict[str, Any]) -> tuple[int, bool]:
    return run["network_dram_bytes"], not run["optimal"]


def algorithms_table(record: dict[str, Any]) -> list[str]:
    """One row an algorithm."""
    rows = []
    for row in record["algorithms"]:
        moved = row["network_dram_bytes"]
        best = min(row["runs"], key=_rank)
        rows.append(
            (
                row["algorithm"],
                f"{moved['mean'] / 1e6:.3f}",
                f"{(moved['max'] - moved['min']) / 1e6:.3f}" if len(row["runs"]) > 1 else "",
                f"{best['fusable_dram_bytes'] / 1e6:.3f}",
                str(best["groups"]),
                f"{100 * row['saving']:.1f} %",
                f"{row['seconds']:.1f}",
                "proven optimal" if best["optimal"] else "",
            )
        )
    header = ("algorithm", "network MB", "spread MB", "fusable MB", "groups", "saving", "seconds", "")
    return [*markdown_table(header, rows), machine_note(record["environment"])]


def with_table(text: str, marker: str, lines: list[str]) -> str:
    """``text`` with ``lines`` between ``<!-- marker -->`` and ``<!-- end -->``. Raises FusionError without them."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise FusionError(f"the README has no place '<!-- {marker} -->' ... '<!-- end -->'")
    body = "\n".join(lines).strip("\n")
    return pattern.sub(lambda match: f"{match[1]}\n{body}\n\n{match[2]}", text)


def main(
    readme: Annotated[Path, typer.Option("--readme", help="The file to change.")] = ROOT / "README.md",
    measured: Annotated[Path, typer.Option("--measured", help="Folder of results.json files.")] = MEASURED,
    explained: Annotated[Path, typer.Option("--explained", help="Folder of benchmarks/explain.py.")] = EXPLAINED,
    steps: Annotated[Path, typer.Option("--ladder", help="Folder of benchmarks/ladder.py.")] = LADDER,
    speed: Annotated[Path, typer.Option("--speed", help="Folder of benchmarks/speed.py.")] = SPEED,
) -> int:
    """Bring the README's tables up to the measured results."""
    from benchmarks import ladder
    from benchmarks.speed_tables import recorded_rows, summary  # which notes the machine as this module does

    records = [record for path in sorted(measured.glob("*.json")) if (record := read_record(path)) is not None]
    main_record = next((record for record in records if record["network"] == MAIN), None)
    if main_record is None:
        raise FusionError(f"no results of {MAIN} in {str(measured)!r}")
    text = readme.read_text("utf-8")
    text = with_table(text, "savings-table", savings_table(records))
    text = with_table(text, "ladder-table", ladder.summary(steps))
    text = with_table(text, "results-table", algorithms_table(main_record))
    text = with_table(text, "explained-table", closed_table(Results(explained)))
    text = with_table(text, "speed-table", summary(recorded_rows(speed)))
    write_text_atomic(readme, text)
    print(f"wrote {readme}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

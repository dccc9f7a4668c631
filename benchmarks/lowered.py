"""How much of a best plan goes to line buffers: groups and operators lowered, bytes verified, results compared.

Example: python -m benchmarks.lowered --nets mobilenetv2_100,mobilenetv2_100+int8 --image 64

Every network is planned, lowered, verified, compiled and compared with the network as it was imported (a quantised
one, "NAME+int8", with onnxruntime too) in a child process, so that a crash or a time limit costs one row. Rows are
written to ``lowered/NETWORK.json`` as they come; a second call does only what is missing.
``python -m benchmarks.lowered --markdown > docs/lowered.md`` makes the page.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import parse_size
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, file_name, output_folder, read_record

RESULTS = Path(__file__).parent / "lowered"
NETWORKS = (
    "efficientnet_b3", "mobilenetv2_100", "mobilenetv3_large_100", "resnet18", "resnet50", "squeezenet1_1", "vgg16",
    "convnext_tiny", "densenet121", "light_squeezenet.onnx", "light_shufflenet.onnx", "light_inception_v1.onnx",
    "mobilenetv2_100+int8", "resnet18+int8", "efficientnet_b3+int8",
)  # fmt: skip
EXTRA = (
    "regnety_002", "mobilevit_s", "ghostnet_100", "vit_tiny_patch16_224", "mobilenetv4_conv_small", "mixnet_s",
    "shufflenet_v2_x1_0", "hrnet_w18_small",
)  # fmt: skip
BUFFERS = "1MiB,256KiB"
Row = dict[str, Any]


def size_for(net: str, image: int | None) -> int | None:
    """``image``, unless the network is a file or names its size."""
    return None if net.endswith((".onnx", ".pt2")) or "@" in net else image


def try_network(net: str, image: int | None, buffers: list[str], algorithm: str, record: Record) -> None:
    """Add a row for every buffer; what fails is a row with its problem."""
    from benchmarks.lowered_case import Case, measure

    with tempfile.TemporaryDirectory() as folder:
        case: Any = None
        for buffer in buffers:
            row: Row = {"network": net, "buffer": buffer, "image": image}
            begin = time.perf_counter()
            try:
                with session.quiet(verbose=False):
                    case = case or Case(net, image, Path(folder))
                    row |= {"network": case.name} | measure(case, parse_size(buffer), algorithm)
            except Exception as problem:
                line = (str(problem).strip().splitlines() or [""])[-1]
                trace = "" if isinstance(problem, FusionError) else traceback.format_exc()
                row |= {"problem": f"{type(problem).__name__}: {line}", "traceback": trace}
            add(record, row | {"total_seconds": round(time.perf_counter() - begin, 1)})


def add(record: Record, row: Row) -> None:
    """Put a row in the place of an earlier one of the same setting; it says at which commit it was measured."""
    setting = (row["buffer"], row["image"])
    others = [old for old in record.data.get("rows", []) if (old["buffer"], old["image"]) != setting]
    record.add(rows=[*others, row | {"commit": record.data["environment"]["commit"]}])


def in_child(net: str, image: int | None, buffers: list[str], algorithm: str, folder: Path, seconds: int) -> None:
    """Measure one network in a process of its own; a crash or a time limit becomes the problem of what is missing."""
    command = [sys.executable, "-m", "benchmarks.lowered", "--child", "--nets", net, "--buffers", ",".join(buffers)]
    command += ["--algorithm", algorithm, "-o", str(folder.absolute()), *(["--image", str(image)] if image else [])]
    try:
        done = subprocess.run(
            command, check=False, timeout=seconds, capture_output=True, text=True, cwd=Path(__file__).parent.parent
        )
        last = (done.stderr.strip().splitlines() or [""])[-1]
        problem = f"exit code {done.returncode}: {last}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not done in {seconds} s"
    if problem:
        record = opened(net, algorithm, folder)
        for buffer in missing_buffers(record.data, image, buffers):
            add(record, {"network": net, "buffer": buffer, "image": image, "problem": problem})


def opened(net: str, algorithm: str, folder: Path) -> Record:
    """The record of a network with the rows of earlier calls, if those planned alike."""
    path = folder / f"{file_name(net)}.json"
    earlier = read_record(path) or {}
    record = Record(path, network=net, algorithm=algorithm)
    if earlier.get("algorithm") == algorithm:
        record.data["rows"] = earlier.get("rows", [])
    return record


def missing_buffers(record: dict[str, Any], image: int | None, buffers: list[str]) -> list[str]:
    """Those that the record has no row for at this input size."""
    done = {(row["buffer"], row["image"]) for row in record.get("rows", [])}
    return [buffer for buffer in buffers if (buffer, image) not in done]


def verdict(row: Row) -> str:
    """One line: what came out."""
    start = f"{row['network']} {row['buffer']}: "
    if "problem" in row:
        return start + row["problem"]
    text = f"{row['lowered_groups']} of {row['lbdf_groups']} groups, error {row['largest_relative_error']:.1e}"
    text += "" if row["bytes_equal"] else f", {row['mismatch']}"
    return start + text + (f", {statistics.median(row['steps']):.2f} steps" if "steps" in row else "")


def passed(row: Row, tolerance: float = 1e-4) -> bool:
    """Whether a row has results that equal the unfused network's, and the model's bytes."""
    return "problem" not in row and row["bytes_equal"] and row["largest_relative_error"] <= tolerance


def main(
    nets: Annotated[str | None, typer.Option("--nets", help="Names or files by comma; NAME+int8: quantised.")] = None,
    buffers: Annotated[str, typer.Option("--buffers", help="Sizes by comma.")] = BUFFERS,
    image: Annotated[
        int | None,
        typer.Option("--image", parser=options.whole("--image", 1), metavar="N", help="Input size, not the own one."),
    ] = None,
    algorithm: options.Algorithm = "best",
    limit: Annotated[
        int, typer.Option("--limit", parser=options.whole("--limit", 1), metavar="N", help="Seconds for one network.")
    ] = 3600,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier call has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/lowered)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> int:
    """Lower the best plans of networks; exit code 1 if one fails or gives other results."""
    planning.Wanted(algorithm=algorithm).check()
    names = [*NETWORKS, *EXTRA] if nets is None else options.parse_list(nets, "--nets")
    sizes = options.parse_list(buffers, "--buffers")
    for text in sizes:
        parse_size(text)
    if table:
        from benchmarks.lowered_tables import page

        print("\n".join(page(output or RESULTS)))
        return 0
    if child:
        for net in names:
            try_network(net, image, sizes, algorithm, opened(net, algorithm, output or RESULTS))
        return 0
    from benchmarks.lowered_case import check_network

    for net in names:
        check_network(net)
    folder = output_folder(output or RESULTS, RESULTS, "")
    good = True
    for net in names:
        size = size_for(net, image)
        wanted = sizes if again else missing_buffers(opened(net, algorithm, folder).data, size, sizes)
        if wanted:
            in_child(net, size, wanted, algorithm, folder, limit)
        rows = opened(net, algorithm, folder).data.get("rows", [])
        for row in [row for row in rows if row["buffer"] in sizes and row["image"] == size]:
            good = good and passed(row)
            if row["buffer"] in wanted:
                print(verdict(row), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run_program(main))

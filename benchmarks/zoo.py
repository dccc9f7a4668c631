"""Which networks go from a name to a valid plan to a compiled module that runs and gives the same results.

Example: python benchmarks/zoo.py --only resnet18@64,squeezenet1_1@64

One child process a network, so that a crash or a time limit costs one row. Every result is written as it comes to
``results/zoo/NAME.json``; a second run goes on where the first ended. ``results/zoo/zoo.md`` is the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError
from tvm_fusion.files import write_text_atomic
from tvm_fusion.reports.record import Record, output_folder, read_record

RESULTS = Path(__file__).parent / "results"

# (network at a small input size, family). Sizes are the smallest at which the network makes sense.
CNN = (
    "resnet18@64", "resnext50_32x4d@64", "res2net50_26w_4s@64", "alexnet@64", "vgg11@64", "squeezenet1_1@64",
    "densenet121@64", "googlenet@64", "inception_v3@96", "mobilenetv1_100@64", "mobilenetv2_100@64",
    "mobilenetv3_small_100@64", "mobilenetv4_conv_small@64", "mnasnet_100@64", "efficientnet_b0@64", "regnety_002@64",
    "shufflenet_v2_x1_0@64", "ghostnet_100@64", "lcnet_050@64", "repvgg_a0@64", "dla34@64", "cspdarknet53@64",
    "ese_vovnet19b_dw@64", "convnext_atto@64", "mixnet_s@64", "rexnet_100@64", "hrnet_w18_small@64",
)  # fmt: skip
TRANSFORMER = (
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "pvt_v2_b0@64", "cait_xxs24_224",
    "xcit_nano_12_p16_224",
)  # fmt: skip
MIXER = ("mixer_s32_224", "resmlp_12_224", "poolformer_s12@64", "convmixer_768_32@64")
HYBRID = (
    "mobilevit_xxs@64", "levit_128s@224", "edgenext_xx_small@64", "efficientformer_l1@224", "coatnet_nano_rw_224",
    "fastvit_t8@64",
)  # fmt: skip
FAMILIES = {"CNN": CNN, "transformer": TRANSFORMER, "MLP / pooling": MIXER, "hybrid": HYBRID}
LIGHT_ONNX = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
)  # fmt: skip
STAGES = ("graph", "plan", "compile and run")


def networks() -> dict[str, tuple[str, str]]:
    """Name -> (family, what a front end takes) of everything that is tried."""
    found = {name: (family, name) for family, names in FAMILIES.items() for name in names}
    return found | {f"light_{name}.onnx": ("ONNX", light_path(name)) for name in LIGHT_ONNX}


def light_path(name: str) -> str:
    """The file of a model-zoo graph in the onnx wheel."""
    import onnx.backend.test

    return str(Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx")


def try_network(source: str, buffer: str | None, algorithm: str, record: Record) -> None:
    """Go through the stages, writing what each gives; the error of the first that fails is recorded."""
    hardware = options.accelerator_of(None, buffer)
    stage = STAGES[0]
    begin = time.perf_counter()
    try:
        with session.quiet(verbose=False):
            from tvm_fusion.cli import building

            network = building.load(source, 1, seed=0)
            graph = network.graph
            record.add(operators=len(graph), graph_seconds=time.perf_counter() - begin)
            stage, begin = STAGES[1], time.perf_counter()
            wanted = planning.Wanted(algorithm=algorithm, budget_plans=200, seconds=60.0, scheme="lbdf")
            found = planning.find(graph, hardware, wanted)
            if not found.evaluation.valid:
                raise FusionError("the plan has a group that does not fit")
            record.add(
                groups=len(found.result.plan.groups),
                network_dram_bytes=found.evaluation.network_dram_bytes,
                unfused_dram_bytes=found.evaluation.unfused_dram_bytes,
                optimal=found.result.optimal,
                plan_seconds=time.perf_counter() - begin,
            )
            stage, begin = STAGES[2], time.perf_counter()
            from tvm_fusion.passes.execute import compare_with_unfused

            error = compare_with_unfused(network.module, found.result.plan, accelerator=hardware)
            record.add(largest_relative_error=error, compile_and_run_seconds=time.perf_counter() - begin)
            stage = ""
    except Exception as problem:
        line = (str(problem).strip().splitlines() or [""])[-1 if not isinstance(problem, FusionError) else 0]
        trace = "" if isinstance(problem, FusionError) else traceback.format_exc()
        record.add(problem=f"{type(problem).__name__}: {line}", traceback=trace)
    record.add(failed_stage=stage, done=True)


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """The table, and below it why those that failed did."""
    text = ["| network | family | operators | groups | unfused MB | plan MB | largest relative error |"]
    text.append("|---|---|---:|---:|---:|---:|---:|")
    failed = []
    for name, row in rows.items():
        cells = [name, row["family"], *(str(row.get(key, "")) for key in ("operators", "groups"))]
        cells += [f"{row[k] / 1e6:.2f}" if k in row else "" for k in ("unfused_dram_bytes", "network_dram_bytes")]
        error = row.get("largest_relative_error")
        cells.append(f"failed: {row['failed_stage']}" if row["failed_stage"] else f"{error:.1e}")
        text.append("| " + " | ".join(cells) + " |")
        if row["failed_stage"]:
            failed.append(f"- {name}, {row['failed_stage']}: {row.get('problem', 'unknown')}")
    passed = len(rows) - len(failed)
    return "\n".join([f"{passed} of {len(rows)} networks pass every stage.", "", *text, "", *failed]).rstrip() + "\n"


def in_child(name: str, folder: Path, buffer: str | None, algorithm: str, seconds: int) -> dict[str, Any]:
    """Run one network in a process of its own; a crash or a time limit becomes its problem."""
    path = folder / f"{name}.json"
    command = [sys.executable, __file__, "--child", name, "-o", str(folder), "--algorithm", algorithm]
    command += ["--buffer", buffer] if buffer else []
    problem = ""
    try:
        done = subprocess.run(command, check=False, timeout=seconds, capture_output=True, text=True)
        if done.returncode:
            problem = f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"
    except subprocess.TimeoutExpired:
        problem = f"not done in {seconds} s"
    row = read_record(path) or {"family": networks()[name][0]}
    if problem or not row.get("done"):
        stage = STAGES[sum(key in row for key in ("graph_seconds", "plan_seconds"))]
        row |= {"problem": problem or "ended early", "failed_stage": stage, "done": True}
        write_text_atomic(path, json.dumps(row, indent=1) + "\n")
    return row


def main(
    only: Annotated[str | None, typer.Option("--only", help="Names by comma instead of all.")] = None,
    buffer: options.Buffer = None,
    algorithm: options.Algorithm = "best",
    limit: Annotated[
        int, typer.Option("--limit", parser=options.whole("--limit", 1), metavar="N", help="Seconds for one network.")
    ] = 600,
    again: Annotated[bool, typer.Option("--again", help="Also those that an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/results/zoo)")] = None,
    child: Annotated[str | None, typer.Option("--child", hidden=True)] = None,
) -> int:
    """Try every network of the zoo; resume where an earlier run ended. Exit code 1: one failed."""
    table = networks()
    folder = output_folder(output, RESULTS, "zoo")
    names = [child] if child else options.parse_list(only, "--only") if only is not None else list(table)
    for name in names:
        if name not in table:
            raise FusionError(f"network {name!r} is not in the zoo; allowed: {', '.join(table)}")
    planning.Wanted(algorithm=algorithm).check()
    options.accelerator_of(None, buffer)
    if child:
        family, source = table[child]
        facts = {"network": child, "family": family, "buffer": buffer or "256KiB", "algorithm": algorithm}
        try_network(source, buffer, algorithm, Record(folder / f"{child}.json", **facts))
        return 0
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        earlier = None if again else read_record(folder / f"{name}.json")
        same = earlier is not None and earlier.get("done") and earlier.get("buffer") == (buffer or "256KiB")
        rows[name] = earlier if earlier is not None and same else in_child(name, folder, buffer, algorithm, limit)
        verdict = rows[name]["failed_stage"] or f"{rows[name]['largest_relative_error']:.1e}"
        print(f"{name}: {verdict} {rows[name].get('problem', '')}", file=sys.stderr, flush=True)
        write_text_atomic(folder / "zoo.md", markdown(rows))
    print(markdown(rows), end="")
    return 1 if any(row["failed_stage"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(run_program(main))

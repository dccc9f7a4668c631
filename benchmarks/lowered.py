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

from benchmarks import zoo
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import parse_size
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, file_name, output_folder, read_record

RESULTS = Path(__file__).parent / "lowered"
INT8 = "+int8"
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
IMAGES = 3  # of which onnxruntime's results are compared
Row = dict[str, Any]


class Case:
    """A network with what its lowered plans are compared with; nothing is compiled twice."""

    def __init__(self, net: str, image: int | None, folder: Path) -> None:
        from tvm_fusion.cli import building
        from tvm_fusion.passes import extract

        self.file: Path | None = None
        spec, is_int8 = net.removesuffix(INT8), net.endswith(INT8)
        spec += f"@{image}" if image else ""
        if is_int8:
            self.file, name = quantized_network(spec, folder)
        network = building.load(str(self.file) if self.file else source_of(spec), 1, seed=0)
        self.name = f"{name}{INT8}" if is_int8 else network.name
        self.graph, self.module = network.graph, network.module
        if is_int8:  # exact sums; as the file has them they are rounded to float32
            self.module = extract(self.module).module
        self.compile_seconds = 0.0
        self._outputs: dict[str, list[Any]] = {}

    def outputs(self, which: str, module: Any) -> list[Any]:
        """Results of the unfused network on random inputs: "whole", or cut off before its last softmax."""
        import numpy as np
        import tvm

        from benchmarks.lowered_plan import host_target
        from tvm_fusion.passes.execute import random_inputs, run_executable

        if which not in self._outputs:
            begin = time.perf_counter()
            executable = tvm.compile(module, host_target())
            self.compile_seconds += time.perf_counter() - begin
            self._outputs[which] = run_executable(executable, random_inputs(module))
            if not all(np.isfinite(array).all() for array in self._outputs[which]):
                raise FusionError("the unfused network gives infinite or undefined results on random input")
        return self._outputs[which]


def size_for(net: str, image: int | None) -> int | None:
    """``image``, unless the network is a file or names its size."""
    return None if net.endswith((".onnx", ".pt2")) or "@" in net else image


def source_of(spec: str) -> str:
    """What a front end takes: the path of a graph of the onnx wheel by its short name."""
    short = spec.removeprefix("light_").removesuffix(".onnx")
    return zoo.light_path(short) if spec == f"light_{short}.onnx" else spec


def quantized_network(spec: str, folder: Path) -> tuple[Path, str]:
    """A quantised ONNX file of a network of timm or torchvision, int8 with a scale a channel; and its name."""
    from onnxruntime.quantization import QuantType

    from benchmarks.quantized import float_file, quantized
    from tvm_fusion.frontends.model_name import build_model

    built = build_model(spec, seed=0)
    path = float_file(built.module, built.image_shape[1], folder / f"{file_name(spec)}.onnx")
    return quantized(path, activation_type=QuantType.QInt8, per_channel=True), built.name


def measure(case: Case, buffer_bytes: int, algorithm: str) -> Row:
    """One row: plan, lower, verify, compile, compare."""
    from benchmarks.lowered_plan import at_own_widths, compile_lowered, host_target, lower_plan
    from tvm_fusion.passes.before_softmax import before_softmax
    from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable

    accelerator = at_own_widths(buffer_bytes)
    found = planning.find(case.graph, accelerator, algorithm, 1000, 0, 120.0)
    plan = found.result.plan
    lowered = lower_plan(case.module, case.graph, plan, accelerator)
    begin = time.perf_counter()
    executable = compile_lowered(lowered.module, host_target())
    compile_seconds = time.perf_counter() - begin
    results = run_executable(executable, random_inputs(case.module))
    errors = [largest_relative_error(results, case.outputs("whole", case.module))]
    shorter = before_softmax(case.module, plan)
    if shorter is not None:
        module, cut = shorter
        graph_of_cut = extracted_graph(module)
        lowered_cut = lower_plan(module, graph_of_cut, cut, accelerator)
        results = run_executable(compile_lowered(lowered_cut.module, host_target()), random_inputs(module))
        errors.append(largest_relative_error(results, case.outputs("before softmax", module)))
    row = facts_of(case.graph, found, lowered) | {
        "largest_relative_error": max(errors),
        "seconds": {
            "search": round(found.result.seconds, 1),
            "lower": round(lowered.seconds, 1),
            "compile": round(compile_seconds, 1),
            "compile_unfused": round(case.compile_seconds, 1),
        },
    }
    if case.file is not None:
        row["steps"] = steps_apart(case, executable)
    return row


def extracted_graph(module: Any) -> Any:
    """The operator graph of a module."""
    from tvm_fusion.passes import extract

    return extract(module).graph


def facts_of(graph: Any, found: Any, lowered: Any) -> Row:
    """What was planned and how much of it was lowered."""
    by_rows = [group for group in lowered.groups if group.scheme == "lbdf"]
    made = [group for group in by_rows if group.lowered]
    kinds = {operator.name: operator.type for operator in graph.operators}
    refused = [
        {
            "operator": group.refused_operator,
            "type": kinds.get(group.refused_operator, ""),
            "reason": group.reason,
            "operators": len(group.operators),
        }
        for group in by_rows
        if not group.lowered
    ]
    return {
        "operators": len(graph),
        "groups": len(lowered.groups),
        "lbdf_groups": len(by_rows),
        "lowered_groups": len(made),
        "fusable_operators": sum(len(group.operators) for group in by_rows),
        "lowered_operators": sum(len(group.operators) for group in made),
        "refused": refused,
        "bytes_equal": not lowered.mismatch,
        "mismatch": lowered.mismatch,
        "network_dram_bytes": found.evaluation.network_dram_bytes,
        "unfused_dram_bytes": found.evaluation.unfused_dram_bytes,
        "optimal": found.result.optimal,
    }


def steps_apart(case: Case, executable: Any) -> list[float]:
    """Largest difference from onnxruntime's output in quantisation steps of it, for each of some images, ascending."""
    import numpy as np

    from benchmarks.quantized import image, results, step
    from tvm_fusion.passes import extract
    from tvm_fusion.passes.execute import run_executable

    assert case.file is not None
    shape = [int(size) for size in case.module["main"].params[0].ty.shape]
    images = [image(shape, 100 + seed) for seed in range(IMAGES)]
    one = step(extract(case.module))
    expected = results(case.file, images)
    return sorted(
        round(float(np.abs(run_executable(executable, [x])[0] - y).max()) / one, 3)
        for x, y in zip(images, expected, strict=True)
    )


def try_network(net: str, image: int | None, buffers: list[str], algorithm: str, record: Record) -> None:
    """Add a row for every buffer; what fails is a row with its problem."""
    with tempfile.TemporaryDirectory() as folder:
        case: Case | None = None
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
    output: Annotated[Path | None, typer.Option("-o", "--output", help="[default: benchmarks/lowered]")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> int:
    """Lower the best plans of networks; exit code 1 if one fails or gives other results."""
    planning.check_algorithm(algorithm)
    names = [*NETWORKS, *EXTRA] if nets is None else options.parse_list(nets, "--nets")
    sizes = options.parse_list(buffers, "--buffers")
    for text in sizes:
        parse_size(text)
    if table:
        from benchmarks.lowered_tables import page

        print("\n".join(page(output or RESULTS)))
        return 0
    folder = output_folder(output or RESULTS, RESULTS, "")
    if child:
        for net in names:
            try_network(net, image, sizes, algorithm, opened(net, algorithm, folder))
        return 0
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

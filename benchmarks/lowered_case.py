"""One network of benchmarks/lowered.py: its best plan lowered, verified, compiled, compared with the unfused one."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from benchmarks import zoo
from benchmarks.lowered_plan import LoweredPlan, at_own_widths, host_target, lower_plan
from benchmarks.quantized import float_file, from_given_operands, image, narrow_tensors, quantized, results, step
from tvm_fusion.cli import building, planning
from tvm_fusion.errors import FusionError
from tvm_fusion.frontends.model_name import build_model, find_model, parse_name
from tvm_fusion.passes import extract
from tvm_fusion.passes.before_softmax import before_softmax
from tvm_fusion.passes.compile_plan import build_lowered
from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable
from tvm_fusion.reports.record import file_name

INT8 = "+int8"
IMAGES = 3  # of which onnxruntime's results are compared
Row = dict[str, Any]


class Case:
    """A network with what its lowered plans are compared with; nothing is compiled twice."""

    def __init__(self, net: str, size: int | None, folder: Path) -> None:
        self.file: Path | None = None
        spec, is_int8 = net.removesuffix(INT8), net.endswith(INT8)
        spec += f"@{size}" if size else ""
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
        if which not in self._outputs:
            begin = time.perf_counter()
            executable = tvm.compile(module, host_target())
            self.compile_seconds += time.perf_counter() - begin
            self._outputs[which] = run_executable(executable, random_inputs(module))
            if not all(np.isfinite(array).all() for array in self._outputs[which]):
                raise FusionError("the unfused network gives infinite or undefined results on random input")
        return self._outputs[which]

    def steps_apart(self, executable: Any) -> list[float]:
        """Largest difference from onnxruntime's output, in steps of it, for each of some images, ascending."""
        return self._steps([run_executable(executable, [x])[0] for x in self._images])

    @cached_property
    def runtime_facts(self) -> dict[str, Any]:
        """How far onnxruntime's output from sums of whole numbers is from its own, and how far our operators are each.

        A sum on the edge between two steps falls either way, and a network of random weights makes more of it: only
        what an operator makes of onnxruntime's operands ("operator_steps": the most steps apart, and of how many
        elements one is apart) says that the operators are alike.
        """
        assert self.file is not None
        given = narrow_tensors(self.file, self._images[0])
        made = from_given_operands(extract(self.module), self._images[0], given)
        apart = [np.abs(a.astype(np.int32) - b.astype(np.int32)) for a, b in zip(made, given, strict=True)]
        differing = sum(int((found > 0).sum()) for found in apart)
        return {
            "steps_of_runtime": self._steps(results(self.file, self._images, whole_numbers=True)),
            "operator_steps": max(int(found.max()) for found in apart),
            "operator_elements_apart": differing / sum(found.size for found in apart),
        }

    def _steps(self, found: list[Any]) -> list[float]:
        one = step(extract(self.module))
        pairs = zip(found, self._expected, strict=True)
        return sorted(round(float(np.abs(a - b).max()) / one, 3) for a, b in pairs)

    @cached_property
    def _images(self) -> list[Any]:
        shape = [int(size) for size in self.module["main"].params[0].ty.shape]
        return [image(shape, 100 + seed) for seed in range(IMAGES)]

    @cached_property
    def _expected(self) -> list[Any]:
        assert self.file is not None
        return results(self.file, self._images)


def source_of(spec: str) -> str:
    """What a front end takes: the path of a graph of the onnx wheel by its short name."""
    short = spec.removeprefix("light_").removesuffix(".onnx")
    return zoo.light_path(short) if short in zoo.LIGHT_ONNX and spec == f"light_{short}.onnx" else spec


def check_network(net: str) -> None:
    """Raise FusionError for a name that no library knows, or a file that is not there, before anything is measured."""
    source = source_of(net.removesuffix(INT8))
    if source.endswith((".onnx", ".pt2")):
        if not Path(source).is_file():
            raise FusionError(f"network file {source!r} does not exist")
        if net.endswith(INT8):
            raise FusionError(f"network {net!r} is a file; only names of timm and torchvision can be quantised here")
    else:
        library, name, _ = parse_name(source)
        find_model(library, name)


def quantized_network(spec: str, folder: Path) -> tuple[Path, str]:
    """A quantised ONNX file of a network of timm or torchvision, int8 with a scale a channel; and its name."""
    from onnxruntime.quantization import QuantType

    built = build_model(spec, seed=0)
    path = float_file(built.module, built.image_shape[1], folder / f"{file_name(spec)}.onnx")
    return quantized(path, activation_type=QuantType.QInt8, per_channel=True), built.name


def measure(case: Case, buffer_bytes: int, algorithm: str) -> Row:
    """One row: plan, lower, verify, compile, compare."""
    accelerator = at_own_widths(buffer_bytes)
    found = planning.find(case.graph, accelerator, planning.Wanted(algorithm=algorithm, seconds=120.0, scheme="lbdf"))
    plan = found.result.plan
    lowered = lower_plan(case.module, case.graph, plan, accelerator)
    begin = time.perf_counter()
    executable = build_lowered(lowered.module, host_target())
    compile_seconds = time.perf_counter() - begin
    outputs = run_executable(executable, random_inputs(case.module))
    errors = [largest_relative_error(outputs, case.outputs("whole", case.module))]
    shorter = before_softmax(case.module, plan)
    if shorter is not None:
        module, cut = shorter
        lowered_cut = lower_plan(module, extract(module).graph, cut, accelerator)
        outputs = run_executable(build_lowered(lowered_cut.module, host_target()), random_inputs(module))
        errors.append(largest_relative_error(outputs, case.outputs("before softmax", module)))
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
        row |= {"steps": case.steps_apart(executable), **case.runtime_facts}
    return row


def facts_of(graph: Any, found: planning.Found, lowered: LoweredPlan) -> Row:
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

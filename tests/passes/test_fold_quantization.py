"""Quantised ONNX files become operators on 8-bit tensors whose results are onnxruntime's within a step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from benchmarks.quantized import float_file, from_given_operands, image, narrow_tensors, quantized, results, step
from tests.passes.modules import conv, run, stepwise
from tests.passes.networks import whole
from tests.passes.quantized import SETTINGS, Array, Node, small
from tvm_fusion.cost_models.accelerator import Accelerator, load_accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.simulator import simulate_line_buffer
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.frontends import load_network
from tvm_fusion.graph.graph_io import graph_from_json, graph_to_json
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import Extraction, FuseByPlan, LowerGroups, VerifyPlan, extract, fold_quantization, normalize
from tvm_fusion.passes.attributes import ACCUMULATOR_BYTES, group_functions
from tvm_fusion.passes.execute import run_executable
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.verify_memory import VerifyMemory

X = (1, 4, 9, 8)
UNSIGNED = SETTINGS["uint8, a scale a channel"]["activation_type"]
OWN_WIDTHS = Accelerator(activation_bits=None, weight_bits=None)


def weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    """Normal numbers, divided so that sums over the weights of one output are about 1."""
    rng = np.random.default_rng(3)
    return {
        name: (rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)
        for name, shape in shapes.items()
    }


def node(kind: str, read: str, result: str = "y", **attributes: Any) -> Node:
    return kind, read, result, attributes


BLOCK = [
    node("Conv", "x w0 b0", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
    node("Relu", "a", "b"),
    node("Conv", "b w1 b1", "c", pads=[1, 1, 1, 1], group=8),
    node("Add", "b c", "d"),
    node("GlobalAveragePool", "d", "e"),
    node("Flatten", "e", "f"),
    node("Gemm", "f w2 b2", "y", transB=1),
]
BLOCK_WEIGHTS = weights(w0=(8, 4, 3, 3), b0=(8,), w1=(8, 1, 3, 3), b1=(8,), w2=(5, 8), b2=(5,))


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised network of all that a residual block has."""
    folder = tmp_path_factory.mktemp("block")
    return small(folder, BLOCK, BLOCK_WEIGHTS, X, activation_type=SETTINGS["int8, a scale a tensor"]["activation_type"])


def extraction_of(path: Path) -> Extraction:
    return extract(load_network(path).module)


def steps_apart(path: Path, extraction: Extraction, images: int = 1) -> list[float]:
    """Largest difference from onnxruntime's output, in steps of it, for each of some images, ascending."""
    shape = [int(size) for size in extraction.module["main"].params[0].ty.shape]
    given = [image(shape, 100 + seed) for seed in range(images)]
    compiled = tvm.compile(extraction.module, "llvm")
    found = []
    for x, expected in zip(given, results(path, given), strict=True):
        assert np.abs(expected).max() > 0
        found.append(float(np.abs(run_executable(compiled, [x])[0] - expected).max()) / step(extraction))
    return sorted(found)


def dtypes_between(extraction: Extraction) -> set[str]:
    """Dtypes of all tensors but the outputs."""
    graph = extraction.graph
    return {operator.dtype for operator in graph.operators if operator.id not in graph.outputs}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_residual_block_is_8_bits_between_operators_and_equals_onnxruntime(setting: str, tmp_path: Path) -> None:
    path = small(tmp_path, BLOCK, BLOCK_WEIGHTS, X, **SETTINGS[setting])
    found = extraction_of(path)
    types = [operator.type for operator in found.graph.operators]
    relu = ["relu"] if SETTINGS[setting].get("symmetric") else []
    body = ["conv2d", *relu, "depthwise_conv2d", "add", "global_avg_pool2d", "dense"]
    assert types == ["quantize", *body, "dequantize"]
    assert dtypes_between(found) == {"uint8" if setting.startswith("uint8") else "int8"}
    assert steps_apart(path, found) < [1.01]


def after_sigmoid(kind: str, **attributes: Any) -> list[Node]:
    """The quantiser leaves what only moves elements alone, unless its operand is quantised."""
    return [node("Sigmoid", "x", "a"), node(kind, "a", **attributes)]


ONE_OPERATOR: dict[str, tuple[list[Node], dict[str, Array], list[str]]] = {
    "sigmoid": ([node("Sigmoid", "x")], {}, ["sigmoid"]),
    "leaky relu": ([node("LeakyRelu", "x", alpha=0.1)], {}, ["leakyrelu"]),
    "silu": ([node("Sigmoid", "x", "a"), node("Mul", "x a")], {}, ["silu"]),
    "product": ([node("Transpose", "x", "t", perm=[0, 1, 2, 3]), node("Mul", "x t")], {}, ["multiply"]),
    "average": (after_sigmoid("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}, ["sigmoid", "avg_pool2d"]),
    "maximum": (
        after_sigmoid("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        {},
        ["sigmoid", "max_pool2d"],
    ),
    "transpose": (after_sigmoid("Transpose", perm=[0, 2, 3, 1]), {}, ["sigmoid", "permute"]),
    "flatten": (after_sigmoid("Flatten"), {}, ["sigmoid", "reshape"]),
    "split": (
        [node("Sigmoid", "x", "a"), ("Split", "a", "b c", {"axis": 1}), node("Mul", "b c")],
        {},
        ["sigmoid", "slice", "slice", "multiply"],
    ),
    "slice": (
        [node("Sigmoid", "x", "a"), node("Slice", "a from to axes")],
        {"from": np.array([1]), "to": np.array([7]), "axes": np.array([2])},
        ["sigmoid", "slice"],
    ),
    "pad": (
        [node("Sigmoid", "x", "a"), node("Pad", "a widths")],
        {"widths": np.array([0, 0, 1, 1, 0, 0, 2, 1])},
        ["sigmoid", "pad"],
    ),
    "concat": ([node("Sigmoid", "x", "a"), node("Concat", "x a", axis=1)], {}, ["sigmoid", "concat"]),
    "softmax": ([node("Softmax", "x", axis=1)], {}, ["softmax"]),
    "dilated": (
        [node("Conv", "x w", pads=[2, 2, 2, 2], dilations=[2, 2], group=2)],
        weights(w=(6, 2, 3, 3)),
        ["conv2d"],
    ),
    "transposed": ([node("ConvTranspose", "x w", strides=[2, 2])], weights(w=(4, 3, 2, 2)), ["conv2d_transpose"]),
    "products of rows": ([node("MatMul", "x w")], weights(w=(8, 6)), ["dense"]),
    "product of two": (
        [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "x t")],
        {},
        ["permute", "matmul"],
    ),
}


@pytest.mark.parametrize("name", ONE_OPERATOR)
def test_one_operator_between_quantisation_is_one_operator_on_8_bits(name: str, tmp_path: Path) -> None:
    nodes, given, types = ONE_OPERATOR[name]
    path = small(tmp_path, nodes, given, X)
    found = extraction_of(path)
    assert [operator.type for operator in found.graph.operators] == ["quantize", *types, "dequantize"]
    assert dtypes_between(found) == {"int8"} or dtypes_between(found) == {"uint8"}
    assert steps_apart(path, found) < [1.01]


def test_padding_stands_for_real_zeros(tmp_path: Path) -> None:
    """The input's zero point is far from 0, and the corners of the result see five padded places of nine."""
    nodes = [node("Exp", "x", "a"), node("Conv", "a w", pads=[1, 1, 1, 1])]
    path = small(tmp_path, nodes, weights(w=(4, 4, 3, 3)), X)
    assert steps_apart(path, extraction_of(path)) < [1.01]


def test_unsigned_weights_with_a_zero_point_of_their_own(tmp_path: Path) -> None:
    given = {"w": np.abs(weights(w=(4, 4, 3, 3))["w"]) + np.float32(0.01)}
    path = small(
        tmp_path, [node("Conv", "x w", pads=[1, 1, 1, 1])], given, X, activation_type=UNSIGNED, weight_type=UNSIGNED
    )
    assert steps_apart(path, extraction_of(path)) < [1.01]


def test_a_folded_module_stays_as_it_is(block: Path) -> None:
    once = normalize(load_network(block).module)
    tvm.ir.assert_structural_equal(fold_quantization(once), once)
    tvm.ir.assert_structural_equal(normalize(once), once)
    again, first = extract(once), extract(load_network(block).module)
    assert again.graph.fingerprint == first.graph.fingerprint
    assert again.bindings == first.bindings


def test_a_float_module_is_left_alone() -> None:
    mod = stepwise(lambda emit, x: op.nn.relu(emit(conv(x, 4))), X)
    assert fold_quantization(mod).same_as(mod)


SCALE, ZERO = relax.const(0.05), relax.const(3, "int8")


def real_convolution(emit: Any, x: Any) -> Any:
    """A convolution of a quantised tensor and an int8 constant, on real numbers."""
    weight = relax.const(np.random.default_rng(0).integers(-9, 9, (4, 4, 3, 3)).astype(np.int8))
    of_weight = op.dequantize(weight, relax.const(0.02), relax.const(0, "int8"), axis=0)
    real = emit(op.dequantize(emit(op.quantize(x, SCALE, ZERO, axis=0)), SCALE, ZERO, axis=0))
    return emit(op.nn.conv2d(real, emit(of_weight), padding=1))


def rounded(emit: Any, x: Any) -> Any:
    """Quantised and dequantised."""
    return op.dequantize(emit(op.quantize(x, SCALE, ZERO, axis=0)), SCALE, ZERO, axis=0)


def test_sums_that_two_operators_read_are_read_as_real_numbers() -> None:
    """A convolution whose result is quantised after a relu, and returned besides."""

    def build(emit: Any, x: Any) -> Any:
        sums = real_convolution(emit, x)
        return sums, rounded(emit, emit(op.nn.relu(sums)))

    mod = stepwise(build, X)
    x = image(X, 0)
    exact, within_a_step = zip(run(normalize(mod), [x]), run(mod, [x]), strict=True)
    assert np.allclose(*exact, atol=1e-4)
    assert np.abs(within_a_step[0] - within_a_step[1]).max() <= 0.0501


RANGES = {
    "relu": op.nn.relu,
    "relu6": op.nn.relu6,
    "clip": lambda x: op.clip(x, -0.4, 0.7),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_after_a_convolution_belongs_to_its_requantisation(name: str) -> None:
    mod = stepwise(lambda emit, x: rounded(emit, emit(RANGES[name](real_convolution(emit, x)))), X)
    found = extract(mod)
    assert [operator.type for operator in found.graph.operators] == ["quantize", "conv2d", "dequantize"]
    x = image(X, 0)
    assert np.abs(run(found.module, [x])[0] - run(mod, [x])[0]).max() <= 0.0501


def test_a_bias_of_real_numbers_becomes_whole_sums() -> None:
    bias = relax.const(np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4, 1, 1))
    mod = stepwise(lambda emit, x: rounded(emit, emit(op.add(bias, real_convolution(emit, x)))), X)
    found = extract(mod)
    assert found.graph.operators[1].weight_bytes == 144 + 4 * 4
    x = image(X, 0)
    assert np.abs(run(found.module, [x])[0] - run(mod, [x])[0]).max() <= 0.0501


def test_an_addition_and_its_relu_are_one_operator_where_only_their_result_is_quantised() -> None:
    def build(emit: Any, x: Any, y: Any) -> Any:
        a, b = (emit(rounded(emit, emit(part))) for part in (op.sigmoid(x), op.tanh(y)))
        return rounded(emit, emit(op.nn.relu(emit(op.add(a, b)))))

    graph = extract(stepwise(build, X, X)).graph
    assert [operator.type for operator in graph.operators] == ["sigmoid", "tanh", "add", "dequantize"]


def test_weights_count_in_their_own_dtypes(block: Path) -> None:
    graph = extraction_of(block).graph
    found = {operator.type: operator for operator in graph.operators}
    # int8 weights, an int32 bias a channel; one scale for all, which is no weight.
    assert (found["conv2d"].weight_elements, found["conv2d"].weight_bytes) == (8 * 36 + 8, 8 * 36 + 4 * 8)
    assert (found["dense"].weight_elements, found["dense"].weight_bytes) == (40 + 5, 40 + 4 * 5)
    assert found["add"].weight_bytes is None
    sizes = Sizes(graph, OWN_WIDTHS)
    assert sizes.weight_bytes[found["conv2d"].id] == 320
    assert Sizes(graph, replace(OWN_WIDTHS, weight_bits=8)).weight_bytes[found["conv2d"].id] == 296
    everything = (1 << len(graph)) - 1
    assert simulate_line_buffer(graph, everything, OWN_WIDTHS).weight_bytes == sizes.weights(everything)
    copy = graph_from_json(graph_to_json(graph))
    assert copy == graph
    assert copy.fingerprint == graph.fingerprint


def test_accumulators_of_a_row_are_counted(block: Path) -> None:
    found = {operator.type: operator.attributes for operator in extraction_of(block).graph.operators}
    assert found["conv2d"] == {"accumulator_dtype": "int32", "accumulator_row_bytes": 8 * 4 * 4}
    assert found["global_avg_pool2d"] == {"accumulator_dtype": "float32", "accumulator_row_bytes": 8 * 4}
    assert found["add"] == {}


def lowered(module: tvm.IRModule, plan: PartitionPlan, accelerator: Accelerator) -> tvm.IRModule:
    """Grouped, lowered to rows, and both verified."""
    grouped = VerifyPlan(plan)(FuseByPlan(plan, accelerator)(module))
    return VerifyMemory()(LowerLineBuffer()(grouped))


def test_one_group_of_everything_makes_its_rows_in_8_bits(block: Path) -> None:
    module = load_network(block).module
    found = extract(module)
    rows = lowered(module, whole(found.graph), OWN_WIDTHS)
    attributes = group_functions(rows)["fused_group_0"]
    each = sum(operator.attributes.get("accumulator_row_bytes", 0) for operator in found.graph.operators)
    assert int(attributes[ACCUMULATOR_BYTES]) < each  # a tile of the sums at a time is in registers
    x = image(X, 1)
    assert np.array_equal(run_executable(tvm.compile(LowerGroups()(rows), "llvm"), [x])[0], run(found.module, [x])[0])


def greedy(graph: Any, accelerator: Accelerator) -> PartitionPlan:
    """Operators in their order, a new group where the last one would no longer be a valid LBDF group."""
    oracle, groups, current = Oracle(graph, accelerator), [], 0
    for i in range(len(graph)):
        larger = current | 1 << i
        alone = len(graph.components(larger)) > 1
        if current and (alone or not oracle.cost(larger).valid or oracle.cost(larger).scheme != "lbdf"):
            groups.append(current)
            larger = 1 << i
        current = larger
    return PartitionPlan.from_masks(graph, [*groups, current])


@pytest.fixture(scope="module")
def float_networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """timm's networks at 64 x 64 as ONNX files, with random weights and the batch statistics that belong to them."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    found = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        path = float_file(timm.create_model(name), 64, tmp_path_factory.mktemp(name) / f"{name}.onnx")
        found[name] = path
    return found


NETWORKS = {"resnet18": 48, "mobilenetv2_100": 66, "efficientnet_b0": 191}


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name: str, setting: str, float_networks: dict[str, Path]) -> None:
    """Every operator within a step of onnxruntime's, from its operands; the output too, but where one such step grew.

    onnxruntime runs some of the operators on real numbers, so that sums on the edge between two steps fall either way;
    a network of random weights makes more of it, onnxruntime against itself likewise.
    """
    path = quantized(float_networks[name], **SETTINGS[setting])
    found = extraction_of(path)
    assert dtypes_between(found) == {"uint8" if setting.startswith("uint8") else "int8"}
    float_operators = len(extract(load_network(float_networks[name]).module).graph)
    assert len(found.graph) <= float_operators + 3
    x = image((1, 3, 64, 64), 100)
    given = narrow_tensors(path, x)
    made = from_given_operands(found, x, given)
    apart = [np.abs(a.astype(np.int32) - b.astype(np.int32)) for a, b in zip(made, given, strict=True)]
    assert max(int(difference.max()) for difference in apart) <= 1
    assert sum(int((difference > 0).sum()) for difference in apart) < 1e-4 * sum(d.size for d in apart)
    assert steps_apart(path, found, images=3)[1] < 1.01


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_by_rows(name: str, float_networks: dict[str, Path]) -> None:
    path = quantized(float_networks[name], **SETTINGS["int8, a scale a channel"])
    module = load_network(path).module
    found = extract(module)
    accelerator = replace(load_accelerator("edge"), activation_bits=None, weight_bits=None)
    rows = lowered(module, greedy(found.graph, accelerator), accelerator)
    x = image((1, 3, 64, 64), 100)
    assert np.array_equal(run_executable(tvm.compile(LowerGroups()(rows), "llvm"), [x])[0], run(found.module, [x])[0])

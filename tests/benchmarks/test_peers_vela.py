"""benchmarks/peers_tflite.py and peers_vela.py: the file is the same network, and vela's schedule is read right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.peers_tflite import TfliteFile, nhwc, padding
from benchmarks.peers_vela import VelaRun, VelaSetting, run_vela, schedule, vela_version
from tests.graphs import Builder
from tvm_fusion.errors import FusionError
from tvm_fusion.graph import OperatorGraph, Window
from tvm_fusion.graph.demand import ACCUMULATE, SINGLE

NEEDS_VELA = pytest.mark.skipif(vela_version() is None, reason="ethos-u-vela is not installed (extra: peers)")
LOG = """\
Schedule: 'graph_MIN_BUFFERED'
\t0: Operation Conv2D  - OFM 1, 8, 8, 4 (in Sram)
\t\tAssigned Cascade = 2
\t\tsub-operations: [ Relu ]
\t1: Operation LUT  - OFM 1, 8, 8, 4 (in Sram)
\t\tAssigned Cascade = 2
\t\tsub-operations: -
\t2: Operation Conv2D  - OFM 1, 8, 8, 4 (in Dram)
\t\tAssigned Cascade = 0
\t\tsub-operations: [ Add Relu ]
CPU operators = 1 (25.0%)
"""


def small() -> OperatorGraph:
    """Stem of stride 2, SiLU, squeeze and excite, depthwise, a sum with ReLU, pooling and a dense layer with bias."""
    b = Builder(height=16)
    x = b.pointwise(b.conv(-1, stride=2), type_="silu")
    pooled = b.add("global_avg_pool2d", (1, 4, 1, 1), {x: ACCUMULATE})
    gate = b.pointwise(b.conv(pooled, kernel=1), type_="sigmoid")
    scaled = b.pointwise(x, gate, type_="multiply")
    filtered = b.conv(scaled)
    b.operators[filtered] = _depthwise(b.operators[filtered])
    joined = b.pointwise(b.pointwise(x, filtered, type_="add"), type_="relu")
    flat = b.add("global_avg_pool2d", (1, 4, 1, 1), {joined: ACCUMULATE})
    return b.graph(b.add("dense", (1, 10), {flat: SINGLE}, weight_elements=50, macs=40))


def _depthwise(operator: Any) -> Any:
    return replace(operator, type="depthwise_conv2d", weight_elements=36, macs=36 * 64)


def read_back(content: bytes) -> Any:
    from ethosu.vela.tflite.Model import Model

    return Model.GetRootAs(content)


@NEEDS_VELA
@pytest.mark.parametrize("as_table", [False, True])
def test_the_file_is_the_same_network(as_table: bool) -> None:
    from ethosu.vela.tflite.BuiltinOperator import BuiltinOperator

    graph = small()
    file = TfliteFile(graph, as_table)
    assert file.macs == sum(operator.macs for operator in graph.operators)
    assert {i for ids in file.ours.values() for i in ids} == set(range(len(graph)))
    model = read_back(file.content)
    assert model.SubgraphsLength() == 1
    subgraph = model.Subgraphs(0)
    names = {value: name for name, value in vars(BuiltinOperator).items() if not name.startswith("_")}
    read = [
        names[model.OperatorCodes(subgraph.Operators(k).OpcodeIndex()).BuiltinCode()]
        for k in range(subgraph.OperatorsLength())
    ]
    assert read == [name for name, _ in file.operators]
    silu = {"HARD_SWISH": 1, "LOGISTIC": 1} if as_table else {"LOGISTIC": 2}
    expected = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "MUL": 1 if as_table else 2, "ADD": 1, "MEAN": 2}
    assert Counter(read) == {**expected, **silu, "FULLY_CONNECTED": 1}
    tensors = {subgraph.Tensors(k).Name().decode(): subgraph.Tensors(k) for k in range(subgraph.TensorsLength())}
    for operator in graph.operators:
        if operator.name in tensors:
            assert tuple(tensors[operator.name].ShapeAsNumpy()) == nhwc(operator.shape)
    relu = next(operator.name for operator in graph.operators if operator.type == "relu")
    assert ("ADD", relu) in file.operators
    weights = tensors[f"{graph.operators[0].name}.weight"]
    assert weights.Quantization().ScaleLength() == 4
    values = np.frombuffer(model.Buffers(weights.Buffer()).DataAsNumpy(), np.int8).reshape(4, -1)
    assert (np.abs(values).max(axis=1) == 127).all()
    start = len(file.content) - len(file.content[file.content.find(values.tobytes()) :])
    assert start % 16 == 0


@NEEDS_VELA
def test_the_same_graph_gives_the_same_file() -> None:
    assert TfliteFile(small()).content == TfliteFile(small()).content


@NEEDS_VELA
def test_what_has_no_form_in_tflite_is_refused() -> None:
    b = Builder()
    with pytest.raises(FusionError, match=r"'gelu_0' is gelu, which has no form in .tflite here; known: conv2d, "):
        TfliteFile(b.graph(b.pointwise(-1, type_="gelu")))
    grouped = Builder()
    conv = grouped.conv(-1)
    grouped.operators[conv] = replace(grouped.operators[conv], weight_elements=72)
    with pytest.raises(FusionError, match="has 72 weights; 144 are its kernel's, a bias has 0 or 4"):
        TfliteFile(grouped.graph(conv))
    two = Builder(batch=2)
    two.conv(-1)
    with pytest.raises(FusionError, match="has batch 2"):
        TfliteFile(two.graph())


def test_padding_of_tflite() -> None:
    same = Window((3, 3), (2, 2), (1, 1, 1, 1))
    assert padding("a", same, (16, 15), (8, 8)) == "SAME"
    assert padding("a", Window((3, 3)), (8, 8), (6, 6)) == "VALID"
    with pytest.raises(FusionError, match="'a' pads by"):
        padding("a", Window((3, 3), (1, 1), (2, 2, 2, 2)), (8, 8), (10, 10))


def test_schedule_of_a_log() -> None:
    assert schedule(LOG) == [(0, 2, 1), (1, 2, 0), (2, 0, 2)]


KINDS = ("Conv2D", "Mean", "DepthwiseConv2D", "Mul", "Mul", "Mul", "Mul")


def run_of(names: list[str], ours: dict[str, tuple[int, ...]], **summary: str) -> VelaRun:
    file: Any = SimpleNamespace(ours=ours, macs=1, operators=[0] * 4)
    return VelaRun(
        file,
        summary,
        [{"Name": name, "Original Operator": kind, "MAC Count": "2"} for name, kind in zip(names, KINDS, strict=False)],
        LOG,
    )


def test_groups_of_a_schedule() -> None:
    """Operator 0 has no tensor of its own in the file: it belongs to the one that reads it."""
    b = Builder()
    first = b.pointwise(b.conv(-1))
    joined = b.pointwise(first, b.conv(b.pointwise(first, type_="sigmoid")), type_="add")
    graph = b.graph(joined)
    ours = {"r": (1,), "s": (2,), "c": (3,), "a": (4,)}
    run = run_of(["r", "r", "s", "c_intermediate/Add", "a", "a"], ours)
    assert run.fused() == [["r", "r", "s"], ["c_intermediate/Add", "a", "a"]]
    assert sorted(run.masks(graph)) == [0b111, 0b11000]
    with pytest.raises(FusionError, match="differ in length"):
        run_of(["r"] * 7, ours).fused()
    with pytest.raises(FusionError, match="does not name operator"):
        run_of(["r", "r", "s", "c", "c", "c"], ours).masks(graph)


def test_facts_of_a_summary() -> None:
    columns = [f"dram_{kind}_bytes" for kind in (
        "feature_map_read", "feature_map_write", "weight_read", "weight_write", "total",
    )]  # fmt: skip
    summary = {name: str(k) for k, name in enumerate(columns, 1)}
    summary |= {"total_npu_encoded_weights": "7", "sram_memory_used": "1.5", "nn_macs": "6"}
    facts = run_of(["r", "r", "s", "c", "a", "a"], {}, **summary).facts()
    assert (facts["dram_bytes"], facts["dram_weight_read_bytes"], facts["sram_used_bytes"]) == (5, 3, 1536)
    assert (facts["vela_macs"], facts["vela_weighted_macs"]) == (6, 4)
    assert (facts["operators_on_cpu"], facts["groups"]) == (1, 2)


@NEEDS_VELA
@pytest.mark.parametrize("setting", [VelaSetting(), VelaSetting(True, "Size")])
def test_vela_runs_and_counts_the_same_network(setting: VelaSetting) -> None:
    graph = small()
    run = run_vela(graph, 16 * 1024, setting)
    facts = run.facts()
    assert facts["operators_on_cpu"] == 0
    parts = ("feature_map_read", "feature_map_write", "weight_read", "weight_write")
    assert 0 < sum(facts[f"dram_{part}_bytes"] for part in parts) <= facts["dram_bytes"]
    assert facts["vela_weighted_macs"] == sum(operator.macs for operator in graph.operators)
    assert sum(run.masks(graph)) == (1 << len(graph)) - 1

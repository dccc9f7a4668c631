"""ONNX files: with and without weights, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.cli.onnx_models import convnet, save, unknown_operator
from tests.frontends.running import assert_close, noise, outputs_of, same_weights
from tvm_fusion import load_graph, load_network
from tvm_fusion.errors import FrontendError

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
node = helper.make_node


def value(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 17) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def reference_matches(path: Path, *shape: int) -> None:
    """TVM's results equal those of ONNX's own evaluator."""
    x = noise(*shape) * 4
    assert_close(outputs_of(load_network(path), [x]), ReferenceEvaluator(str(path)).run(None, {"x": x}))


def types(path: Path) -> list[str]:
    graph = load_graph(path)
    assert not graph.warnings
    return [operator.type for operator in graph.operators]


def test_results_equal_the_reference(tmp_path: Path) -> None:
    reference_matches(convnet(tmp_path / "block.onnx"), 1, 4, 16, 16)


class TestOperatorsThatTheImporterWouldLower:
    """They come as Relax operators, which have row rules, and compute the same."""

    shape = (1, 4, 8, 6)

    def check(self, path: Path, nodes: list[Any], weights: dict[str, Any], *expected: str, out: Any = None) -> None:
        save(path, nodes, {k: np.asarray(v) for k, v in weights.items()}, [*self.shape], out)
        assert types(path) == list(expected)
        reference_matches(path, *self.shape)

    def test_clip(self, tmp_path: Path) -> None:
        nodes, bounds = [node("Clip", ["x", "a", "b"], ["y"])], {"a": np.float32(0), "b": np.float32(6)}
        self.check(tmp_path / "a.onnx", nodes, bounds, "relu6")
        self.check(tmp_path / "b.onnx", nodes, bounds | {"b": np.float32(3)}, "clip")
        self.check(tmp_path / "c.onnx", nodes, bounds | {"a": np.float32(7)}, "maximum", "minimum")
        self.check(tmp_path / "d.onnx", [node("Clip", ["x", "a"], ["y"])], {"a": np.float32(1)}, "maximum")
        self.check(tmp_path / "e.onnx", [node("Clip", ["x", "", "b"], ["y"])], {"b": np.float32(1)}, "minimum")

    def test_clip_with_attributes(self, tmp_path: Path) -> None:
        clip = node("Clip", ["x"], ["y"], min=0.0, max=6.0)
        path = write(tmp_path / "old.onnx", [clip], [value("x", [1, 4])], [value("y", [1, 4])], opset=6)
        assert types(path) == ["relu6"]

    def test_pad(self, tmp_path: Path) -> None:
        widths, out = {"p": np.array([0, 0, 1, 2, 0, 0, 2, 0])}, [1, 4, 11, 8]
        for mode in ("constant", "reflect", "edge"):
            nodes = [node("Pad", ["x", "p"], ["y"], mode=mode)]
            self.check(tmp_path / f"{mode}.onnx", nodes, widths, "pad", out=out)
        nodes = [node("Pad", ["x", "p", "v"], ["y"])]
        self.check(tmp_path / "value.onnx", nodes, widths | {"v": np.float32(2.5)}, "pad", out=out)

    def test_pad_that_crops(self, tmp_path: Path) -> None:
        nodes, widths = [node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, -1, 0, 0, 0, 0, 0])}
        path, x = save(tmp_path / "crop.onnx", nodes, widths, [*self.shape], [1, 4, 7, 6]), noise(*self.shape)
        assert_close(outputs_of(load_network(path), [x]), [x[:, :, 1:]])  # the reference refuses to crop

    def test_hard_sigmoid_is_one_operator(self, tmp_path: Path) -> None:
        self.check(tmp_path / "a.onnx", [node("HardSigmoid", ["x"], ["y"], alpha=1 / 6)], {}, "hard_sigmoid")

    def test_concat_of_one_is_none(self, tmp_path: Path) -> None:
        nodes = [node("Concat", ["x"], ["c"], axis=1), node("Relu", ["c"], ["y"])]
        self.check(tmp_path / "a.onnx", nodes, {}, "relu")


class TestBatch:
    def test_dynamic_one_is_set(self, tmp_path: Path) -> None:
        for size in ("n", None, -1):
            path = convnet(tmp_path / "dynamic.onnx", [size, 4, 16, 16])
            assert load_graph(path).inputs[0].shape == (1, 4, 16, 16)
            assert load_graph(path, batch=3).inputs[0].batch == 3

    def test_fixed_one_is_kept(self, tmp_path: Path) -> None:
        path = convnet(tmp_path / "fixed.onnx", [4, 4, 16, 16])
        for batch in (1, 4):  # 1 is what nobody asked for
            assert load_graph(path, batch=batch).inputs[0].shape == (4, 4, 16, 16)
        with pytest.raises(FrontendError, match="batch 3 cannot be set: input 'x' has the fixed batch 4"):
            load_network(path, batch=3)

    def test_other_dynamic_size_names_the_tensor(self, tmp_path: Path) -> None:
        path = convnet(tmp_path / "high.onnx", ["n", 4, "height", 16])
        with pytest.raises(FrontendError, match="input 'x' has the dynamic size height in dimension 2; only the batch"):
            load_network(path)


class TestBadFiles:
    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(FrontendError, match=message) as caught:
            load_graph(path)
        assert "\n" not in str(caught.value)

    def test_garbage(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.onnx"
        for content in (b"hello world\n" * 50, bytes(range(256)) * 8):
            path.write_bytes(content)
            self.refused(path, "bad.onnx' is no readable ONNX file")
        path.write_bytes(b"")
        self.refused(path, "without operators")

    def test_truncated(self, tmp_path: Path) -> None:
        path = convnet(tmp_path / "cut.onnx")
        path.write_bytes(path.read_bytes()[:-200])
        self.refused(path, "cut.onnx' is no readable ONNX file")

    def test_external_weights(self, tmp_path: Path) -> None:
        path = convnet(tmp_path / "outside.onnx")
        model = onnx.load(path)
        onnx.save_model(model, path, save_as_external_data=True, location="outside.bin", size_threshold=0)
        reference_matches(path, 1, 4, 16, 16)
        (tmp_path / "outside.bin").write_bytes(b"abc")
        self.refused(path, "outside.onnx' is no readable ONNX file: External data")
        (tmp_path / "outside.bin").unlink()
        self.refused(path, "keeps weights in 'outside.bin', which is missing beside it")

    def test_weight_that_nothing_gives(self, tmp_path: Path) -> None:
        convolution = node("Conv", ["x", "w"], ["y"])
        path = write(tmp_path / "a.onnx", [convolution], [value("x", [1, 4, 8, 8])], [value("y", [1, 4, 6, 6])])
        self.refused(path, "no valid ONNX file: .*'w'")

    def test_operators_that_tvm_cannot_import(self, tmp_path: Path) -> None:
        self.refused(unknown_operator(tmp_path / "odd.onnx"), "NoSuchOperator")
        path = write(tmp_path / "det.onnx", [node("Det", ["x"], ["y"])], [value("x", [1, 4, 4])], [value("y", [1])])
        self.refused(path, "TVM cannot import .*Det")

    def test_shapes_that_contradict(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.refused(convnet(tmp_path / "odd.onnx", [1, 3, 16, 16]), "TVM cannot import .*channel")
        assert capfd.readouterr().out == ""  # the importer prints

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (value("x", [1, 4, 0, 8]), "input 'x' has the size 0 in dimension 2"),
            (helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None), "input 'x' is no tensor"),
        ],
    )
    def test_inputs(self, tmp_path: Path, given: Any, message: str) -> None:
        self.refused(write(tmp_path / "a.onnx", [node("Identity", ["x"], ["y"])], [given], [value("y", [1])]), message)

    def test_no_input(self, tmp_path: Path) -> None:
        constant = node("Constant", [], ["y"], value=helper.make_tensor("c", TensorProto.FLOAT, [1], [2.0]))
        self.refused(write(tmp_path / "a.onnx", [constant], [], [value("y", [1])]), "has no input")

    def test_shape_that_depends_on_data(self, tmp_path: Path) -> None:
        nonzero = node("NonZero", ["x"], ["y"])
        outputs = [value("y", [2, "n"], TensorProto.INT64)]
        self.refused(write(tmp_path / "a.onnx", [nonzero], [value("x", [1, 4])], outputs), "static")

    def test_control_flow(self, tmp_path: Path) -> None:
        branches = {
            f"{name}_branch": helper.make_graph([node(kind, ["x"], [name])], name, [], [value(name, [1, 4])])
            for name, kind in (("then", "Identity"), ("else", "Neg"))
        }
        inputs = [value("x", [1, 4]), value("c", [], TensorProto.BOOL)]
        path = write(tmp_path / "a.onnx", [node("If", ["c"], ["y"], **branches)], inputs, [value("y", [1, 4])])
        self.refused(path, "control flow")

    def test_output_without_a_shape_is_no_fault(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], [value("x", [1, 4])], [value("y", None)])
        assert types(path) == ["relu"]


class TestWithoutWeights:
    """The graphs that onnx ships: their weights are described, not stored."""

    def test_seed_makes_the_weights(self) -> None:
        path = LIGHT / "light_squeezenet.onnx"
        first, again, other = (load_network(path, seed=seed) for seed in (1, 1, 2))
        assert same_weights(first, again)
        assert not same_weights(first, other)

    @pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
    def test_graph(self, name: str) -> None:
        graph = load_graph(LIGHT / f"light_{name}.onnx")
        assert len(graph.inputs) == 1
        assert all(operator.weight_elements for operator in graph.operators if "conv" in operator.type)
        assert not graph.warnings

    @pytest.mark.slow
    @pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
    def test_every_one_computes_finite_numbers(self, path: Path) -> None:
        network = load_network(path)
        shape = [int(size) for size in network.module["main"].params[0].ty.shape.values]
        (result, *_) = outputs_of(network, [noise(*shape)])
        assert np.isfinite(result).all()
        assert load_graph(path).inputs[0].shape == tuple(shape)

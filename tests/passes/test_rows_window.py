"""Row demands of windows, transposed convolutions, pooling and resizing agree with what execution reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tvm.relax import op

from tests.passes.modules import Shape, conv, network, weight
from tests.passes.row_reach import assert_exact, assert_images_apart, assert_sound
from tvm_fusion.graph.demand import ACCUMULATE, RowDemand
from tvm_fusion.passes import extract

X = (1, 4, 9, 7)
Build = Callable[..., Any]


def window(build: Build, shape: Shape = X) -> RowDemand:
    """The demand of the one operator of a module, which must be what execution reads."""
    (operator,) = assert_exact(network(build, shape)).operators
    return operator.demands[0]


@pytest.mark.parametrize("options", [
    {"kernel": 1, "stride": 1, "padding": 0},
    {"kernel": 3, "stride": 1, "padding": 1},
    {"kernel": 3, "stride": 2, "padding": 1},
    {"kernel": 3, "stride": 2, "padding": (0, 1, 2, 3)},
    {"kernel": 2, "stride": 2, "padding": 0},
    {"kernel": 1, "stride": 2, "padding": 0},
    {"kernel": 3, "stride": 1, "padding": (5, 1, 5, 1)},  # windows wholly in the padding
    {"kernel": 3, "stride": (1, 2), "padding": 1},
], ids=str)  # fmt: skip
def test_convolution(options: dict[str, Any]) -> None:
    kernel, stride = options["kernel"], options["stride"]
    demand = window(lambda x: conv(x, 6, kernel, strides=stride, padding=options["padding"]))
    top = options["padding"] if isinstance(options["padding"], int) else options["padding"][0]
    rows = stride if isinstance(stride, int) else stride[0]
    assert demand == RowDemand("window", kernel, rows, top, 1)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 2, 2), (5, 2, 2, 2), (3, 1, 3, 3)])
def test_dilated_convolution(kernel: int, stride: int, padding: int, dilation: int) -> None:
    """Rows between the taps count as demanded, also those before the first tap inside the map."""
    mod = network(lambda x: conv(x, 6, kernel, strides=stride, padding=padding, dilation=dilation), X)
    demand = assert_sound(mod).operators[0].demands[0]
    assert demand == RowDemand("window", kernel, stride, padding, dilation)


@pytest.mark.parametrize(("groups", "channels", "type_"), [
    (2, 6, "conv2d"), (4, 4, "depthwise_conv2d"), (4, 8, "depthwise_conv2d"),
])  # fmt: skip
def test_grouped_convolution(groups: int, channels: int, type_: str) -> None:
    graph = assert_exact(network(lambda x: conv(x, channels, groups=groups, strides=2), X))
    assert graph.operators[0].type == type_


@pytest.mark.parametrize(("kernel", "padding"), [((3, 1), (1, 0)), ((1, 3), (0, 1)), ((9, 7), (0, 0))])
def test_kernel_that_is_no_square(kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    demand = window(lambda x: op.nn.conv2d(x, weight(6, 4, *kernel), padding=padding))
    assert demand == RowDemand("window", kernel[0], 1, padding[0], 1)


def test_rows_follow_the_layout() -> None:
    def build(x: Any) -> Any:
        return op.nn.conv2d(x, weight(5, 3, 7, 6), padding=(2, 1), data_layout="NHWC", kernel_layout="HWIO")

    graph = assert_exact(network(build, (1, 9, 8, 7)))
    assert (graph.inputs[0].row_axis, graph.operators[0].row_axis, graph.operators[0].height) == (1, 1, 9)


@pytest.mark.parametrize(("build", "shape"), [
    (lambda x: op.nn.conv1d(x, weight(5, 4, 3), padding=1, strides=2), (1, 4, 11)),
    (lambda x: op.nn.conv1d(x, weight(3, 4, 5), padding=1, data_layout="NWC", kernel_layout="WIO"), (1, 11, 4)),
    (lambda x: op.nn.conv3d(x, weight(5, 4, 3, 3, 3), padding=1, strides=2), (1, 4, 6, 5, 5)),
    (lambda x: op.nn.max_pool1d(x, 3, 2, 1), (1, 4, 11)),
    (lambda x: op.nn.avg_pool3d(x, 3, 2, 1), (1, 2, 6, 5, 5)),
], ids=["conv1d", "conv1d NWC", "conv3d", "max_pool1d", "avg_pool3d"])  # fmt: skip
def test_one_and_three_dimensions(build: Build, shape: Shape) -> None:
    assert window(build, shape).kind == "window"


FEW = settings(max_examples=24, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data())
@FEW
def test_any_window_demands_what_it_reads(data: st.DataObject) -> None:
    """Random kernels, strides, paddings and dilations of convolution and pooling, ceil_mode included."""
    height, kernel, stride = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    dilation = data.draw(st.integers(1, 2))
    pads = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    assume(height + sum(pads) >= (kernel - 1) * dilation + 1)
    common = {"strides": (stride, 1), "padding": (pads[0], 0, pads[1], 0), "dilation": (dilation, 1)}
    pool = data.draw(st.sampled_from((op.nn.max_pool2d, op.nn.avg_pool2d, None)))
    if pool is None:
        mod = network(lambda x: op.nn.conv2d(x, weight(2, 2, kernel, 1), **common), (1, 2, height, 2))
    else:
        assume(max(pads) < kernel * dilation)
        mod = network(lambda x: pool(x, (kernel, 1), ceil_mode=data.draw(st.booleans()), **common), (1, 2, height, 2))
    (assert_exact if dilation == 1 else assert_sound)(mod)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "extra"), [
    (3, 2, 1, 1, 1), (4, 2, 1, 1, 0), (2, 2, 0, 1, 0), (3, 3, 0, 1, 0), (3, 1, 1, 1, 0), (2, 3, 0, 1, 0),
    (3, 2, (0, 1, 2, 1), 1, 1),
])  # fmt: skip
def test_transposed_convolution(kernel: int, stride: int, padding: Any, dilation: int, extra: int) -> None:
    def build(x: Any) -> Any:
        options = {"strides": stride, "padding": padding, "dilation": dilation, "output_padding": extra}
        return op.nn.conv2d_transpose(x, weight(4, 5, kernel, kernel), **options)

    assert_exact(network(build, X))


@pytest.mark.parametrize(("build", "shape"), [
    (lambda x: op.nn.conv2d_transpose(x, weight(4, 2, 3, 3), strides=2, padding=1, groups=2), X),
    (lambda x: op.nn.conv1d_transpose(x, weight(4, 2, 3), strides=2, padding=1), (1, 4, 7)),
    (lambda x: op.nn.conv3d_transpose(x, weight(4, 2, 3, 3, 3), strides=2, padding=1), (1, 4, 5, 4, 4)),
], ids=["grouped", "1d", "3d"])  # fmt: skip
def test_transposed_convolution_of_other_kinds(build: Build, shape: Shape) -> None:
    assert_exact(network(build, shape))


def test_transposed_convolution_with_dilation_is_sound() -> None:
    """TVM multiplies the holes of a dilated kernel by zero, so only the values tell."""
    mod = network(lambda x: op.nn.conv2d_transpose(x, weight(4, 5, 3, 3), strides=2, padding=1, dilation=2), X)
    operator = assert_sound(mod).operators[0]
    demanded = [operator.demands[0].rows(row, 9) for row in range(operator.height)]
    assert [row for row, (first, last) in enumerate(demanded) if last < first] == list(range(0, operator.height, 2))


@pytest.mark.parametrize("pool", [op.nn.max_pool2d, op.nn.avg_pool2d])
@pytest.mark.parametrize(("size", "stride", "padding", "ceil_mode"), [
    (3, 2, 1, False), (3, 2, 0, True), (2, 2, 0, True), (2, 1, (0, 0, 1, 1), False), (3, 2, 1, True),
])  # fmt: skip
def test_pooling(pool: Build, size: int, stride: int, padding: Any, ceil_mode: bool) -> None:
    demand = window(lambda x: pool(x, size, stride, padding, ceil_mode=ceil_mode))
    assert (demand.kind, demand.kernel, demand.stride) == ("window", size, stride)


@pytest.mark.parametrize(("ceil_mode", "height"), [(False, 4), (True, 5)])
def test_ceil_mode_has_a_row_more(ceil_mode: bool, height: int) -> None:
    mod = network(lambda x: op.nn.max_pool2d(x, 2, 2, ceil_mode=ceil_mode), X)
    assert extract(mod).graph.operators[0].height == height


@pytest.mark.parametrize("pool", [op.nn.max_pool2d, op.nn.avg_pool2d])
def test_pooling_over_every_row_accumulates(pool: Build) -> None:
    assert window(lambda x: pool(x, (9, 7))) == ACCUMULATE
    assert window(lambda x: pool(x, (9, 1))) == ACCUMULATE


def test_overlapping_pooling_over_every_row_does_not_accumulate() -> None:
    demand = window(lambda x: op.nn.max_pool2d(x, (9, 1), padding=(1, 0, 1, 0)))
    assert (demand.kind, demand.kernel) == ("window", 9)


@pytest.mark.parametrize("size", [2, 3, 4, (9, 1), (5, 7), (13, 2)])
def test_adaptive_pooling(size: Any) -> None:
    assert window(lambda x: op.nn.adaptive_avg_pool2d(x, size)).kind in ("table", "row")


@pytest.mark.parametrize(("build", "shape"), [
    (lambda x: op.nn.adaptive_avg_pool1d(x, 3), (1, 4, 11)),
    (lambda x: op.nn.adaptive_avg_pool3d(x, (2, 3, 1)), (1, 2, 6, 5, 5)),
    (lambda x: op.nn.adaptive_avg_pool2d(x, 3, layout="NHWC"), (1, 9, 7, 4)),
], ids=["1d", "3d", "NHWC"])  # fmt: skip
def test_adaptive_pooling_of_other_kinds(build: Build, shape: Shape) -> None:
    mod = network(build, shape)
    assert assert_exact(mod).warnings == ()


@pytest.mark.parametrize("size", [1, (1, 3)])
def test_adaptive_pooling_to_one_row_accumulates(size: Any) -> None:
    assert window(lambda x: op.nn.adaptive_avg_pool2d(x, size)) == ACCUMULATE


MODES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn")


def resized(height: int, rows: int, method: str, mode: str, rounding: str = "round") -> Any:
    def build(x: Any) -> Any:
        options = {"method": method, "coordinate_transformation_mode": mode, "rounding_method": rounding}
        return op.image.resize2d(x, (rows, 2), roi=(0.0, 0.0, 0.0, 0.0), layout="NCHW", **options)

    return network(build, (1, 1, height, 2))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_resize_that_interpolates(method: str, mode: str) -> None:
    for height, rows in ((9, 18), (9, 5)):
        assert_exact(resized(height, rows, method, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rounding", ["round", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_resize_to_the_nearest(rounding: str, mode: str) -> None:
    """Places halfway between two rows included: doubling with asymmetric places meets them."""
    assert_exact(resized(9, 18, "nearest_neighbor", mode, rounding))


@pytest.mark.parametrize(("height", "rows", "mode"), [
    (3, 37, "half_pixel"), (2, 42, "align_corners"), (28, 46, "asymmetric"), (9, 9, "half_pixel"),
])  # fmt: skip
def test_resize_rounds_as_float32_does(height: int, rows: int, mode: str) -> None:
    """Sizes where the place of a row is whole on paper and just below in float32."""
    assert_sound(resized(height, rows, "linear", mode))


def test_resize_of_one_row_or_to_one_row() -> None:
    assert_sound(resized(9, 1, "linear", "half_pixel"))
    assert_exact(resized(1, 5, "linear", "half_pixel"))


def test_resize_follows_the_layout() -> None:
    graph = assert_exact(network(lambda x: op.image.resize2d(x, (6, 4), layout="NHWC"), (1, 3, 4, 2)))
    assert graph.operators[0].height == 6


def test_weight_that_is_no_constant_needs_all_rows_and_warns() -> None:
    graph = assert_sound(network(lambda x, w: op.nn.conv2d(x, w, padding=1), X, (6, 4, 3, 3)))
    assert [demand.kind for demand in graph.operators[0].demands] == ["all", "all"]
    assert "no row rule" in graph.warnings[0]


def test_window_along_another_axis_than_the_rows_is_sound() -> None:
    """The relu decides that the middle axis are tokens; the convolution then slides along the other one."""
    mod = network(lambda x: op.nn.conv1d(op.nn.relu(x), weight(5, 9, 3), padding=1), (1, 9, 4))
    assert assert_sound(mod).operators[1].demands[0].kind == "all"


def test_images_of_a_batch_stay_apart() -> None:
    def build(x: Any) -> Any:
        x = op.nn.relu(conv(x, 6, strides=2))
        return op.matmul(op.reshape(op.mean(x, [2, 3], True), (2, 6)), weight(6, 3))

    mod = network(build, (2, *X[1:]))
    assert_images_apart(mod)
    assert_sound(mod)


def test_resize_of_the_width_alone_needs_row_by_row() -> None:
    assert window(lambda x: op.image.resize2d(x, (9, 14), method="nearest_neighbor", roi=(0.0,) * 4)).kind == "row"


def test_input_rows_without_a_window_are_those_of_the_rank() -> None:
    for shape, axis in (((1, 5, 8), 1), ((1, 4, 9, 7), 2), ((1, 4, 6, 5, 5), 2), ((1, 8), None)):
        assert extract(network(op.nn.relu, shape)).graph.inputs[0].row_axis == axis

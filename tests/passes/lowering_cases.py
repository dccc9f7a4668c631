"""Networks on which a lowering by rows may go wrong: layouts, widths, shared weights, single numbers, the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import op

from tests.passes.modules import Shape, conv, weight
from tests.passes.networks import X


def without_height(emit: Any, x: Any) -> Any:
    """A row without a height (channel after channel) in place in a sum that has one (channels together)."""
    row = emit(op.add(emit(op.mean(emit(conv(x, 1)), 2, False)), weight(1, 3, 1, 1)))
    return op.add(row, emit(op.mean(emit(conv(x, 3, seed=1)), 2, True)))


def shared_weight(emit: Any, x: Any) -> Any:
    first = conv(x, 4)
    return op.nn.conv2d(emit(first), first.args[1], padding=1)


def view_of_images(emit: Any, x: Any) -> Any:
    """The batch is no axis of its own in what is returned."""
    return op.nn.relu(emit(op.reshape(emit(op.mean(x, [2, 3], True)), (8,))))


def windows(emit: Any, x: Any) -> Any:
    """Window partition, as in Swin transformers: six windows of each image."""
    apart = emit(op.permute_dims(emit(op.reshape(x, (2, 3, 2, 2, 2, 4))), [0, 1, 3, 2, 4, 5]))
    return op.nn.relu(emit(op.reshape(apart, (12, 4, 4))))


def images_of_another_place(emit: Any, x: Any) -> Any:
    """The second of the images and the first of the results, as two images."""
    return op.strided_slice(emit(op.concat([x, emit(conv(x, 2))], 0)), [0], [1], [3])


def scaled_twice(emit: Any, x: Any) -> Any:
    size = weight(8)
    return op.nn.layer_norm(x, size, size, axes=-1)


def times_own_transpose(emit: Any, x: Any) -> Any:
    return op.matmul(x, emit(op.permute_dims(x, [1, 0])))


def chosen(emit: Any, x: Any, y: Any) -> Any:
    return op.where(emit(op.greater(x, y)), emit(op.exp(x)), emit(op.nn.relu(y)))


def rows_along_the_width(emit: Any, x: Any) -> Any:
    """A map of one row that comes from a sequence: its columns are the rows of the group."""
    y = emit(op.reshape(emit(op.permute_dims(x, [0, 2, 1])), (1, 1, 1, 5)))
    return conv(emit(conv(y, 2)), 3)


BATCH: Shape = (2, 4, 5, 5)
SQUARE: Shape = (2, 2, 5, 5)  # as many channels as images


# How each is built, the shapes of its inputs and their dtype.
BY_HAND: dict[str, tuple[Callable[..., Any], tuple[Shape, ...], str]] = {
    "in place in a row of another order": (without_height, ((1, 2, 4, 5),), "float32"),
    "weight of two operators": (shared_weight, (X,), "float32"),
    "weight twice in one operator": (scaled_twice, ((1, 5, 8),), "float32"),
    "one number": (lambda emit, x: op.mean(emit(conv(x, 4))), (X,), "float32"),
    "one number in": (lambda emit, x, y: op.multiply(x, y), ((1, 1, 1, 1), X), "float32"),
    "in place in other widths": (
        lambda emit, x: op.nn.relu(emit(op.astype(emit(op.astype(emit(conv(x, 4)), "float16")), "float32"))),
        (X,),
        "float32",
    ),
    "truth in place": (lambda emit, x: op.astype(emit(op.greater(x, relax.const(0.0))), "float32"), (X,), "float32"),
    "truth in place among three operands": (chosen, (X, X), "float32"),
    "wide after narrow rows": (lambda emit, x: op.astype(x, "float64"), ((1, 1, 3, 3),), "float32"),
    "embedding": (lambda emit, x: op.take(weight(7, 3), x, 0), ((1, 5),), "int64"),
    "images in turn": (lambda emit, x: op.flip(emit(conv(x, 4)), 0), (BATCH,), "float32"),
    "images on a new axis": (lambda emit, x: op.stack([x, emit(op.nn.relu(x))], 0), (BATCH,), "float32"),
    "images by images": (times_own_transpose, ((2, 6),), "float32"),
    "images as channels": (lambda emit, x: op.permute_dims(emit(conv(x, 4)), [1, 0, 2, 3]), (BATCH,), "float32"),
    "images together": (lambda emit, x: op.mean(emit(conv(x, 4)), [0]), (BATCH,), "float32"),
    "images one after another": (lambda emit, x: op.concat([x, emit(conv(x, 4))], 0), (BATCH,), "float32"),
    "view of all images": (view_of_images, (BATCH,), "float32"),
    "images merged with their channels": (lambda emit, x: op.reshape(x, (8, 5, 5)), (BATCH,), "float32"),
    "windows of all images": (windows, ((2, 6, 4, 4),), "float32"),
    "input without images": (
        lambda emit, x, y: op.nn.layer_norm(x, y, weight(4), axes=-1),
        ((2, 6, 4), (4,)),
        "float32",
    ),
    "a window of all rows": (lambda emit, x: op.nn.avg_pool2d(emit(conv(x, 3)), (5, 5)), ((1, 2, 5, 5),), "float32"),
    "a window of all rows and padding": (
        lambda emit, x: op.nn.avg_pool2d(emit(conv(x, 3)), (6, 6), padding=(0, 0, 1, 1)),
        ((1, 2, 5, 5),),
        "float32",
    ),
    "a largest value of all rows and padding": (
        lambda emit, x: op.nn.max_pool2d(emit(conv(x, 3)), (6, 6), padding=(0, 0, 1, 1)),
        ((1, 2, 5, 5),),
        "float32",
    ),
    "rows along the width": (rows_along_the_width, ((1, 5, 1),), "float32"),
    "channels for images": (lambda emit, x: op.permute_dims(emit(conv(x, 2)), [1, 0, 2, 3]), (SQUARE,), "float32"),
    "channels left of images": (lambda emit, x: op.max(emit(conv(x, 2)), [0, 2, 3]), (SQUARE,), "float32"),
    "images of another place": (images_of_another_place, (SQUARE,), "float32"),
    "images mixed by a constant": (lambda emit, x: op.matmul(weight(2, 2), x), ((2, 6),), "float32"),
    "images as weights": (lambda emit, x, y: op.nn.conv2d(x, y, padding=1), ((2, 3, 6, 5), (2, 3, 3, 3)), "float32"),
    "images by each other": (lambda emit, x, y: op.matmul(x, y), ((2, 2), (2, 5)), "float32"),
    "input of channels, as many as images": (lambda emit, x, y: op.multiply(x, y), (SQUARE, (2, 1, 1)), "float32"),
    "table of rows": (lambda emit, x: op.take(x, relax.const(np.array([3, 1, 1])), 2), (X,), "float32"),
    "rows backwards": (lambda emit, x: op.flip(emit(conv(x, 4)), 2), (BATCH,), "float32"),
    "channels last": (
        lambda emit, x: op.nn.conv2d(
            emit(op.nn.relu(x)), weight(3, 3, 4, 2), padding=1, data_layout="NHWC", kernel_layout="HWIO"
        ),
        ((2, 5, 6, 4),),
        "float32",
    ),
    "weight that is computed": (lambda emit, x, y: op.nn.conv2d(x, y), ((1, 3, 6, 5), (4, 3, 3, 3)), "float32"),
    "8-bit convolution": (
        lambda emit, x: op.nn.conv2d(x, relax.const(np.ones((2, 3, 3, 3), "int8")), out_dtype="int32"),
        ((1, 3, 4, 5),),
        "int8",
    ),
}

"""Kinds of steps of random networks, each written twice: as Relax and as torch, from the same arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tvm import relax
from tvm.relax import op

Arguments = dict[str, Any]
Emit = Callable[[Any], Any]
Makers = tuple[Callable[..., Any], Callable[..., Any]]


def array(shape: tuple[int, ...], seed: int, positive: bool = False) -> np.ndarray:
    """Numbers whose sums of products stay near 1; at least 1 if they are divided by."""
    values = np.random.default_rng(seed).standard_normal(shape) / max(1.0, float(np.prod(shape[1:3]))) ** 0.5
    return np.asarray(np.abs(values) + 1 if positive else values, np.float32)


@functools.cache
def weight(shape: tuple[int, ...], seed: int, positive: bool = False) -> Any:
    """The array as a Relax constant, the same one for the same arguments."""
    return relax.const(array(shape, seed, positive), "float32")


def tensor(shape: tuple[int, ...], seed: int, positive: bool = False) -> torch.Tensor:
    """The same array for torch, in double precision as everything there."""
    return torch.from_numpy(array(shape, seed, positive)).double()


@dataclass(frozen=True)
class Step:
    """``kind`` names an entry of KINDS, ``operands`` earlier tensors by number: inputs first, then every result."""

    kind: str
    operands: tuple[int, ...]
    arguments: Arguments


def _conv_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    shape = (a["channels"], int(x.ty.shape[1]) // a["groups"], *a["kernel"])
    options = {"strides": a["strides"], "padding": a["padding"], "dilation": a["dilation"], "groups": a["groups"]}
    y = op.nn.conv2d(x, weight(shape, a["seed"]), **options)
    return op.add(emit(y), weight((1, a["channels"], 1, 1), a["seed"] + 1)) if a["bias"] else y


def _conv_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    shape = (a["channels"], x.shape[1] // a["groups"], *a["kernel"])
    bias = tensor((1, a["channels"], 1, 1), a["seed"] + 1).reshape(-1) if a["bias"] else None
    kernel = tensor(shape, a["seed"])
    return F.conv2d(_padded(x, a["padding"]), kernel, bias, a["strides"], 0, a["dilation"], a["groups"])


def _padded(x: torch.Tensor, padding: tuple[int, ...], value: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def _transposed_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    shape = (int(x.ty.shape[1]), a["channels"] // a["groups"], *a["kernel"])
    options = {"strides": a["strides"], "padding": a["padding"], "groups": a["groups"]}
    return op.nn.conv2d_transpose(x, weight(shape, a["seed"]), output_padding=a["more"], **options)


def _transposed_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    """The whole result, then cropped: torch itself pads both sides alike."""
    shape = (x.shape[1], a["channels"] // a["groups"], *a["kernel"])
    y = F.conv_transpose2d(x, tensor(shape, a["seed"]), None, a["strides"], groups=a["groups"])
    top, left, bottom, right = a["padding"]
    y = F.pad(y, (0, a["more"][1], 0, a["more"][0]))
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _max_pool_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    return op.nn.max_pool2d(x, a["kernel"], a["strides"], a["padding"], a["dilation"], a["ceil"])


def _max_pool_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    padded = _padded(x, a["padding"], -torch.inf)
    return F.max_pool2d(padded, a["kernel"], a["strides"], 0, a["dilation"], a["ceil"])


def _average_pool_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    pads = {"ceil_mode": a["ceil"], "count_include_pad": a["include"]}
    return op.nn.avg_pool2d(x, a["kernel"], a["strides"], a["padding"], **pads)


def _average_pool_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    def pooled(values: torch.Tensor) -> torch.Tensor:
        padded = _padded(values, a["padding"])
        return F.avg_pool2d(padded, a["kernel"], a["strides"], 0, a["ceil"], divisor_override=1)

    counted = (
        torch.full_like(pooled(x), a["kernel"][0] * a["kernel"][1]) if a["include"] else pooled(torch.ones_like(x))
    )
    return pooled(x) / counted


def _merged(x: Any) -> tuple[int, ...]:
    n, c, *rest = map(int, x.ty.shape)
    return (n * c, *rest)


IMAGES: dict[str, Makers] = {
    "flip": (lambda x: op.flip(x, 0), lambda x: torch.flip(x, (0,))),
    "merge": (lambda x: op.reshape(x, _merged(x)), lambda x: x.flatten(0, 1)),
    "swap": (lambda x: op.permute_dims(x, [1, 0, *range(2, len(x.ty.shape))]), lambda x: x.transpose(0, 1)),
    "mean": (lambda x: op.mean(x, [0], True), lambda x: x.mean(0, keepdim=True)),
    "first": (lambda x: op.strided_slice(x, [0], [0], [1]), lambda x: x[:1]),
    "twice": (lambda x: op.concat([x, x], 0), lambda x: torch.cat((x, x))),
    "softmax": (lambda x: op.nn.softmax(x, 0), lambda x: torch.softmax(x, 0)),
}


def _hard_swish(emit: Emit, x: Any) -> Any:
    inner = emit(op.clip(emit(op.add(x, relax.const(3.0))), 0.0, 6.0))
    return op.divide(emit(op.multiply(x, inner)), relax.const(6.0))


ACTIVATIONS: dict[str, Makers] = {
    "relu": (lambda emit, x: op.nn.relu(x), torch.relu),
    "relu6": (lambda emit, x: op.nn.relu6(x), F.relu6),
    "silu": (lambda emit, x: op.nn.silu(x), F.silu),
    "gelu": (lambda emit, x: op.nn.gelu(x), F.gelu),
    "gelu_tanh": (lambda emit, x: op.nn.gelu_tanh(x), lambda x: F.gelu(x, approximate="tanh")),
    "sigmoid": (lambda emit, x: op.sigmoid(x), torch.sigmoid),
    "hard_swish": (_hard_swish, F.hardswish),
    "leaky_relu": (lambda emit, x: op.nn.leakyrelu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "softplus": (lambda emit, x: op.nn.softplus(x), F.softplus),
    "clip": (lambda emit, x: op.clip(x, -0.5, 0.7), lambda x: torch.clamp(x, -0.5, 0.7)),
    "swish by hand": (lambda emit, x: op.multiply(x, emit(op.sigmoid(x))), lambda x: x * torch.sigmoid(x)),
    "square": (lambda emit, x: op.multiply(x, x), torch.square),
    "negative": (lambda emit, x: op.negative(x), torch.neg),
    "tanh": (lambda emit, x: op.tanh(x), torch.tanh),
}

BINARY: dict[str, Makers] = {
    "add": (lambda emit, x, y: op.add(x, y), torch.add),
    "subtract": (lambda emit, x, y: op.subtract(x, y), torch.subtract),
    "multiply": (lambda emit, x, y: op.multiply(x, y), torch.multiply),
    "maximum": (lambda emit, x, y: op.maximum(x, y), torch.maximum),
    "minimum": (lambda emit, x, y: op.minimum(x, y), torch.minimum),
    "divide": (
        lambda emit, x, y: op.divide(x, emit(op.add(emit(op.abs(y)), relax.const(1.0)))),
        lambda x, y: x / (y.abs() + 1),
    ),
}


def _binary_relax(emit: Emit, x: Any, y: Any, a: Arguments) -> Any:
    return BINARY[a["type"]][0](emit, x, y)


def _binary_torch(x: torch.Tensor, y: torch.Tensor, a: Arguments) -> torch.Tensor:
    return BINARY[a["type"]][1](x, y)


def _constant_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    """A constant on either side; one that is divided by is at least 1."""
    other = weight(a["shape"], a["seed"], a["type"] == "divide")
    if a["type"] == "divide":
        return op.divide(x, other)
    return BINARY[a["type"]][0](emit, *((other, x) if a["first"] else (x, other)))


def _constant_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    other = tensor(a["shape"], a["seed"], a["type"] == "divide")
    if a["type"] == "divide":
        return x / other
    return BINARY[a["type"]][1](*((other, x) if a["first"] else (x, other)))


def _slice_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    return op.strided_slice(x, [a["axis"]], [a["begin"]], [a["end"]], [a["step"]])


def _slice_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    return x.narrow(a["axis"], a["begin"], a["end"] - a["begin"]).index_select(
        a["axis"], torch.arange(0, a["end"] - a["begin"], a["step"])
    )


def _split_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    pieces = emit(op.split(x, a["cuts"], a["axis"]))
    return tuple(pieces[k] for k in range(len(a["cuts"]) + 1))


def _pad_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    top, left, bottom, right = a["padding"]
    return op.nn.pad(x, [0, 0, 0, 0, top, bottom, left, right], a["mode"], a["value"])


def _pad_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    top, left, bottom, right = a["padding"]
    value = a["value"] if a["mode"] == "constant" else None
    return F.pad(x, (left, right, top, bottom), a["mode"], value)


def _resize_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    if a["mode"] == "nearest":
        options = {"coordinate_transformation_mode": "asymmetric", "rounding_method": "floor"}
        return op.image.resize2d(x, a["size"], method="nearest_neighbor", **options)
    corners = "align_corners" if a["corners"] else "half_pixel"
    return op.image.resize2d(x, a["size"], method="linear", coordinate_transformation_mode=corners)


def _resize_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    if a["mode"] == "nearest":
        return F.interpolate(x, a["size"], mode="nearest")
    return F.interpolate(x, a["size"], mode="bilinear", align_corners=a["corners"])


REDUCTIONS: dict[str, Makers] = {"mean": (op.mean, torch.mean), "sum": (op.sum, torch.sum), "max": (op.max, torch.amax)}


def _wide_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    """Through an element width of its own."""
    wide = emit(op.multiply(emit(op.astype(x, "float64")), relax.const(1.5, "float64")))
    return op.astype(wide, "float32")


def _gate_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    channels, inner = int(x.ty.shape[1]), a["inner"]
    mean = emit(op.mean(x, [2, 3], True))
    narrow = emit(op.nn.relu(emit(op.nn.conv2d(mean, weight((inner, channels, 1, 1), a["seed"])))))
    wide = emit(op.nn.conv2d(narrow, weight((channels, inner, 1, 1), a["seed"] + 1)))
    return op.multiply(x, emit(op.sigmoid(wide)))


def _gate_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    channels, inner = x.shape[1], a["inner"]
    narrow = torch.relu(F.conv2d(x.mean((2, 3), keepdim=True), tensor((inner, channels, 1, 1), a["seed"])))
    return x * torch.sigmoid(F.conv2d(narrow, tensor((channels, inner, 1, 1), a["seed"] + 1)))


def _layer_norm_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    """Over the channels: the last axis, or the second of a map, which then is turned there and back."""
    is_map = len(x.ty.shape) == 4
    last = emit(op.permute_dims(x, [0, 2, 3, 1])) if is_map else x
    size = int(last.ty.shape[-1])
    normed = op.nn.layer_norm(last, weight((size,), a["seed"]), weight((size,), a["seed"] + 1), -1, 1e-3)
    return op.permute_dims(emit(normed), [0, 3, 1, 2]) if is_map else normed


def _layer_norm_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    last = x.movedim(1, -1) if x.ndim == 4 else x
    size = last.shape[-1]
    normed = F.layer_norm(last, (size,), tensor((size,), a["seed"]), tensor((size,), a["seed"] + 1), 1e-3)
    return normed.movedim(-1, 1) if x.ndim == 4 else normed


def _group_norm_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    size = int(x.ty.shape[1])
    scale, shift = weight((size,), a["seed"]), weight((size,), a["seed"] + 1)
    return op.nn.group_norm(x, scale, shift, a["groups"], 1, [2, 3], 1e-3)


def _group_norm_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    size = x.shape[1]
    return F.group_norm(x, a["groups"], tensor((size,), a["seed"]), tensor((size,), a["seed"] + 1), 1e-3)


def _dense_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    y = op.matmul(x, weight((int(x.ty.shape[-1]), a["units"]), a["seed"]))
    return op.add(emit(y), weight((a["units"],), a["seed"] + 1)) if a["bias"] else y


def _dense_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    y = x @ tensor((x.shape[-1], a["units"]), a["seed"])
    return y + tensor((a["units"],), a["seed"] + 1) if a["bias"] else y


def _to_tokens_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, c, h, w = map(int, x.ty.shape)
    return op.permute_dims(emit(op.reshape(x, (n, c, h * w))), [0, 2, 1])


def _to_map_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, t, c = map(int, x.ty.shape)
    return op.reshape(emit(op.permute_dims(x, [0, 2, 1])), (n, c, a["height"], t // a["height"]))


def _attention_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    size = int(x.ty.shape[-1])
    q, k, v = (emit(op.matmul(x, weight((size, size), a["seed"] + s))) for s in range(3))
    scores = emit(op.matmul(q, emit(op.permute_dims(k, [0, 2, 1]))))
    return op.matmul(emit(op.nn.softmax(scores, -1)), v)


def _attention_torch(x: torch.Tensor, a: Arguments) -> torch.Tensor:
    q, k, v = (x @ tensor((x.shape[-1], x.shape[-1]), a["seed"] + s) for s in range(3))
    return torch.softmax(q @ k.transpose(1, 2), -1) @ v


def _shuffle_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, c, h, w = map(int, x.ty.shape)
    apart = emit(op.reshape(x, (n, a["groups"], c // a["groups"], h, w)))
    return op.reshape(emit(op.permute_dims(apart, [0, 2, 1, 3, 4])), (n, c, h, w))


def _depth_to_space_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, c, h, w = map(int, x.ty.shape)
    apart = emit(op.reshape(x, (n, c // 4, 2, 2, h, w)))
    return op.reshape(emit(op.permute_dims(apart, [0, 1, 4, 2, 5, 3])), (n, c // 4, 2 * h, 2 * w))


def _space_to_depth_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, c, h, w = map(int, x.ty.shape)
    apart = emit(op.reshape(x, (n, c, h // 2, 2, w // 2, 2)))
    return op.reshape(emit(op.permute_dims(apart, [0, 1, 3, 5, 2, 4])), (n, 4 * c, h // 2, w // 2))


def _flatten_relax(emit: Emit, x: Any, a: Arguments) -> Any:
    n, *rest = map(int, x.ty.shape)
    return op.reshape(x, (n, int(np.prod(rest))))


# (emit, operands.., arguments) -> Relax, and (operands.., arguments) -> torch; tuples where there are several results.
KINDS: dict[str, Makers] = {
    "conv": (_conv_relax, _conv_torch),
    "transposed": (_transposed_relax, _transposed_torch),
    "max_pool": (_max_pool_relax, _max_pool_torch),
    "average_pool": (_average_pool_relax, _average_pool_torch),
    "activation": (lambda e, x, a: ACTIVATIONS[a["type"]][0](e, x), lambda x, a: ACTIVATIONS[a["type"]][1](x)),
    "binary": (_binary_relax, _binary_torch),
    "constant": (_constant_relax, _constant_torch),
    "concat": (lambda e, *x: op.concat(list(x[:-1]), x[-1]["axis"]), lambda *x: torch.cat(x[:-1], x[-1]["axis"])),
    "slice": (_slice_relax, _slice_torch),
    "split": (_split_relax, lambda x, a: tuple(torch.tensor_split(x, a["cuts"], a["axis"]))),
    "flip": (lambda e, x, a: op.flip(x, a["axis"]), lambda x, a: torch.flip(x, (a["axis"],))),
    "pad": (_pad_relax, _pad_torch),
    "resize": (_resize_relax, _resize_torch),
    "reduce": (
        lambda e, x, a: REDUCTIONS[a["type"]][0](x, list(a["axes"]), a["keep"]),
        lambda x, a: REDUCTIONS[a["type"]][1](x, a["axes"], a["keep"]),
    ),
    "gate": (_gate_relax, _gate_torch),
    "images": (lambda e, x, a: IMAGES[a["type"]][0](x), lambda x, a: IMAGES[a["type"]][1](x)),
    "wide": (_wide_relax, lambda x, a: 1.5 * x),
    "softmax": (lambda e, x, a: op.nn.softmax(x, a["axis"]), lambda x, a: torch.softmax(x, a["axis"])),
    "layer_norm": (_layer_norm_relax, _layer_norm_torch),
    "group_norm": (_group_norm_relax, _group_norm_torch),
    "dense": (_dense_relax, _dense_torch),
    "to_tokens": (_to_tokens_relax, lambda x, a: x.flatten(2).transpose(1, 2)),
    "to_map": (_to_map_relax, lambda x, a: x.transpose(1, 2).unflatten(2, (a["height"], -1))),
    "attention": (_attention_relax, _attention_torch),
    "permute": (lambda e, x, a: op.permute_dims(x, a["axes"]), lambda x, a: x.permute(a["axes"])),
    "shuffle": (_shuffle_relax, lambda x, a: F.channel_shuffle(x, a["groups"])),
    "depth_to_space": (_depth_to_space_relax, lambda x, a: F.pixel_shuffle(x, 2)),
    "space_to_depth": (_space_to_depth_relax, lambda x, a: F.pixel_unshuffle(x, 2)),
    "flatten": (_flatten_relax, lambda x, a: x.flatten(1)),
    "broadcast": (lambda e, x, a: op.broadcast_to(x, a["shape"]), lambda x, a: x.expand(a["shape"])),
}

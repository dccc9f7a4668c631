"""Random convolutions, built as Relax and computed by torch in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tvm
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op

from tests.passes.modules import stepwise

Array = np.ndarray
MOST_PRODUCTS = 300_000
# (dtype of input and weight, dtype of the sums)
DTYPES = (("float32", "float32"), ("int8", "int32"), ("float64", "float64"), ("float16", "float16"))
KERNELS = ((1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (2, 2), (1, 7), (7, 1), (4, 2))


@dataclass(frozen=True)
class Convolution:
    """One operator on a map of ``size`` rows and columns; padding is top, left, bottom, right."""

    size: tuple[int, int]
    inputs: int
    outputs: int
    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    bias: bool
    seed: int

    @property
    def result(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        top, left, bottom, right = self.padding
        whole = self.size[0] + top + bottom, self.size[1] + left + right
        places = zip(whole, self.kernel, self.strides, self.dilation, strict=True)
        rows, columns = ((size - (k - 1) * d - 1) // step + 1 for size, k, step, d in places)
        return rows, columns

    @property
    def products(self) -> int:
        """Products of one sum."""
        return self.inputs // self.groups * self.kernel[0] * self.kernel[1]

    def weight(self, dtype: str) -> Array:
        """Numbers, no two alike unless they are of few bits, so that their order shows."""
        shape = (self.outputs, self.inputs // self.groups, *self.kernel)
        generator = np.random.default_rng(self.seed)
        if dtype == "int8":
            return generator.integers(-100, 100, shape).astype(dtype)
        return generator.standard_normal(shape).astype(dtype)

    def addend(self, dtype: str) -> Array:
        """The bias."""
        return (np.arange(self.outputs) % 7 - 3).astype(dtype).reshape(1, -1, 1, 1)

    def relax(self, emit: Any, x: Any, dtype: str, sums: str) -> Any:
        """The operator's last binding."""
        weight = relax.const(self.weight(dtype), dtype)
        options = {"strides": self.strides, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        made = emit(op.nn.conv2d(x, weight, out_dtype=sums, **options))
        return emit(op.add(made, relax.const(self.addend(sums), sums))) if self.bias else made

    def computed(self, x: Array, dtype: str) -> tuple[Array, Array]:
        """The result, and the sums of the magnitudes of its addends."""
        return self._computed(x, self.weight(dtype), 1), self._computed(abs(x), abs(self.weight(dtype)), -1)

    def _computed(self, x: Array, weight: Array, sign: int) -> Array:
        top, left, bottom, right = self.padding
        wide = F.pad(torch.from_numpy(x.astype(np.float64)), (left, right, top, bottom))
        addend = self.addend("float64")
        bias = torch.from_numpy(addend if sign > 0 else abs(addend)).reshape(-1) if self.bias else None
        kernel = torch.from_numpy(weight.astype(np.float64))
        return F.conv2d(wide, kernel, bias, self.strides, 0, self.dilation, self.groups).numpy()


def array(shape: tuple[int, ...], dtype: str) -> Array:
    """Values of an input."""
    generator = np.random.default_rng(5)
    if dtype == "int8":
        return generator.integers(-100, 100, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def module(convolutions: list[Convolution], batch: int, dtype: str, sums: str, rectified: bool) -> tvm.IRModule:
    """All on one input, each with a relu after it if ``rectified``, their results as a tuple."""

    def build(emit: Any, x: Any) -> tuple[Any, ...]:
        made = [convolution.relax(emit, x, dtype, sums) for convolution in convolutions]
        return tuple(emit(op.nn.relu(result)) for result in made) if rectified else tuple(made)

    return stepwise(build, (batch, convolutions[0].inputs, *convolutions[0].size), dtype=dtype)


def error_bound(products: int, magnitude: Array, dtype: str) -> Array:
    """What rounding may do to a sum of so many products: a walk at random; ``magnitude`` is the sum of their sizes."""
    if dtype.startswith("int"):
        return np.zeros_like(magnitude)
    steps = 2 + 2 * products**0.5
    return magnitude * steps * np.finfo(dtype).eps + float(np.finfo(dtype).smallest_normal)


@st.composite
def convolutions(draw: st.DrawFn, inputs: int, size: tuple[int, int]) -> Convolution:
    """Any that has a result: grouped, depthwise with a multiplier, wider than its input, wholly in its padding."""
    groups = draw(st.sampled_from([1, 1, inputs, *(g for g in range(2, inputs) if inputs % g == 0)]))
    outputs = groups * draw(st.integers(1, max(1, 40 // groups)))
    kernel = draw(st.sampled_from(KERNELS))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 4)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (2, 1)]))
    same = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True)) * 2
    anything = st.tuples(*(st.integers(0, 1 + k) for k in kernel * 2))
    padding = draw(st.one_of(st.just(same), st.just((0,) * 4), anything))
    needed = [max(0, (k - 1) * d + 1 - s) for k, d, s in zip(kernel, dilation, size, strict=True)]
    after = [max(padding[2 + k], needed[k] - padding[k]) for k in range(2)]
    return Convolution(
        size, inputs, outputs, groups, kernel, strides, (*padding[:2], after[0], after[1]), dilation,
        draw(st.booleans()), draw(st.integers(0, 99)),
    )  # fmt: skip


@st.composite
def several(draw: st.DrawFn) -> list[Convolution]:
    """One to three on one input, which is at times a single row, column or channel."""
    inputs = draw(st.one_of(st.integers(1, 40), st.sampled_from((1, 2, 3, 4, 8, 16, 17))))
    size = draw(st.integers(1, 7)), draw(st.one_of(st.integers(1, 8), st.integers(9, 40)))
    made = draw(st.lists(convolutions(inputs, size), min_size=1, max_size=3, unique_by=lambda c: c.seed))
    small = [c for c in made if c.products * c.outputs * np.prod(c.result) <= MOST_PRODUCTS]
    return small or [Convolution(size, inputs, 5, 1, (1, 1), (1, 1), (0,) * 4, (1, 1), False, 0)]

"""Rows of matrix products from packed weights are numpy's: tokens, maps, batches, transposed weights.

TVM_FUSION_EXAMPLES says how many random modules the slow tests try (by default 100).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op

from tests.passes.lowering.kernels.convolutions import array, error_bound
from tests.passes.lowering.lowered import PLAIN, WIDTHS, apart, calls, constants, lowered, outputs
from tests.passes.modules import stepwise
from tvm_fusion.passes import extract

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "100"))
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """x times a constant (inputs, units), which is stored (units, inputs) if ``transposed``."""

    units: int
    transposed: bool
    bias: bool
    seed: int

    def weight(self, inputs: int, dtype: str) -> np.ndarray:
        """As it is stored."""
        shape = (self.units, inputs) if self.transposed else (inputs, self.units)
        return np.random.default_rng(self.seed).standard_normal(shape).astype(dtype)

    def addend(self, dtype: str) -> np.ndarray:
        """The bias."""
        return (np.arange(self.units) % 7 - 3).astype(dtype)

    def relax(self, emit: Any, x: Any, dtype: str) -> Any:
        """The operator's last binding."""
        weight = relax.const(self.weight(int(x.ty.shape[-1]), dtype), dtype)
        factor = emit(op.permute_dims(weight, [1, 0])) if self.transposed else weight
        made = emit(op.matmul(x, factor))
        return emit(op.add(made, relax.const(self.addend(dtype), dtype))) if self.bias else made

    def computed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The result, and the sums of the magnitudes of its addends."""
        weight = self.weight(x.shape[-1], str(x.dtype)).astype(float)
        weight = weight.T if self.transposed else weight
        bias = self.addend("float64") * self.bias
        return x.astype(float) @ weight + bias, abs(x.astype(float)) @ abs(weight) + abs(bias)


def check(products: list[Product], shape: Shape, dtype: str, scheme: str, vector_bytes: int) -> None:
    """Lowered, weights packed, results within rounding of numpy's."""
    mod = stepwise(lambda emit, x: tuple(p.relax(emit, x, dtype) for p in products), shape, dtype=dtype)
    rows = lowered(mod, apart(extract(mod).graph, scheme), vector_bytes)
    packed = [weights for call in calls(rows).values() for weights in constants(call) if weights.ndim == 1]
    for product in products:
        elements = np.sort(product.weight(shape[-1], dtype), axis=None)
        assert elements.size == 1 or any(np.array_equal(np.sort(found), elements) for found in packed)
    x = array(shape, dtype)
    for product, found in zip(products, outputs(rows, [x]), strict=True):
        expected, magnitude = product.computed(x)
        assert found.shape == expected.shape
        assert (abs(found - expected) <= error_bound(shape[-1], magnitude, dtype)).all(), product


SHAPES = st.one_of(
    st.tuples(st.integers(1, 4)),  # rows are images
    st.tuples(st.integers(1, 3), st.integers(1, 30)),  # tokens
    st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 20)),  # a map with its channels last
)
PRODUCTS = st.builds(Product, st.integers(1, 70), st.booleans(), st.booleans(), st.integers(0, 999))
DTYPES = ("float32", "float32", "float64", "float16")
SCHEMES = st.sampled_from(("lbdf", "layer"))


def check_random(options: settings, dtypes: tuple[str, ...] = DTYPES) -> None:
    several = st.lists(PRODUCTS, min_size=1, max_size=4, unique_by=lambda product: product.seed)

    @given(several, SHAPES, st.integers(1, 40), st.sampled_from(dtypes), SCHEMES, WIDTHS)
    @options
    def compared(
        products: list[Product], places: Shape, inputs: int, dtype: str, scheme: str, vector_bytes: int
    ) -> None:
        check(products, (*places, inputs), dtype, scheme, vector_bytes)

    compared()


def test_random_products() -> None:
    """Without float16, which takes long to compile where the processor has none."""
    check_random(settings(max_examples=8, derandomize=True, **PLAIN), DTYPES[:3])


@pytest.mark.slow
def test_many_random_products() -> None:
    check_random(settings(max_examples=EXAMPLES, **PLAIN))


@pytest.mark.parametrize("shape", [(1, 8), (3, 8), (1, 5, 8), (2, 13, 8), (1, 3, 14, 8), (2, 3, 14, 8)], ids=str)
def test_square_weight_in_both_orders(shape: Shape) -> None:
    """Sizes do not tell the axes apart."""
    for scheme in ("lbdf", "layer"):
        check([Product(8, True, True, 1), Product(8, False, False, 2)], shape, "float32", scheme, 16)

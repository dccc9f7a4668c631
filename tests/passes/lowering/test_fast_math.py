"""fast_math: how far exponentials, logistic functions and hyperbolic tangents are from the exact ones.

Bounds are in units in the last place (ulp) of the exact result, over random bit patterns, the range in which results
are neither 0 nor infinite, all neighbours of the limits, and what is no number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from tvm.relax import op

from tests.passes.lowering.lowered import apart, calls, lowered, outputs
from tests.passes.modules import stepwise
from tvm_fusion.passes import extract

Array = np.ndarray
TINY, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# Where exp turns infinite, and where it turns subnormal and 0; where others of their steps lie.
LIMITS = (88.72284, -87.33655, -86.99, -87.5, 88.73, -103.97, -88.73, 0.125, -16.6, 9.01, -0.34657)
SPECIAL = (np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, -1e-45, TINY, -TINY, LARGEST, -LARGEST)
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@functools.cache
def arguments() -> Array:
    """About a million float32."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 2**32, 600_000, dtype=np.uint32).view(np.float32)
    range_of_exp = generator.uniform(-110, 110, 300_000).astype(np.float32)
    steps = np.arange(-5000, 5000, dtype=np.int32)
    near = [(np.float32(limit).view(np.int32) + steps).view(np.float32) for limit in LIMITS]
    return np.concatenate([patterns, range_of_exp, *near, np.float32(SPECIAL)])


@functools.cache
def computed(vector_bytes: int) -> dict[str, Array]:
    """By function its values as the lowered network computes them."""
    x = arguments()[None]
    mod = stepwise(lambda emit, y: (op.exp(y), op.sigmoid(y), op.tanh(y)), x.shape)
    rows = lowered(mod, apart(extract(mod).graph, "layer"), vector_bytes)
    assert len(calls(rows)) == 3
    for name in calls(rows):
        assert not any(f"T.{function}(" in rows[name].script() for function in FUNCTIONS)
    return dict(zip(FUNCTIONS, (array[0] for array in outputs(rows, [x])), strict=True))


def exact(name: str) -> Array:
    """By numpy in double precision, NaN included."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(FUNCTIONS[name](arguments().astype(np.float64)))


def ulps(found: Array, expected: Array) -> Array:
    """Distances in units in the last place of the exact values, all of which are normal and finite."""
    return np.asarray(abs(found - expected) / np.spacing(abs(expected).astype(np.float32)).astype(np.float64))


def worst(name: str, within: Callable[[Array, Array], Array], vector_bytes: int = 16) -> float:
    """The largest distance where ``within`` (of the argument and the exact value) holds and the value is normal."""
    x, expected = arguments(), exact(name)
    chosen = (abs(expected) >= TINY) & (abs(expected) <= LARGEST) & within(x, expected)
    assert chosen.sum() > 1000
    return float(ulps(computed(vector_bytes)[name][chosen], expected[chosen]).max())


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_values_do_not_depend_on_the_width(vector_bytes: int) -> None:
    for name, values in computed(vector_bytes).items():
        assert np.array_equal(values, computed(16)[name], equal_nan=True)


def test_error_of_exp() -> None:
    """0.96 ulp measured, where the result is at least twice the smallest normal number."""
    assert worst("exp", lambda _, value: value >= 2 * TINY) < 1


def test_error_of_sigmoid() -> None:
    """2.5 ulp measured."""
    assert worst("sigmoid", lambda x, _: x < np.inf) < 3


def test_error_of_tanh() -> None:
    """3.8 ulp measured from 0.1 on; nearer to 0 what counts is 1 beside the exponential."""
    assert worst("tanh", lambda x, _: abs(x) >= 0.1) < 4
    assert np.nanmax(abs(computed(16)["tanh"] - exact("tanh"))) < 1e-7


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="from -86.99 down exp is 0, its normal values as well")
def test_error_of_exp_near_the_smallest_normal_number() -> None:
    assert worst("exp", lambda _, value: value < 2 * TINY) < 4


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="1 - exp(-2 |x|) keeps few places of a small x")
def test_error_of_tanh_near_zero() -> None:
    assert worst("tanh", lambda x, _: abs(x) < 0.1) < 4


def test_exp_is_infinite_exactly_where_it_exceeds_the_largest_number() -> None:
    with np.errstate(over="ignore"):
        expected = exact("exp").astype(np.float32)
    assert np.array_equal(np.isinf(computed(16)["exp"]), np.isinf(expected))
    assert np.isinf(expected).sum() > 1000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_subnormal_results_are_off_by_less_than_the_smallest_normal_number(name: str) -> None:
    expected = exact(name)
    chosen = abs(expected) < TINY
    assert chosen.sum() > 1000
    assert (abs(computed(16)[name][chosen] - expected[chosen]) <= TINY).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_number_stays_none_and_nothing_else_becomes_so(name: str) -> None:
    assert np.array_equal(np.isnan(computed(16)[name]), np.isnan(arguments()))


@pytest.mark.parametrize(("name", "argument", "value"), [
    ("exp", np.inf, np.inf), ("exp", -np.inf, 0.0), ("exp", 0.0, 1.0), ("exp", -0.0, 1.0), ("exp", 1e-45, 1.0),
    ("exp", LARGEST, np.inf), ("exp", -LARGEST, 0.0),
    ("sigmoid", np.inf, 1.0), ("sigmoid", -np.inf, 0.0), ("sigmoid", 0.0, 0.5), ("sigmoid", LARGEST, 1.0),
    ("sigmoid", -LARGEST, 0.0), ("sigmoid", 1e-45, 0.5),
    ("tanh", np.inf, 1.0), ("tanh", -np.inf, -1.0), ("tanh", 0.0, 0.0), ("tanh", LARGEST, 1.0),
    ("tanh", -LARGEST, -1.0),
])  # fmt: skip
def test_limits(name: str, argument: float, value: float) -> None:
    found = computed(16)[name][arguments() == np.float32(argument)]
    assert found.size
    assert (found == value).all()

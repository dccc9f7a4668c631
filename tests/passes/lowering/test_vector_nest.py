"""vector_nest executes a statement once for every combination of its loops, neighbours together as vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from tests.passes.lowering.lowered import PLAIN
from tvm_fusion.passes.lowering.expressions import as_int, index
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.row_buffers import flat
from tvm_fusion.passes.lowering.statements import statements
from tvm_fusion.passes.lowering.vector_nest import vector_nest, vectorized


@dataclass(frozen=True)
class Nest:
    """Loops of ``extents`` that add a source, whose axes stand in ``order``, to a flat target.

    The target's axes are in the order of the loops, each ``gaps`` longer than its loop; the last one takes ``step``.
    """

    extents: tuple[int, ...]
    order: tuple[int, ...]
    gaps: tuple[int, ...]
    step: int = 1
    lanes: int = 4

    @property
    def strides(self) -> list[int]:
        """Elements of the target from one value of a loop to the next."""
        sizes = [extent + gap for extent, gap in zip(self.extents, self.gaps, strict=True)]
        return [math.prod(sizes[axis + 1 :]) * self.step for axis in range(len(sizes))]

    @property
    def size(self) -> int:
        """Elements of the target."""
        return 1 + sum((extent - 1) * step for extent, step in zip(self.extents, self.strides, strict=True))

    def built(self) -> tuple[Any, Any]:
        """The PrimFunc (source, target), and the statement in it."""
        source = tirx.decl_buffer([index(self.extents[axis]) for axis in self.order], "float32", name="source")
        target = tirx.decl_buffer([index(self.size)], "float32", name="target")
        loops = [(loop_var(f"v{axis}"), extent) for axis, extent in enumerate(self.extents)]

        def build(values: dict[Any, Any], lane: Any, count: int) -> Any:
            places = [values.get(var, var) for var, _ in loops]
            at = sum((place * index(step) for place, step in zip(places, self.strides, strict=True)), index(0))
            value = target[at] + source[tuple(places[axis] for axis in self.order)] + tirx.FloatImm("float32", 1)
            return vectorized(lane, count, tirx.BufferStore(target, value, [flat([self.size], [at])]))

        body = vector_nest(loops, self.lanes, build)
        return tirx.PrimFunc([source, target], body).with_attr("global_symbol", "main"), body

    def executed(self) -> np.ndarray:
        """The target, which was 0 before."""
        source = tvm.runtime.tensor(self.source())
        target = tvm.runtime.tensor(np.zeros(self.size, np.float32))
        tvm.compile(tvm.IRModule({"main": self.built()[0]}), "llvm")["main"](source, target)
        return target.numpy()

    def source(self) -> np.ndarray:
        """0, 1, 2, ..."""
        shape = [self.extents[axis] for axis in self.order]
        return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)

    def expected(self) -> np.ndarray:
        """The target by numpy."""
        found = np.zeros(self.size, np.float32)
        by_loops = self.source().transpose(np.argsort(self.order))
        for places in np.ndindex(*self.extents):
            found[np.dot(places, self.strides)] += by_loops[places] + 1
        return found

    def loops(self, kind: Any) -> list[int]:
        """Extents of the loops of a kind."""
        every = [s for s in statements(self.built()[1]) if isinstance(s, tirx.For)]
        return [int(loop.extent) for loop in every if int(loop.kind) == int(kind)]


@st.composite
def nests(draw: st.DrawFn) -> Nest:
    """One to four loops, some of which join, some not."""
    extents = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    order = tuple(draw(st.one_of(st.just(range(len(extents))), st.permutations(range(len(extents))))))
    gaps = tuple(draw(st.sampled_from((0, 0, 1, 3))) for _ in extents)
    return Nest(extents, order, gaps, draw(st.sampled_from((1, 1, 1, 2))), draw(st.sampled_from((1, 2, 4, 8, 16))))


def check(nest: Nest) -> None:
    """Every element is added once, and vectors are no wider than they may be."""
    assert np.array_equal(nest.executed(), nest.expected())
    assert all(2 <= lanes <= nest.lanes for lanes in nest.loops(tirx.ForKind.VECTORIZED))


def check_random(options: settings) -> None:
    @given(nests())
    @options
    def checked(nest: Nest) -> None:
        check(nest)

    checked()


def test_random_nests() -> None:
    check_random(settings(max_examples=15, derandomize=True, **PLAIN))


@pytest.mark.slow
def test_many_random_nests() -> None:
    check_random(settings(max_examples=200, **PLAIN))


@pytest.mark.parametrize(("nest", "serial", "vectors"), [
    (Nest((8,), (0,), (0,)), [2], [4]),
    (Nest((11,), (0,), (0,)), [2], [4, 3]),  # two whole vectors, then three
    (Nest((9,), (0,), (0,)), [2], [4]),  # a single element is no vector
    (Nest((3,), (0,), (0,)), [], [3]),
    (Nest((2, 6), (0, 1), (0, 0)), [2, 1], [4, 2]),  # the source tells the two loops apart
    (Nest((2, 6), (1, 0), (0, 0)), [2, 1], [4, 2]),
    (Nest((2, 6), (0, 1), (0, 1)), [2, 1], [4, 2]),
    (Nest((8,), (0,), (0,), step=2), [8], []),
    (Nest((8,), (0,), (0,), lanes=1), [8], []),
], ids=str)  # fmt: skip
def test_loops_that_are_made(nest: Nest, serial: list[int], vectors: list[int]) -> None:
    assert sorted(nest.loops(tirx.ForKind.SERIAL)) == sorted(serial)
    assert nest.loops(tirx.ForKind.VECTORIZED) == vectors
    check(nest)


def test_loops_join_where_the_statement_does_not_tell_them_apart() -> None:
    """Rows of 3 and 5 without a gap on both sides: 30 elements in one loop."""
    source, target = (tirx.decl_buffer([index(30)], "float32", name=name) for name in ("source", "target"))
    loops = [(loop_var(name), extent) for name, extent in (("a", 2), ("b", 3), ("c", 5))]

    def build(values: dict[Any, Any], lane: Any, count: int) -> Any:
        at = flat([2, 3, 5], [values.get(var, var) for var, _ in loops])
        return vectorized(lane, count, tirx.BufferStore(target, source[at], [at]))

    body = vector_nest(loops, 4, build)
    found = [(int(s.kind), int(s.extent)) for s in statements(body) if isinstance(s, tirx.For)]
    assert found == [
        (int(tirx.ForKind.SERIAL), 7),
        (int(tirx.ForKind.VECTORIZED), 4),
        (int(tirx.ForKind.VECTORIZED), 2),
    ]
    function = tirx.PrimFunc([source, target], body).with_attr("global_symbol", "main")
    values = np.arange(30, dtype=np.float32)
    result = tvm.runtime.tensor(np.zeros(30, np.float32))
    tvm.compile(tvm.IRModule({"main": function}), "llvm")["main"](tvm.runtime.tensor(values), result)
    assert np.array_equal(result.numpy(), values)


def test_nothing_to_loop_over() -> None:
    buffer = tirx.decl_buffer([index(1)], "float32", name="buffer")

    def build(values: dict[Any, Any], lane: Any, count: int) -> Any:
        assert (values, as_int(lane), count) == ({}, 0, 1)
        return tirx.BufferStore(buffer, tirx.FloatImm("float32", 1), [index(0)])

    assert isinstance(vector_nest([], 4, build), tirx.BufferStore)

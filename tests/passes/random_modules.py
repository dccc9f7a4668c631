"""Random small networks as data, which two independent backends execute: Relax (for TVM) and torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tvm
from hypothesis import strategies as st

from tests.passes.modules import Shape, stepwise
from tests.passes.random_drawers import CHAINED, DRAWERS, DRAWN, SIZES
from tests.passes.random_steps import KINDS, Step, weight

Draw = st.DrawFn
MOST_ELEMENTS = 3000
LARGEST = 1e3


@dataclass(frozen=True)
class Network:
    """Steps over tensors by number: the inputs, then every result in order; ``outputs`` are what is returned."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def arrays(self) -> list[np.ndarray]:
        """Input values."""
        return [np.random.default_rng(k + 100).standard_normal(s).astype("float32") for k, s in enumerate(self.inputs)]

    def module(self) -> tvm.IRModule:
        """The network in Relax; its float32 weights of one seed and shape are one constant."""
        weight.cache_clear()

        def build(emit: Callable[[Any], Any], *inputs: Any) -> Any:
            tensors = list(inputs)
            for step in self.steps:
                made = KINDS[step.kind][0](emit, *(tensors[k] for k in step.operands), step.arguments)
                tensors += [emit(part) for part in (made if isinstance(made, tuple) else (made,))]
            results = [tensors[k] for k in self.outputs]
            return tuple(results) if len(results) > 1 else results[0]

        return stepwise(build, *self.inputs)

    def results(self) -> list[np.ndarray]:
        """Outputs by torch, in double precision."""
        tensors = [torch.from_numpy(values).double() for values in self.arrays()]
        for step in self.steps:
            tensors += executed(step, tensors)
        return [tensors[k].numpy() for k in self.outputs]


def executed(step: Step, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Results of one step by torch."""
    made = KINDS[step.kind][1](*(tensors[k] for k in step.operands), step.arguments)
    return list(made) if isinstance(made, tuple) else [made]


@st.composite
def networks(draw: Draw, max_steps: int = 12, chains: bool = False) -> Network:
    """Networks of 1 to ``max_steps`` steps on one to three inputs, all with one batch of 1 to 3.

    ``chains``: maps, of which some are multiplied by a function of their own mean, at least one if all goes well.
    """
    batch = draw(st.sampled_from((1, 1, 1, 2, 3)))
    sizes = st.sampled_from(SIZES)
    shapes: list[Shape] = []
    common = (draw(st.integers(1, 6)), draw(sizes), draw(sizes))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        choices = (common, common, (draw(st.integers(1, 6)), draw(sizes), draw(sizes)), (common[0], 1, 1))
        shapes.append((batch, *draw(st.sampled_from(choices))))
    if not chains and draw(st.integers(0, 7)) == 0:
        shapes = [(batch, draw(st.integers(2, 13)), draw(st.integers(1, 8)))]  # tokens
    writer = Writer(draw, shapes, *((CHAINED, 50) if chains else (DRAWN, 2)))
    if chains:
        writer.step("conv")
        writer.step("gate")
    for _ in range(draw(st.integers(1, max_steps))):
        writer.step()
    return writer.network(tuple(shapes))


class Writer:
    """Draws steps one after another; torch executes each at once, which says the shapes."""

    def __init__(self, draw: Draw, shapes: list[Shape], kinds: tuple[str, ...], most_seed: int) -> None:
        self.draw = draw
        self.kinds = kinds
        self.most_seed = most_seed
        self.tensors = [torch.from_numpy(v).double() for v in Network(tuple(shapes), (), ()).arrays()]
        self.inputs = len(shapes)
        self.steps: list[Step] = []

    def step(self, kind: str | None = None) -> None:
        kind = kind or self.draw(st.sampled_from(self.kinds))
        found = DRAWERS[kind](self)
        if found is None:
            return
        step = Step(kind, *found)
        try:
            made = executed(step, self.tensors)
        except (RuntimeError, ValueError):  # torch refuses: a window larger than its map, and the like
            return
        if all(self._is_fine(result) for result in made):
            self.steps.append(step)
            self.tensors += made

    def _is_fine(self, result: torch.Tensor) -> bool:
        small = 0 < result.numel() <= MOST_ELEMENTS
        return small and bool(torch.isfinite(result).all()) and float(result.abs().max()) < LARGEST

    def network(self, shapes: tuple[Shape, ...]) -> Network:
        if not any(step.kind in ("activation", "binary", "conv", "softmax") for step in self.steps):
            # The others may change nothing, and a network that computes nothing is refused.
            self.steps.append(Step("activation", (len(self.tensors) - 1,), {"type": "relu"}))
            self.tensors += executed(self.steps[-1], self.tensors)
        read = {operand for step in self.steps for operand in step.operands}
        made = range(self.inputs, len(self.tensors))
        ends = [k for k in made if k not in read]
        more = self.draw(st.sets(st.sampled_from(made), max_size=2)) if self.draw(st.integers(0, 2)) == 0 else set()
        return Network(shapes, tuple(self.steps), tuple(sorted({*ends, *more})))

    def shape(self, number: int) -> Shape:
        return tuple(self.tensors[number].shape)

    def source(self, *ranks: int, accept: Callable[[Shape], bool] = lambda shape: True) -> int | None:
        """A tensor of one of these ranks: usually one of the latest, now and then any."""
        every = [k for k, t in enumerate(self.tensors) if t.ndim in ranks and accept(tuple(t.shape))]
        if not every:
            return None
        found: int = self.draw(st.one_of(st.sampled_from(every[-2:]), st.sampled_from(every)))
        return found

    def seed(self) -> int:
        """If few of them: equal weights are one constant of the module, which several operators then share."""
        return self.draw(st.integers(0, self.most_seed))

    def pair(self, choices: tuple[int, ...]) -> tuple[int, int]:
        one = self.draw(st.sampled_from(choices))
        return (one, one) if self.draw(st.booleans()) else (one, self.draw(st.sampled_from(choices)))

    def padding(self, kernel: tuple[int, int], most: int) -> tuple[int, ...]:
        """What keeps the size, the same on all sides, or anything."""
        kind = self.draw(st.integers(0, 3))
        if kind < 2:
            return tuple(min(most, side // 2) for side in (*kernel, *kernel))
        return tuple(self.draw(st.integers(0, most)) for _ in range(4))

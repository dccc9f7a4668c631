"""PassBuffers: the rows of a group's tensors on chip in each of its passes, scales in one place from pass to pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tvm_fusion.cost_models.pass_schedule import THROUGHOUT, PassSteps
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE, RowBuffer, RowBuffers
from tvm_fusion.passes.lowering.row_homes import row_homes


class PassBuffers(RowBuffers):
    """What :meth:`of` and :meth:`scratch` give are those of the pass that :meth:`begin` named last.

    Passes have line buffers of their own, which need not be there at one time; what lies beside the line buffers, for
    sums and for a second operand in place, serves one pass after another.
    """

    def __init__(self, group: Group, passes: Sequence[PassSteps], scope: str = DEFAULT_SCOPE) -> None:
        super().__init__(group, {}, scope)
        self._beside: dict[Any, list[Any]] = {}
        self._taken: Counter[Any] = Counter()
        scales = {t for p in passes for t in p.at_hand}
        kept: dict[int, RowBuffer] = {}
        self._by_pass: list[dict[int, RowBuffer]] = []
        self._taken_by_pass: list[Counter[Any]] = []
        for number, p in enumerate(passes):
            self._taken = Counter()
            found: dict[int, RowBuffer] = {}
            for i, home in row_homes(group.graph, p.lines).items():
                tensor = group.graph.tensor(i)
                if home.owner != i:
                    found[i] = found[home.owner]
                elif i in p.at_hand:
                    found[i] = kept[i]
                elif home.beside:
                    shape = (home.lines, tensor.row_elements)
                    found[i] = RowBuffer(self.scratch(home.name, shape, tensor.dtype), home.lines, tensor)
                else:
                    name = home.name if i in scales else pass_name(home.name, number)
                    found[i] = self._allocate(name, tensor, home.lines, scope)
            kept |= {i: found[i] for i in scales & set(p.executed)}
            self._by_pass.append(found)
            self._taken_by_pass.append(self._taken)
        self.begin(0)

    def begin(self, number: int) -> None:
        """From now on for pass ``number``."""
        self._of = self._by_pass[number]
        self._taken = self._taken_by_pass[number].copy()

    def scratch(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        """A buffer in the accumulator scope, new or as an earlier pass had it."""
        key = name, shape, dtype
        every = self._beside.setdefault(key, [])
        if self._taken[key] == len(every):
            every.append(super().scratch(name, shape, dtype))
        self._taken[key] += 1
        return every[self._taken[key] - 1]


def pass_name(name: str, number: int) -> str:
    """The name of what pass ``number`` (from 0) has for itself, or loads."""
    return name if number == THROUGHOUT else f"{name}_pass_{number + 1}"

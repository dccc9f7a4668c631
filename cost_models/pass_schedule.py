"""pass_schedule: what each pass of a group holds, makes and loads, for code generation; the cost models only count."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_fusion.cost_models.pass_group import PassGroup
from tvm_fusion.cost_models.row_program import Event, row_program
from tvm_fusion.graph.graph import members

THROUGHOUT = -1


@dataclass(frozen=True)
class PassSteps:
    """A pass in numbers of the group's graph.

    ``lines`` of every tensor that it reads or makes, 0 in place; ``events`` in order, those of scales ``at_hand`` (made
    in an earlier pass) included; ``results`` that it makes whole. ``weights``: by operator the pass that loads the
    weights that are there now, THROUGHOUT where they are loaded before the first one and stay. ``first_weights``: of
    those, what the first image finds loaded, as the pass that loads them comes later in each image.
    """

    executed: tuple[int, ...]
    lines: dict[int, int]
    events: tuple[Event, ...]
    at_hand: frozenset[int]
    results: frozenset[int]
    weights: dict[int, int]
    first_weights: frozenset[int]


def pass_schedule(group: PassGroup, kept: int) -> list[PassSteps]:
    """The passes of one image, with the weights of operators ``kept`` (a mask) on chip throughout."""
    model = group.model
    used = [p.executed for p in group.passes]
    found = []
    for number, p in enumerate(group.passes):
        results = frozenset(members(p.results))
        outside = model.sizes.outside_inputs(p.executed)
        weights = {i: _loaded_in(group, used, kept, i, number) for i in members(p.executed)}
        found.append(
            PassSteps(
                executed=tuple(members(p.executed)),
                lines=model.lines.lines(p.executed, results),
                events=tuple(row_program(model.graph, p.executed, results)),
                at_hand=frozenset(t for t in outside if t >= 0 and group.mask >> t & 1),
                results=results,
                weights=weights,
                first_weights=frozenset(i for i, loaded in weights.items() if loaded > number),
            )
        )
    return found


def _loaded_in(group: PassGroup, used: list[int], kept: int, i: int, number: int) -> int:
    """The pass that loads the weights of operator ``i`` which pass ``number`` uses."""
    if kept >> i & 1:
        return THROUGHOUT
    if not group.shared:
        return number
    first = number
    while first and used[first - 1] >> i & 1:
        first -= 1
    if first or group.batch == 1 or not used[-1] >> i & 1:
        return first
    # They stay from the last pass of an image to the first one of the next.
    first = len(used) - 1
    while first >= 0 and used[first] >> i & 1:
        first -= 1
    return first + 1 if first >= 0 else THROUGHOUT

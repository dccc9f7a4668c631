"""ChannelAssignment: the phases of a group under channel streaming and its resident tensors; what plans carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm_fusion.errors import CostModelError


@dataclass(frozen=True, slots=True)
class ChannelAssignment:
    """``phases``: the operators that each executes, one that stands in several is computed again; ``resident``:
    operand ids of the tensors that are held whole, all others are streamed."""

    phases: tuple[tuple[int, ...], ...]
    resident: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``parameters`` of a group in a plan."""
        return {"phases": [list(phase) for phase in self.phases], "resident": list(self.resident)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChannelAssignment:
        """Inverse of :meth:`to_json`. Raises CostModelError for a missing or unknown key and for what is no number."""
        if set(data) != {"phases", "resident"}:
            raise CostModelError(
                f"channel streaming has the parameters {sorted(data)}; needed are 'phases' and 'resident'"
            )
        phases, resident = data["phases"], data["resident"]
        lists = isinstance(phases, list | tuple) and all(isinstance(phase, list | tuple) for phase in phases)
        if not lists or not isinstance(resident, list | tuple):
            raise CostModelError("channel streaming needs 'phases' as lists of operators and 'resident' as a list")
        for i in (*(i for phase in phases for i in phase), *resident):
            if not isinstance(i, int) or isinstance(i, bool):
                raise CostModelError(f"channel streaming names {i!r}; phases and resident hold operand ids")
        return cls(tuple(tuple(sorted(set(phase))) for phase in phases), tuple(sorted(set(resident))))

"""Row demand: which rows of an operand one output row of an operator needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tvm_fusion.errors import GraphError

DemandKind = Literal["window", "row", "single", "all", "accumulate", "table"]
KINDS: tuple[str, ...] = get_args(DemandKind)


@dataclass(frozen=True, slots=True)
class RowDemand:
    """Rows of one operand that an operator needs for its output row ``r``.

    Kinds (the operand has ``H`` rows):

    - ``window``: ``max(0, r*stride-padding) .. min(H-1, r*stride-padding+(kernel-1)*dilation)``;
      a window wholly in the padding needs row 0.
    - ``row``: row ``r`` itself.
    - ``single``: row 0 (a broadcast operand of one row).
    - ``all``: every row, held together.
    - ``accumulate``: every row, one after another; none is held for it.
    - ``table``: ``first[r] .. last[r]``; ``last[r] < first[r]`` means that row ``r`` needs none.
    """

    kind: DemandKind
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    first: tuple[int, ...] = field(default=())
    last: tuple[int, ...] = field(default=())

    def rows(self, row: int, operand_height: int) -> tuple[int, int]:
        """First and last operand row (inclusive) for output ``row``; last < first if none."""
        kind = self.kind
        if kind == "row":
            return row, row
        if kind == "single":
            return 0, 0
        if kind in ("all", "accumulate"):
            return 0, operand_height - 1
        if kind == "table":
            return self.first[row], self.last[row]
        top = row * self.stride - self.padding
        first = max(0, top)
        last = min(operand_height - 1, top + (self.kernel - 1) * self.dilation)
        return (0, 0) if last < first else (first, last)

    def to_json(self) -> dict[str, Any]:
        """The demand as JSON; only the fields that its kind uses."""
        if self.kind == "window":
            names = ("kernel", "stride", "padding", "dilation")
            return {"kind": "window", **{name: getattr(self, name) for name in names}}
        if self.kind == "table":
            return {"kind": "table", "first": list(self.first), "last": list(self.last)}
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RowDemand:
        """Inverse of :meth:`to_json`. Raises GraphError for an unknown kind or key."""
        kind = data.get("kind")
        if kind not in KINDS:
            raise GraphError(f"row demand kind {kind!r} is unknown; allowed: {', '.join(KINDS)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise GraphError(f"row demand {data!r} is malformed: {error}") from None


ROW = RowDemand("row")
SINGLE = RowDemand("single")
ALL = RowDemand("all")
ACCUMULATE = RowDemand("accumulate")

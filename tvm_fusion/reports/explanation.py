"""Why a group fits on chip or not: its bytes by tensor against the buffer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import LBDF, Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.registry import (
    ALWAYS,
    AUTO,
    chosen_schemes,
    make_schemes,
    scheme_class,
    scheme_names,
)
from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.graph import OperatorGraph, mask_of

# Schemes whose reports count channels of a tensor, not lines.
_BY_CHANNELS = ("channel-streaming",)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a group keeps on chip: ``held`` lines (or channels) of the ``whole`` of a tensor, or an operator's
    weights (None)."""

    kind: str
    number: int
    name: str
    held: int | None
    whole: int | None
    bytes: int

    @property
    def label(self) -> str:
        """How a reader finds it: "input 0", "tensor 12", "weights 12"."""
        return f"{self.kind} {self.number}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``shown`` is the group in the scheme that is explained, ``parts`` what it has on chip there: in LBDF all at one
    time, elsewhere the most that there ever is of each, and of weights those that stay. ``cost`` is the way in which
    the group really executes. ``needed_bytes``: of every scheme in question the smallest buffer at which it fits."""

    graph: OperatorGraph
    accelerator: Accelerator
    shown: GroupCost
    cost: GroupCost
    needed_bytes: Mapping[str, int]
    parts: tuple[Part, ...]

    @property
    def smallest_buffer_bytes(self) -> int:
        """The smallest buffer at which the group is valid in one of the schemes in question."""
        return min(self.needed_bytes.values())

    @property
    def fits(self) -> bool:
        """Whether the requirement is at most the buffer."""
        return self.smallest_buffer_bytes <= self.accelerator.buffer_bytes

    @property
    def exact(self) -> bool:
        """Whether no smaller buffer can do: every scheme in question has tried, or ruled out, all of its choices."""
        return all(scheme_class(name).exact_choice for name in self.needed_bytes)

    @property
    def unit(self) -> str:
        """What is held of a tensor: "lines" or "channels"."""
        return "channels" if self.shown.scheme in _BY_CHANNELS else "lines"

    def verdict(self) -> str:
        """One sentence for a person."""
        fits, known = ("fits", "It fits") if self.exact else ("is known to fit", "It is known to fit")
        needed, buffer = self.shown.buffer_bytes, self.accelerator.buffer_bytes
        sizes = f"it needs {needed:,} bytes ({needed / 1024:.1f} KiB) of {buffer:,} ({buffer / 1024:g} KiB)"
        if self.fits:
            where = "" if tuple(self.needed_bytes) == LBDF else f" under {_label(self.shown.scheme)}"
            return (
                f"Valid{where}: {sizes}, {buffer - needed:,} are left. {known} from a buffer of "
                f"{self.smallest_buffer_bytes:,} bytes on{self._by_scheme()}."
            )
        largest, where = max(self.parts, key=lambda part: part.bytes), ", ".join(map(_label, self.needed_bytes))
        text = (
            f"Invalid under {where}: {sizes}, {needed - buffer:,} too many. The smallest buffer at which it {fits} is "
            f"{self.smallest_buffer_bytes:,} bytes{self._by_scheme()}. The largest part is {largest.label} "
            f"({largest.name}): {largest.bytes:,} bytes."
        )
        if self.cost.scheme == ALWAYS:
            too_heavy = self.shown.weight_buffer_bytes > buffer
            why = " (its weights alone are larger than the buffer)" if too_heavy else ""
            text += f" Alone it executes layer by layer{why}, moving {self.cost.dram_bytes:,} bytes."
        return text

    def _by_scheme(self) -> str:
        """What each of several schemes needs."""
        if len(self.needed_bytes) == 1:
            return ""
        return f" ({', '.join(f'{_label(name)} {needed:,}' for name, needed in self.needed_bytes.items())})"

    def to_json(self) -> dict[str, Any]:
        """The explanation by name; ``buffer_bytes`` is the requirement in the scheme that is shown."""
        buffer = self.accelerator.buffer_bytes
        whole = "height" if self.unit == "lines" else "of_channels"
        lbdf = self.needed_bytes.get("lbdf")
        return {
            "operators": list(self.shown.operators),
            "names": [self.graph.operators[i].name for i in self.shown.operators],
            "valid": self.cost.valid,
            "scheme": self.cost.scheme,
            "fits": self.fits,
            **({} if lbdf is None else {"fits_line_buffers": lbdf <= buffer}),
            "shown_scheme": self.shown.scheme,
            "shown_parameters": self.shown.parameters,
            "buffer_bytes": self.shown.buffer_bytes,
            "accelerator_buffer_bytes": buffer,
            "excess_bytes": max(0, self.smallest_buffer_bytes - buffer),
            "smallest_buffer_bytes": self.smallest_buffer_bytes,
            "needed_bytes": dict(self.needed_bytes),
            "tensors": [
                {"tensor": part.number if part.kind == "tensor" else -part.number - 1, "name": part.name}
                | {self.unit: part.held, whole: part.whole, "bytes": part.bytes}
                for part in self.parts
                if part.kind != "weights"
            ],
            "weights": [
                {"operator": part.number, "name": part.name, "bytes": part.bytes}
                for part in self.parts
                if part.kind == "weights"
            ],
            "weight_buffer_bytes": self.shown.weight_buffer_bytes,
            "dram_bytes": self.cost.to_json()["dram_bytes"],
            "verdict": self.verdict(),
        }


def explained_schemes(schemes: str | Iterable[str]) -> tuple[str, ...]:
    """Those of ``schemes`` ("auto", "lbdf,brr" or a list) that can be explained: all but "layer", which always fits.

    Raises SchemeError for an unknown name, and where none is left.
    """
    found = tuple(name for name in chosen_schemes(schemes) if name != ALWAYS)
    if not found:
        allowed = ", ".join(name for name in scheme_names() if name != ALWAYS)
        raise SchemeError(
            f"scheme {ALWAYS!r} has nothing to explain: one operator in tiles fits every buffer; allowed: {AUTO}, or a "
            f"list of {allowed}"
        )
    return found


def explain_group(
    graph: OperatorGraph, operators: tuple[int, ...], accelerator: Accelerator, schemes: str | Iterable[str] = LBDF
) -> Explanation:
    """Explain the group of ``operators`` (ids of ``graph``, connected) on ``accelerator``.

    What is shown is the cheapest of ``schemes`` in which it fits or, where it fits in none, the one that needs least.
    Raises SchemeError for schemes that are unknown, have nothing to explain or cannot execute the group.
    """
    names = explained_schemes(schemes)
    mask = mask_of(operators)
    oracle = Oracle(graph, accelerator, names)
    cost = oracle.cost(mask)
    # In the smallest buffer of all a scheme makes the choice that needs least, whatever it chooses in this one.
    tight = make_schemes(names, graph, replace(accelerator, buffer_bytes=1), oracle.sizes)
    found = {name: scheme.requirement_bytes(mask) for name, scheme in tight.items()}
    needed_bytes = {name: needed for name, needed in found.items() if needed is not None}
    if not needed_bytes:
        ids = ", ".join(map(str, operators))
        raise SchemeError(f"scheme {', '.join(names)} cannot execute the group of operators {ids}; add lbdf or brr")
    shown = cost
    if not cost.valid or cost.scheme == ALWAYS:
        name = min(needed_bytes, key=needed_bytes.__getitem__)
        least = tight[name].cost(mask)
        shown = oracle.cost_in(mask, name, least.parameters if least else None)
    return Explanation(graph, accelerator, shown, cost, needed_bytes, tuple(_parts(oracle, shown)))


def _parts(oracle: Oracle, shown: GroupCost) -> Iterator[Part]:
    graph = oracle.graph
    for buffer in shown.buffers:
        tensor = graph.tensor(buffer.tensor)
        inside = buffer.tensor >= 0
        yield Part(
            kind="tensor" if inside else "input",
            number=buffer.tensor if inside else -buffer.tensor - 1,
            name=tensor.name,
            held=buffer.lines,
            whole=output_channels(tensor) if shown.scheme in _BY_CHANNELS else tensor.height,
            bytes=buffer.bytes,
        )
    for i in shown.operators if shown.scheme in LBDF else shown.parameters.get("kept", ()):
        if oracle.sizes.weight_bytes[i]:
            yield Part("weights", i, graph.operators[i].name, None, None, oracle.sizes.weight_bytes[i])


def _label(scheme: str) -> str:
    """As the text writes it."""
    return scheme.upper() if scheme in ("lbdf", "brr") else scheme

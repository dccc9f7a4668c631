"""OperatorRows: the code that makes one row of one operator, from the blocks that make its whole tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tvm import tirx
from tvm.ir.expr import Var
from tvm.ir.prim import expr as prim
from tvm.tirx import BufferStore
from tvm_ffi import structural_equal

from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import chooses, index, loads, rewritten, simplified, substituted, uses
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.pieces import Piece, pieces
from tvm_fusion.passes.lowering.row_buffers import REGISTER_SCOPE
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.vector_nest import Loops, vector_nest, vectorized
from tvm_fusion.passes.lowering.vectors import Vectors

# From a buffer of the operator's function and indices to the value or the place on chip.
Load = Callable[[Any, list[Any]], Any]
Store = Callable[[list[Any], Any], Any]
Scratch = Callable[[str, tuple[int, ...], str], Any]
# From indices of a step's buffer to those of the buffer where its values are.
Home = Callable[[list[Any]], list[Any]]
# Of narrower elements as many go at a time as of these, in which most of them are computed.
_LEAST_BITS = 32


@dataclass(frozen=True)
class _Step:
    """A block with the variables that a row and an image fix, and the axes of its buffer that they index."""

    block: Block
    row: Any
    image: Any
    fixed_axes: frozenset[int]


@dataclass(frozen=True)
class _Kept:
    """The buffer of a step's values: without ``lacking`` axes, below ``part``; or where ``home`` says."""

    buffer: Any
    lacking: frozenset[int]
    part: tuple[Any, ...] = ()
    home: Home | None = None

    def at(self, places: list[Any]) -> list[Any]:
        if self.home is not None:
            return self.home(places)
        return [*self.part, *([place for axis, place in enumerate(places) if axis not in self.lacking] or [index(0)])]


@dataclass
class OperatorRows:
    """Rows of ``operator``, whose whole tensor ``blocks`` make. Raises NotLowered if they do not go row by row.

    ``accumulated``: buffer of the operator's function whose rows (along ``accumulated_axis``, ``accumulated_rows`` of
    them) are added up one after another, as they come, if there is such an operand.
    """

    operator: Operator
    blocks: list[Block]
    vectors: Vectors
    accumulated: Any = None
    accumulated_axis: int | None = None
    accumulated_rows: int = 1
    unit: str = "row"  # what rows are, for who is told that they do not go one by one
    steps: list[_Step] = field(init=False)
    _kept: dict[Any, _Kept] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.steps = self._steps()
        adds = self.accumulated is not None
        self._adding = self._accumulating_var() if adds else None
        self._added = self.steps[0] if adds else None

    def make(self, row: Any, image: Any, load: Load, store: Store, scratch: Scratch) -> Any:
        """The statement that makes row ``row`` of image ``image`` (expressions)."""
        made = [
            self._step(step, self._values(step, row, image), load, store, scratch)
            for step in self.steps
            if step is not self._added
        ]
        if self._added is self.steps[-1]:
            made.append(self._copied(self.steps[-1], self._values(self.steps[-1], row, image), store))
        return sequence(made)

    @property
    def adding(self) -> tuple[Block, Any]:
        """The block that adds up, and its loop over the rows of the accumulated operand."""
        assert self._added is not None, "an operator that accumulates nothing"
        return self._added.block, self._adding

    def keep_sums(self, buffer: Any, home: Home) -> None:
        """Add up in ``buffer``, at the places that ``home`` says, from now on."""
        assert self._added is not None, "an operator that accumulates nothing"
        self._keep_at(self._added, buffer, home)

    def _keep_at(self, step: _Step, buffer: Any, home: Home) -> None:
        """A step's values are in ``buffer``, at the places that ``home`` says."""
        self._kept[step.block.buffer] = _Kept(buffer, frozenset(), (), home)

    def add(self, row: Any, image: Any, load: Load, scratch: Scratch, part: tuple[Any, ...] = ()) -> tuple[Any, Any]:
        """The statements that start the sums, and that add row ``row`` of the accumulated operand.

        ``part``: which of several sums, where ``scratch`` makes a buffer for all of them.
        """
        step = self._added
        assert step is not None, "an operator that accumulates nothing"
        if step.block.buffer not in self._kept or self._kept[step.block.buffer].home is None:
            self._kept[step.block.buffer] = self._scratch(step, scratch, part)
        values = self._values(step, index(0), image) | {self._adding: row}
        free, inner = _free(step.block.spatial, values), _free(step.block.reduce, values)

        def assigned(value: Any, inside: dict[Any, Any]) -> Any:
            return self._assign(step, inside, self._value(value, inside, load))

        start = self._spread(free, values, lambda inside: assigned(step.block.init, inside))
        return start, self._added_up(step, free, inner, values, load)

    def _added_up(self, step: _Step, free: Loops, inner: Loops, values: dict[Any, Any], load: Load) -> Any:
        """The statement that adds up a step's values over ``inner`` loops.

        The sums side by side: their order does not change, as each gets its addends one after another.
        """

        def assigned(inside: dict[Any, Any]) -> Any:
            return self._assign(step, inside, self._value(step.block.value, inside, load))

        return loop_nest(inner, self._spread(free, values, assigned))

    @property
    def combines(self) -> bool:
        """Whether sums of parts of the accumulated rows can be put together."""
        return self._added is None or isinstance(self._added.block.value, (prim.Add, prim.Max, prim.Min))

    def combine(self, part: Any, image: Any, load: Load, scratch: Scratch) -> tuple[Any, Any]:
        """The statements that start the sum of parts, and that add part ``part`` of those that :meth:`add` made."""
        step = self._added
        assert step is not None, "an operator that accumulates nothing"
        parts = replace(self._kept[step.block.buffer], part=(part,))
        self._kept[step.block.buffer] = self._scratch(step, scratch)
        values = self._values(step, index(0), image)
        free = _free(step.block.spatial, values)
        together = type(step.block.value)

        def added(inside: dict[Any, Any]) -> Any:
            places = self._places(step, inside)
            one = parts.buffer[tuple(parts.at(places))]
            return self._assign(step, inside, together(self._read(step.block.buffer, places), one))

        start = self._spread(
            free, values, lambda inside: self._assign(step, inside, self._value(step.block.init, inside, load))
        )
        return start, self._spread(free, values, added)

    def _steps(self) -> list[_Step]:
        """From the last block to the first: what fixes a row of the result fixes rows of what it reads."""
        last = self.blocks[-1]
        operator = self.operator
        axis = operator.row_axis if operator.height > 1 else None
        steps = {
            last.buffer: _Step(last, *self._fixed(last, {"row": axis, "image": 0 if operator.batch > 1 else None}))
        }
        for block in reversed(self.blocks[:-1]):
            readers = [
                steps[other.buffer] for other in self.blocks if other is not block and loads(other.value, block.buffer)
            ]
            axes = {
                kind: self._common_axis(block, [(reader.block, getattr(reader, kind)) for reader in readers])
                for kind in ("row", "image")
            }
            steps[block.buffer] = _Step(block, *self._fixed(block, axes))
        return [steps[block.buffer] for block in self.blocks]

    def _fixed(self, block: Block, axes: dict[str, int | None]) -> tuple[Any, Any, frozenset[int]]:
        fixed = {}
        for kind, axis in axes.items():
            place = None if axis is None else block.indices[axis]
            if place is not None and not isinstance(place, Var):
                name = self.unit if kind == "row" else kind
                raise self._refusal(f"step {block.name!r} does not make {name} by {name}")
            fixed[kind] = place
        return fixed["row"], fixed["image"], frozenset(axis for axis in axes.values() if axis is not None)

    def _common_axis(self, block: Block, readers: list[tuple[Block, Any]]) -> int | None:
        """The axis of a block's buffer that all readers index by their own row (or image), None if by none."""
        found: set[int | None] = set()
        for reader, var in readers:
            for places in loads(reader.value, block.buffer):
                exact = [axis for axis, place in enumerate(places) if var is not None and place.same_as(var)]
                if not exact and var is not None and any(uses(place, var) for place in places):
                    raise self._refusal(f"step {block.name!r} is read at other {self.unit}s than it makes")
                found.add(exact[0] if exact else None)
        if len(found) > 1:
            raise self._refusal(f"step {block.name!r} is read in more than one way")
        return found.pop() if found else None

    def _accumulating_var(self) -> Any:
        """The loop of the first step over the rows of the accumulated operand, which nothing else reads."""
        first = self.steps[0].block
        places = [(block, places) for block in self.blocks for places in loads(block.value, self.accumulated)]
        axis = self.accumulated_axis
        if axis is None:
            raise self._refusal(f"it adds up an operand of one {self.unit}")
        one_by_one = self.operator.height == 1 and all(block is first for block, _ in places)
        single = {var: index(0) for var, extent in first.spatial if extent == 1}  # where a pool of one place stands
        rows = [simplified(substituted(found[axis], single)) for _, found in places]
        for var, extent in first.reduce if one_by_one else ():
            whole = extent == self.accumulated_rows or (extent > self.accumulated_rows and _pads_with_nothing(first))
            if whole and all(row.same_as(var) for row in rows):
                return var
        raise self._refusal(f"it does not add up {self.unit}s one after another")

    def _step(self, step: _Step, values: dict[Any, Any], load: Load, store: Store, scratch: Scratch) -> Any:
        block = step.block
        free = _free(block.spatial, values)
        last = step is self.steps[-1]
        if block.init is not None and last:
            return self._reduced(step, free, values, load, store)

        def value(expr: Any, inside: dict[Any, Any]) -> Any:
            return self._value(expr, inside, load)

        if last:
            return self._pieces(step, free, values, load, store)
        self._kept[block.buffer] = self._scratch(step, scratch)
        if block.init is None:
            return self._spread(free, values, lambda inside: self._assign(step, inside, value(block.value, inside)))
        start = self._spread(free, values, lambda inside: self._assign(step, inside, value(block.init, inside)))
        return sequence([start, self._added_up(step, free, list(block.reduce), values, load)])

    def _pieces(self, step: _Step, free: Loops, values: dict[Any, Any], load: Load, store: Store) -> Any:
        """The result of an elementwise step, range by range where it is made of several tensors."""
        made = []
        for piece in pieces(step.block.value, dict(free)):
            inner, loops = {}, free
            if piece.var is not None:  # TVM wants a loop variable to have one range throughout
                own = loop_var(piece.var.name)
                inner = {piece.var: own + index(piece.first)}
                loops = [(own, piece.end - piece.first) if var in inner else (var, extent) for var, extent in free]

            def stored(inside: dict[Any, Any], piece: Piece = piece, inner: dict[Any, Any] = inner) -> Any:
                moved = {var: substituted(place, inside) for var, place in inner.items()}
                every = {**inside, **moved}
                return store(self._places(step, every), self._value(piece.value, every, load))

            made.append(self._spread(loops, values, stored))
        return sequence(made)

    def _reduced(self, step: _Step, free: Loops, values: dict[Any, Any], load: Load, store: Store) -> Any:
        """Sums that are stored when they are complete: registers are enough for them."""
        block = step.block
        dtype, name = str(block.buffer.dtype), f"{block.name}_{self.operator.id}"

        def build(inside: dict[Any, Any], lane: Any, count: int) -> Any:
            inside = {**values, **inside}
            sums = tirx.decl_buffer([index(count)], dtype, name=name, scope=REGISTER_SCOPE)

            def assigned(expr: Any) -> Any:
                value = self._value(expr, inside, load, {block.buffer: sums[lane]})
                return vectorized(lane, count, BufferStore(sums, value, [lane]))

            summed = loop_nest(list(block.reduce), assigned(block.value))
            stored = vectorized(lane, count, store(self._places(step, inside), sums[lane]))
            return sequence([tirx.AllocBuffer(sums), assigned(block.init), summed, stored])

        return vector_nest(free, self._lanes(), build)

    def _spread(self, free: Loops, values: dict[Any, Any], assigned: Callable[[dict[Any, Any]], Any]) -> Any:
        """``assigned`` (of what variables stand for) for all elements of ``free``, neighbours as vectors."""

        def build(inside: dict[Any, Any], lane: Any, count: int) -> Any:
            return vectorized(lane, count, assigned({**values, **inside}))

        return vector_nest(free, self._lanes(), build)

    def _lanes(self) -> int:
        widest = max(dtype_bits(str(block.buffer.dtype)) for block in self.blocks)
        return self.vectors.lanes(max(widest, _LEAST_BITS))

    def _copied(self, step: _Step, values: dict[Any, Any], store: Store) -> Any:
        """The result from where it was added up."""

        def copied(inside: dict[Any, Any]) -> Any:
            places = self._places(step, inside)
            return store(places, self._read(step.block.buffer, places))

        return self._spread(_free(step.block.spatial, values), values, copied)

    def _values(self, step: _Step, row: Any, image: Any) -> dict[Any, Any]:
        values = {} if step.row is None else {step.row: row}
        return values | ({} if step.image is None else {step.image: image})

    def _places(self, step: _Step, values: dict[Any, Any]) -> list[Any]:
        return [simplified(substituted(i, values)) for i in step.block.indices]

    def _scratch(self, step: _Step, scratch: Scratch, part: tuple[Any, ...] = ()) -> _Kept:
        """A buffer for a step's values."""
        block = step.block
        axes = range(len(block.buffer.shape))
        shape = tuple(int(block.buffer.shape[axis]) for axis in axes if axis not in step.fixed_axes)
        buffer = scratch(f"{block.name}_{self.operator.id}", shape or (1,), str(block.buffer.dtype))
        return _Kept(buffer, step.fixed_axes, part)

    def _assign(self, step: _Step, values: dict[Any, Any], value: Any) -> Any:
        kept = self._kept[step.block.buffer]
        return BufferStore(kept.buffer, value, kept.at(self._places(step, values)))

    def _read(self, buffer: Any, places: list[Any]) -> Any:
        kept = self._kept[buffer]
        return kept.buffer[tuple(kept.at(places))]

    def _value(self, value: Any, values: dict[Any, Any], load: Load, sums: dict[Any, Any] | None = None) -> Any:
        """``value`` on chip; ``sums`` are values that are in registers."""

        def read(buffer: Any, places: list[Any]) -> Any:
            if sums and buffer in sums:
                return sums[buffer]
            places = [simplified(place) for place in places]
            return self._read(buffer, places) if buffer in self._kept else load(buffer, places)

        return rewritten(value, values, read)

    def _refusal(self, reason: str) -> NotLowered:
        return NotLowered(self.operator.name, f"{reason} ({self.operator.type})")


def _pads_with_nothing(block: Block) -> bool:
    """Whether what a block adds outside of its operand is what its sums start from, so that it need not be added."""
    added: Any = getattr(block.value, "b", None)
    return chooses(added) and bool(structural_equal(added.args[2], block.init))


def _free(loops: Sequence[tuple[Any, int]], values: dict[Any, Any]) -> list[tuple[Any, int]]:
    return [(var, extent) for var, extent in loops if var not in values]

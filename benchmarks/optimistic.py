"""What better bands could bring at most: the optimum with schemes that are granted what no execution has.

Example: python -m benchmarks.optimistic --nets resnet18@224=128KiB

A plan proven optimal can be beaten only by another scheme, or by a better choice of a scheme's parameters. These models
bound what schemes in bands can gain. Nothing executes them: the optimum with them is below what any such scheme
reaches. Results are written as they come; docs/ladder.md shows them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.ladder import NETS, OPTIMISTIC, RESULTS, net_and_buffer
from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_spans import Bands
from tvm_fusion.cost_models.channel_search import ChannelSearch
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes import registry
from tvm_fusion.cost_models.schemes.bands import BandsOfRows
from tvm_fusion.cost_models.schemes.base import Fit
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.reports.record import Record, output_folder, read_record
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.problem import FusionProblem

_OWN = "lbdf,brr,two-pass,channel-streaming"
MODELS = {granted: ",".join([_OWN, *granted]) for granted in (
    (), ("kept-halo",), ("free-halo",), ("free-bands",), ("free-halo", "free-bands"),
)}  # fmt: skip


class FreeHalo(BandsOfRows):
    """BRR without halo: n bands hold an n-th of every tensor, inputs are loaded once, any part of the weights stays."""

    name = "free-halo"

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """No execution has this cost."""
        raise NotImplementedError

    def growth_bound_bytes(self, mask: int) -> int:  # noqa: ARG002
        """None: the bound of BRR counts the halo."""
        return 0

    def growth_extra_bytes(self, mask: int) -> int:  # noqa: ARG002
        """None, likewise."""
        return 0

    def requirement_bytes(self, mask: int) -> None:
        """Not known."""

    def fit(self, mask: int) -> Fit:
        """The number of bands that moves least."""
        group = BandGroup(self.model, mask)
        whole = EvaluatedBands(group, Bands.of([1]))
        found = EvaluatedBands(group, Bands.of(np.arange(1, group.height + 1)))
        counts, line = found.bands.counts, self.sizes.line_bytes
        # Fewer rows than the tensor has where operators skip some: each is in one band, so one band has an n-th.
        held = {t: -(-np.minimum(found.rows(t), whole.rows(t)) // counts) * line(t, 1) for t in found.lines}
        between = np.where(counts > 1, self.between_bands_bytes(mask), 0)
        most_alive = needed = np.zeros_like(counts)
        for i, now in group.alive(held):
            most_alive = np.maximum(most_alive, now + between)
            needed = np.maximum(needed, now + between + self.model.part_bytes[i])
        kept = np.clip(self.accelerator.buffer_bytes - most_alive, 0, group.weight_bytes)
        moved = group.moved_bytes(counts, group.input_bytes, kept)
        fits = needed <= self.accelerator.buffer_bytes
        if not fits.any():
            return Fit(False, group.input_bytes + group.output_bytes + group.weight_bytes, int(needed.min()))
        k = int(np.argmin(np.where(fits, moved, np.iinfo(np.int64).max)))
        return Fit(True, int(moved[k]), int(needed[k]))

    def between_bands_bytes(self, mask: int) -> int:  # noqa: ARG002
        """Bytes that stay on chip from band to band: none."""
        return 0


class KeptHalo(FreeHalo):
    """As FreeHalo, but of every tensor the lines that LBDF keeps beyond the newest stay on chip throughout."""

    name = "kept-halo"

    def between_bands_bytes(self, mask: int) -> int:
        """What stays of all tensors."""
        lines = LineBufferModel(self.graph, self.accelerator, self.sizes).lines(mask)
        return sum(self.sizes.line_bytes(t, count - 1) for t, count in lines.items() if count > 1)


class FreeBands(ChannelStreaming):
    """Channel streaming in n bands without halo: everything on chip is an n-th, weights pass n times."""

    name = "free-bands"
    fits_by_parts = False
    _searches: dict[int, ChannelSearch] | None = None

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """No execution has this cost."""
        raise NotImplementedError

    def growth_bound_bytes(self, mask: int) -> int:  # noqa: ARG002
        """None: it would have to hold for every number of bands."""
        return 0

    def fit(self, mask: int) -> Fit:
        """The number of bands that moves least; at most as many as could be better than every operator alone."""
        boundary, weights = sum(self.sizes.boundary_bytes(mask)), self.graph.batch * self.sizes.weights(mask)
        alone = sum(sum(self.sizes.boundary_bytes(1 << i)) for i in members(mask)) - boundary
        best: Fit | None = None
        for bands in range(1, 1 + (1 + alone // weights if weights else 1)):
            again = (bands - 1) * weights
            if best is not None and boundary + weights + again >= best.dram_bytes:
                break
            found = self._search(bands).best(mask)
            moved = None if found is None else boundary + weights + again + found.extra_bytes
            if found is not None and moved is not None and (best is None or moved < best.dram_bytes):
                best = Fit(True, moved, -(-found.buffer_bytes // bands), found.recomputed_macs)
        return best or Fit(False, boundary + weights, self.accelerator.buffer_bytes + 1)

    def _search(self, bands: int) -> ChannelSearch:
        """Assignments in a buffer so many times as large: what is on chip is that part of it."""
        if self._searches is None:
            self._searches = {}
        if bands not in self._searches:
            self._searches[bands] = ChannelSearch(self.needs, bands * self.accelerator.buffer_bytes, self.recompute)
        return self._searches[bands]


def register() -> None:
    """Make both known, as the entry points of an installed package would."""
    for scheme in (KeptHalo, FreeHalo, FreeBands):
        point = EntryPoint(scheme.name, f"{__name__}:{scheme.__name__}", registry.GROUP)
        registry.foreign_schemes().setdefault(scheme.name, point)


def optimum(graph: OperatorGraph, buffer: str, schemes: str) -> dict[str, Any]:
    """The least DRAM bytes of the whole network in these schemes, proven."""
    problem = FusionProblem(graph, Oracle(graph, options.accelerator_of(None, buffer), schemes))
    path = IdealPath(problem)
    optimal = path.solve()
    moved = problem.plan_value(path.partition())
    return {"dram_bytes": moved, "optimal": optimal, "compulsory_dram_bytes": problem.oracle.compulsory_dram_bytes}


def main(
    nets: Annotated[str, typer.Option("--nets", help="NET=BUFFER, by comma.")] = ",".join(NETS),
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/ladder)")] = None,
) -> int:
    """Measure what is missing."""
    register()
    path = output_folder(output or RESULTS, RESULTS, "") / OPTIMISTIC
    rows = [] if again else list((read_record(path) or {}).get("rows", []))
    record = Record(path, rows=rows)
    for net, buffer in map(net_and_buffer, options.parse_list(nets, "--nets")):
        graph = None
        for granted, schemes in MODELS.items():
            place = {"network": net, "buffer": buffer, "granted": list(granted)}
            if any(place.items() <= row.items() for row in rows):
                continue
            graph = graph or session.load_graph(net, 1, verbose=False)
            rows.append(place | optimum(graph, buffer, schemes))
            record.add(rows=rows)
            print(rows[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

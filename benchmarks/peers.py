"""The table of peers: our plans beside TVM's grouping, one group a block, Arm's vela, and stream-dse.

Example: python -m benchmarks.peers --nets mobilenetv2_100@224

Results are written to ``peers/NETWORK.json`` as they come; a second call does only what is missing. What is not
installed is left out with a remark: ``pip install -e '.[peers]'`` brings vela; stream-dse needs packages older than
ours, so ``--stream PYTHON`` names the interpreter of an environment of its own.
``python -m benchmarks.peers --markdown > docs/peers.md`` makes the page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import peers_ours as ours
from benchmarks.peers_blocks import blocks
from benchmarks.peers_stream import INSTALL, PARTS, check_stream, run_stream
from benchmarks.peers_tables import page, table
from benchmarks.peers_vela import VelaRun, VelaSetting, run_vela, vela_version
from benchmarks.run import progress
from tvm_fusion.cli import building, options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, file_name, output_folder, read_record

RESULTS = Path(__file__).parent / "peers"
# The buffers of the published comparisons.
BUFFERS = {"efficientnet_b3@300": "256KiB", "mobilenetv2_100@224": "128KiB", "resnet18@224": "128KiB"}
NETS = ",".join(BUFFERS)
SCORED = ("lbdf", "auto")  # what the groupings of others are scored in
VELA = {
    "vela": VelaSetting(),
    "vela for size": VelaSetting(optimise="Size"),
    "vela, SiLU as a table": VelaSetting(silu_as_table=True),
    "vela for size, SiLU as a table": VelaSetting(silu_as_table=True, optimise="Size"),
}
Row = dict[str, Any]
Task = tuple[str, str, Callable[[], Row]]


class Case:
    """One network on one accelerator, and what several rows share."""

    def __init__(self, net: str, accelerator: Any, seconds: float, stream: Path | None = None) -> None:
        with session.quiet(verbose=False):
            self.network = building.load(net, 1, seed=0)
        self.net, self.graph, self.stream = net, self.network.graph, stream
        self.accelerator, self.seconds = accelerator, seconds
        self._oracles: dict[str, Oracle] = {}
        self._runs: dict[VelaSetting, VelaRun] = {}

    def tasks(self) -> Iterator[Task]:
        """(method, schemes, work) of every row; the schemes are "" where our model has no part in it."""
        yield "unfused", "lbdf", self.unfused
        for choice in ours.scheme_choices():
            yield "tvm-fusion", choice, partial(self.searched, choice)
        yield "FuseOps, no buffer", "", self.unlimited
        for choice in SCORED:
            yield "FuseOps", choice, partial(self.fuse_ops_row, choice)
        for choice in SCORED:
            yield "a group a block", choice, partial(self.scored, blocks(self.graph), choice)
        if vela_version() is not None:
            yield from self.vela_tasks()
        if self.stream is not None:
            for method, part in PARTS.items():
                yield method, "", partial(run_stream, self.stream, self.net, self.accelerator.buffer_bytes, part)

    def vela_tasks(self) -> Iterator[Task]:
        """Vela's own figures, and those of its groups in our model."""
        with_silu = any(operator.type == "silu" for operator in self.graph.operators)
        for method, setting in VELA.items():
            if setting.silu_as_table and not with_silu:
                continue
            yield method, "", partial(self.vela, setting)
            if setting.optimise == "Performance":
                for choice in SCORED:
                    yield f"groups of {method}", choice, partial(self.cascades, setting, choice)

    def oracle(self, choice: str) -> Oracle:
        """Our model with a choice of schemes."""
        if choice not in self._oracles:
            self._oracles[choice] = Oracle(self.graph, self.accelerator, choice)
        return self._oracles[choice]

    def unfused(self) -> Row:
        """Every operator alone."""
        return {"dram_bytes": self.oracle("lbdf").unfused_dram_bytes, "groups": len(self.graph)}

    def searched(self, choice: str) -> Row:
        """Our own plan."""
        return ours.searched(self.graph, self.accelerator, choice, self.seconds)

    @cached_property
    def fuse_ops(self) -> list[int]:
        """The groups of TVM's FuseOps."""
        from tvm_fusion.passes.fuse_ops_grouping import fuse_ops_grouping

        with session.quiet(verbose=False):
            return [*fuse_ops_grouping(self.network.module).masks]

    def unlimited(self) -> Row:
        """FuseOps as if every group fitted."""
        return ours.unlimited(self.oracle("lbdf"), self.fuse_ops)

    def fuse_ops_row(self, choice: str) -> Row:
        """FuseOps; groups that do not fit go operator by operator."""
        oracle = self.oracle(choice)
        parts = {mask: ours.operator_by_operator(oracle, mask) for mask in self.fuse_ops}
        return ours.scored(self.graph, oracle, self.fuse_ops, parts)

    def scored(self, masks: list[int], choice: str) -> Row:
        """A grouping in our model; groups that do not fit are cut as is cheaper."""
        oracle, line_buffers = self.oracle(choice), self.oracle("lbdf")
        parts = {mask: ours.cut_cheaply(oracle, line_buffers, mask) for mask in masks}
        return ours.scored(self.graph, oracle, masks, parts)

    def vela_run(self, setting: VelaSetting) -> VelaRun:
        """Vela on the network, once."""
        if setting not in self._runs:
            self._runs[setting] = run_vela(self.graph, self.accelerator.buffer_bytes, setting)
        return self._runs[setting]

    def vela(self, setting: VelaSetting) -> Row:
        """Vela by its own account."""
        return self.vela_run(setting).facts() | {"version": vela_version()}

    def cascades(self, setting: VelaSetting, choice: str) -> Row:
        """Vela's groups in our model."""
        return self.scored(self.vela_run(setting).masks(self.graph), choice) | {"version": vela_version()}


def measure(
    net: str, buffer: str, seconds: float, folder: Path, again: bool = False, stream: Path | None = None
) -> Record:
    """Do what is missing of one network, or all of it ``again``."""
    hardware = options.accelerator_of(None, buffer)
    path = folder / f"{file_name(net)}.json"
    earlier = read_record(path) or {}
    record = Record(path, network=net, accelerator=hardware.to_json())
    same = not again and all(earlier.get(key) == record.data[key] for key in ("network", "accelerator"))
    rows: list[Row] = list(earlier.get("rows", [])) if same else []
    case = Case(net, hardware, seconds, stream)
    graph, oracle = case.graph, case.oracle("lbdf")
    record.data |= {
        "operators": len(graph), "macs": sum(operator.macs for operator in graph.operators),
        "compulsory_dram_bytes": oracle.compulsory_dram_bytes,
    }  # fmt: skip
    order = []
    for method, choice, work in case.tasks():
        schemes = ours.schemes_of(choice) if choice else []
        order.append((method, choice))
        done = [row for row in rows if (row["method"], row["choice"]) == (method, choice)]
        if done and done[0]["schemes"] == schemes and done[0].get("version") in (None, vela_version()):
            continue
        begin = time.perf_counter()
        try:
            found = {"method": method, "choice": choice, "schemes": schemes, **work()}
        except FusionError as error:
            if "vela" not in method:
                raise
            session.note(f"{net}: {method} is left out: {error}")
            continue
        found.setdefault("seconds", round(time.perf_counter() - begin, 2))
        others = [row for row in rows if row not in done]
        rows = [*others, found | {"environment": record.data["environment"]}]
        rows.sort(key=lambda row: _place(order, row))
        record.add(rows=rows)
        result = f"{found['dram_bytes'] / 1e6:.2f} MB" if "dram_bytes" in found else found["problem"]
        progress(f"{net}: {method} {choice}: {result}")
    record.add(rows=rows)
    return record


def _place(order: list[tuple[str, str]], row: Row) -> int:
    """Where a row stands; rows of a tool that is not there now keep their place at the end."""
    key = (row["method"], row["choice"])
    return order.index(key) if key in order else len(order)


def main(
    nets: Annotated[str, typer.Option("--nets", help="Names or files, by comma.")] = NETS,
    buffer: Annotated[
        str | None, typer.Option("--buffer", metavar="SIZE", help="(default: 256KiB for EfficientNet-B3, else 128KiB)")
    ] = None,
    seconds: Annotated[
        int, typer.Option("--seconds", parser=options.whole("--seconds", 1), metavar="N", help="Limit of a search.")
    ] = 600,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier call has done.")] = False,
    stream: Annotated[
        Path | None, typer.Option("--stream", metavar="PYTHON", help="An interpreter that has stream-dse.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/peers)")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
) -> int:
    """Measure what is missing, and print the tables."""
    if markdown:
        print("\n".join(page(output or RESULTS)))
        return 0
    names = options.parse_list(nets, "--nets")
    for net in names:
        options.accelerator_of(None, buffer or BUFFERS.get(net, "128KiB"))
    folder = output_folder(output or RESULTS, RESULTS, "")
    if vela_version() is None:
        session.note("ethos-u-vela is not installed, so vela is left out; pip install -e '.[peers]' brings it")
    if stream is None:
        session.note(
            f"without --stream PYTHON stream-dse is left out; in an environment of its own: pip install {INSTALL}"
        )
    else:
        stream = stream.absolute()
        check_stream(stream)
    for net in names:
        record = measure(net, buffer or BUFFERS.get(net, "128KiB"), float(seconds), folder, again, stream)
        print("\n".join(table(record.data)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

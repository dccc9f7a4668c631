"""What every sub-command does: load its network quietly, and print a table or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.errors import FrontendError, FusionError

if TYPE_CHECKING:
    from rich.console import Console

    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.cost_models.evaluation import PlanEvaluation
    from tvm_fusion.graph.graph import OperatorGraph

WIDTH_WITHOUT_TERMINAL = 140


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Hold back what libraries print on stderr; show it with ``verbose`` or when one of them fails."""
    from tvm_fusion.quiet import captured_stderr

    if verbose:
        yield
        return
    captured = None
    try:
        with captured_stderr() as captured:
            try:
                yield
            except FusionError as error:
                _release(error)
                raise
    except FusionError:
        raise  # one line of ours says what is wrong
    except Exception:
        if captured is not None:
            sys.stderr.write(captured.text)
        raise


def _release(error: BaseException | None) -> None:
    """Let go of what an error's frames hold while stderr is still held back: TVM's builders complain when they die."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def load_graph(net: str, batch: int, verbose: bool) -> OperatorGraph:
    """The operator graph of a network, or of a saved ``.json`` graph."""
    if net.endswith(".json"):
        graph = _saved_graph(net)
        if batch not in (1, graph.batch):
            raise FrontendError(f"--batch {batch} cannot change the saved graph {net!r}, whose batch is {graph.batch}")
        return graph
    with quiet(verbose):
        from tvm_fusion import frontends

        return frontends.load_graph(net, batch=batch)


def _saved_graph(path: str) -> OperatorGraph:
    from tvm_fusion.graph.graph_io import graph_from_json

    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise FrontendError(f"cannot read graph {path!r}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise FrontendError(f"graph {path!r} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise FrontendError(f"graph {path!r} is not what 'tvm-fusion graph NET --json' prints: it is no JSON object")
    return graph_from_json(data)


def console() -> Console:
    """Where tables go: stdout, as wide as the terminal or, without one, wide enough not to cut."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, soft_wrap=False, highlight=False)


def print_plan(graph: OperatorGraph, evaluation: PlanEvaluation, accelerator: Accelerator) -> None:
    """The groups of a plan, its totals, and which operators could not but execute layer by layer."""
    from tvm_fusion.reports.table import plan_table, too_heavy_note, totals_table

    out = console()
    out.print(plan_table(graph, evaluation))
    out.print(totals_table(evaluation, accelerator))
    heavy = too_heavy_note(graph, evaluation, accelerator)
    if heavy:
        print(heavy)


def print_json(data: Any) -> None:
    """JSON on stdout, the keys in their given order."""
    print(json.dumps(data, indent=1))


def note(text: str) -> None:
    """A remark on stderr that is no part of the answer."""
    print(f"tvm-fusion: {text}", file=sys.stderr)

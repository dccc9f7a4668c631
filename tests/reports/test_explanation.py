"""Why a group fits or not, in any scheme: the bytes of the cost model, and the smallest buffer."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.graphs import everything, residual_block, squeeze_and_excite
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.explanation import Explanation, explain_group, explained_schemes
from tvm_fusion.reports.table import explanation_table

GRAPHS = {"residual": residual_block(), "squeeze and excite": squeeze_and_excite()}


def explained(graph: OperatorGraph, buffer_bytes: int, schemes: str = "lbdf") -> Explanation:
    """All operators as one group."""
    return explain_group(graph, tuple(range(len(graph))), Accelerator(buffer_bytes=buffer_bytes), schemes)


def table(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(explanation_table(explanation))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_line_buffers_add_up() -> None:
    graph = residual_block()
    explanation = explained(graph, 1024)
    assert sum(part.bytes for part in explanation.parts) == explanation.smallest_buffer_bytes == 1856
    assert not explanation.fits
    assert "Invalid under LBDF" in explanation.verdict()
    assert "832 too many. The smallest buffer at which it fits is 1,856 bytes." in explanation.verdict()
    assert "required" in table(explanation)
    roomy = explained(graph, 1856)
    assert roomy.fits
    assert roomy.verdict().startswith("Valid: it needs 1,856 bytes")
    assert Oracle(graph, roomy.accelerator).evaluate(everything(graph))[0]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("schemes", ["lbdf", "brr", "channel-streaming", "lbdf,two-pass", "lbdf,brr", "auto"])
def test_smallest_buffer_is_that_of_the_schemes_and_fits(schemes: str, name: str) -> None:
    graph = GRAPHS[name]
    smallest = explained(graph, 10**6, schemes).smallest_buffer_bytes
    for buffer_bytes in (smallest, smallest - 1):
        found = explained(graph, buffer_bytes, schemes)
        valid = Oracle(graph, found.accelerator, schemes).evaluate(everything(graph))[0]
        assert found.fits == valid == found.cost.valid == (buffer_bytes == smallest)
        assert found.smallest_buffer_bytes == smallest == min(found.needed_bytes.values())
        assert found.shown.buffer_bytes == smallest
        assert found.needed_bytes[found.shown.scheme] == smallest


def test_a_group_that_fits_is_shown_as_it_executes() -> None:
    """In bands with weights kept, which needs more than the smallest buffer."""
    graph = residual_block()
    roomy = explained(graph, 10**6, "brr")
    assert roomy.shown == Oracle(graph, roomy.accelerator, "brr").cost(everything(graph))
    assert roomy.shown.buffer_bytes > roomy.smallest_buffer_bytes
    assert f"Valid under BRR: it needs {roomy.shown.buffer_bytes:,} bytes" in roomy.verdict()
    assert f"It fits from a buffer of {roomy.smallest_buffer_bytes:,} bytes on" in roomy.verdict()


def test_several_schemes_are_named_with_what_they_need() -> None:
    found = explained(squeeze_and_excite(), 300, "auto")
    assert set(found.needed_bytes) == {"lbdf", "channel-streaming", "brr", "two-pass"}
    text = found.verdict()
    assert text.startswith("Invalid under LBDF, channel-streaming, BRR, two-pass: ")
    assert "is known to fit" in text  # neither channels nor passes try every choice
    for needed in found.needed_bytes.values():
        assert f"{needed:,}" in text


def test_channels_are_counted_where_channels_stream() -> None:
    found = explained(residual_block(), 1000, "channel-streaming")
    assert (found.unit, explained(residual_block(), 1000, "brr").unit) == ("channels", "lines")
    assert all(part.held is None or 0 <= part.held <= (part.whole or 0) == 4 for part in found.parts)
    assert {"channels", "of_channels"} <= set(found.to_json()["tensors"][0])
    assert "channels" in table(found)
    assert "not all at one time" in table(found)


def test_one_operator_that_fits_nowhere() -> None:
    found = explain_group(residual_block(), (0,), Accelerator(buffer_bytes=100), "lbdf,brr")
    assert found.cost.scheme == "layer"
    assert found.shown.scheme in ("lbdf", "brr")
    assert "Alone it executes layer by layer" in found.verdict()


def test_schemes_that_cannot_be_explained() -> None:
    assert explained_schemes("brr") == ("brr",)
    with pytest.raises(SchemeError, match=r"'layer' has nothing to explain: .* allowed: auto, or a list of lbdf, "):
        explained_schemes("layer")
    with pytest.raises(SchemeError, match="'magic' is unknown"):
        explained_schemes("magic")
    with pytest.raises(SchemeError, match=r"two-pass executes no operator .* alone; add lbdf or brr"):
        explained(residual_block(), 1000, "two-pass")

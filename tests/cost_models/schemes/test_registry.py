"""Schemes by name: lists of them, those of other packages, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from tests.graphs import chain, everything
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes import registry
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.schemes.line_buffer import LineBuffers
from tvm_fusion.cost_models.schemes.registry import chosen_schemes, scheme_class, scheme_names
from tvm_fusion.errors import SchemeError
from tvm_fusion.search import search


class Roomy(LineBuffers):
    """Line buffers as if the buffer were large."""

    name = "roomy"

    def __init__(self, graph, accelerator, sizes=None, recompute=True) -> None:
        super().__init__(graph, accelerator.with_(buffer_bytes=10**9), None, recompute)

    def cost(self, mask: int, parameters: object = None) -> GroupCost:
        return replace(super().cost(mask), scheme=self.name)


class Nothing(LineBuffers):
    """Refuses every group."""

    name = "nothing"

    def fit(self, mask: int) -> None:
        return None

    def cost(self, mask: int, parameters: object = None) -> None:
        return None


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Schemes as installed packages would register them."""
    values = {
        "roomy": f"{__name__}:Roomy",
        "nothing": f"{__name__}:Nothing",
        "lost": "no_such_module:Lost",
        "wrong": "json:dumps",
        "lbdf": "json:loads",
    }
    points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
    registry.foreign_schemes.cache_clear()
    yield
    registry.foreign_schemes.cache_clear()


def test_lists() -> None:
    assert chosen_schemes("auto") == tuple(scheme_names())
    assert chosen_schemes("brr, lbdf") == chosen_schemes(["lbdf", "brr"]) == ("lbdf", "brr", "layer")
    assert chosen_schemes("layer") == ("layer",)


@pytest.mark.parametrize("names", ["magic", "lbdf,magic", "auto,lbdf", "", ",", []])
def test_what_is_no_list_of_schemes_is_refused(names: str | list[str]) -> None:
    with pytest.raises(SchemeError, match=r"allowed: auto, or a list of lbdf, .*layer"):
        chosen_schemes(names)


@pytest.mark.usefixtures("others")
def test_schemes_of_other_packages() -> None:
    assert scheme_names()[-4:] == ["lost", "nothing", "roomy", "wrong"]
    assert scheme_class("lbdf") is LineBuffers  # ours come first
    graph = chain(3)
    result = search(graph, Oracle(graph, Accelerator(buffer_bytes=200), "lbdf,roomy"), "exact")
    assert result.plan.masks == (everything(graph),)
    assert [group.scheme for group in result.plan.groups] == ["roomy"]


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(("name", "reason"), [("lost", "cannot be loaded"), ("wrong", "is no class of Scheme")])
def test_broken_ones_are_refused(name: str, reason: str) -> None:
    with pytest.raises(SchemeError, match=f"'{name}'.*{reason}"):
        scheme_class(name)


@pytest.mark.usefixtures("others")
def test_schemes_that_execute_nothing_are_refused() -> None:
    with pytest.raises(SchemeError, match="scheme nothing executes no operator of network 'by_hand' alone"):
        Oracle(chain(2), Accelerator(), "nothing")
    assert issubclass(Nothing, Scheme)

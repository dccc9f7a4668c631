"""Explainers by name, those of other packages included."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.explainers.groups import small_oracle
from tests.explainers.test_base import Counting
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers import registry
from tvm_fusion.explainers.base import Explainer
from tvm_fusion.explainers.registry import GROUP, check_explainer, explainer_names, make_explainer


@pytest.fixture
def oracle() -> Oracle:
    return small_oracle()


ROOT = Path(__file__).parent.parent.parent
OWN = ("gnnexplainer", "pgexplainer", "rgexplainer", "occlusion", "saliency", "random")


def test_our_names() -> None:
    assert explainer_names()[: len(OWN)] == list(OWN)


@pytest.mark.parametrize("name", OWN)
def test_every_name_makes_an_explainer(name: str, oracle: Oracle) -> None:
    check_explainer(name)
    made = make_explainer(name, oracle, 3)
    assert isinstance(made, Explainer)
    assert made.seed == 3


def test_an_unknown_name_is_refused_with_the_allowed_ones(oracle: Oracle) -> None:
    for ask in (check_explainer, lambda name: make_explainer(name, oracle)):
        with pytest.raises(ExplainerError, match=r"'magic' is unknown; allowed: gnnexplainer, .*random"):
            ask("magic")


def test_another_package_adds_one_by_entry_point(monkeypatch: pytest.MonkeyPatch, oracle: Oracle) -> None:
    points = [
        EntryPoint("counting", "tests.explainers.test_base:Counting", GROUP),
        EntryPoint("broken", "tests.explainers.nowhere:Nothing", GROUP),
        EntryPoint("random", "tests.explainers.test_base:Counting", GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == GROUP else [])
    assert explainer_names() == [*OWN, "broken", "counting"]
    assert isinstance(make_explainer("counting", oracle), Counting)
    assert not isinstance(make_explainer("random", oracle), Counting)
    with pytest.raises(ExplainerError, match=r"'broken' \(tests.explainers.nowhere:Nothing\) cannot be loaded"):
        make_explainer("broken", oracle)


WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from tests.explainers.groups import small_oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.registry import make_explainer
try:
    make_explainer("saliency", small_oracle())
except ExplainerError as error:
    print(error)
print(len(make_explainer("occlusion", small_oracle()).explain([0b11])))
"""


@pytest.mark.parametrize("missing", ["torch", "torch_geometric"])
def test_without_torch_one_line_says_what_to_install(missing: str) -> None:
    code = WITHOUT.format(missing=missing)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines() == [
        f"explainer 'saliency' needs {missing}; pip install 'tvm-fusion[zoo]' brings it",
        "1",
    ]

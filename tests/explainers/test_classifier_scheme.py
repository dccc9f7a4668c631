"""Which classifier is asked where groups may execute in several schemes."""

from __future__ import annotations

import pytest

from tests.explainers.groups import small_oracle
from tests.graphs import chain
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.explainers.checkpoint import load_classifier
from tvm_fusion.explainers.classifier_scheme import classifier_scheme, mixed_note
from tvm_fusion.explainers.learned import LearnedExplainer
from tvm_fusion.explainers.registry import make_explainer

SEEN = {"lbdf": {"conv2d", "sigmoid"}, "brr": {"conv2d"}}


@pytest.mark.parametrize(
    ("schemes", "types", "found"),
    [
        (["lbdf", "layer"], ["conv2d"], "lbdf"),
        (["brr", "layer"], ["conv2d"], "brr"),
        (["brr", "layer"], ["sigmoid"], "brr"),
        (["lbdf", "brr", "layer"], ["conv2d"], "brr"),
        (["lbdf", "brr", "layer"], ["conv2d", "sigmoid"], "lbdf"),
        (["lbdf", "magic", "layer"], ["conv2d"], "lbdf"),
    ],
)
def test_the_classifier_that_saw_the_types_then_that_of_brr(schemes: list[str], types: list[str], found: str) -> None:
    assert classifier_scheme(schemes, types, SEEN) == found


@pytest.mark.parametrize(("schemes", "named"), [(["magic", "layer"], "magic"), (["layer"], "layer")])
def test_schemes_without_a_classifier_are_refused(schemes: list[str], named: str) -> None:
    with pytest.raises(ExplainerError, match=f"scheme {named}; there is one for brr, lbdf; explainer 'occlusion'"):
        classifier_scheme(schemes, ["conv2d"], SEEN)


def test_only_a_mixture_is_remarked_on() -> None:
    assert mixed_note("brr", ["brr", "layer"]) == ""
    note = mixed_note("brr", ["lbdf", "brr", "layer"])
    assert "classifier of brr" in note
    assert "in lbdf is valid" in note
    assert "\n" not in note


@pytest.mark.parametrize("name", ["gnnexplainer", "pgexplainer", "rgexplainer", "saliency"])
@pytest.mark.parametrize("schemes", ["lbdf", "brr", "lbdf,brr"])
def test_explainers_ask_the_classifier_of_the_schemes(name: str, schemes: str) -> None:
    oracle = Oracle(chain(6), Accelerator(buffer_bytes=600), schemes)
    mask = 0b111111
    assert not oracle.evaluate(mask)[0]
    explainer = make_explainer(name, oracle)
    assert isinstance(explainer, LearnedExplainer)
    wanted = "lbdf" if schemes == "lbdf" else "brr"
    assert explainer.scheme == wanted
    assert bool(explainer.remark) == ("," in schemes)
    (scores,) = explainer.scores([mask])
    assert len(scores) == len(inner_edges(oracle.graph, mask))
    shipped = load_classifier(wanted).state_dict()
    assert all(bool((shipped[key] == value).all()) for key, value in explainer.classifier.state_dict().items())


def test_squeeze_and_excite_asks_line_buffers_where_it_may() -> None:
    graph = small_oracle().graph
    mixed = make_explainer("saliency", Oracle(graph, Accelerator(), "lbdf,brr"))
    alone = make_explainer("saliency", Oracle(graph, Accelerator(), "brr"))
    assert isinstance(mixed, LearnedExplainer)
    assert isinstance(alone, LearnedExplainer)
    assert (mixed.scheme, alone.scheme) == ("lbdf", "brr")
    everything = (1 << len(graph)) - 1
    assert mixed.unknown_types(everything) < alone.unknown_types(everything)


def test_occlusion_judges_by_all_schemes_together() -> None:
    """A chain that streams its weights in BRR fits there long before it does in line buffers."""
    graph = chain(6)
    mask = 0b111111
    lines, bands = (Oracle(graph, Accelerator(), name).requirement_bytes(mask) for name in ("lbdf", "brr"))
    both = Oracle(graph, Accelerator(buffer_bytes=min(lines, bands) - 1), "lbdf,brr")
    (mixed,) = make_explainer("occlusion", both).scores([mask])
    assert lines != bands
    for name in ("lbdf", "brr"):
        (one,) = make_explainer("occlusion", Oracle(graph, both.accelerator, name)).scores([mask])
        assert (list(one) == list(mixed)) == (both.requirement_bytes(mask) == {"lbdf": lines, "brr": bands}[name])

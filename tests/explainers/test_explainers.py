"""What every explainer promises, and what the learned ones promise beyond it."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch

from tests.explainers.groups import invalid_groups, small_oracle
from tests.graphs import Builder, everything
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.explainers.explainer_checkpoint import load_explainer
from tvm_fusion.explainers.learned import LearnedExplainer
from tvm_fusion.explainers.metrics import fidelity
from tvm_fusion.explainers.pg_explainer import SeparateGroupsPg
from tvm_fusion.explainers.registry import make_explainer
from tvm_fusion.explainers.rg_policy import MOST_OPERATORS, RgPolicy

NAMES = ("gnnexplainer", "pgexplainer", "rgexplainer", "occlusion", "saliency", "random")
LEARNED = ("gnnexplainer", "pgexplainer", "rgexplainer", "saliency")
# One batch or another: sums are added up in another order.
ROUNDING = 2e-3


@pytest.fixture
def oracle() -> Oracle:
    return small_oracle()


@pytest.fixture
def invalid() -> list[int]:
    return invalid_groups()


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_score_for_each_inner_edge(name: str, oracle: Oracle, invalid: list[int]) -> None:
    found = make_explainer(name, oracle).scores(invalid)
    assert [len(scores) for scores in found] == [len(inner_edges(oracle.graph, mask)) for mask in invalid]
    assert all(torch.tensor(list(scores)).isfinite().all() for scores in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_questions_give_the_same_scores(name: str, oracle: Oracle, invalid: list[int]) -> None:
    torch.manual_seed(1)
    first = make_explainer(name, oracle, 5)
    found = [first.scores(invalid[:4]), first.scores(invalid[4:])]
    torch.manual_seed(2)
    second = make_explainer(name, oracle, 5)
    assert [second.scores(invalid[:4]), second.scores(invalid[4:])] == found


@pytest.mark.parametrize("name", NAMES)
def test_torch_is_left_as_it_was(name: str, oracle: Oracle, invalid: list[int], capfd: pytest.CaptureFixture) -> None:
    torch.manual_seed(7)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    make_explainer(name, oracle).explain(invalid[:2])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_alone_or_with_others_in_any_order(name: str, oracle: Oracle, invalid: list[int]) -> None:
    explainer = make_explainer(name, oracle)
    together = explainer.scores(invalid)
    backward = explainer.scores(invalid[::-1])[::-1]
    for mask, one, other in zip(invalid, together, backward, strict=True):
        (alone,) = explainer.scores([mask])
        assert list(one) == pytest.approx(list(alone), abs=ROUNDING, rel=ROUNDING)
        assert list(one) == pytest.approx(list(other), abs=ROUNDING, rel=ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_groups_without_inner_edges_and_no_groups(name: str, oracle: Oracle, invalid: list[int]) -> None:
    explainer = make_explainer(name, oracle)
    assert explainer.scores([]) == []
    first, middle, last = explainer.scores([0b1, invalid[0], 0b100])
    assert list(first) == list(last) == []
    assert len(middle) == len(inner_edges(oracle.graph, invalid[0]))


@pytest.mark.parametrize("name", NAMES)
def test_operator_types_that_nobody_ever_saw(name: str) -> None:
    b = Builder()
    graph = b.graph(b.pointwise(b.conv(b.pointwise(b.conv(-1), type_="never_seen")), type_="never_seen_either"))
    explainer = make_explainer(name, Oracle(graph, Accelerator(buffer_bytes=1000)))
    (found,) = explainer.explain([everything(graph)])
    assert len(found.edges) == 3
    assert explainer.unknown_types(0b1111) == ({"never_seen", "never_seen_either"} if name in LEARNED else set())


@pytest.mark.parametrize("name", LEARNED)
def test_time_in_the_classifier_is_part_of_the_time(name: str, oracle: Oracle, invalid: list[int]) -> None:
    explainer = make_explainer(name, oracle)
    explainer.explain(invalid)
    assert 0 < explainer.classifier_seconds < explainer.seconds


@pytest.mark.parametrize("name", LEARNED)
def test_batches_do_not_change_scores(name: str, oracle: Oracle, invalid: list[int], monkeypatch) -> None:
    whole = make_explainer(name, oracle).scores(invalid)
    monkeypatch.setattr("tvm_fusion.explainers.learned.BATCH_EDGES", 40)
    for one, other in zip(whole, make_explainer(name, oracle).scores(invalid), strict=True):
        assert list(one) == pytest.approx(list(other), abs=ROUNDING, rel=ROUNDING)


def test_a_predictor_of_whole_groups_is_the_classifier(oracle: Oracle, invalid: list[int]) -> None:
    explainer = make_explainer("saliency", oracle)
    assert isinstance(explainer, LearnedExplainer)
    said = explainer.invalid(invalid, [inner_edges(oracle.graph, mask) for mask in invalid])
    for mask, answer in zip(invalid, said, strict=True):
        data = explainer.features.data(mask, oracle.accelerator.buffer_bytes)
        assert answer == bool(explainer.classifier(data.x, data.edge_index) > 0)
    report = fidelity(explainer.invalid, explainer.explain(invalid), top=10**6, kind="model")
    assert report.minus == 0


def test_grown_subgraphs_are_connected(oracle: Oracle, invalid: list[int]) -> None:
    policy = RgPolicy()
    mask = invalid[-1]
    explainer = make_explainer("saliency", oracle)
    assert isinstance(explainer, LearnedExplainer)
    data = explainer.features.data(mask, oracle.accelerator.buffer_bytes)
    ids = [i for i in range(len(oracle.graph)) if mask >> i & 1]
    batch = torch.zeros(len(ids), dtype=torch.long)
    with torch.no_grad():
        embedded = explainer.classifier.embed(data.x, data.edge_index)
        for seed in range(len(ids)):
            generator = torch.Generator().manual_seed(seed)
            step = policy(embedded, data.edge_index, batch, torch.tensor([seed]), generator).step.tolist()
            joined = sorted((k, i) for i, k in zip(ids, step, strict=True) if k >= 0)
            assert [k for k, _ in joined] == list(range(len(joined)))
            assert len(joined) <= MOST_OPERATORS
            assert joined[0] == (0, ids[seed])
            for size in range(1, len(joined) + 1):
                assert oracle.graph.is_connected(sum(1 << i for _, i in joined[:size]))


@pytest.mark.parametrize(("kind", "make"), [("pg", lambda: SeparateGroupsPg().mlp), ("rg", RgPolicy)])
def test_checkpoints_are_small_and_bound_to_their_classifier(kind: str, make, tmp_path: Path) -> None:
    folder = Path(str(resources.files("tvm_fusion.explainers"))) / "checkpoints"
    for suffix in (".safetensors", ".json"):
        shutil.copy(folder / f"lbdf_{kind}{suffix}", tmp_path / f"mine{suffix}")
    path, card = tmp_path / "mine.safetensors", tmp_path / "mine.json"
    assert path.stat().st_size < 2_000_000
    load_explainer(make(), kind, path=path)
    good = json.loads(card.read_text())
    for change, message in (
        ({"classifier_sha256": "0" * 64}, "was trained for classifier 000000000000"),
        ({"kind": "zz"}, "has kind 'zz', not"),
        ({"sha256": "0"}, "is damaged"),
    ):
        card.write_text(json.dumps(good | change))
        with pytest.raises(ExplainerError, match=message):
            load_explainer(make(), kind, path=path)
    card.write_text("no card")
    with pytest.raises(ExplainerError, match="is not JSON"):
        load_explainer(make(), kind, path=path)
    card.unlink()
    with pytest.raises(ExplainerError, match="cannot read checkpoint"):
        load_explainer(make(), kind, path=path)

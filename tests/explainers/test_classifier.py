"""What the classifier is told, that it is a function of the graph alone, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch

from tests.graphs import Builder, chain, residual_block, squeeze_and_excite
from tests.search.networks import efficientnet_b3
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.dataset import build_dataset, header_of
from tvm_fusion.explainers.evaluate_classifier import evaluate_classifier
from tvm_fusion.explainers.features import FACTS, FEATURES, OPERATOR_TYPES, GroupFeatures, type_number
from tvm_fusion.explainers.group_parts import random_parts
from tvm_fusion.explainers.group_tensors import GroupTensors
from tvm_fusion.explainers.train_classifier import TrainingSettings, train_classifier
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

BUFFER = 256 * 1024


@pytest.fixture(scope="module")
def tensors(graphs: list[OperatorGraph]) -> GroupTensors:
    return GroupTensors(build_dataset(graphs, header_of(graphs, 10, seed=0)))


def features(graph: OperatorGraph) -> GroupFeatures:
    return GroupFeatures(Sizes(graph, Accelerator()))


def test_shapes_and_order_of_edges() -> None:
    graph = residual_block(3)
    mask = 0b111101
    mask = max(graph.components(mask), key=int.bit_count)
    data = features(graph).data(mask, BUFFER)
    place = {i: k for k, i in enumerate(members(mask))}
    expected = [(place[a], place[b]) for a, b in inner_edges(graph, mask)]
    assert data.x.shape == (mask.bit_count(), 1 + len(FEATURES))
    assert data.x.dtype == torch.float32
    count = len(expected)
    assert data.edge_index.shape == (2, 2 * count)
    assert [tuple(edge) for edge in data.edge_index[:, :count].t().tolist()] == expected
    assert [tuple(edge) for edge in data.edge_index[:, count:].t().tolist()] == [(b, a) for a, b in expected]


def test_an_operator_alone_has_no_edges() -> None:
    data = features(residual_block()).data(0b10, BUFFER)
    assert data.edge_index.shape == (2, 0)
    assert ValidityClassifier()(data.x, data.edge_index).shape == (1, 1)


def test_facts_of_a_convolution() -> None:
    graph = residual_block()
    (row,) = features(graph).facts(0b1)
    assert dict(zip(FACTS, row, strict=True)) == {
        "type number": type_number("conv2d"),
        "input row elements": 224, "input height": 56, "input channels": 4,
        "output row elements": 224, "output height": 56, "output channels": 4,
        "weight bytes": 144, "input row bytes": 224, "output row bytes": 224,
        "input bytes": 4 * 56 * 56, "output bytes": 4 * 56 * 56,
    }  # fmt: skip


def test_shares_are_of_the_buffer_and_never_above_four() -> None:
    x = features(residual_block()).data(0b1, 1000).x[0]
    values = dict(zip(FEATURES, x[1:].tolist(), strict=True))
    assert values["weight bytes / buffer"] == pytest.approx(0.144)
    assert values["input row bytes / buffer"] == pytest.approx(0.224)
    assert values["input bytes / buffer"] == 4
    assert values["log2 input channels"] == pytest.approx(0.2)


def test_unknown_types_are_number_0() -> None:
    assert OPERATOR_TYPES[0] == "unknown"
    assert type_number("warp_drive") == 0
    assert len(set(OPERATOR_TYPES)) == len(OPERATOR_TYPES)


def test_types_newer_than_the_checkpoint_count_as_unknown() -> None:
    classifier = ValidityClassifier(types=3)
    data = features(residual_block()).data(0b11, BUFFER)
    newer = data.x.clone()
    newer[:, 0] = 7
    unknown = data.x.clone()
    unknown[:, 0] = 0
    assert torch.equal(classifier(newer, data.edge_index), classifier(unknown, data.edge_index))


def test_datasets_and_graphs_give_the_same_tensors(tensors: GroupTensors, graphs: list[OperatorGraph]) -> None:
    dataset = build_dataset(graphs, header_of(graphs, 10, seed=0))
    chosen = torch.tensor([0, len(dataset) - 1, len(dataset) // 2])
    groups = tensors.select(chosen)
    for position, k in enumerate(chosen.tolist()):
        data = features(graphs[dataset.network[k]]).data(int(dataset.mask[k], 16), BUFFER)
        x = groups.features(torch.full((3,), BUFFER))
        assert torch.equal(x[groups.batch == position], data.x)
    halves = groups.edge_index.reshape(2, 2, -1)
    assert torch.equal(halves[:, 0], halves[:, 1].flip(0))
    assert torch.equal(groups.batch[groups.edge_index[0]], groups.batch[groups.edge_index[1]])


def test_resized_groups_need_what_the_cost_model_says() -> None:
    small, wide = ([efficientnet_b3(64, stages=2)], [_twice_as_wide(efficientnet_b3(64, stages=2))])
    groups = GroupTensors(build_dataset(small, header_of(small, 3, seed=0)))
    dataset = build_dataset(small, header_of(small, 3, seed=0))
    every = torch.arange(len(dataset))
    twice = groups.select(every).resized(torch.full((len(every),), 2.0).double(), torch.ones(len(every)).double())
    model = LineBufferModel(wide[0], Accelerator())
    expected = [model.requirement_bytes(int(mask, 16)) for mask in dataset.mask]
    assert twice.requirement_bytes.tolist() == expected
    same = groups.select(every).resized(*torch.ones(2, len(every), dtype=torch.float64))
    assert same.requirement_bytes.tolist() == dataset.requirement_bytes.tolist()
    assert same.facts.tolist() == groups.select(every).facts.tolist()


def test_rescaled_groups_need_in_brr_what_the_cost_model_says() -> None:
    """Twice the bits: exact. Twice the channels: but for one channel's weights that have no channels to grow with."""
    graph = chain(6)
    dataset = build_dataset([graph], header_of([graph], 20, seed=0, scheme="brr"))
    groups = GroupTensors(dataset).select(torch.arange(len(dataset)))
    one, two = (torch.full((len(dataset),), factor, dtype=torch.float64) for factor in (1.0, 2.0))
    wider = groups.rescaled(two, one)
    at_16_bits = Accelerator(activation_bits=16, weight_bits=16)
    masks = [int(mask, 16) for mask in dataset.mask]
    exact = [BandModel(graph, at_16_bits).requirement_bytes(mask) for mask in masks]
    assert wider.requirement_bytes.tolist() == exact
    known = GroupFeatures(Sizes(graph, at_16_bits))
    assert wider.facts.tolist() == [row for mask in masks for row in known.facts(mask)]
    again = GroupTensors(dataset, 16).select(torch.arange(len(dataset)))
    assert again.requirement_bytes.tolist() == exact
    assert again.facts.tolist() == wider.facts.tolist()
    deep = _of_channels(8, 6)
    assert groups.rescaled(one, two).requirement_bytes.tolist() == [
        BandModel(deep, Accelerator()).requirement_bytes(mask) for mask in masks
    ]
    assert groups.rescaled(one, two).facts.tolist() == [
        row for mask in masks for row in GroupFeatures(Sizes(deep, Accelerator())).facts(mask)
    ]


def _of_channels(channels: int, length: int) -> OperatorGraph:
    """:func:`tests.graphs.chain` with other channels."""
    b = Builder(height=16, channels=channels)
    at = -1
    for _ in range(length):
        at = b.conv(at)
    return b.graph(at)


def test_bits_of_half_a_number_are_refused(tensors: GroupTensors, graphs: list[OperatorGraph]) -> None:
    with pytest.raises(ExplainerError, match="12 bits"):
        GroupTensors(build_dataset(graphs, header_of(graphs, 2, seed=0)), 12)


def _twice_as_wide(graph: OperatorGraph) -> OperatorGraph:
    from dataclasses import replace

    def wide(shape: tuple[int, ...], row_axis: int | None) -> tuple[int, ...]:
        return (*shape[:-1], 2 * shape[-1])

    return OperatorGraph(
        graph.name,
        tuple(replace(t, shape=wide(t.shape, t.row_axis)) for t in graph.inputs),
        tuple(replace(op, shape=wide(op.shape, op.row_axis)) for op in graph.operators),
        graph.outputs,
    )


def test_order_of_operators_and_edges_does_not_matter() -> None:
    torch.manual_seed(0)
    classifier = ValidityClassifier().eval()
    graph = squeeze_and_excite()
    data = features(graph).data((1 << len(graph)) - 1, BUFFER)
    place = torch.randperm(len(data.x))
    back = torch.empty_like(place)
    back[place] = torch.arange(len(place))
    edges = back[data.edge_index][:, torch.randperm(data.edge_index.shape[1])]
    assert torch.allclose(classifier(data.x, data.edge_index), classifier(data.x[place], edges), rtol=1e-4, atol=1e-5)


def test_a_batch_gives_what_each_group_gives_alone() -> None:
    torch.manual_seed(0)
    classifier = ValidityClassifier().eval()
    made = features(residual_block(3))
    items = made.batch([0b1, 0b11, 0b111111], BUFFER)
    batch = Batch.from_data_list(items)
    together = classifier(batch.x, batch.edge_index, batch.batch)
    assert together.shape == (3, 1)
    alone = torch.cat([classifier(item.x, item.edge_index) for item in items])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_edges_of_weight_0_are_no_edges() -> None:
    torch.manual_seed(0)
    classifier = ValidityClassifier().eval()
    data = features(residual_block()).data(0b11, BUFFER)
    without = classifier(data.x, data.edge_index, None, torch.zeros(2))
    assert torch.allclose(without, classifier(data.x, data.edge_index[:, :0]))
    assert torch.equal(classifier(data.x, data.edge_index, None, torch.ones(2)), classifier(data.x, data.edge_index))


def test_training_learns_and_repeats_itself(tensors: GroupTensors, graphs: list[OperatorGraph]) -> None:
    parts = random_parts(build_dataset(graphs, header_of(graphs, 10, seed=0)), seed=0)
    settings = TrainingSettings(epochs=12, batch_groups=32)
    state = torch.random.get_rng_state()
    seen: list[int] = []
    first = train_classifier(tensors, parts, settings, lambda done, epochs, accuracy: seen.append(done))
    assert seen == list(range(1, 13))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first.training
    again = train_classifier(tensors, parts, settings)
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    scores = evaluate_classifier(first, tensors, parts.train)
    assert scores.samples == 5 * scores.groups
    always = max(scores.invalid_share, 1 - scores.invalid_share)
    assert scores.accuracy > (1 + always) / 2


def test_scores_add_up(tensors: GroupTensors, graphs: list[OperatorGraph]) -> None:
    parts = random_parts(build_dataset(graphs, header_of(graphs, 10, seed=0)), seed=0)
    torch.manual_seed(0)
    scores = evaluate_classifier(ValidityClassifier(), tensors, parts.test)
    assert scores.accuracy == pytest.approx(sum(scores.by_buffer.values()) / 5)
    assert set(scores.to_json()["by_buffer"]) == {str(size) for size in scores.by_buffer}  # type: ignore[call-overload]


def test_no_epoch_is_refused() -> None:
    with pytest.raises(ExplainerError, match="epochs 0"):
        TrainingSettings(epochs=0)

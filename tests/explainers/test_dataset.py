"""Groups sampled, told apart by structure, labelled and kept in a file."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import chain, residual_block
from tests.strategies import operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.errors import ExplainerError, FusionError
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.explainers.dataset import GroupDataset, build_dataset, header_of, load_dataset
from tvm_fusion.explainers.group_parts import network_parts, random_parts
from tvm_fusion.explainers.sampling import BUFFERS_BYTES, met_groups
from tvm_fusion.explainers.structure import structure_key
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

PLANS = 10


@pytest.fixture(scope="module")
def dataset(graphs: list[OperatorGraph]) -> GroupDataset:
    return build_dataset(graphs, header_of(graphs, PLANS, seed=0))


def same(a: GroupDataset, b: GroupDataset) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.name != "header")


def test_groups_are_those_of_the_networks_with_their_exact_requirement(
    dataset: GroupDataset, graphs: list[OperatorGraph]
) -> None:
    models = [LineBufferModel(graph, Accelerator()) for graph in graphs]
    first_edge = 0
    for k in range(len(dataset)):
        graph, mask = graphs[dataset.network[k]], int(dataset.mask[k], 16)
        assert graph.is_connected(mask)
        assert dataset.requirement_bytes[k] == models[dataset.network[k]].requirement_bytes(mask)
        place = list(members(mask))
        edges = dataset.edges[first_edge : dataset.edge_ends[k]]
        assert [(place[a], place[b]) for a, b in edges] == list(inner_edges(graph, mask))
        first_edge = dataset.edge_ends[k]
    assert set(dataset.network) == {0, 1}


def test_brr_has_the_requirement_of_bands(graphs: list[OperatorGraph]) -> None:
    found = build_dataset(graphs, header_of(graphs, 5, seed=0, scheme="brr"))
    assert found.scheme == "brr"
    models = [BandModel(graph, Accelerator()) for graph in graphs]
    for k in range(len(found)):
        least = models[found.network[k]].least_requirement(int(found.mask[k], 16))
        assert found.requirement_bytes[k] == least.buffer_bytes
    others = [LineBufferModel(graph, Accelerator()) for graph in graphs]
    lines = [others[n].requirement_bytes(int(m, 16)) for n, m in zip(found.network, found.mask, strict=True)]
    assert found.requirement_bytes.tolist() != lines


def test_structures_left_out_are_not_taken(dataset: GroupDataset, graphs: list[OperatorGraph]) -> None:
    known = set(dataset.structure[: len(dataset) // 2].tolist())
    rest = build_dataset(graphs, header_of(graphs, PLANS, seed=0), known)
    assert not known & set(rest.structure.tolist())
    assert len(rest)


def test_a_scheme_that_refuses_groups_cannot_be_learned(graphs: list[OperatorGraph]) -> None:
    with pytest.raises(ExplainerError, match="'layer' refuses groups"):
        build_dataset(graphs, header_of(graphs, 2, seed=0, scheme="layer"))


def test_labels_say_what_exceeds_each_buffer(dataset: GroupDataset) -> None:
    labels = dataset.labels()
    assert labels.shape == (len(dataset), 5)
    for k, size in enumerate(BUFFERS_BYTES):
        assert np.array_equal(labels[:, k], dataset.requirement_bytes > size)


def test_structures_are_distinct(dataset: GroupDataset) -> None:
    assert len(set(dataset.structure)) == len(dataset)


def test_same_seed_same_groups_another_seed_others(dataset: GroupDataset, graphs: list[OperatorGraph]) -> None:
    assert same(dataset, build_dataset(graphs, header_of(graphs, PLANS, seed=0)))
    assert not same(dataset, build_dataset(graphs, header_of(graphs, PLANS, seed=1)))


def test_a_class_of_requirements_has_at_most_as_many_as_asked(graphs: list[OperatorGraph]) -> None:
    found = list(met_groups(graphs[1], 20, seed=0, most_in_a_class=5, seen=set()))
    below = [group for group in found if group.requirement_bytes < 64 * 1024]
    assert len(below) == 5


def test_small_and_large_groups_are_met(graphs: list[OperatorGraph]) -> None:
    sizes = [g.mask.bit_count() for g in met_groups(graphs[1], 40, seed=0, most_in_a_class=10**6, seen=set())]
    assert min(sizes) == 1
    assert max(sizes) > len(graphs[1]) / 2


def test_structure_does_not_depend_on_place_or_name() -> None:
    graph = chain(6)
    inner = {structure_key(graph, 0b11 << k) for k in range(5)}
    assert len(inner) == 1
    assert structure_key(graph, 0b11) != structure_key(graph, 0b111)


def test_structure_depends_on_what_leaves() -> None:
    block = residual_block(2)
    # Without its reader outside, the second convolution's tensor is read nowhere else.
    assert structure_key(block, 0b00111) != structure_key(block, 0b00110)
    shown = OperatorGraph("shown", block.inputs, block.operators, (2, 4))
    assert structure_key(block, 0b01110) != structure_key(shown, 0b01110)


@given(st.data(), operator_graphs(max_operators=8))
@settings(max_examples=40, deadline=None)
def test_equal_structure_means_equal_requirement(data: st.DataObject, graph: OperatorGraph) -> None:
    model = LineBufferModel(graph, Accelerator())
    known: dict[str, int] = {}
    for mask in data.draw(st.lists(st.integers(1, (1 << len(graph)) - 1), min_size=1, max_size=30)):
        for part in graph.components(mask):
            needed = model.requirement_bytes(part)
            assert known.setdefault(structure_key(graph, part), needed) == needed


def test_file_there_and_back(dataset: GroupDataset, tmp_path: Path) -> None:
    path = tmp_path / "groups.npz"
    dataset.save(path)
    again = load_dataset(path)
    assert same(dataset, again)
    assert again.header == json.loads(json.dumps(dataset.header))
    assert [entry["name"] for entry in again.header["networks"]] == again.networks == ["block", "stages"]
    other = tmp_path / "again.npz"
    again.save(other)
    assert path.read_bytes() == other.read_bytes()


def test_file_that_cannot_be_written(dataset: GroupDataset, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="cannot write"):
        dataset.save(tmp_path / "none" / "groups.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"header": {"format": "else"}}, "does not say"),
        ({"edges": lambda d: d.edges + 1000}, "out of its group"),
        ({"edges": lambda d: d.edges[:-1]}, "does not fit"),
        ({"facts": lambda d: d.facts[:, :-1]}, "columns"),
        ({"facts": lambda d: d.facts.astype(float)}, "wrong type"),
        ({"mask": lambda d: d.mask[:-1]}, "different numbers of groups"),
        ({"network": lambda d: d.network + 2}, "no network"),
    ],
)
def test_file_that_contradicts_itself(
    dataset: GroupDataset, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "groups.npz"
    values = {key: value(dataset) if callable(value) else value for key, value in change.items()}
    replace(dataset, **values).save(path)
    with pytest.raises(ExplainerError, match=words) as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["nothing", "text", "truncated", "other arrays", "pickle"])
def test_file_that_is_none(dataset: GroupDataset, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "groups.npz"
    dataset.save(path)
    whole = path.read_bytes()
    stream = io.BytesIO()
    if damage == "other arrays":
        np.savez(stream, a=np.zeros(3))
    elif damage == "pickle":
        np.savez(stream, header=np.array([{}], dtype=object))
    contents = {"nothing": b"", "text": b"groups", "truncated": whole[: len(whole) // 2]}
    path.write_bytes(contents.get(damage, stream.getvalue()))
    with pytest.raises(ExplainerError, match=r"groups\.npz"):
        load_dataset(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExplainerError, match="cannot read dataset"):
        load_dataset(tmp_path / "groups.npz")


def test_parts_are_disjoint_and_repeatable(dataset: GroupDataset) -> None:
    parts = random_parts(dataset, seed=0)
    assert sorted(np.concatenate(parts)) == list(range(len(dataset)))
    assert len(parts.test) == len(parts.validation) == len(dataset) // 10
    assert all(np.array_equal(a, b) for a, b in zip(parts, random_parts(dataset, seed=0), strict=True))
    assert not np.array_equal(parts.test, random_parts(dataset, seed=1).test)


def test_network_held_out(dataset: GroupDataset) -> None:
    parts = network_parts(dataset, "block", seed=0)
    assert set(dataset.network[parts.test]) == {0}
    assert set(dataset.network[np.concatenate(parts[:2])]) == {1}
    assert sorted(np.concatenate(parts)) == list(range(len(dataset)))
    with pytest.raises(ExplainerError, match="'magic' is not in the dataset"):
        network_parts(dataset, "magic", seed=0)


def test_too_few_groups() -> None:
    graph = chain(2)
    few = build_dataset([graph], header_of([graph], 1, seed=0))
    with pytest.raises(ExplainerError, match="too few"):
        random_parts(few, seed=0)

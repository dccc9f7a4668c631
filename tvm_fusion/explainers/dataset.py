"""GroupDataset: labelled groups as arrays, and the file that holds them (docs/classifier.md)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.features import FACTS, OPERATOR_TYPES, GroupFeatures
from tvm_fusion.explainers.sampling import BITS, BUFFERS_BYTES, met_groups
from tvm_fusion.files import write_bytes_atomic
from tvm_fusion.graph.graph import OperatorGraph

FORMAT = "tvm-fusion group dataset"
FORMAT_VERSION = 1
# This many give about 10,800 groups of the nine networks.
PLANS = 160
MOST_IN_A_CLASS = 250
# Arrays of the file: kind of number and dimensions.
_ARRAYS = {
    "facts": ("i", 2), "edges": ("i", 2), "operator_ends": ("i", 1), "edge_ends": ("i", 1),
    "requirement_bytes": ("i", 1), "network": ("i", 1), "mask": ("U", 1), "structure": ("U", 1),
}  # fmt: skip


@dataclass(frozen=True)
class GroupDataset:
    """Distinct groups of several networks; a sample is a group with a buffer size.

    ``facts`` (all operators, len(FACTS)) and ``edges`` (all inner edges, 2; positions inside their group, producer
    first) hold the groups one after another: group k ends before ``operator_ends[k]`` and ``edge_ends[k]``. For
    each group: ``requirement_bytes`` (F_B at 8 bits in the scheme of the header), ``network`` (position in
    ``networks``), ``mask`` (hexadecimal) and ``structure`` (its key). A sample is invalid if the requirement exceeds
    the buffer.
    """

    header: Mapping[str, Any]
    facts: NDArray[np.int64]
    edges: NDArray[np.int64]
    operator_ends: NDArray[np.int64]
    edge_ends: NDArray[np.int64]
    requirement_bytes: NDArray[np.int64]
    network: NDArray[np.int64]
    mask: NDArray[np.str_]
    structure: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.requirement_bytes)

    @property
    def networks(self) -> list[str]:
        """Names of the networks."""
        return [entry["name"] for entry in self.header["networks"]]

    @property
    def scheme(self) -> str:
        """Scheme of the requirements."""
        return str(self.header["scheme"])

    @property
    def buffers_bytes(self) -> list[int]:
        """Buffer sizes that every group is labelled at."""
        return list(self.header["buffers_bytes"])

    def labels(self) -> NDArray[np.bool_]:
        """(groups, buffers): whether the group exceeds the buffer."""
        found: NDArray[np.bool_] = self.requirement_bytes[:, None] > np.array(self.buffers_bytes)[None, :]
        return found

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises FusionError if it cannot be written."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        stream = io.BytesIO()
        np.savez_compressed(stream, header=np.array(json.dumps(self.header)), **arrays)
        write_bytes_atomic(path, stream.getvalue())


def header_of(
    graphs: Sequence[OperatorGraph],
    plans: int,
    seed: int,
    most_in_a_class: int = MOST_IN_A_CLASS,
    command: str = "",
    scheme: str = "lbdf",
) -> dict[str, Any]:
    """What a dataset is made from: all of its header but the command decides what is in it."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "scheme": scheme,
        "bits": BITS,
        "buffers_bytes": list(BUFFERS_BYTES),
        "networks": [{"name": graph.name, "fingerprint": graph.fingerprint} for graph in graphs],
        "plans": plans,
        "most_in_a_class": most_in_a_class,
        "seed": seed,
        "facts": list(FACTS),
        "types": list(OPERATOR_TYPES),
        "command": command,
    }


def build_dataset(
    graphs: Sequence[OperatorGraph], header: Mapping[str, Any], leave_out: Collection[str] = ()
) -> GroupDataset:
    """Sample and label the groups that :func:`header_of` describes. A structure counts for the first network.

    Structures in ``leave_out`` are not taken. Raises ExplainerError if nothing is left.
    """
    facts: list[list[int]] = []
    edges: list[tuple[int, int]] = []
    operators_of, edges_of, needed, network = [], [], [], []
    masks: list[str] = []
    structures: list[str] = []
    seen = set(leave_out)
    for number, graph in enumerate(graphs):
        features = GroupFeatures(Sizes(graph, Accelerator(activation_bits=BITS, weight_bits=BITS)))
        for group in met_groups(
            graph, header["plans"], header["seed"], header["most_in_a_class"], seen, header["scheme"]
        ):
            rows, inner = features.facts(group.mask), features.edges(group.mask)
            facts += rows
            edges += inner
            operators_of.append(len(rows))
            edges_of.append(len(inner))
            needed.append(group.requirement_bytes)
            network.append(number)
            masks.append(f"{group.mask:x}")
            structures.append(group.structure)
    if not needed:
        raise ExplainerError("the networks have no group to learn from")
    return GroupDataset(
        header=dict(header),
        facts=np.array(facts, np.int64).reshape(-1, len(FACTS)),
        edges=np.array(edges, np.int64).reshape(-1, 2),
        operator_ends=np.array(list(accumulate(operators_of)), np.int64),
        edge_ends=np.array(list(accumulate(edges_of)), np.int64),
        requirement_bytes=np.array(needed, np.int64),
        network=np.array(network, np.int64),
        mask=np.array(masks),
        structure=np.array(structures),
    )


def load_dataset(path: str | Path) -> GroupDataset:
    """Read what :meth:`GroupDataset.save` wrote. Raises ExplainerError that says what is wrong with the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            header = json.loads(str(file["header"][()]))
    except OSError as error:
        raise ExplainerError(f"cannot read dataset {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ExplainerError(f"{str(path)!r} is not a group dataset: {error}") from None
    problem = _problem(header, arrays)
    if problem:
        raise ExplainerError(f"dataset {str(path)!r}: {problem}")
    return GroupDataset(header=header, **arrays)


def _problem(header: Any, arrays: Mapping[str, Any]) -> str:
    """What is wrong with a dataset, or nothing."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        return f"its header does not say {FORMAT!r}"
    for key, expected in (("version", FORMAT_VERSION), ("facts", list(FACTS)), ("types", list(OPERATOR_TYPES))):
        if header.get(key) != expected:
            return f"its {key} are {header.get(key)!r}, this version has {expected!r}"
    for name, (kind, dimensions) in _ARRAYS.items():
        if arrays[name].dtype.kind != kind or arrays[name].ndim != dimensions:
            return f"array {name!r} has the wrong type or shape"
    groups = len(arrays["requirement_bytes"])
    if not groups or any(len(arrays[name]) != groups for name in _ARRAYS if name not in ("facts", "edges")):
        return "its arrays have different numbers of groups, or none"
    for ends, rows in (("operator_ends", "facts"), ("edge_ends", "edges")):
        if (np.diff(arrays[ends], prepend=0) < 0).any() or arrays[ends][-1] != len(arrays[rows]):
            return f"{ends!r} does not fit {rows!r}"
    if arrays["facts"].shape[1] != len(FACTS) or arrays["edges"].shape[1:] != (2,):
        return "its rows have the wrong number of columns"
    sizes = np.diff(arrays["operator_ends"], prepend=0)
    limits = np.repeat(sizes, np.diff(arrays["edge_ends"], prepend=0))[:, None]
    if ((arrays["edges"] < 0) | (arrays["edges"] >= limits)).any():
        return "an edge leads out of its group"
    networks = header.get("networks")
    if not isinstance(networks, list) or not (0 <= arrays["network"].min() <= arrays["network"].max() < len(networks)):
        return "a group belongs to no network of its header"
    return ""

"""A cache: what is found again, what is refused, and that it changes no figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.graphs import squeeze_and_excite
from tvm_fusion.cost_models import group_cache
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.group_cache import GroupCache
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import CostModelError
from tvm_fusion.search import search

GRAPH = squeeze_and_excite()
ACCELERATOR = Accelerator(buffer_bytes=600)


def planned(folder: Path, accelerator: Accelerator = ACCELERATOR, schemes: str = "auto") -> tuple[Oracle, object]:
    oracle = Oracle(GRAPH, accelerator, schemes, cache=GroupCache.in_folder(folder, GRAPH, accelerator))
    plan = search(GRAPH, oracle).plan
    oracle.cache.save()
    return oracle, plan


def test_what_is_known_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, plan = planned(tmp_path)
    assert first.cache.loaded == first.cache.count > 0
    asked = []
    for name, scheme in first.schemes.items():
        if name != "lbdf":  # of that the oracle asks single operators by itself
            monkeypatch.setattr(type(scheme), "fit", lambda self, mask: asked.append((self.name, mask)))
    second, same = planned(tmp_path)
    assert same == plan
    assert asked == []
    assert second.cache.count == first.cache.count


def test_other_schemes_and_accelerators_share_nothing_that_differs(tmp_path: Path) -> None:
    planned(tmp_path, schemes="lbdf")
    _, plan = planned(tmp_path)
    assert plan == search(GRAPH, Oracle(GRAPH, ACCELERATOR, "auto")).plan
    planned(tmp_path, Accelerator(buffer_bytes=700))
    assert len(list(tmp_path.iterdir())) == 2


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(tmp_path)
    monkeypatch.setattr(group_cache, "VERSION", group_cache.VERSION + 1)
    with pytest.raises(CostModelError, match=r"is of version 1 of the cost models, this is 2; delete it"):
        planned(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 1}', '{"version": 1, "fits": {"lbdf": {"1": [true]}}}', "\xff"],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    planned(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CostModelError, match="delete it"):
        planned(tmp_path)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    planned(tmp_path)
    (path,) = tmp_path.iterdir()
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"graph_fingerprint": "sha256:0"}))
    with pytest.raises(CostModelError, match="another network"):
        planned(tmp_path)

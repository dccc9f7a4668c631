"""GroupCache: what is known of groups, kept in a folder from one run to the next."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.schemes.base import Fit
from tvm_fusion.errors import CostModelError
from tvm_fusion.files import write_text_atomic
from tvm_fusion.graph.graph import OperatorGraph

# Raised whenever a scheme comes to another figure for some group: what was computed before is refused.
VERSION = 1


class GroupCache:
    """By scheme (and whether it may compute something again) and mask: whether a group fits, and what it moves.

    ``path``: one file for every graph and accelerator, None where nothing is kept.
    """

    def __init__(self, path: Path | None = None, facts: dict[str, Any] | None = None) -> None:
        self.path = path
        self.facts = facts or {}
        self.fits: defaultdict[str, dict[int, Fit | None]] = defaultdict(dict)
        self.loaded = 0

    @classmethod
    def in_folder(cls, folder: str | Path, graph: OperatorGraph, accelerator: Accelerator) -> GroupCache:
        """What ``folder`` has for a graph and accelerator; empty where it has nothing.

        Raises CostModelError for a file of another version or one that is broken.
        """
        facts = {"graph_fingerprint": graph.fingerprint, "accelerator": accelerator.to_json()}
        # The version is no part of the name: a file of another one is found, and refused.
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        cache = cls(Path(folder) / f"groups-{key}.json", {"version": VERSION, **facts})
        cache._load()
        return cache

    def save(self) -> None:
        """Write the file, if there is one to write and something new. Raises FusionError if that is not possible."""
        if self.path is None or self.count == self.loaded:
            return
        fits = {way: {f"{mask:x}": fit for mask, fit in known.items()} for way, known in self.fits.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(self.path, json.dumps(self.facts | {"fits": fits}) + "\n")
        self.loaded = self.count

    @property
    def count(self) -> int:
        """Groups that are known, each scheme's by itself."""
        return sum(map(len, self.fits.values()))

    def _load(self) -> None:
        assert self.path is not None
        try:
            data = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise CostModelError(f"cannot read cache {str(self.path)!r}: {error}; delete it") from None
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise CostModelError(
                f"cache {str(self.path)!r} is of version {version!r} of the cost models, this is {VERSION}; delete it"
            )
        if any(data.get(key) != value for key, value in json.loads(json.dumps(self.facts)).items()):
            raise CostModelError(f"cache {str(self.path)!r} is for another network or accelerator; delete it")
        try:
            for way, known in data["fits"].items():
                self.fits[way].update((int(mask, 16), fit and _fit(fit)) for mask, fit in known.items())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CostModelError(f"cache {str(self.path)!r} is broken ({error!r}); delete it") from None
        self.loaded = self.count


def _fit(values: list[Any]) -> Fit:
    valid, *counts = values
    if not isinstance(valid, bool) or len(counts) != 3 or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError(f"{values!r} says nothing of a group")
    return Fit(valid, *counts)

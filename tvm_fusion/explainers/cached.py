"""CachedExplainer: explanations kept in a file, so that the next run need not make them again."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import Explainer

_SCHEMA = "CREATE TABLE IF NOT EXISTS explanations (grp TEXT PRIMARY KEY, scores BLOB, seconds REAL, classifier REAL)"


class CachedExplainer(Explainer):
    """Asks ``make`` for an explainer only when a group is met that the file at ``path`` does not hold.

    One file is for one graph, accelerator, explainer and seed. ``saved_seconds`` is what the explanations that came
    from the file cost when they were made: ``seconds`` and ``classifier_seconds`` count them as if made now.
    Raises ExplainerError for a file that is no such cache.
    """

    def __init__(self, oracle: Oracle, make: Callable[[], Explainer], path: str | Path, seed: int = 0) -> None:
        super().__init__(oracle, seed)
        self.saved_seconds = 0.0
        self._make = make
        self._inner: Explainer | None = None
        self._path = path
        try:
            self._file = sqlite3.connect(path, timeout=60)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise ExplainerError(f"cannot use {str(path)!r} as a cache of explanations: {error}") from None

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        """Those of the file, and of the explainer for the rest, which then are in the file too."""
        found: dict[int, Sequence[float]] = {}
        for mask in masks:
            row = self._read(mask)
            if row is not None:
                values, seconds, classifier = row
                found[mask] = array("f", values)
                self.saved_seconds += seconds
                self.seconds += seconds
                self.classifier_seconds += classifier
        new = [mask for mask in masks if mask not in found]
        if new:
            found |= dict(zip(new, self._made(new), strict=True))
        return [found[mask] for mask in masks]

    def unknown_types(self, mask: int) -> set[str]:
        """Those of the explainer itself."""
        return self._explainer.unknown_types(mask)

    @property
    def remark(self) -> str:
        """That of the explainer itself."""
        return self._explainer.remark

    @property
    def _explainer(self) -> Explainer:
        if self._inner is None:
            self._inner = self._make()
        return self._inner

    def _read(self, mask: int) -> tuple[bytes, float, float] | None:
        try:
            row: tuple[bytes, float, float] | None = self._file.execute(
                "SELECT scores, seconds, classifier FROM explanations WHERE grp = ?", (f"{mask:x}",)
            ).fetchone()
        except sqlite3.Error as error:
            raise ExplainerError(f"cache of explanations {str(self._path)!r} is damaged: {error}") from None
        return row

    def _made(self, masks: list[int]) -> list[array[float]]:
        inner = self._explainer
        begin, classifier = perf_counter(), inner.classifier_seconds
        values = [array("f", scores) for scores in inner.scores(masks)]
        seconds = (perf_counter() - begin) / len(masks)
        classifier = inner.classifier_seconds - classifier
        self.classifier_seconds += classifier
        rows = [
            (f"{mask:x}", scores.tobytes(), seconds, classifier / len(masks))
            for mask, scores in zip(masks, values, strict=True)
        ]
        with self._file:
            self._file.executemany("INSERT OR REPLACE INTO explanations VALUES (?, ?, ?, ?)", rows)
        return values

"""Searches for the partition plan that moves the least data; the names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm_fusion.search.registry import algorithm_names as algorithm_names
    from tvm_fusion.search.run import SearchResult as SearchResult
    from tvm_fusion.search.run import search as search

_HOMES = {
    "SearchResult": "tvm_fusion.search.run",
    "algorithm_names": "tvm_fusion.search.registry",
    "search": "tvm_fusion.search.run",
}

__all__ = ["SearchResult", "algorithm_names", "search"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tvm_fusion.search' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value

"""Execution schemes by name; others register theirs by an entry point of ``tvm_fusion.schemes``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.graph import OperatorGraph

GROUP = "tvm_fusion.schemes"
AUTO = "auto"
# In the order in which a group tries them: of equally cheap ones the first is taken.
_OWN = {
    "lbdf": "tvm_fusion.cost_models.schemes.line_buffer:LineBuffers",
    "channel-streaming": "tvm_fusion.cost_models.schemes.channel_streaming:ChannelStreaming",
    "brr": "tvm_fusion.cost_models.schemes.bands:BandsOfRows",
    "two-pass": "tvm_fusion.cost_models.schemes.multi_pass:MultiPass",
    "layer": "tvm_fusion.cost_models.schemes.layer:Layer",
}
# What a single operator may always fall back on.
ALWAYS = "layer"


@cache
def foreign_schemes() -> dict[str, EntryPoint]:
    """Schemes of other packages, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def scheme_names() -> list[str]:
    """Names of all schemes: ours, then those of other packages."""
    return [*_OWN, *(name for name in foreign_schemes() if name not in _OWN)]


def chosen_schemes(names: str | Iterable[str]) -> tuple[str, ...]:
    """The schemes of "auto" (all), of "lbdf,brr" or of a list of names, in the order of :func:`scheme_names`.

    "layer" always joins them. Raises SchemeError for an unknown name or none.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip() for name in wanted if name.strip()]
    known = scheme_names()
    if wanted == [AUTO]:
        return tuple(known)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        text = repr(unknown[0]) + " is unknown" if unknown else f"{names!r} names none"
        raise SchemeError(f"scheme {text}; allowed: {AUTO}, or a list of {', '.join(known)}")
    return tuple(name for name in known if name in wanted or name == ALWAYS)


def scheme_class(name: str) -> type[Scheme]:
    """The class of scheme ``name``. Raises SchemeError for an unknown or broken one."""
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        own: type[Scheme] = getattr(import_module(module), attribute)
        return own
    point = foreign_schemes().get(name)
    if point is None:
        raise SchemeError(f"scheme {name!r} is unknown; allowed: {', '.join(scheme_names())}")
    try:
        found = point.load()
    except Exception as error:
        raise SchemeError(f"scheme {name!r} ({point.value}) cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scheme) and getattr(found, "name", None) == name):
        raise SchemeError(f"scheme {name!r} ({point.value}) is no class of Scheme with this name")
    return found


def make_schemes(
    names: Sequence[str], graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes, recompute: bool = True
) -> dict[str, Scheme]:
    """One object of each scheme, by name in the order given."""
    return {name: scheme_class(name)(graph, accelerator, sizes, recompute) for name in names}

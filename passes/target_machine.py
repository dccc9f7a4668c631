"""target_machine: for which processor and system a TVM target compiles."""

from __future__ import annotations

import platform

import tvm

_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "macos": "Darwin", "windows": "Windows"}
_PROCESSORS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def target_machine(target: str) -> dict[str, str]:
    """``processor`` and ``system`` of a target that TVM knows; this machine's where the target says none."""
    kind = tvm.target.Target(target)
    triple = str((kind.host or kind).attrs.get("mtriple", ""))
    processor, _, rest = triple.partition("-")
    system = next((name for part, name in _SYSTEMS.items() if part in rest.lower()), platform.system())
    return {"processor": _named(processor or platform.machine()), "system": system}


def this_machine() -> dict[str, str]:
    """``processor`` and ``system`` of the machine that this runs on."""
    return {"processor": _named(platform.machine()), "system": platform.system()}


def _named(processor: str) -> str:
    return _PROCESSORS.get(processor.lower(), processor.lower())

"""target_machine: for which processor and system a TVM target compiles."""

from __future__ import annotations

import platform
import re
from typing import Any

import tvm

_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "macos": "Darwin", "windows": "Windows"}
# Of LLVM's features of a processor those that are instructions; others say how it is best used.
_INSTRUCTIONS = re.compile(
    r"(avx|sse|ssse|fma|f16c|bmi|popcnt|amx|gfni|vaes|neon|sve|dotprod|fullfp16|i8mm|bf16|sme)\S*"
)
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


def instructions(target: Any) -> list[str]:
    """Sets of instructions that code for an LLVM target may use, as LLVM calls them: "avx2". None for other targets."""
    kind = tvm.target.Target(target)
    if kind.kind.name != "llvm":
        return []
    return sorted(
        name for name in map(str, tvm.target.codegen.llvm_get_cpu_features(kind)) if _INSTRUCTIONS.fullmatch(name)
    )


def instructions_here() -> list[str]:
    """Those that the processor has which this runs on."""
    return instructions({"kind": "llvm", "mcpu": str(tvm.target.codegen.llvm_get_system_cpu())})


def _named(processor: str) -> str:
    return _PROCESSORS.get(processor.lower(), processor.lower())

"""write_c_sources: every lowered group of a module as a C file, and one header for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm.ir import IRModule

from tvm_fusion.errors import CompileError, FusionError
from tvm_fusion.files import check_writable, write_text_atomic
from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.passes.c_source import CSource, c_source
from tvm_fusion.passes.group_source import lowered_groups
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.verify_memory import VerifyMemory

HEADER = "tvm_fusion_groups.h"


@dataclass(frozen=True)
class WrittenSources:
    """``paths``: the header first, then a file a group. ``left_out``: groups without a file, by name, and why."""

    paths: tuple[Path, ...]
    left_out: dict[str, str]


def write_c_sources(
    mod: IRModule, folder: str | Path, weights: str = "arguments", scope: str = DEFAULT_SCOPE, alignment: int = 1
) -> WrittenSources:
    """Write ``GROUP.c`` for every group that LowerLineBuffer lowered, and ``tvm_fusion_groups.h``, into ``folder``.

    The folder is made if only it is missing. Everything is generated before anything is written. Options as in
    :func:`c_source`; addresses in the memory map are multiples of ``alignment``. Raises CompileError if the module has
    no lowered group, FusionError for a folder that cannot be written, MemoryMismatchError if the memory of a group is
    not what the cost model says.
    """
    groups = lowered_groups(mod)
    if not groups:
        raise CompileError("the module has no group that LowerLineBuffer lowered; there is nothing to write as C")
    verify: Any = VerifyMemory(scope, alignment)
    verified = verify(mod)
    left_out = {name: "it is not lowered to line buffers" for name in group_functions(mod) if name not in groups}
    sources = []
    for name in groups:
        try:
            sources.append(c_source(verified, name, weights, scope))
        except CompileError as error:
            left_out[name] = str(error)
    if not sources:
        raise CompileError(f"no group can be written as C; {next(iter(groups))}: {left_out[next(iter(groups))]}")
    target = Path(folder)
    _make(target)
    texts = {target / HEADER: _header(sources)} | {target / f"{source.name}.c": source.text for source in sources}
    for path in texts:
        check_writable(path)
    for path, text in texts.items():
        write_text_atomic(path, text)
    return WrittenSources(tuple(texts), left_out)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FusionError(f"cannot make folder {str(folder)!r}: {error.strerror or error}") from None


def _header(sources: list[CSource]) -> str:
    lines = [
        "/* The fusion groups of a network, in the order in which they execute; written by tvm-fusion. */",
        "#ifndef TVM_FUSION_GROUPS_H",
        "#define TVM_FUSION_GROUPS_H",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        "",
        *(f"{source.prototype};" for source in sources),
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"

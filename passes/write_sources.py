"""write_sources: every lowered group of a module as a file of some language, and one header for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tvm.ir import IRModule

from tvm_fusion.errors import CompileError, FusionError
from tvm_fusion.files import check_writable, write_text_atomic
from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.passes.sources.group_source import lowered_groups
from tvm_fusion.passes.verify_memory import VerifyMemory

HEADER = "tvm_fusion_groups.h"


class Source(Protocol):
    """The source of a group, and what a header has of it."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def declarations(self) -> str: ...


@dataclass(frozen=True)
class Language:
    """``suffix`` of its files; the header has ``before`` and ``after`` around its declarations."""

    name: str
    suffix: str
    before: tuple[str, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenSources:
    """``paths``: the header first, then a file a group. ``left_out``: groups without a file, by name, and why."""

    paths: tuple[Path, ...]
    left_out: dict[str, str]


def write_sources(
    mod: IRModule,
    folder: str | Path,
    language: Language,
    generate: Callable[[IRModule, str], Source],
    verify: VerifyMemory,
) -> WrittenSources:
    """Write what ``generate`` makes of every group that LowerLineBuffer lowered, and a header, into ``folder``.

    The folder is made if only it is missing. Everything is generated before anything is written. Raises CompileError
    if the module has no lowered group, FusionError for a folder that cannot be written, MemoryMismatchError if
    ``verify`` finds that the memory of a group is not what the cost model says.
    """
    groups = lowered_groups(mod)
    if not groups:
        raise CompileError(
            f"the module has no group that LowerLineBuffer lowered; there is nothing to write as {language.name}"
        )
    run: Any = verify
    verified = run(mod)
    left_out = {name: "it is not lowered to line buffers" for name in group_functions(mod) if name not in groups}
    sources = []
    for name in groups:
        try:
            sources.append(generate(verified, name))
        except CompileError as error:
            left_out[name] = str(error)
    if not sources:
        first = next(iter(groups))
        raise CompileError(f"no group can be written as {language.name}; {first}: {left_out[first]}")
    target = Path(folder)
    _make(target)
    texts = {target / HEADER: _header(language, sources)}
    texts |= {target / f"{source.name}{language.suffix}": source.text for source in sources}
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


def _header(language: Language, sources: Sequence[Source]) -> str:
    lines = [
        "/* The fusion groups of a network, in the order in which they execute; written by tvm-fusion. */",
        "#ifndef TVM_FUSION_GROUPS_H",
        "#define TVM_FUSION_GROUPS_H",
        *language.before,
        "",
        *(source.declarations for source in sources),
        "",
        *language.after,
        "#endif",
    ]
    return "\n".join(lines) + "\n"

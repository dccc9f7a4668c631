"""The files that ``tvm-fusion compile`` writes: a library with its metadata, or a folder with it or with sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.errors import CompileError

if TYPE_CHECKING:
    from tvm_fusion.cli.building import Built, Lowered
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.graph.plan import PartitionPlan

LIBRARY, METADATA, PLAN, SNIPPET = "network.so", "network.json", "plan.json", "run.py"
MEMORY, MEMORY_TEXT = "memory.json", "memory.md"
SOURCE_HEADER = "tvm_fusion_groups.h"  # as write_sources calls it
# Targets for which sources are written instead of a library: their language, and the names of their files.
LANGUAGES = {"c": "C", "cuda": "CUDA"}
SOURCE_FILES = {"c": "fused_group_*.c", "cuda": "fused_group_*.cu"}


def is_folder(output: Path) -> bool:
    """Whether ``output`` shall be a folder, not a library. Raises FusionError if it could not be written later.

    Refuses a folder with files in it that compile did not write: it would replace some of them.
    """
    from tvm_fusion.files import check_writable

    if output.suffix == ".so":
        for path in (output, output.with_suffix(".json")):
            check_writable(path)
        return False
    if output.is_dir():
        if not any((output / name).is_file() for name in (LIBRARY, SOURCE_HEADER)) and any(output.iterdir()):
            raise CompileError(
                f"folder {str(output)!r} holds other files than 'tvm-fusion compile' writes; give a new or empty folder"
            )
        check_writable(output / LIBRARY)
    elif output.suffix:
        raise CompileError(f"output {str(output)!r} must end in .so, or be a folder (a name without a dot)")
    elif output.exists():
        raise CompileError(f"output {str(output)!r} is a file; give a folder, or a name that ends in .so")
    else:
        check_writable(output)
    return True


def check_kind(output: Path, kind: str) -> None:
    """Raise CompileError if sources shall go into a library, or one of both into a folder of the other.

    ``kind`` is that of the target.
    """
    if kind in LANGUAGES and output.suffix == ".so":
        raise CompileError(
            f"output {str(output)!r} is a library, and --target {kind} writes {LANGUAGES[kind]} sources; give a folder "
            "(a name without a dot)"
        )
    other, what = (LIBRARY, "a library") if kind in LANGUAGES else (SOURCE_HEADER, sources_in(output))
    if output.is_dir() and (output / other).is_file():
        raise CompileError(f"folder {str(output)!r} holds {what}; give a new or empty folder")


def sources_in(folder: Path) -> str:
    """Of which language the sources in ``folder`` are, in words."""
    found = [language for kind, language in LANGUAGES.items() if any(folder.glob(SOURCE_FILES[kind]))]
    return f"{found[0] if found else 'C'} sources"


def write_library(built: Built, output: Path) -> dict[str, Any]:
    """Write the library, then its metadata and memory report as one JSON file, which is returned."""
    from tvm_fusion.files import write_bytes_atomic, write_text_atomic

    metadata = {**built.report, **built.facts, "library": output.name}
    write_bytes_atomic(output, built.code)
    write_text_atomic(output.with_suffix(".json"), _json(metadata))
    return metadata


def write_folder(
    built: Built, plan: PartitionPlan, graph: OperatorGraph, plan_facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write library, plan, memory report and a program that runs it; what :func:`write_library` returns.

    Each file is written atomically, the metadata last, without which the folder counts as none.
    """
    from tvm_fusion.cli.snippet import snippet
    from tvm_fusion.files import write_bytes_atomic
    from tvm_fusion.graph.plan_io import save_plan
    from tvm_fusion.reports.memory_table import memory_markdown

    facts = {**built.facts, "library": LIBRARY}
    texts = {
        MEMORY: _json(built.report),
        MEMORY_TEXT: memory_markdown(built.report),
        SNIPPET: snippet(facts["network"], facts["inputs"], LIBRARY),
        METADATA: _json(facts),
    }
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CompileError(f"cannot make folder {str(folder)!r}: {error.strerror or error}") from None
    write_bytes_atomic(folder / LIBRARY, built.code)
    save_plan(folder / PLAN, plan, graph, **plan_facts)
    _write_texts(folder, texts)
    return {**built.report, **facts}


def write_sources(
    lowered: Lowered, plan: PartitionPlan, graph: OperatorGraph, plan_facts: dict[str, Any], folder: Path, kind: str
) -> dict[str, Any]:
    """Write the source of every lowered group for a target's ``kind``, a header, plan and memory report; what
    :func:`write_library` returns.

    "left_out" of it says why a group has no source. Those of an earlier plan, which this one does not replace, go.
    Raises CompileError, before anything is written, if no group can be written.
    """
    from tvm_fusion.graph.plan_io import save_plan
    from tvm_fusion.passes.write_c_sources import write_c_sources
    from tvm_fusion.passes.write_cuda_sources import write_cuda_sources
    from tvm_fusion.reports.memory_table import memory_markdown

    lowering = lowered.facts["lowering"]
    scope = lowering["scope"]
    if kind == "cuda":
        written = write_cuda_sources(lowered.module, folder, scope=scope)
    else:
        written = write_c_sources(lowered.module, folder, scope=scope, alignment=lowering["alignment"])
    known = {group["function"]: group["not_lowered"] for group in lowered.report["groups"]}
    facts = {
        **lowered.facts,
        "sources": [path.name for path in written.paths],
        "left_out": {name: known.get(name) or reason for name, reason in written.left_out.items()},
    }
    earlier = {path for files in SOURCE_FILES.values() for path in folder.glob(files)}
    for path in earlier - set(written.paths):
        path.unlink()
    save_plan(folder / PLAN, plan, graph, **plan_facts)
    texts = {
        MEMORY: _json(lowered.report),
        MEMORY_TEXT: memory_markdown(lowered.report, left="not lowered"),
        METADATA: _json(facts),
    }
    _write_texts(folder, texts)
    return {**lowered.report, **facts}


def _write_texts(folder: Path, texts: dict[str, str]) -> None:
    from tvm_fusion.files import write_text_atomic

    for name, text in texts.items():
        write_text_atomic(folder / name, text)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1) + "\n"

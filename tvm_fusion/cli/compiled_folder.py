"""A compiled network, read back: what ``tvm-fusion compile`` wrote, checked before its code is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_fusion.cli.compiled_files import LIBRARY, METADATA, sources_in
from tvm_fusion.errors import CompileError


@dataclass(frozen=True)
class CompiledNetwork:
    """A library that is whole and for this machine.

    ``inputs`` and ``outputs``: name, shape and dtype of each tensor of ``main``.
    """

    library: Path
    network: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]


def open_compiled(place: Path) -> CompiledNetwork:
    """Read and check a folder, or a library with its ``.json`` beside it. Raises CompileError in one line."""
    if not place.exists():
        raise CompileError(f"{str(place)!r} does not exist; 'tvm-fusion compile NET -o {place}' makes it")
    if place.is_dir():
        library, metadata = place / LIBRARY, place / METADATA
    elif place.suffix == ".so":
        library, metadata = place, place.with_suffix(".json")
    else:
        raise CompileError(f"{str(place)!r} is neither a folder nor a library (.so) that 'tvm-fusion compile' wrote")
    data = _metadata(metadata)
    if place.is_dir() and isinstance(data, dict) and "sources" in data and "library" not in data:
        raise CompileError(
            f"{str(place)!r} holds {sources_in(place)} of groups, which 'tvm-fusion run' does not execute; "
            "compile into another folder with --target llvm"
        )
    try:
        machine = {key: str(data["machine"][key]) for key in ("processor", "system")}
        needed = {str(name) for name in data["machine"].get("instructions", ())}
        digest, network = str(data["sha256"]), str(data["network"])
        inputs, outputs = (tuple(_tensor(entry) for entry in data[key]) for key in ("inputs", "outputs"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CompileError(f"{str(metadata)!r} is not what 'tvm-fusion compile' writes: {error!r}") from None
    _check_machine(library, machine, needed)
    _check_library(library, digest, metadata.name)
    return CompiledNetwork(library, network, inputs, outputs)


def _metadata(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CompileError(
            f"{str(path.parent)!r} has no {path.name}; did 'tvm-fusion compile' write what is in it?"
        ) from None
    except OSError as error:
        raise CompileError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CompileError(f"{str(path)!r} is not JSON: {error}") from None


def _check_machine(library: Path, machine: dict[str, str], needed: set[str]) -> None:
    """An instruction that the processor lacks would end the process."""
    from tvm_fusion.passes.target_machine import instructions_here, this_machine

    here = this_machine()
    if machine != here:
        raise CompileError(
            f"{str(library)!r} was compiled for {machine['processor']} {machine['system']}; "
            f"this machine is {here['processor']} {here['system']}; compile it again here"
        )
    missing = sorted(needed - set(instructions_here())) if needed else []
    if missing:
        raise CompileError(
            f"{str(library)!r} was compiled for a processor with {', '.join(missing)}, which this one lacks; "
            "compile it again here"
        )


def _check_library(library: Path, digest: str, metadata: str) -> None:
    """A library that was cut short, or is another machine's, could end the process when it is loaded."""
    try:
        code = library.read_bytes()
    except OSError as error:
        raise CompileError(f"cannot read {str(library)!r}: {error.strerror or error}") from None
    if hashlib.sha256(code).hexdigest() != digest:
        raise CompileError(f"{str(library)!r} is not the library that {metadata} describes (its SHA-256 differs)")


def _tensor(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(entry["name"]),
        "shape": tuple(int(size) for size in entry["shape"]),
        "dtype": str(entry["dtype"]),
    }

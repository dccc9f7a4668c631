"""torch exported programs: .pt2 files, and models exported here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tvm.ir import IRModule

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.network import Network
from tvm_fusion.frontends.relax_module import bind_batch


def import_torch() -> Any:
    """The torch module. Raises FrontendError with the command that installs it."""
    try:
        import torch
    except ImportError:
        raise FrontendError("torch is not installed; pip install 'tvm-fusion[zoo]' brings it") from None
    return torch


def load_pt2(path: Path, batch: int) -> Network:
    """A network from a file written by ``torch.export.save``."""
    torch = import_torch()
    try:
        program = torch.export.load(str(path))
    except Exception as error:  # torch raises many kinds for a damaged archive
        raise FrontendError(f"{str(path)!r} is no exported program: {one_line(error)}") from None
    return Network(import_program(program, batch, str(path)), path.stem, "pt2")


def import_program(program: Any, batch: int, source: str) -> IRModule:
    """A torch exported program as a Relax module with its weights as constants."""
    from tvm.relax.frontend.torch import from_exported_program

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = from_exported_program(program)
    except Exception as error:  # the importer raises AssertionError, KeyError, ValueError, TVMError ...
        raise FrontendError(f"TVM cannot import {source!r}: {one_line(error)}") from None
    return bind_batch(module, batch)


def one_line(error: BaseException) -> str:
    """The last telling line of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]

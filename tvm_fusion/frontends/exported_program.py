"""torch exported programs: .pt2 files, and models exported here."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from tvm.ir import IRModule

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.messages import first_line, last_line
from tvm_fusion.frontends.network import Network
from tvm_fusion.frontends.relax_module import bind_batch
from tvm_fusion.frontends.torch_operators import converters


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
    log = logging.getLogger("torch.export")
    level = log.level
    try:
        log.setLevel(logging.CRITICAL)  # it logs the traceback that it then sums up
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(str(path))
    except Exception as error:  # torch raises many kinds for a damaged archive
        raise FrontendError(
            f"{str(path)!r} is no exported program as torch.export.save writes it: {first_line(error)}"
        ) from None
    finally:
        log.setLevel(level)
    _check_range(program, batch, str(path))
    return Network(import_program(program, batch, str(path)), path.stem, "pt2")


def import_program(program: Any, batch: int, source: str) -> IRModule:
    """A torch exported program as a Relax module with its weights as constants."""
    from tvm.relax.frontend.torch import from_exported_program

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = from_exported_program(program, custom_convert_map=converters())
    except Exception as error:  # the importer raises AssertionError, KeyError, ValueError, TVMError ...
        raise FrontendError(f"TVM cannot import {source!r}: {last_line(error)}") from None
    return bind_batch(module, batch)


def _check_range(program: Any, batch: int, source: str) -> None:
    """Raise FrontendError if the program was exported for another range of batches.

    A least batch of 2 means nothing: torch writes it by itself for a size that it finds dynamic.
    """
    for node in program.graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ()) if node.op == "placeholder" else ()
        bounds = (
            program.range_constraints.get(getattr(getattr(shape[0], "node", None), "expr", None)) if shape else None
        )
        if bounds is not None and (batch > bounds.upper or batch < bounds.lower > 2):
            raise FrontendError(
                f"{source!r} was exported for a batch of {bounds.lower} .. {bounds.upper} in input {node.name!r}; "
                f"batch {batch} is outside"
            )

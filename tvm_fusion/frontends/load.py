"""Which front end a network specification is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.network import Network


def load(spec: Any, batch: int, seed: int) -> Network:
    """See :func:`tvm_fusion.frontends.load_network`."""
    if batch < 1:
        raise FrontendError(f"batch {batch} is too small; it must be at least 1")
    if not isinstance(spec, str | os.PathLike):
        from tvm_fusion.frontends.relax_module import load_module

        return load_module(spec, batch)
    text = os.fspath(spec)
    suffix = Path(text).suffix.lower()
    if suffix in (".onnx", ".pt2"):
        path = Path(text)
        if not path.is_file():
            raise FrontendError(f"network file {text!r} {'is a folder' if path.is_dir() else 'does not exist'}")
        if suffix == ".onnx":
            from tvm_fusion.frontends.onnx_file import load_onnx

            return load_onnx(path, batch, seed)
        from tvm_fusion.frontends.exported_program import load_pt2

        return load_pt2(path, batch)
    if os.sep in text or Path(text).exists():
        raise FrontendError(f"network {text!r} is no model name and no .onnx or .pt2 file")
    from tvm_fusion.frontends.model_name import load_model

    return load_model(text, batch, seed)
